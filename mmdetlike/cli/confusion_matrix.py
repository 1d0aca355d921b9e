"""Draw which classes a detector takes for which: a confusion matrix as PNG and CSV, and a report of each class.

RESULTS is what `mmdetlike test CONFIG CHECKPOINT --out RESULTS.pkl` wrote. A row of the matrix is an annotated class, a
column a found one; the last of each is the background.
"""

import argparse
from collections.abc import Sequence

from mmdetlike.cli.arguments import add_scored_data
from mmdetlike.cli.foreign import config_file
from mmdetlike.utils.command import make_parser, user_path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add_scored_data(parser)
    parser.add_argument('out_dir', type=user_path, help='folder for confusion_matrix.png, .csv and class_report.csv')
    parser.add_argument('--score-thr', type=float, default=0.3, help='leave out what scores less (default: 0.3)')
    parser.add_argument('--iou-thr', type=float, default=0.5, help='overlap of what counts as found (default: 0.5)')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the matrix."""
    args = parse_args(argv)
    args.config = config_file(args.config)
    from mmdetlike.cli.scored_data import ScoredData
    from mmdetlike.evaluation.results import read_results
    from mmdetlike.utils.outputs import check_folder

    samples = read_results(args.results)
    check_folder(args.out_dir)
    data = ScoredData(args.config, args.cfg_options, args.split)
    report = dict(type='ClassReportMetric', iou_thr=args.iou_thr, score_thr=args.score_thr, out_dir=str(args.out_dir))
    data.evaluate(samples, args.results, [report])
