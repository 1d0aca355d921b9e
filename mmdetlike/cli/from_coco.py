"""Convert a COCO JSON file to annotations of other tools.

Formats, and what is written to the folder OUT:
  yolo        a text file a picture, and data.yaml with the class names
  labelme     a JSON file a picture
  crowdhuman  annotations.odgt
  lvis        annotations.json, of pictures that were looked through for all classes
  voc         Annotations/NAME.xml a picture, and ImageSets/Main/all.txt with the names; no masks
  openimages  annotations-bbox.csv and class-descriptions-boxable.csv, whose identifiers of classes are those of
              --names, or are made up; no masks
  cityscapes  CITY/NAME_gtFine_instanceIds.png a picture CITY/NAME_leftImg8bit.png, of the eight classes that have
              instances there; masks only

What a format cannot say is left out and counted: YOLO and LVIS have no objects to be ignored, YOLO and labelme no run
lengths, YOLO no masks of several parts, CrowdHuman, VOC and Open Images no masks, Cityscapes no masks that overlap (of
two objects the smaller one is seen). An object whose mask cannot be said keeps its box. The files are written when all
of them are complete, or none.

--check reads the result again and compares it, opens each picture, tells ids that occur twice, what was left out of
which kind and how many objects each class has, and draws a sample, OUT/check.png.

Example:
    mmdetlike from-coco yolo data/x/train.json data/x/images/train data/x/labels/train --check
"""

import argparse
from collections.abc import Sequence

from mmdetlike.utils.command import make_parser, user_path

FORMATS = ('yolo', 'labelme', 'crowdhuman', 'lvis', 'voc', 'openimages', 'cityscapes')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('format', choices=FORMATS, help='what to write')
    parser.add_argument('ann_file', type=user_path, help='the COCO file')
    parser.add_argument('images', type=user_path, help='folder of the pictures')
    parser.add_argument('out', type=user_path, help='folder to write to')
    parser.add_argument(
        '--names',
        type=user_path,
        help="for openimages: its class-descriptions-boxable.csv, with each class's identifier",
    )
    parser.add_argument('--check', action='store_true', help='compare the result, open all pictures, draw some')
    args = parser.parse_args(argv)
    if args.names is not None and args.format != 'openimages':
        parser.error(f'{args.format} has no --names')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Write the files that the command line describes."""
    args = parse_args(argv)
    from mmdetlike.cli.coco_export import export

    export(args)
