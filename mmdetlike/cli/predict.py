"""Detect objects in pictures, folders or videos and write what was found.

Examples:
    mmdetlike predict pictures/ CONFIG.py --weights CHECKPOINT.pth --out-dir outputs
    mmdetlike predict 'pictures/*.jpg' CHECKPOINT.pth --pred-score-thr 0.5
    mmdetlike predict video.mp4 deployed/
"""

import argparse

from mmdetlike.cli.arguments import add_detector, add_device, check_positive, detector_settings
from mmdetlike.utils.command import make_parser, user_path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('inputs', help='picture, video, folder, glob pattern (in quotes) or http(s) URL')
    add_detector(parser)
    parser.add_argument(
        '--out-dir', type=user_path, default='outputs', help='folder for pictures and predictions (default: outputs)'
    )
    add_device(parser)
    parser.add_argument('--pred-score-thr', type=float, default=0.3, help='draw predictions that score this or more')
    parser.add_argument('--batch-size', type=int, default=1, help='pictures that go through the model at once')
    parser.add_argument('--show', action='store_true', help='show each picture in a window')
    parser.add_argument('--no-save-vis', action='store_true', help='write no pictures')
    parser.add_argument('--no-save-pred', action='store_true', help='write no predictions')
    parser.add_argument('--print-result', action='store_true', help='print what was found, a line an object')
    parser.add_argument('--palette', default='none', help="'random', 'coco', 'voc', or the name of one color for all")
    args = parser.parse_args(argv)
    check_positive(parser, args, ['batch_size'])
    return args


def main(argv: list[str] | None = None) -> None:
    """Detect."""
    args = parse_args(argv)
    settings = detector_settings(args)
    from mmdetlike.apis.loading import load_inferencer
    from mmdetlike.datasets.errors import DataError

    inferencer = load_inferencer(**settings, device=args.device, palette=args.palette, show_progress=True)
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
