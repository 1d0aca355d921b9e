"""Convert a COCO JSON file to annotations of other tools.

Formats, and what is written to the folder OUT:
  yolo        a text file a picture, and data.yaml with the class names
  labelme     a JSON file a picture
  crowdhuman  annotations.odgt
  lvis        annotations.json, of pictures that were looked through for all classes
  voc         Annotations/NAME.xml a picture, and ImageSets/Main/all.txt with the names; no masks

What a format cannot say is left out and counted: YOLO and LVIS have no objects to be ignored, YOLO and labelme no run
lengths, YOLO no masks of several parts, CrowdHuman and VOC no masks. An object whose mask cannot be said keeps its box.

--check reads the result again and compares it, opens each picture, tells ids that occur twice, what was left out of
which kind and how many objects each class has, and draws a sample, OUT/check.png.

Example:
    python tools/dataset_converters/from_coco.py yolo data/x/train.json data/x/images/train data/x/labels/train --check
"""

import argparse
import json
import os
import os.path as osp
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import yaml

from mmdetlike.cli.dataset_check import repeated_ids, tell_check
from mmdetlike.datasets import CocoDataset
from mmdetlike.datasets.coco_file import CocoFile
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.interchange import coco_content, first_difference, infos_of, plain, relative_path
from mmdetlike.datasets.named_objects import bounding_box
from mmdetlike.registry import DATASETS
from mmdetlike.utils.command import make_parser, run_tool, user_path
from mmdetlike.utils.whole_files import write_whole

_RARE, _COMMON = 10, 100  # images of a class, at most; LVIS calls the others frequent


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('format', choices=WRITERS, help='what to write')
    parser.add_argument('ann_file', type=user_path, help='the COCO file')
    parser.add_argument('images', type=user_path, help='folder of the pictures')
    parser.add_argument('out', type=user_path, help='folder to write to')
    parser.add_argument('--check', action='store_true', help='compare the result, open all pictures, draw some')
    return parser.parse_args(argv)


def read(ann_file: Path, images: Path) -> CocoDataset:
    """The COCO file with all of its classes, in the order of the file."""
    names = [category['name'] for category in CocoFile(str(ann_file)).categories]
    metainfo = {'classes': names}
    return CocoDataset(ann_file=str(ann_file), data_prefix={'img': str(images)}, metainfo=metainfo, test_mode=True)


def representable(
    infos: list[dict], lost: Counter, usable_mask: Callable, says_ignored: bool = True, box_of_mask: bool = False
) -> list[dict]:
    """Data infos with what a format can say; ``lost`` counts the rest.

    Args:
        infos: Data infos.
        lost: Counts by reason.
        usable_mask: Whether the format can say a mask.
        says_ignored: Whether it marks objects to be ignored.
        box_of_mask: Whether it gives no box beside a mask, so that the box is that around the mask.
    """
    kept = []
    for info in infos:
        instances = []
        for instance in info['instances']:
            if instance['ignore_flag'] and not says_ignored:
                lost['objects to be ignored'] += 1
                continue
            if 'mask' in instance and not usable_mask(instance['mask']):
                lost['masks, of which the box is kept'] += 1
                instance = {key: value for key, value in instance.items() if key != 'mask'}
            elif 'mask' in instance and box_of_mask:
                around = bounding_box([number for polygon in instance['mask'] for number in polygon])
                lost['boxes that are not those around their masks'] += not np.allclose(
                    around, instance['bbox'], atol=0.5
                )
                instance = {**instance, 'bbox': around}
            instances.append(instance)
        kept.append({**info, 'instances': instances})
    return kept


def write_yolo(infos: list[dict], classes: Sequence[str], images: str, out: Path, lost: Counter) -> list[dict]:
    """Write a text file a picture and ``data.yaml``; returns what could be said."""
    infos = representable(infos, lost, _is_one_polygon, says_ignored=False, box_of_mask=True)
    for info in infos:
        path = out / f'{osp.splitext(relative_path(info, images))[0]}.txt'
        path.parent.mkdir(parents=True, exist_ok=True)
        sides = (info['width'], info['height'])
        path.write_text(''.join(f'{_yolo_line(instance, sides)}\n' for instance in info['instances']))
    names = {'names': dict(enumerate(classes))}
    (out / 'data.yaml').write_text(yaml.safe_dump(names, allow_unicode=True, sort_keys=False), encoding='utf-8')
    return infos


def _is_one_polygon(mask: object) -> bool:
    return isinstance(mask, list) and len(mask) == 1


def _yolo_line(instance: dict, sides: tuple[int, int]) -> str:
    x1, y1, x2, y2 = instance['bbox']
    points = plain(instance['mask'][0]) if 'mask' in instance else [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
    shares = [value / sides[number % 2] for number, value in enumerate(points)]
    return ' '.join([str(instance['bbox_label']), *(f'{share:.9g}' for share in shares)])


def write_labelme(infos: list[dict], classes: Sequence[str], images: str, out: Path, lost: Counter) -> list[dict]:
    """Write a JSON file a picture; returns what could be said."""
    infos = representable(infos, lost, lambda mask: isinstance(mask, list), box_of_mask=True)
    for info in infos:
        path = out / f'{osp.splitext(relative_path(info, images))[0]}.json'
        path.parent.mkdir(parents=True, exist_ok=True)
        shapes = [shape for number, item in enumerate(info['instances'], 1) for shape in _shapes(item, classes, number)]
        content = {
            'version': '5.0.0',
            'flags': {},
            'shapes': shapes,
            'imagePath': os.path.relpath(info['img_path'], path.parent).replace(os.sep, '/'),
            'imageData': None,
            'imageHeight': info['height'],
            'imageWidth': info['width'],
        }
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding='utf-8')
    return infos


def _shapes(instance: dict, classes: Sequence[str], number: int) -> list[dict]:
    """The shapes of an object: a rectangle, or a polygon for each part, which share a group if they are several."""
    x1, y1, x2, y2 = instance['bbox']
    polygons = plain(instance.get('mask')) or [[x1, y1, x2, y2]]
    return [
        {
            'label': classes[instance['bbox_label']],
            'points': list(zip(polygon[::2], polygon[1::2])),
            'group_id': number if len(polygons) > 1 else None,
            'shape_type': 'polygon' if 'mask' in instance else 'rectangle',
            'flags': {},
            'difficult': bool(instance['ignore_flag']),
        }
        for polygon in polygons
    ]


def write_crowdhuman(infos: list[dict], classes: Sequence[str], images: str, out: Path, lost: Counter) -> list[dict]:
    """Write ``annotations.odgt``; returns what could be said."""
    infos = representable(infos, lost, lambda mask: False)
    lines = []
    for info in infos:
        name, suffix = osp.splitext(relative_path(info, images))
        if suffix != '.jpg':
            raise DataError(f'{info["img_path"]}: CrowdHuman has JPEG pictures only, named .jpg.')
        boxes = [_crowdhuman_box(instance, classes) for instance in info['instances']]
        lines.append(json.dumps({'ID': name, 'gtboxes': boxes}, ensure_ascii=False))
    write_whole(out / 'annotations.odgt', ('\n'.join(lines) + '\n').encode())
    return infos


def _crowdhuman_box(instance: dict, classes: Sequence[str]) -> dict:
    x1, y1, x2, y2 = instance['bbox']
    box = [x1, y1, x2 - x1, y2 - y1]
    ignored = {'ignore': int(instance['ignore_flag'])}
    return {'tag': classes[instance['bbox_label']], 'fbox': box, 'vbox': box, 'extra': ignored}


def write_lvis(infos: list[dict], classes: Sequence[str], images: str, out: Path, lost: Counter) -> list[dict]:
    """Write ``annotations.json``, as if each picture was looked through for all classes; returns what could be said.

    Classes of which a picture has objects to be ignored count as not exhaustively annotated there, which is how LVIS
    says that more of them may be seen.
    """
    incomplete = [sorted({i['bbox_label'] + 1 for i in info['instances'] if i['ignore_flag']}) for info in infos]
    infos = representable(infos, lost, lambda mask: True, says_ignored=False)
    content = coco_content(infos, classes, images)
    present = [{instance['bbox_label'] + 1 for instance in info['instances']} for info in infos]
    everything = set(range(1, len(classes) + 1))
    for image, seen, unsure in zip(content['images'], present, incomplete):
        image['neg_category_ids'] = sorted(everything - seen - set(unsure))
        image['not_exhaustive_category_ids'] = unsure
    numbers = Counter(category for seen in present for category in seen)
    for category in content['categories']:
        count = numbers[category['id']]
        category['image_count'] = count
        category['frequency'] = 'r' if count <= _RARE else 'c' if count <= _COMMON else 'f'
    write_whole(out / 'annotations.json', json.dumps(content).encode())
    return infos


def write_voc(infos: list[dict], classes: Sequence[str], images: str, out: Path, lost: Counter) -> list[dict]:
    """Write ``Annotations/NAME.xml`` a picture and ``ImageSets/Main/all.txt``; returns what could be said."""
    infos = [_without_thin_boxes(info, lost) for info in representable(infos, lost, lambda mask: False)]
    names = [osp.splitext(relative_path(info, images))[0] for info in infos]
    with_spaces = [name for name in names if name.split() != [name]]
    if with_spaces:
        raise DataError(f'{with_spaces[0]!r}: lists of VOC have one name a line without spaces; rename the picture.')
    for info, name in zip(infos, names):
        path = out / 'Annotations' / f'{name}.xml'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_voc_xml(info, classes, relative_path(info, images)))
    write_whole(out / 'ImageSets/Main/all.txt', ('\n'.join(names) + '\n').encode())
    return infos


def _without_thin_boxes(info: dict, lost: Counter) -> dict:
    """A data info without boxes of one pixel: in VOC they have xmin = xmax, by which others mean no object."""
    boxes = np.array([instance['bbox'] for instance in info['instances']]).reshape(-1, 4)
    wide = ((boxes[:, 2:] - boxes[:, :2]) > 1).all(1)
    lost['boxes of a width or height of one pixel'] += int((~wide).sum())
    return {**info, 'instances': [instance for instance, keep in zip(info['instances'], wide) if keep]}


def _voc_xml(info: dict, classes: Sequence[str], file_name: str) -> bytes:
    """The annotation of a picture; VOC counts pixels from 1 and includes the last."""
    root = ElementTree.Element('annotation')
    size = {'width': info['width'], 'height': info['height'], 'depth': 3}
    _add(root, {'filename': file_name, 'size': size})
    for instance in info['instances']:
        x1, y1, x2, y2 = instance['bbox']
        box = {'xmin': x1 + 1, 'ymin': y1 + 1, 'xmax': x2, 'ymax': y2}
        ignored = int(instance['ignore_flag'])
        _add(root, {'object': {'name': classes[instance['bbox_label']], 'difficult': ignored, 'bndbox': box}})
    return ElementTree.tostring(root, encoding='utf-8', xml_declaration=True)


def _add(parent: ElementTree.Element, content: dict) -> None:
    for tag, value in content.items():
        child = ElementTree.SubElement(parent, tag)
        if isinstance(value, dict):
            _add(child, value)
        else:
            child.text = f'{value:.10g}' if isinstance(value, float) else str(value)


READERS = {
    'yolo': 'YOLODataset',
    'labelme': 'LabelmeDataset',
    'crowdhuman': 'CrowdHumanDataset',
    'lvis': 'LVISV1Dataset',
    'voc': 'XMLDataset',
}
WRITERS = {
    'yolo': write_yolo,
    'labelme': write_labelme,
    'crowdhuman': write_crowdhuman,
    'lvis': write_lvis,
    'voc': write_voc,
}


def read_again(kind: str, images: str, out: Path, classes: Sequence[str]):
    """The dataset that was written."""
    config = {
        'type': READERS[kind],
        'data_prefix': {'img': images},
        'metainfo': {'classes': classes},
        'test_mode': True,
    }
    if kind == 'voc':
        folders = {'img_subdir': osp.abspath(images), 'ann_subdir': osp.abspath(out / 'Annotations')}
        names = str(out / 'ImageSets/Main/all.txt')
        config |= {**folders, 'data_prefix': {'sub_data_root': ''}, 'ann_file': names}
    elif kind in ('yolo', 'labelme'):
        config['data_prefix']['ann'] = str(out)
    else:
        config['ann_file'] = str(out / {'crowdhuman': 'annotations.odgt', 'lvis': 'annotations.json'}[kind])
    return DATASETS.build(config)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the files that the command line describes."""
    args = parse_args(argv)
    dataset = read(args.ann_file, args.images)
    classes = dataset.metainfo['classes']
    args.out.mkdir(parents=True, exist_ok=True)
    lost: Counter[str] = Counter()
    written = WRITERS[args.format](infos_of(dataset), classes, str(args.images), args.out, lost)
    print(f'{args.out}: {len(written)} images, {sum(len(info["instances"]) for info in written)} objects')
    for reason, number in lost.items():
        if number:
            print(f'{args.out}: {args.format} cannot say {number} {reason}')
    if args.check:
        again = read_again(args.format, str(args.images), args.out, classes)
        difference = first_difference(written, infos_of(again))
        if difference:
            raise DataError(f'{args.out}: not what was written: {difference}.')
        print(f'{args.out}: read again and compared, all {len(written)} images are equal')
        for text in repeated_ids(args.ann_file):
            print(text)
        tell_check(written, classes, dataset.report, args.out / 'check.png')


if __name__ == '__main__':
    run_tool(main)
