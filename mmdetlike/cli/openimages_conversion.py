"""Open Images' CSV files, written from data infos, and what its groups are in COCO's terms."""

import csv
import io
import itertools
from collections.abc import Sequence
from pathlib import Path

from mmdetlike.cli.coco_writers import Target, check_sizes, representable
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.openimages_files import read_class_names

BOXES = 'annotations-bbox.csv'
CLASS_NAMES = 'class-descriptions-boxable.csv'
_COLUMNS = (
    'ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside'
)
_UNKNOWN = -1  # what Open Images writes for an attribute that nobody looked at


def with_groups_as_crowds(info: dict) -> dict:
    """A data info in which groups of Open Images are what COCO has for them: to be ignored."""
    instances = [
        {**instance, 'ignore_flag': 1} if instance.get('is_group_of') else instance for instance in info['instances']
    ]
    return {**info, 'instances': instances}


def write_openimages(infos: list[dict], target: Target) -> list[dict]:
    """Write the boxes and the names of the classes; returns what could be said.

    Objects to be ignored are groups. A picture is in the file by its objects, so that one without is not.

    Raises:
        DataError: A picture is no JPEG, none has an object, or a class can't be named.
    """
    check_sizes(infos)
    infos = representable(infos, target.lost, lambda mask: False)
    shown = [info for info in infos if info['instances']]
    if not shown:
        raise DataError(f'{target.images}: no picture has an object, and Open Images lists none without.')
    target.lost['pictures without objects'] += len(infos) - len(shown)
    entities = _write_class_names(target)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(_COLUMNS.split(','))
    for info in shown:
        if not info['img_path'].endswith('.jpg'):
            raise DataError(f'{info["img_path"]}: Open Images has JPEG pictures only, named .jpg.')
        writer.writerows(_row(target.stem(info), info, instance, entities) for instance in info['instances'])
    (target.folder / BOXES).write_text(text.getvalue(), encoding='utf-8')
    return shown


def _row(name: str, info: dict, instance: dict, entities: Sequence[str]) -> list:
    x1, y1, x2, y2 = instance['bbox']
    shares = [
        f'{value:.9g}' for value in (x1 / info['width'], x2 / info['width'], y1 / info['height'], y2 / info['height'])
    ]
    marks = [_UNKNOWN, _UNKNOWN, int(instance['ignore_flag']), _UNKNOWN, _UNKNOWN]
    return [name, 'coco', entities[instance['bbox_label']], 1, *shares, *marks]


def _write_class_names(target: Target) -> list[str]:
    """Write the names of the classes; returns what the file calls each."""
    known = {} if target.names is None else {name: key for key, name in read_class_names(str(target.names)).items()}
    numbers = itertools.count(1)
    made_up = (key for key in (f'/m/class{number}' for number in numbers) if key not in known.values())
    entities = [known.get(name) or next(made_up) for name in target.classes]
    unknown = [name for name in target.classes if name not in known]
    if known and unknown:
        print(f'{target.names} lacks {len(unknown)} of the classes, whose identifiers are made up: {unknown[:5]}')
    path = target.folder / CLASS_NAMES
    with path.open('w', encoding='utf-8', newline='') as file:
        csv.writer(file, lineterminator='\n').writerows(zip(entities, target.classes))
    _check_class_names(path, target)
    return entities


def _check_class_names(path: Path, target: Target) -> None:
    found = list(read_class_names(str(path)).values())
    wrong = [name for name, read in zip(target.classes, [*found, *target.classes]) if name != read]
    if wrong:
        raise DataError(f'The class {wrong[0]!r} cannot be named in {CLASS_NAMES}, a table of identifier and name.')
