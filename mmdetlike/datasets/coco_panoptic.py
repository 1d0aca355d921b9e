"""Panoptic annotations in the format of COCO (Panoptic Segmentation, arXiv:1801.00868)."""

import os.path as osp

import numpy as np

from ..registry import DATASETS
from ..utils.colors import distinct_colors
from .class_names import COCO, COCO_STUFF
from .coco import CocoDataset
from .coco_file import CocoFile, ObjectColumns, panoptic_annotations
from .errors import DataError
from .records import same_id


@DATASETS.register_module()
class CocoPanopticDataset(CocoDataset):
    """Images with segments of things and stuff: a JSON file, and a PNG for each image that numbers its segments.

    A data info has ``seg_map_path`` (the PNG), ``instances`` (boxes of things that are no crowd) and ``segments_info``,
    one ``dict(id, category, is_thing, iscrowd, area)`` a segment, ``category`` being the label; those with ``is_thing``
    are the ``instances``, in the same order. Labels of things come first. Load them with ``LoadPanopticAnnotations``.

    Args:
        ann_file: The JSON file, relative to ``data_root``.
        metainfo: ``dict(classes=(...), thing_classes=(...), stuff_classes=(...))`` for others than COCO's; ``classes``
            are those of things, then those of stuff.
        data_prefix: ``dict(img='folder/', seg='folder of the PNGs/')``; ``ann`` is another name of ``seg``.

    The other arguments are those of ``CocoDataset``.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: The file isn't JSON, lacks something, or has none of the classes.
    """

    METAINFO = {
        'classes': COCO + COCO_STUFF,
        'thing_classes': COCO,
        'stuff_classes': COCO_STUFF,
        'palette': distinct_colors(len(COCO + COCO_STUFF)),
    }
    ACCEPTED_PREFIXES = ('img', 'ann', 'seg')

    def read_file(self) -> CocoFile:
        """The annotation file, checked; its categories have to say which are things."""
        file = super().read_file()
        if file.without_isthing:
            raise DataError(
                f'{self.ann_file}: not a panoptic file, its categories {file.without_isthing[:3]} lack "isthing".'
            )
        return file

    def image_info(self, image: dict) -> dict:
        info = super().image_info(image)
        name = osp.splitext(image['file_name'])[0] + self.seg_map_suffix
        return info | {'seg_map_path': osp.join(self._png_folder, name), 'segments_info': []}

    @property
    def _png_folder(self) -> str:
        return self.data_prefix.get('seg') or self.data_prefix.get('ann') or ''

    def add_instances(self, infos: list[dict], file: CocoFile) -> None:
        """Append the segments of ``file`` to ``segments_info``, those of things to ``instances``, too."""
        segments = []
        for annotation in panoptic_annotations(file):
            segments += annotation['segments_info']
            index = file.image_places.get(same_id(annotation['image_id']))
            if annotation['file_name'] and index is not None:
                infos[index]['seg_map_path'] = osp.join(self._png_folder, annotation['file_name'])
        columns = file.columns(segments, self.report)
        for row, box in self.usable_objects(infos, file, columns):
            category = file.categories[columns.categories[row]]
            self._add_segment(infos[columns.images[row]], columns, row, category, box)

    def _add_segment(self, info: dict, columns: ObjectColumns, row: int, category: dict, box: list[float]) -> None:
        crowd = bool(columns.crowd[row])
        is_thing = category['isthing'] and not crowd
        label = self.cat2label[category['id']]
        segment = {'id': columns.ids[row], 'category': label, 'is_thing': is_thing, 'iscrowd': int(crowd)}
        if not np.isnan(columns.areas[row]):
            segment['area'] = float(columns.areas[row])
        info['segments_info'].append(segment)
        if is_thing:
            info['instances'].append({'bbox': box, 'bbox_label': label, 'ignore_flag': 0})

    @staticmethod
    def labels_in(info: dict) -> set[int]:
        return {segment['category'] for segment in info['segments_info']}
