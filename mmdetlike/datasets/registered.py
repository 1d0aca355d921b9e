"""Datasets by name: any list of records, or function that gives one, for those who have Python rather than files.

Records may be ours (``img_path``, ``instances``) or Detectron2's (``file_name``, ``annotations``).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import ConfigError
from ..registry import DATASETS
from ..structures.bbox import BoxMode
from ..structures.mask import read_segmentation
from .annotations import check_boxes, shortened
from .base import BaseDetDataset
from .errors import DataError, ImageError, SkipReport
from .picture_size import picture_size

Records = Sequence[dict] | Callable[[], Sequence[dict]]
_REGISTERED: dict[str, tuple[Records, dict]] = {}


def register_dataset(name: str, records: Records | None = None, metainfo: dict | None = None) -> Records | Callable:
    """Make records known by a name, which ``dict(type='RegisteredDataset', name=...)`` then reads.

    Configs run the file that registers by ``custom_imports=dict(imports=['my_datasets'])``.

    Args:
        name: By which configs call the dataset.
        records: A list of records, or a function without arguments that gives one, called when they are needed. Left
            out, this is a decorator of such a function.
        metainfo: ``classes``, ``palette``, ``keypoint_names`` and so on, unless the config gives them.

    Returns:
        ``records``, or the decorator.

    Raises:
        ConfigError: The name is taken.
    """
    if records is None:
        return lambda function: register_dataset(name, function, metainfo)
    if name in _REGISTERED:
        raise ConfigError(f'register_dataset: {name!r} is registered already; remove_dataset({name!r}) makes room.')
    _REGISTERED[name] = (records, dict(metainfo or {}))
    return records


def remove_dataset(name: str) -> None:
    """Forget the records of a name."""
    _entry(name)
    del _REGISTERED[name]


def registered_datasets() -> list[str]:
    """The names that are known."""
    return sorted(_REGISTERED)


def records_of(name: str) -> list[dict]:
    """The records of a name, as they were given.

    Raises:
        ConfigError: The name is unknown.
        DataError: They are no list of dicts.
    """
    given, _ = _entry(name)
    records = given() if callable(given) else given
    if not isinstance(records, Sequence) or not all(isinstance(record, dict) for record in records):
        raise DataError(f'dataset {name!r}: expected a list of dicts, got {shortened(records)}.')
    return list(records)


def metainfo_of(name: str) -> dict:
    """The metainfo of a name; changing it changes the dataset's.

    Raises:
        ConfigError: The name is unknown.
    """
    return _entry(name)[1]


def _entry(name: str) -> tuple[Records, dict]:
    if name not in _REGISTERED:
        known = ', '.join(registered_datasets()) or 'none'
        raise ConfigError(f'dataset {name!r} is not registered; registered are: {known}. Is its file imported?')
    return _REGISTERED[name]


@DATASETS.register_module()
class RegisteredDataset(BaseDetDataset):
    """The records that ``register_dataset`` made known by a name.

    A record of ours is a data info as `BaseDetDataset` describes it. One of Detectron2's has ``file_name``, and as far
    as they are known ``height``, ``width``, ``image_id``, ``sem_seg_file_name`` and ``annotations``, each of ``bbox``,
    ``bbox_mode``, ``category_id`` (0 to the number of classes - 1), ``segmentation``, ``keypoints`` and ``iscrowd``.

    Args:
        name: As it was registered.

    The other arguments are those of `BaseDetDataset`.

    Raises:
        ConfigError: The name is unknown.
        DataError: A record can't be read; the message says which.
    """

    def __init__(self, *args, name: str, metainfo: dict | None = None, **kwargs) -> None:
        self.name = name
        super().__init__(*args, metainfo={**metainfo_of(name), **dict(metainfo or {})}, **kwargs)

    @property
    def source(self) -> str:
        """What messages call this dataset."""
        return f'dataset {self.name!r}'

    def load_data_list(self) -> list[dict]:
        """Data infos of all records."""
        self.report = SkipReport(self.source)
        return [self._data_info(number, record) for number, record in enumerate(records_of(self.name))]

    def _data_info(self, number: int, record: dict) -> dict:
        where = f'{self.source}: record {number}'
        key = 'file_name' if 'file_name' in record else 'img_path'
        if not isinstance(record.get(key), str):
            raise DataError(f'{where} has {key}={record.get(key)!r}; expected the path of a picture.')
        info = {
            'img_path': record[key],
            'img_id': record.get('image_id', record.get('img_id', number)),
            'seg_map_path': record.get('sem_seg_file_name', record.get('seg_map_path')),
        }
        info['width'], info['height'] = self._size(record, record[key], where)
        info['instances'] = self._instances(record, info, where)
        return info

    def _size(self, record: dict, path: str, where: str) -> tuple[int, int]:
        size = (record.get('width'), record.get('height'))
        if None in size:
            try:
                size = picture_size(path, self.backend_args)
            except ImageError as error:
                raise DataError(f'{where} lacks width or height, and the picture cannot be asked: {error}.') from error
        if not all(isinstance(side, (int, np.integer)) and side > 0 for side in size):
            raise DataError(f'{where} has width={size[0]!r} and height={size[1]!r}; expected pixels.')
        return size

    def _instances(self, record: dict, info: dict, where: str) -> list[dict]:
        key = 'annotations' if 'annotations' in record else 'instances'
        objects = record.get(key) or []
        read = _foreign_object if key == 'annotations' else _own_object
        instances = []
        for row, item in enumerate(objects):
            name = f'{where}, {key}[{row}]'
            instance = read(item, info, name)
            self._check_label(instance['bbox_label'], name)
            instance['bbox'] = self._checked_box(instance['bbox'], info, name)
            if instance['bbox'] is not None:
                instances.append(instance)
        return instances

    def _check_label(self, label: object, where: str) -> None:
        count = len(self.metainfo.get('classes') or ())
        is_number = isinstance(label, (int, np.integer)) and not isinstance(label, bool)
        if not is_number or label < 0 or (count and label >= count):
            limit = f'below {count}, the number of classes' if count else 'of 0 or more'
            raise DataError(f'{where} has the class {label!r}; expected a whole number {limit}.')

    def _checked_box(self, box: list[float], info: dict, where: str) -> list[float] | None:
        """The box within its picture, or None if there is nothing of it; turned ones stay as they are."""
        if len(box) != 4:
            return box
        size = np.array([[info['width'], info['height']]], dtype=np.float64)
        boxes, keep = check_boxes(np.array([box], dtype=np.float64), size, [where], self.report)
        return boxes[0].tolist() if keep[0] else None


def _own_object(item: dict, info: dict, where: str) -> dict:
    box = item.get('bbox')
    if not _are_numbers(box) or len(box) not in (4, 5, 8):
        raise DataError(f'{where} has bbox={shortened(box)}; expected 4, 5 or 8 numbers.')
    return {'ignore_flag': 0, **item, 'bbox': list(box), 'bbox_label': item.get('bbox_label')}


def _foreign_object(item: dict, info: dict, where: str) -> dict:
    """An annotation as Detectron2 writes it, as an instance of ours."""
    instance = {
        'bbox': _foreign_box(item, where),
        'bbox_label': item.get('category_id'),
        'ignore_flag': int(item.get('iscrowd', 0)),
    }
    mask, problem = read_segmentation(item.get('segmentation'), info['height'], info['width'])
    if problem:
        raise DataError(f'{where} has a segmentation that cannot be read: {problem}.')
    if mask is not None:
        instance['mask'] = mask
    if item.get('keypoints') is not None:
        instance['keypoints'] = item['keypoints']
    if item.get('point_coords') is not None:
        instance.update(point_coords=item['point_coords'], point_labels=item.get('point_labels', ()))
    return instance


def _foreign_box(item: dict, where: str) -> list[float]:
    mode = item.get('bbox_mode', BoxMode.XYXY_ABS)
    if mode not in (BoxMode.XYXY_ABS, BoxMode.XYWH_ABS, BoxMode.XYWHA_ABS):
        raise DataError(f'{where} has bbox_mode={mode!r}; expected XYXY_ABS (0), XYWH_ABS (1) or XYWHA_ABS (4).')
    mode = BoxMode(mode)
    box = item.get('bbox')
    if not _are_numbers(box) or len(box) != mode.numbers:
        raise DataError(f'{where} has bbox={shortened(box)}; expected {mode.numbers} numbers for {mode.name}.')
    box = [float(number) for number in box]
    if mode == BoxMode.XYWHA_ABS:
        # their angles are degrees counter-clockwise, ours radians clockwise
        return [*box[:4], -math.radians(box[4])]
    return BoxMode.convert(box, mode, BoxMode.XYXY_ABS)


def _are_numbers(value: object) -> bool:
    if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, str):
        return False
    return all(isinstance(number, (int, float, np.number)) and not isinstance(number, bool) for number in value)
