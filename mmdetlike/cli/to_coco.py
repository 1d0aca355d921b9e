"""Convert annotations of other tools to one COCO JSON file.

Formats, and what they need beside the folder of the pictures:
  yolo        a text file a picture in the folder labels; --names data.yaml, or --classes
  labelme     a JSON file a picture, beside it or in --annotations
  csv         --ann-file boxes.csv, an object a line
  crowdhuman  --ann-file annotation_train.odgt
  lvis        --ann-file lvis_v1_train.json
  wider-face  --ann-file wider_face_split/wider_face_train_bbx_gt.txt, or a list of names with XML files
  openimages  --ann-file oidv6-train-annotations-bbox.csv, --names class-descriptions-boxable.csv; groups are crowds
  cityscapes  --annotations gtFine/train, the pictures of instance ids; the folder of the pictures is leftImg8bit/train
(Pascal VOC has a command of its own, `mmdetlike voc-to-coco`.)

--check reads the result again and compares it, opens each picture, tells what was left out of which kind and how many
objects each class has, and draws a sample beside the result.

What is wrong in them is told with file and line; boxes without area are left out and counted. The result is written
whole or not at all.

Example:
    mmdetlike to-coco yolo data/x/images data/x/train.json --names data/x/data.yaml --check
"""

import argparse
from collections.abc import Sequence

from mmdetlike.utils.command import make_parser, user_path

FORMATS = ('yolo', 'labelme', 'csv', 'crowdhuman', 'lvis', 'wider-face', 'openimages', 'cityscapes')
WITHOUT_ONE_FILE = ('yolo', 'labelme', 'cityscapes')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('format', choices=FORMATS, help='what to read')
    parser.add_argument('images', type=user_path, help='folder of the pictures; names in the JSON are relative to it')
    parser.add_argument('out', type=user_path, help='JSON file to write')
    parser.add_argument('--ann-file', type=user_path, help='annotation file, where the format has one for all')
    parser.add_argument('--annotations', type=user_path, help='folder of the annotation files, if not as usual')
    parser.add_argument('--names', type=user_path, help='the file with the class names of yolo or openimages')
    parser.add_argument('--classes', help='comma-separated, in the order of their labels (default: those found)')
    parser.add_argument('--check', action='store_true', help='compare the result, open all pictures, draw some')
    args = parser.parse_args(argv)
    needed = {'ann_file': args.format not in WITHOUT_ONE_FILE, 'names': args.format == 'openimages'}
    needed['annotations'] = args.format == 'cityscapes'
    for name, is_needed in needed.items():
        if is_needed and getattr(args, name) is None:
            parser.error(f'{args.format} needs --{name.replace("_", "-")}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Write the file that the command line describes."""
    args = parse_args(argv)
    from mmdetlike.cli.coco_import import convert

    convert(args)
