"""Datasets whose annotations are one JSON file in the format of COCO (Microsoft COCO: Common Objects in Context,
arXiv:1405.0312)."""

import os.path as osp
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from ..registry import DATASETS
from ..structures.mask import read_segmentation
from ..utils.colors import distinct_colors
from .annotations import check_boxes, match_classes, read_json, shortened
from .base import BaseDetDataset
from .class_names import COCO
from .errors import DataError, SkipReport


@DATASETS.register_module()
class CocoDataset(BaseDetDataset):
    """Images with boxes, masks and keypoints from a COCO JSON file.

    Label i is ``metainfo['classes'][i]``, whatever the order of the categories in the file; annotations of other
    categories are left out. ``iscrowd`` becomes ``ignore_flag``. Boxes that are NaN, of zero area, thinner than a pixel
    or outside their image are skipped, those partly outside are clipped: one warning counts them (``skipped``).

    After loading, ``cat_ids`` are the category ids of the classes that the file has, ``cat2label`` maps them to labels
    and ``cat_img_map`` to the ids of the images that show them.

    Args:
        ann_file: The JSON file, relative to ``data_root``.
        metainfo: ``dict(classes=(...), palette=[...])`` for other classes than COCO's.
        data_prefix: ``dict(img='folder/', seg='folder/')``.
        filter_cfg: ``dict(filter_empty_gt=True, min_size=32)``: images to leave out of training.

    The other arguments are those of ``BaseDetDataset``.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: The file isn't JSON, lacks something, or has none of the classes.
    """

    METAINFO = {'classes': COCO, 'palette': distinct_colors(len(COCO))}

    def load_data_list(self) -> list[dict]:
        """Data infos of all images of the file, in its order."""
        content = self._read()
        self.report = SkipReport(self.ann_file)
        categories = content['categories']
        labels = match_classes(self.metainfo['classes'], [c['name'] for c in categories], self.ann_file)
        ids = {c['name']: c['id'] for c in categories}
        self.cat2label = {ids[name]: label for name, label in labels.items()}
        self.cat_ids = list(self.cat2label)
        infos = {image['id']: self._image_info(image) for image in content['images'] if self._image_fields(image)}
        if len(infos) < len(content['images']):
            raise DataError(f'{self.ann_file}: {len(content["images"])} images but only {len(infos)} different ids.')
        self._add_instances(infos, content.get('annotations', []))
        self.cat_img_map = self._images_by_category(infos)
        return list(infos.values())

    def _read(self) -> dict:
        content = read_json(self.ann_file, self.backend_args)
        if not isinstance(content, dict):
            raise DataError(f'{self.ann_file}: expected a COCO file, a JSON object, got a {type(content).__name__}.')
        needed = ['images', 'categories'] + ([] if self.test_mode else ['annotations'])
        missing = [key for key in needed if not isinstance(content.get(key), list)]
        if missing:
            raise DataError(f'{self.ann_file}: not a COCO file, it has no list {missing}; its keys: {list(content)}.')
        return content

    def _image_fields(self, image: dict) -> bool:
        missing = [key for key in ('id', 'file_name', 'width', 'height') if key not in image]
        if missing:
            raise DataError(f'{self.ann_file}: an image lacks {missing}: {str(image)[:200]}.')
        return True

    def _image_info(self, image: dict) -> dict:
        name, prefix = image['file_name'], self.data_prefix
        seg = osp.join(prefix['seg'], osp.splitext(name)[0] + self.seg_map_suffix) if prefix.get('seg') else None
        return {
            'img_path': osp.join(prefix.get('img', ''), name),
            'img_id': image['id'],
            'seg_map_path': seg,
            'height': image['height'],
            'width': image['width'],
            'instances': [],
        }

    def _add_instances(self, infos: dict[int, dict], annotations: list[dict]) -> None:
        """Append what ``annotations`` describe to the ``instances`` of their images."""
        for annotation, box in self._with_valid_boxes(infos, annotations):
            info = infos[annotation['image_id']]
            info['instances'].append(self._instance(annotation, box, info))

    def _with_valid_boxes(self, infos: dict[int, dict], annotations: list[dict]) -> Iterator[tuple[dict, list[float]]]:
        """Those of known images and classes, each with its box xyxy, clipped; all boxes are checked at once."""
        wanted = self._of_known_images(infos, annotations)
        boxes = self._boxes_of(wanted)
        sizes = [(infos[a['image_id']]['width'], infos[a['image_id']]['height']) for a in wanted]
        sizes = np.array(sizes, dtype=np.float64).reshape(-1, 2)
        boxes, keep = check_boxes(boxes, sizes, lambda row: f'image {wanted[row]["image_id"]}', self.report)
        for annotation, box, valid in zip(wanted, boxes.tolist(), keep.tolist()):
            if valid:
                yield annotation, box

    def _of_known_images(self, infos: dict[int, dict], annotations: list[dict]) -> list[dict]:
        wanted = []
        for annotation in annotations:
            try:
                image, category = annotation['image_id'], annotation['category_id']
            except KeyError as error:
                raise DataError(f'{self.ann_file}: an annotation lacks {error}: {str(annotation)[:200]}.') from error
            if image not in infos:
                self.report.skip('of an image not listed', f'image {image}')
            elif category in self.cat2label:
                wanted.append(annotation)
        return wanted

    def _boxes_of(self, annotations: list[dict]) -> np.ndarray:
        """(N, 4) xyxy of the xywh boxes of ``annotations``."""
        try:
            boxes = np.array([a['bbox'] for a in annotations], dtype=np.float64).reshape(-1, 4)
            if len(boxes) == len(annotations):
                return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        except (KeyError, ValueError, TypeError):
            pass  # find out below which one
        for annotation in annotations:
            box = annotation.get('bbox')
            if not (isinstance(box, list) and len(box) == 4 and all(isinstance(v, (int, float)) for v in box)):
                break
        raise DataError(
            f'{self.ann_file}: annotation {annotation.get("id")} of image {annotation["image_id"]} has bbox={box!r}; '
            f'expected four numbers [x, y, width, height].'
        )

    def _instance(self, annotation: dict, box: list[float], info: dict) -> dict:
        instance = {
            'ignore_flag': int(bool(annotation.get('iscrowd', 0))),
            'bbox': box,
            'bbox_label': self.cat2label[annotation['category_id']],
        }
        mask = self._mask(annotation, info)
        if mask is not None:
            instance['mask'] = mask
        for key in ('keypoints', 'area'):
            if annotation.get(key) is not None:
                instance[key] = annotation[key]
        return instance

    def _mask(self, annotation: dict, info: dict) -> list | dict | None:
        """The mask of ``annotation``, None if it has none; what cannot be used is counted."""
        given = annotation.get('segmentation')
        mask, problem = read_segmentation(given, info['height'], info['width'])
        if problem:
            where = f'image {info["img_id"]} annotation {annotation.get("id")}'
            verdict = 'without its mask' if mask is None else 'with part of its mask'
            self.report.correct(f'{verdict}: {problem}', f'{where} segmentation {shortened(given)}')
        return mask

    def _images_by_category(self, infos: dict[int, dict]) -> dict[int, list[int]]:
        ids_by_label = {label: cat_id for cat_id, label in self.cat2label.items()}
        images = defaultdict(list)
        for img_id, info in infos.items():
            for label in sorted(self._labels_in(info)):
                images[ids_by_label[label]].append(img_id)
        return dict(images)

    @staticmethod
    def _labels_in(info: dict) -> set[int]:
        return {instance['bbox_label'] for instance in info['instances']}
