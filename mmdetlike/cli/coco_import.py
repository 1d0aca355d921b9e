"""What `to-coco` does: data sets of other tools are read, written as one COCO file, and read again from there."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from mmdetlike.cli.cityscapes_conversion import CLASSES, read_cityscapes
from mmdetlike.cli.dataset_check import tell_check
from mmdetlike.cli.openimages_conversion import with_groups_as_crowds
from mmdetlike.datasets import CocoDataset
from mmdetlike.datasets.base import BaseDetDataset
from mmdetlike.datasets.errors import DataError, SkipReport
from mmdetlike.datasets.interchange import coco_content, first_difference, infos_of
from mmdetlike.datasets.named_objects import NamedObjectsDataset, found_names
from mmdetlike.registry import DATASETS
from mmdetlike.utils.whole_files import write_whole

READERS = {
    'yolo': 'YOLODataset',
    'labelme': 'LabelmeDataset',
    'csv': 'CSVDataset',
    'crowdhuman': 'CrowdHumanDataset',
    'lvis': 'LVISV1Dataset',
    'wider-face': 'WIDERFaceDataset',
    'openimages': 'OpenImagesDataset',
}


def build(args: argparse.Namespace) -> BaseDetDataset:
    """The dataset that the command line describes."""
    prefix = {'img': str(args.images)} | ({'ann': str(args.annotations)} if args.annotations else {})
    config = {'type': READERS[args.format], 'data_prefix': prefix, 'test_mode': True, 'lazy_init': True}
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
    if args.format == 'cityscapes':
        return read_cityscapes(args.images, args.annotations), CLASSES, SkipReport(str(args.annotations))
    dataset = build(args)
    return [with_groups_as_crowds(info) for info in infos_of(dataset)], dataset.metainfo['classes'], dataset.report


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


def convert(args: argparse.Namespace) -> None:
    """Write the file that the command line describes."""
    infos, classes, notes = read(args)
    content = coco_content(infos, classes, str(args.images))
    write_whole(args.out, json.dumps(content).encode())
    counts = f'{len(content["images"])} images, {len(content["annotations"])} objects'
    print(f'{args.out}: {counts}, {len(content["categories"])} classes')
    if args.check:
        check(args.out, args.images, infos, classes, notes)
