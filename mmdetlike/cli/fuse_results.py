"""Fuse the boxes that several models found (weighted boxes fusion, arXiv 1910.13302), and score them.

Each RESULTS is what `mmdetlike test CONFIG CHECKPOINT --out RESULTS.pkl` wrote. Masks and keypoints are left out.
"""

import argparse
from collections.abc import Sequence

from mmdetlike.cli.arguments import add_split
from mmdetlike.cli.foreign import config_file
from mmdetlike.utils.command import make_parser, user_path
from mmdetlike.utils.options import add_options

CONF_TYPES = ('avg', 'max', 'box_and_model_avg', 'absent_model_aware_avg')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('config', help='config file, or name of a shipped config: dataset and metrics')
    parser.add_argument('results', type=user_path, nargs='+', metavar='RESULTS', help='files of predictions, .pkl')
    parser.add_argument('--weights', type=float, nargs='+', help='how much each model counts (default: all alike)')
    parser.add_argument('--iou-thr', type=float, default=0.55, help='overlap of boxes of one object (default: 0.55)')
    parser.add_argument('--skip-box-thr', type=float, default=0.0, help='leave out what scores less (default: 0)')
    parser.add_argument('--conf-type', choices=CONF_TYPES, default='avg', help='score of a fused box (default: avg)')
    parser.add_argument('--eval-single', action='store_true', help='score each model by itself, too')
    parser.add_argument('--out', type=user_path, help='write the fused predictions to this .pkl file')
    add_split(parser)
    add_options(parser)
    args = parser.parse_args(argv)
    if len(args.results) < 2:
        parser.error('fusion needs the results of two models at least')
    if args.weights and (len(args.weights) != len(args.results) or min(args.weights) <= 0):
        parser.error(f'--weights must be {len(args.results)} positive numbers, one for each file, got {args.weights}')
    if not 0 <= args.iou_thr <= 1:
        parser.error(f'--iou-thr must be from 0 to 1, got {args.iou_thr:g}')
    if args.out is not None and args.out.suffix not in ('.pkl', '.pickle'):
        parser.error(f'--out must be a .pkl file, got {args.out}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Fuse and score what the command line describes."""
    args = parse_args(argv)
    args.config = config_file(args.config)
    from mmdetlike.cli.scored_data import ScoredData, metrics_of_boxes, print_scores
    from mmdetlike.evaluation.results import fuse_results, read_results, write_results
    from mmdetlike.utils.outputs import check_folder

    results = [read_results(path) for path in args.results]
    if args.out is not None:
        check_folder(args.out.parent)
    data = ScoredData(args.config, args.cfg_options, args.split)
    settings = dict(iou_thr=args.iou_thr, skip_box_thr=args.skip_box_thr, conf_type=args.conf_type)
    fused = fuse_results(results, args.results, args.weights, **settings)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_results(fused, args.out)
        print(f'fused predictions are in {args.out}')
    for path, samples in zip(args.results, results) if args.eval_single else ():
        print(f'\n{path}')
        print_scores(data.evaluate(samples, path))
    metrics = metrics_of_boxes(data.cfg, args.split)
    print('\nfused')
    print_scores(data.evaluate(fused, 'the fused predictions', metrics))
