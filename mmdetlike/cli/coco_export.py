"""What `from-coco` does: a COCO file is read, written in another format, and read again from there."""

import argparse
import os.path as osp
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from mmdetlike.cli.cityscapes_conversion import CLASSES, info_of, write_cityscapes
from mmdetlike.cli.coco_writers import (
    Target,
    write_crowdhuman,
    write_labelme,
    write_lvis,
    write_voc,
    write_yolo,
)
from mmdetlike.cli.dataset_check import repeated_ids, tell_check
from mmdetlike.cli.openimages_conversion import BOXES, CLASS_NAMES, with_groups_as_crowds, write_openimages
from mmdetlike.datasets import CocoDataset
from mmdetlike.datasets.coco_file import CocoFile
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.interchange import first_difference, infos_of
from mmdetlike.registry import DATASETS
from mmdetlike.utils.whole_files import whole_folder


class Format(NamedTuple):
    """A format: what writes it, the arguments of the dataset that reads it, and the only classes that it has.

    Attributes:
        write: Writes data infos to a target; returns what could be said.
        reader: Arguments of the dataset that reads the folder, as ``arguments(images, out)``; None if none does.
        classes: The classes of the format, in the order of their labels; None for any.
    """

    write: Callable[[list[dict], Target], list[dict]]
    reader: Callable[[str, Path], dict] | None
    classes: Sequence[str] | None = None


FORMATS = {
    'yolo': Format(
        write_yolo, lambda images, out: dict(type='YOLODataset', data_prefix=dict(img=images, ann=str(out)))
    ),
    'labelme': Format(
        write_labelme, lambda images, out: dict(type='LabelmeDataset', data_prefix=dict(img=images, ann=str(out)))
    ),
    'crowdhuman': Format(
        write_crowdhuman,
        lambda images, out: dict(
            type='CrowdHumanDataset', data_prefix=dict(img=images), ann_file=str(out / 'annotations.odgt')
        ),
    ),
    'lvis': Format(
        write_lvis,
        lambda images, out: dict(
            type='LVISV1Dataset', data_prefix=dict(img=images), ann_file=str(out / 'annotations.json')
        ),
    ),
    'voc': Format(
        write_voc,
        lambda images, out: dict(
            type='XMLDataset',
            img_subdir=osp.abspath(images),
            ann_subdir=osp.abspath(out / 'Annotations'),
            data_prefix=dict(sub_data_root=''),
            ann_file=str(out / 'ImageSets/Main/all.txt'),
        ),
    ),
    'openimages': Format(
        write_openimages,
        lambda images, out: dict(
            type='OpenImagesDataset',
            data_prefix=dict(img=images),
            ann_file=str(out / BOXES),
            label_file=str(out / CLASS_NAMES),
        ),
    ),
    'cityscapes': Format(write_cityscapes, None, CLASSES),
}


def read(ann_file: Path, images: Path, classes: Sequence[str] | None = None) -> CocoDataset:
    """The COCO file with ``classes``, or all of its classes in the order of the file.

    Raises:
        DataError: It has no categories, or can't be read.
    """
    names = classes or [category['name'] for category in CocoFile(str(ann_file)).categories]
    if not names:
        raise DataError(f'{ann_file}: it has no categories; expected one at least.')
    metainfo = {'classes': names}
    return CocoDataset(ann_file=str(ann_file), data_prefix={'img': str(images)}, metainfo=metainfo, test_mode=True)


def read_again(kind: str, infos: Sequence[dict], images: str, out: Path, classes: Sequence[str]) -> list[dict]:
    """Data infos of what was written to ``out``, of the pictures of ``infos``; a folder may hold others."""
    reader = FORMATS[kind].reader
    if reader is None:
        return [info_of(Path(info['img_path']), out) for info in infos]
    dataset = DATASETS.build({**reader(images, out), 'metainfo': {'classes': classes}, 'test_mode': True})
    written = {osp.abspath(info['img_path']) for info in infos}
    found = [info for info in infos_of(dataset) if osp.abspath(info['img_path']) in written]
    return [with_groups_as_crowds(info) for info in found]


def export(args: argparse.Namespace) -> None:
    """Write the files that the command line describes."""
    form = FORMATS[args.format]
    dataset = read(args.ann_file, args.images, form.classes)
    classes = dataset.metainfo['classes']
    with whole_folder(args.out) as folder:
        target = Target(classes, str(args.images), folder, args.out, args.names)
        written = form.write(infos_of(dataset), target)
    print(f'{args.out}: {len(written)} images, {sum(len(info["instances"]) for info in written)} objects')
    for reason, number in (target.lost + dataset.report.left_out).items():
        print(f'{args.out}: {args.format} cannot say {number} {reason}')
    if args.check:
        # annotations of pictures that are missing can't be read in most formats; the check tells of them below
        there = [info for info in written if osp.isfile(info['img_path'])]
        again = read_again(args.format, there, str(args.images), args.out, classes)
        difference = first_difference(there, again)
        if difference:
            raise DataError(f'{args.out}: not what was written: {difference}.')
        print(f'{args.out}: read again and compared, all {len(there)} images are equal')
        for text in repeated_ids(args.ann_file):
            print(text)
        tell_check(written, classes, dataset.report, args.out / 'check.png')
