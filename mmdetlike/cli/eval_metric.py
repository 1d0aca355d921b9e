"""Compute the metrics of a config from a file of predictions, without running the model again.

RESULTS is what `mmdetlike test CONFIG CHECKPOINT --out RESULTS.pkl` wrote.
"""

import argparse
from collections.abc import Sequence

from mmdetlike.cli.arguments import add_scored_data
from mmdetlike.cli.foreign import config_file
from mmdetlike.utils.command import make_parser


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add_scored_data(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the scores."""
    args = parse_args(argv)
    args.config = config_file(args.config)
    from mmdetlike.cli.scored_data import ScoredData, print_scores
    from mmdetlike.evaluation.results import read_results

    samples = read_results(args.results)
    data = ScoredData(args.config, args.cfg_options, args.split)
    print_scores(data.evaluate(samples, args.results))
