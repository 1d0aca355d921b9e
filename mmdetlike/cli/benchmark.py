"""Measure how fast data are loaded, how fast a model infers, and how fast both are together.

Times of single batches are given as percentiles, after a warm-up that is left out. "data" is the time that a loop waits
for its next batch, its workers busy all the while; "inference" takes batches that are loaded already; "both" is a test.

Example:
    mmdetlike benchmark faster-rcnn_r18_fpn_shapes --number 50 --cfg-options test_dataloader.num_workers=2
"""

import argparse
from collections.abc import Sequence

from mmdetlike.cli.arguments import check_positive
from mmdetlike.cli.foreign import checkpoint_file, config_file
from mmdetlike.utils.command import make_parser, user_path
from mmdetlike.utils.options import add_options

TASKS = ('data', 'inference', 'both')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('config', help='config file, name of a shipped config, detectron2://NAME or torchvision://NAME')
    parser.add_argument('checkpoint', nargs='?', help='weights; random ones by default')
    parser.add_argument('--tasks', choices=TASKS, nargs='+', default=list(TASKS), help='what to measure (default: all)')
    parser.add_argument(
        '--split', choices=('train', 'val', 'test'), default='test', help='whose data; "train" is for data only'
    )
    parser.add_argument('--number', type=int, default=100, help='batches to measure (default: 100)')
    parser.add_argument('--warmup', type=int, default=10, help='batches before, which are not counted (default: 10)')
    parser.add_argument('--device', help='where the model runs; by default the first GPU, or the CPU')
    parser.add_argument('--out', type=user_path, help='write the numbers to this .json file, too')
    add_options(parser)
    args = parser.parse_args(argv)
    check_positive(parser, args, ['number'])
    if args.warmup < 0:
        parser.error(f'--warmup must be at least 0, got {args.warmup}')
    if args.split == 'train' and set(args.tasks) != {'data'}:
        parser.error('--split train can be measured with --tasks data only: inference has a pipeline of its own')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what the command line describes."""
    args = parse_args(argv)
    args.checkpoint = checkpoint_file(args.checkpoint, args.config)
    args.config = config_file(args.config)
    from mmdetlike.cli.benchmarking import benchmark

    benchmark(args)
