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
    python tools/dataset_converters/to_coco.py yolo data/x/images data/x/train.json --names data/x/data.yaml --check
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from mmdetlike.cli.cityscapes_conversion import CLASSES, read_cityscapes
from mmdetlike.cli.dataset_check import tell_check
from mmdetlike.datasets import CocoDataset
from mmdetlike.datasets.base import BaseDetDataset
from mmdetlike.datasets.errors import DataError, SkipReport
from mmdetlike.datasets.interchange import coco_content, first_difference, infos_of
from mmdetlike.datasets.named_objects import NamedObjectsDataset, found_names
from mmdetlike.registry import DATASETS
from mmdetlike.utils.command import make_parser, run_tool, user_path
from mmdetlike.utils.whole_files import write_whole

FORMATS = {
    'yolo': 'YOLODataset',
    'labelme': 'LabelmeDataset',
    'csv': 'CSVDataset',
    'crowdhuman': 'CrowdHumanDataset',
    'lvis': 'LVISV1Dataset',
    'wider-face': 'WIDERFaceDataset',
    'openimages': 'OpenImagesDataset',
}
CITYSCAPES = 'cityscapes'
WITHOUT_ONE_FILE = ('yolo', 'labelme', CITYSCAPES)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('format', choices=[*FORMATS, CITYSCAPES], help='what to read')
    parser.add_argument('images', type=user_path, help='folder of the pictures; names in the JSON are relative to it')
    parser.add_argument('out', type=user_path, help='JSON file to write')
    parser.add_argument('--ann-file', type=user_path, help='annotation file, where the format has one for all')
    parser.add_argument('--annotations', type=user_path, help='folder of the annotation files, if not as usual')
    parser.add_argument('--names', type=user_path, help='the file with the class names of yolo or openimages')
    parser.add_argument('--classes', help='comma-separated, in the order of their labels (default: those found)')
    parser.add_argument('--check', action='store_true', help='compare the result, open all pictures, draw some')
    args = parser.parse_args(argv)
    needed = {'ann_file': args.format not in WITHOUT_ONE_FILE, 'names': args.format == 'openimages'}
    needed['annotations'] = args.format == CITYSCAPES
    for name, is_needed in needed.items():
        if is_needed and getattr(args, name) is None:
            parser.error(f'{args.format} needs --{name.replace("_", "-")}')
    return args


def build(args: argparse.Namespace) -> BaseDetDataset:
    """The dataset that the command line describes."""
    prefix = {'img': str(args.images)} | ({'ann': str(args.annotations)} if args.annotations else {})
    config = {'type': FORMATS[args.format], 'data_prefix': prefix, 'test_mode': True, 'lazy_init': True}
    if args.ann_file is not None:
        config['ann_file'] = str(args.ann_file)
    if args.names is not None:
        config['label_file' if args.format == 'openimages' else 'names_file'] = str(args.names)
    if args.classes:
        config['metainfo'] = {'classes': [name.strip() for name in args.classes.split(',')]}
    dataset = DATASETS.build(config)
    if isinstance(dataset, NamedObjectsDataset) and not dataset.metainfo.get('classes'):
        config['metainfo'] = {'classes': found_names(dataset.read_pictures())}
        if not config['metainfo']['classes']:
            raise DataError(f'{dataset.source}: there are no objects; say --classes.')
        dataset = DATASETS.build(config)
    dataset.full_init()
    return dataset


def read(args: argparse.Namespace) -> tuple[list[dict], Sequence[str], SkipReport]:
    """Data infos, class names, and what was left out, of what the command line describes."""
    if args.format == CITYSCAPES:
        return read_cityscapes(args.images, args.annotations), CLASSES, SkipReport(str(args.annotations))
    dataset = build(args)
    return [_with_groups_as_crowds(info) for info in infos_of(dataset)], dataset.metainfo['classes'], dataset.report


def _with_groups_as_crowds(info: dict) -> dict:
    """A data info in which groups of Open Images are what COCO has for them: to be ignored."""
    instances = [
        {**instance, 'ignore_flag': 1} if instance.get('is_group_of') else instance for instance in info['instances']
    ]
    return {**info, 'instances': instances}


def check(out: Path, images: Path, infos: Sequence[dict], classes: Sequence[str], notes: SkipReport) -> None:
    """Read a written file again, and tell what is wrong with it.

    Raises:
        DataError: It says something else than ``infos``.
    """
    written = CocoDataset(
        ann_file=str(out), data_prefix={'img': str(images)}, metainfo={'classes': classes}, test_mode=True
    )
    difference = first_difference(infos, infos_of(written))
    if difference:
        raise DataError(f'{out}: not what was read: {difference}.')
    print(f'{out}: read again and compared, all {len(written)} images are equal')
    tell_check(infos, classes, notes, out.with_suffix('.check.png'))


def main(argv: Sequence[str] | None = None) -> None:
    """Write the file that the command line describes."""
    args = parse_args(argv)
    infos, classes, notes = read(args)
    content = coco_content(infos, classes, str(args.images))
    write_whole(args.out, json.dumps(content).encode())
    counts = f'{len(content["images"])} images, {len(content["annotations"])} objects'
    print(f'{args.out}: {counts}, {len(content["categories"])} classes')
    if args.check:
        check(args.out, args.images, infos, classes, notes)


if __name__ == '__main__':
    run_tool(main)
