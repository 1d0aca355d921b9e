"""Detect objects in pictures, folders or videos and write what was found.

Examples:
    mmdetlike predict pictures/ CONFIG.py --weights CHECKPOINT.pth --out-dir outputs
    mmdetlike predict 'pictures/*.jpg' CHECKPOINT.pth --pred-score-thr 0.5
"""

import argparse

from mmdetlike.cli.foreign import is_foreign
from mmdetlike.utils.checkpoint_files import check_is_file
from mmdetlike.utils.command import OPTIMIZATIONS, make_parser, user_path
from mmdetlike.utils.config_files import find_config

CHECKPOINT_SUFFIXES = ('.pth', '.pt')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('inputs', help='picture, video, folder, glob pattern (in quotes) or http(s) URL')
    parser.add_argument(
        'model',
        help='config file, name of a shipped config, detectron2://NAME, torchvision://NAME, or a checkpoint that holds '
        'its config',
    )
    parser.add_argument('--weights', help='checkpoint file or URL')
    parser.add_argument(
        '--out-dir', type=user_path, default='outputs', help='folder for pictures and predictions (default: outputs)'
    )
    parser.add_argument('--device', help="'cpu', 'cuda:0', ... (default: the first GPU, or the CPU)")
    parser.add_argument('--pred-score-thr', type=float, default=0.3, help='draw predictions that score this or more')
    parser.add_argument('--batch-size', type=int, default=1, help='pictures that go through the model at once')
    parser.add_argument('--show', action='store_true', help='show each picture in a window')
    parser.add_argument('--no-save-vis', action='store_true', help='write no pictures')
    parser.add_argument('--no-save-pred', action='store_true', help='write no predictions')
    parser.add_argument('--print-result', action='store_true', help='print what was found, a line an object')
    parser.add_argument(
        '--optimize', choices=OPTIMIZATIONS, help='make the model fast: folded batch norms, precision, compiled parts'
    )
    parser.add_argument('--palette', default='none', help="'random', 'coco', 'voc', or the name of one colour for all")
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read a checkpoint that holds more than tensors and plain data; this runs code of its author',
    )
    args = parser.parse_args(argv)
    if args.batch_size < 1:
        parser.error(f'--batch-size must be positive, got {args.batch_size}')
    return args


def model_and_weights(args: argparse.Namespace) -> tuple[str | None, str | None]:
    """The config and the weights that a command line names, once it is clear that both are there.

    The config is None where a checkpoint alone was given, which holds it.
    """
    model, weights = args.model, args.weights
    if model.endswith(CHECKPOINT_SUFFIXES) and weights is None:
        model, weights = None, model
    if model is not None and not is_foreign(model):
        model = find_config(model)
    if weights is not None:
        check_is_file(weights)
    return model, weights


def main(argv: list[str] | None = None) -> None:
    """Detect."""
    args = parse_args(argv)
    model, weights = model_and_weights(args)
    from mmdetlike.apis import DetInferencer
    from mmdetlike.datasets.errors import DataError

    inferencer = DetInferencer(
        model,
        weights,
        args.device,
        palette=args.palette,
        trust_checkpoint=args.trust_checkpoint,
        optimize=args.optimize,
    )
    result = inferencer(
        args.inputs,
        batch_size=args.batch_size,
        show=args.show,
        no_save_vis=args.no_save_vis,
        pred_score_thr=args.pred_score_thr,
        print_result=args.print_result,
        no_save_pred=args.no_save_pred,
        out_dir=str(args.out_dir),
    )
    if all('error' in prediction for prediction in result['predictions']):
        raise DataError('none of the inputs could be read')
