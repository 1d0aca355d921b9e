"""Convert annotations of PASCAL VOC (an XML file for each image) to one COCO JSON file.

The folder holds Annotations/, JPEGImages/ and ImageSets/Main/, or several folders that do, as VOCdevkit/VOC2007 and
VOCdevkit/VOC2012. VOC counts pixels from 1 and includes the last: xmin, ymin, xmax, ymax become the box
[xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1]. Boxes without area are reported and left out.

Example:
    mmdetlike voc-to-coco data/BCCD data/BCCD/train.json --split train
"""

import argparse
from collections.abc import Sequence

from mmdetlike.utils.command import make_parser, user_path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('root', type=user_path, help='folder with Annotations/, or with such folders')
    parser.add_argument('out', type=user_path, help='JSON file to write; image names in it are relative to root')
    parser.add_argument(
        '--split',
        default='train',
        help="name of a file in ImageSets/Main, path of such a file, or 'all' for every XML (default: %(default)s)",
    )
    parser.add_argument(
        '--classes', help='comma-separated, in the order of their labels (default: those found, sorted)'
    )
    parser.add_argument(
        '--check', action='store_true', help='open all pictures, count what is wrong, draw a sample beside the result'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the file that the command line describes."""
    args = parse_args(argv)
    from mmdetlike.cli.voc_conversion import write_coco

    write_coco(args)
