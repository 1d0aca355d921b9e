"""Writers of the formats that `from-coco` knows, one a format, and what they share."""

import json
import os
import os.path as osp
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import yaml

from mmdetlike.datasets.crowdhuman import REGION_TO_IGNORE
from mmdetlike.datasets.errors import DataError, ImageError
from mmdetlike.datasets.interchange import coco_content, plain, relative_path
from mmdetlike.datasets.named_objects import bounding_box
from mmdetlike.datasets.picture_size import picture_size

_RARE, _COMMON = 10, 100  # images of a class, at most; LVIS calls the others frequent


@dataclass
class Target:
    """Where a data set is written to.

    Attributes:
        classes: Names of the classes.
        images: Folder of the pictures.
        folder: Folder to write files to.
        final: The folder that these files come to when all are written.
        names: A file with what the format calls the classes, if it has one of its own.
        lost: What the format cannot say, counted by reason.
    """

    classes: Sequence[str]
    images: str
    folder: Path
    final: Path
    names: Path | None = None
    lost: Counter[str] = field(default_factory=Counter)

    def stem(self, info: dict, end: str | None = None) -> str:
        """The path of a picture in the folder of the pictures, without its end, which is what follows the last dot.

        Raises:
            DataError: The picture isn't there.
        """
        name = relative_path(info, self.images)
        if name.startswith('../'):
            raise DataError(f'{info["img_path"]}: the picture is not in {self.images}; give a folder that holds all.')
        return osp.splitext(name)[0] if end is None else name.removesuffix(end)

    def annotation_file(self, info: dict, suffix: str, subfolder: str = '', end: str | None = None) -> Path:
        """The file of a picture's annotation: its path with another end, in ``folder``; the folder is made.

        Raises:
            DataError: The picture is elsewhere, or another one has that file already.
        """
        path = self.folder / subfolder / f'{self.stem(info, end)}{suffix}'
        if path.exists():
            raise DataError(f'{info["img_path"]}: two pictures have this name, but for the end; rename one of them.')
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def readable_json(content: object, **settings) -> bytes:
    """JSON in which letters of all alphabets stand as they are, where UTF-8 has them."""
    try:
        return json.dumps(content, ensure_ascii=False, **settings).encode()
    except UnicodeEncodeError:  # names of files that aren't text
        return json.dumps(content, **settings).encode()


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


def check_sizes(infos: list[dict]) -> None:
    """Compare sizes with those of the pictures, of which a format without sizes takes them.

    Raises:
        DataError: One differs: boxes that are shares of the sides would be others.
    """
    for info in infos:
        try:
            found = picture_size(info['img_path'])
        except ImageError:  # --check tells of pictures that are missing or broken
            continue
        if found != (info['width'], info['height']):
            raise DataError(
                f'{info["img_path"]}: the annotation says {info["width"]} x {info["height"]} pixels, the picture has '
                f'{found[0]} x {found[1]}; sizes have to be right, as the format has none of its own.'
            )


def write_yolo(infos: list[dict], target: Target) -> list[dict]:
    """Write a text file a picture and ``data.yaml``; returns what could be said."""
    check_sizes(infos)
    infos = representable(infos, target.lost, _is_one_polygon, says_ignored=False, box_of_mask=True)
    for info in infos:
        path = target.annotation_file(info, '.txt')
        sides = (info['width'], info['height'])
        path.write_text(''.join(f'{_yolo_line(instance, sides)}\n' for instance in info['instances']))
    names = {'names': dict(enumerate(target.classes))}
    (target.folder / 'data.yaml').write_text(
        yaml.safe_dump(names, allow_unicode=True, sort_keys=False), encoding='utf-8'
    )
    return infos


def _is_one_polygon(mask: object) -> bool:
    return isinstance(mask, list) and len(mask) == 1


def _yolo_line(instance: dict, sides: tuple[int, int]) -> str:
    x1, y1, x2, y2 = instance['bbox']
    points = plain(instance['mask'][0]) if 'mask' in instance else [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
    shares = [value / sides[number % 2] for number, value in enumerate(points)]
    return ' '.join([str(instance['bbox_label']), *(f'{share:.9g}' for share in shares)])


def write_labelme(infos: list[dict], target: Target) -> list[dict]:
    """Write a JSON file a picture; returns what could be said."""
    infos = representable(infos, target.lost, lambda mask: isinstance(mask, list), box_of_mask=True)
    for info in infos:
        path = target.annotation_file(info, '.json')
        shapes = [
            shape for number, item in enumerate(info['instances'], 1) for shape in _shapes(item, target.classes, number)
        ]
        content = {
            'version': '5.0.0',
            'flags': {},
            'shapes': shapes,
            'imagePath': _path_from(target.final / path.relative_to(target.folder), info['img_path']),
            'imageData': None,
            'imageHeight': info['height'],
            'imageWidth': info['width'],
        }
        path.write_bytes(readable_json(content, indent=1))
    return infos


def _path_from(annotation: Path, picture: str) -> str:
    return os.path.relpath(picture, annotation.parent).replace(os.sep, '/')


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


def write_crowdhuman(infos: list[dict], target: Target) -> list[dict]:
    """Write ``annotations.odgt``; returns what could be said."""
    if REGION_TO_IGNORE in target.classes:
        raise DataError(f'The class {REGION_TO_IGNORE!r} means a region to be ignored in CrowdHuman; rename it.')
    check_sizes(infos)
    infos = representable(infos, target.lost, lambda mask: False)
    lines = []
    for info in infos:
        if not info['img_path'].endswith('.jpg'):
            raise DataError(f'{info["img_path"]}: CrowdHuman has JPEG pictures only, named .jpg.')
        boxes = [_crowdhuman_box(instance, target.classes) for instance in info['instances']]
        lines.append(readable_json({'ID': target.stem(info), 'gtboxes': boxes}))
    (target.folder / 'annotations.odgt').write_bytes(b'\n'.join([*lines, b'']))
    return infos


def _crowdhuman_box(instance: dict, classes: Sequence[str]) -> dict:
    x1, y1, x2, y2 = instance['bbox']
    box = [x1, y1, x2 - x1, y2 - y1]
    ignored = {'ignore': int(instance['ignore_flag'])}
    return {'tag': classes[instance['bbox_label']], 'fbox': box, 'vbox': box, 'extra': ignored}


def write_lvis(infos: list[dict], target: Target) -> list[dict]:
    """Write ``annotations.json``, as if each picture was looked through for all classes; returns what could be said.

    Classes of which a picture has objects to be ignored count as not exhaustively annotated there, which is how LVIS
    says that more of them may be seen.
    """
    incomplete = [sorted({i['bbox_label'] + 1 for i in info['instances'] if i['ignore_flag']}) for info in infos]
    infos = representable(infos, target.lost, lambda mask: True, says_ignored=False)
    content = coco_content(infos, target.classes, target.images)
    present = [{instance['bbox_label'] + 1 for instance in info['instances']} for info in infos]
    everything = set(range(1, len(target.classes) + 1))
    for image, seen, unsure in zip(content['images'], present, incomplete):
        image['neg_category_ids'] = sorted(everything - seen - set(unsure))
        image['not_exhaustive_category_ids'] = unsure
    numbers = Counter(category for seen in present for category in seen)
    for category in content['categories']:
        count = numbers[category['id']]
        category['image_count'] = count
        category['frequency'] = 'r' if count <= _RARE else 'c' if count <= _COMMON else 'f'
    (target.folder / 'annotations.json').write_bytes(json.dumps(content).encode())
    return infos


def write_voc(infos: list[dict], target: Target) -> list[dict]:
    """Write ``Annotations/NAME.xml`` a picture and ``ImageSets/Main/all.txt``; returns what could be said."""
    infos = [_without_thin_boxes(info, target.lost) for info in representable(infos, target.lost, lambda mask: False)]
    names = [target.stem(info) for info in infos]
    with_spaces = [name for name in names if name.split() != [name]]
    if with_spaces:
        raise DataError(f'{with_spaces[0]!r}: lists of VOC have one name a line without spaces; rename the picture.')
    for info in infos:
        content = _voc_xml(info, target.classes, relative_path(info, target.images))
        target.annotation_file(info, '.xml', 'Annotations').write_bytes(content)
    listed = target.folder / 'ImageSets/Main/all.txt'
    listed.parent.mkdir(parents=True)
    listed.write_text('\n'.join(names) + '\n', encoding='utf-8')
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
