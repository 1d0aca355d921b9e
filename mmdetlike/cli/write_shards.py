"""Write a COCO data set as shards, tar files (WebDataset) or Parquet files, for training on data beyond a disk.

Pictures are copied as they are. `StreamingDetDataset` reads the folder, here or wherever it is copied to.

Example:
    mmdetlike write-shards data/coco/annotations/instances_train2017.json data/coco/train2017 shards/train
"""

import argparse
from collections.abc import Sequence

from mmdetlike.cli.arguments import check_positive
from mmdetlike.utils.command import make_parser, user_path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('ann_file', type=user_path, help='the COCO file')
    parser.add_argument('images', type=user_path, help='folder of the pictures')
    parser.add_argument('out', type=user_path, help='folder to write to')
    parser.add_argument('--format', choices=['tar', 'parquet'], default='tar', help='(default: %(default)s)')
    parser.add_argument('--shard-size', type=int, default=512, help='pictures of a shard (default: %(default)s)')
    parser.add_argument('--filter-empty-gt', action='store_true', help='leave out pictures without objects')
    parser.add_argument(
        '--min-size', type=int, default=0, metavar='PIXELS', help='leave out pictures whose shorter side is below it'
    )
    args = parser.parse_args(argv)
    check_positive(parser, args, ['shard_size'])
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Write the shards that the command line describes."""
    args = parse_args(argv)
    from tqdm import tqdm

    from mmdetlike.datasets.shard_writing import DatasetOfFile, write_shards

    dataset = DatasetOfFile(
        ann_file=str(args.ann_file),
        data_prefix={'img': str(args.images)},
        filter_cfg={'filter_empty_gt': args.filter_empty_gt, 'min_size': args.min_size},
    )
    index = write_shards(
        dataset, str(args.images), args.out, args.format, args.shard_size, lambda numbers: tqdm(numbers, unit='shard')
    )
    size = sum(entry.bytes for entry in index.shards) / 1e6
    print(f'{args.out}: {len(dataset)} images in {len(index.shards)} shards, {size:.1f} MB')
