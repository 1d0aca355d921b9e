"""Panoptic annotations in the format of COCO (Panoptic Segmentation, arXiv:1801.00868)."""

import os.path as osp

from ..registry import DATASETS
from ..utils.colors import distinct_colors
from .class_names import COCO, COCO_STUFF
from .coco import CocoDataset
from .errors import DataError


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

    def _read(self) -> dict:
        content = super()._read()
        without = [category['name'] for category in content['categories'] if 'isthing' not in category]
        if without:
            raise DataError(f'{self.ann_file}: not a panoptic file, its categories {without[:3]} lack "isthing".')
        self._things = {category['id'] for category in content['categories'] if category['isthing']}
        return content

    def _image_info(self, image: dict) -> dict:
        info = super()._image_info(image)
        name = osp.splitext(image['file_name'])[0] + self.seg_map_suffix
        return info | {'seg_map_path': osp.join(self._png_folder, name), 'segments_info': []}

    @property
    def _png_folder(self) -> str:
        return self.data_prefix.get('seg') or self.data_prefix.get('ann') or ''

    def _add_instances(self, infos: dict[int, dict], annotations: list[dict]) -> None:
        segments = []
        for annotation in annotations:
            self._check_annotation(annotation)
            segments += [{**segment, 'image_id': annotation['image_id']} for segment in annotation['segments_info']]
            if annotation.get('file_name') and annotation['image_id'] in infos:
                info = infos[annotation['image_id']]
                info['seg_map_path'] = osp.join(self._png_folder, annotation['file_name'])
        for segment, box in self._with_valid_boxes(infos, segments):
            self._add_segment(infos[segment['image_id']], segment, box)

    def _check_annotation(self, annotation: dict) -> None:
        missing = [key for key in ('image_id', 'segments_info') if key not in annotation]
        if missing:
            raise DataError(f'{self.ann_file}: a panoptic annotation lacks {missing}: {str(annotation)[:200]}.')

    def _add_segment(self, info: dict, segment: dict, box: list[float]) -> None:
        crowd = bool(segment.get('iscrowd', 0))
        is_thing = segment['category_id'] in self._things and not crowd
        label = self.cat2label[segment['category_id']]
        described = {'id': segment['id'], 'category': label, 'is_thing': is_thing, 'iscrowd': int(crowd)}
        info['segments_info'].append(described | ({'area': segment['area']} if 'area' in segment else {}))
        if is_thing:
            info['instances'].append({'bbox': box, 'bbox_label': label, 'ignore_flag': 0})

    @staticmethod
    def _labels_in(info: dict) -> set[int]:
        return {segment['category'] for segment in info['segments_info']}
