"""The list of pictures that toolbox 2.x asked datasets for, from a file or from a method of one's own."""

import os.path as osp
import pickle
from collections.abc import Sequence

import numpy as np
from mmengine import fileio

from ..errors import ConfigError
from ..registry import DATASETS
from ..structures.mask import read_segmentation
from .annotations import check_boxes, read_json, shortened
from .base import BaseDetDataset
from .errors import DataError, ImageError, SkipReport
from .picture_size import picture_size
from .proposals import unpickle_arrays


@DATASETS.register_module()
class CustomDataset(BaseDetDataset):
    """Pictures with boxes in the "middle format" of toolbox 2.x.

    A picture is ``dict(filename='a.jpg', width=100, height=80, ann=dict(bboxes=..., labels=...))``: boxes (n, 4), xyxy
    in pixels, and classes (n,), counted from 0. ``ann`` may also have ``bboxes_ignore`` (k, 4) and ``masks``, for each
    box a list of polygons or an RLE dict. Without a size the picture is asked for it.

    A subclass may override ``load_annotations`` and ``get_ann_info`` and name its classes in ``CLASSES``.

    Args:
        ann_file: A list of pictures in a file of JSON, or a pickle of arrays and plain data.
        data_prefix: ``dict(img='pictures/')``, which file names are relative to.
        metainfo: ``classes``, unless the class names them.

    The other arguments are those of ``BaseDetDataset``.

    Raises:
        DataError: The file is no such list; the message says which picture is wrong.
    """

    CLASSES: Sequence[str] | None = None
    may_be_cached = False  # a subclass may read other files than the annotation file

    def __init__(self, *args, metainfo: dict | None = None, **kwargs) -> None:
        own = {} if self.CLASSES is None else dict(classes=tuple(self.CLASSES))
        super().__init__(*args, metainfo={**own, **dict(metainfo or {})}, **kwargs)

    def load_annotations(self, ann_file: str) -> list[dict]:
        """The pictures in a file."""
        if ann_file.endswith('.json'):
            return read_json(ann_file, self.backend_args)
        try:
            return unpickle_arrays(fileio.get(ann_file, backend_args=self.backend_args))
        except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError) as error:
            raise DataError(f'{ann_file}: neither JSON (.json) nor a pickle that can be read: {error}') from error

    def get_ann_info(self, idx: int) -> dict:
        """``bboxes``, ``labels``, and perhaps ``bboxes_ignore`` and ``masks``, of the picture at an index."""
        return self.data_infos[idx].get('ann', {})

    def load_data_list(self) -> list[dict]:
        """Data infos of all pictures."""
        if not self.metainfo.get('classes'):
            raise ConfigError(
                f"{type(self).__name__} doesn't know its classes: name them by metainfo=dict(classes=(...,))"
            )
        self.report = SkipReport(self.ann_file)
        # a method of one's own may read it, as it does in 2.x
        self.data_infos = self.load_annotations(self.ann_file)
        if not isinstance(self.data_infos, list) or not all(isinstance(info, dict) for info in self.data_infos):
            raise DataError(f'{self.ann_file}: expected a list of dicts, got {shortened(self.data_infos)}.')
        return [self._data_info(index, info) for index, info in enumerate(self.data_infos)]

    def _data_info(self, index: int, record: dict) -> dict:
        where = f'{self.ann_file}: picture {index}'
        name = record.get('filename')
        if not isinstance(name, str):
            raise DataError(f'{where} has filename={name!r}; expected the path of a picture.')
        path = osp.join(self.data_prefix.get('img', ''), name)
        width, height = self._size(record, path, where)
        info = dict(img_path=path, img_id=record.get('id', index), width=width, height=height)
        info['instances'] = self._instances(self.get_ann_info(index), info, where)
        return info

    def _size(self, record: dict, path: str, where: str) -> tuple[int, int]:
        if record.get('width') and record.get('height'):
            return int(record['width']), int(record['height'])
        try:
            return picture_size(path, self.backend_args)
        except ImageError as error:
            raise DataError(f'{where} lacks width or height, and the picture cannot be asked: {error}.') from error

    def _instances(self, ann: dict, info: dict, where: str) -> list[dict]:
        boxes = _boxes(ann, 'bboxes', where)
        labels = np.asarray(ann.get('labels', ())).reshape(-1)
        if len(labels) != len(boxes):
            raise DataError(f'{where} has {len(boxes)} bboxes and {len(labels)} labels; expected as many.')
        count = len(self.metainfo['classes'])
        wrong = [label for label in labels.tolist() if label not in range(count)]
        if wrong:
            raise DataError(f'{where} has the label {wrong[0]!r}; expected 0 to {count - 1}, of {count} classes.')
        instances = self._checked(boxes, labels, 0, info, where)
        ignored = _boxes(ann, 'bboxes_ignore', where)
        instances += self._checked(ignored, np.zeros(len(ignored), dtype=np.int64), 1, info, where)
        for instance in instances:
            _add_mask(instance, ann.get('masks'), info, where)
        return instances

    def _checked(self, boxes: np.ndarray, labels: np.ndarray, flag: int, info: dict, where: str) -> list[dict]:
        sizes = np.tile([[info['width'], info['height']]], (len(boxes), 1)).astype(np.float64)
        boxes, keep = check_boxes(boxes, sizes, [f'{where}, box {row}' for row in range(len(boxes))], self.report)
        return [
            dict(bbox=boxes[row].tolist(), bbox_label=int(labels[row]), ignore_flag=flag, row=int(row))
            for row in np.flatnonzero(keep)
        ]


def _boxes(ann: dict, key: str, where: str) -> np.ndarray:
    try:
        boxes = np.asarray(ann.get(key, ()), dtype=np.float64)
        return boxes.reshape(-1, 4)
    except (TypeError, ValueError):
        raise DataError(f'{where} has {key}={shortened(ann[key])}; expected rows of four numbers.') from None


def _add_mask(instance: dict, masks: Sequence | None, info: dict, where: str) -> None:
    row = instance.pop('row')
    if masks is None or instance['ignore_flag']:
        return
    mask, problem = read_segmentation(masks[row], info['height'], info['width'])
    if problem:
        raise DataError(f'{where}, box {row} has a mask that cannot be read: {problem}.')
    instance['mask'] = mask
