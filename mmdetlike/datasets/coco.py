"""Datasets whose annotations are one JSON file in the format of COCO (Microsoft COCO: Common Objects in Context,
arXiv:1405.0312)."""

import os
import os.path as osp
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..errors import ConfigError
from ..registry import DATASETS
from ..structures.mask import Segmentation, read_segmentations
from ..utils.colors import distinct_colors
from .annotation_cache import SMALLEST_FILE, AnnotationCache
from .annotations import tell_of_mask
from .base import BaseDetDataset
from .class_names import COCO
from .coco_file import CocoFile, ObjectColumns
from .errors import DataError, ImageError, SkipReport
from .picture_size import picture_size

# what an instance has by itself
OWN_KEYS = (
    'bbox',
    'bbox_label',
    'ignore_flag',
    'mask',
    'keypoints',
    'point_coords',
    'point_labels',
    'instance_id',
    'area',
)

# arguments that decide what is loaded of an annotation file, which a cache must tell apart
CACHED_BY = (
    'ann_file',
    'data_prefix',
    'filter_cfg',
    'test_mode',
    'return_classes',
    'seg_map_suffix',
    'metainfo',
    'extra_annotation_keys',
)


def check_extra_keys(keys: Sequence[str]) -> tuple[str, ...]:
    """``keys`` as a tuple.

    Raises:
        ConfigError: They are no sequence of names, or an instance has one by itself.
    """
    if isinstance(keys, str) or not all(isinstance(key, str) for key in keys):
        raise ConfigError(f'extra_annotation_keys={keys!r} should be a list of keys')
    taken = [key for key in keys if key in OWN_KEYS]
    if taken:
        raise ConfigError(f'extra_annotation_keys has {taken[0]!r}, which instances have already')
    return tuple(keys)


@DATASETS.register_module()
class CocoDataset(BaseDetDataset):
    """Images with boxes, masks and keypoints from a COCO JSON file.

    Label i is ``metainfo['classes'][i]``, whatever the order of the categories in the file; annotations of other
    categories are left out. ``iscrowd`` and ``ignore`` become ``ignore_flag``. Boxes that are NaN, of zero area,
    thinner than a pixel or outside their image are skipped, those partly outside are clipped, masks that cannot be read
    are left out: one warning counts them (``skipped``). docs/train_on_your_own_data.md lists the forms that are read.

    After loading, ``cat_ids`` are the category ids of the classes that the file has, ``cat2label`` maps them to labels
    and ``cat_img_map`` to the ids of the images that show them.

    A dataset of another kind in COCO's format overrides `file_type`, `read_file`, `classes_of_objects`, `image_info`,
    `add_instances` or `labels_in`.

    Args:
        ann_file: The JSON file, relative to ``data_root``.
        metainfo: ``dict(classes=(...), palette=[...])`` for other classes than COCO's.
        data_prefix: ``dict(img='folder/', seg='folder/')``.
        filter_cfg: ``dict(filter_empty_gt=True, min_size=32)``: images to leave out of training.
        extra_annotation_keys: Keys of annotations that ``instances`` get as they are in the file.

    The other arguments are those of ``BaseDetDataset``.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: The file isn't JSON, lacks something, has something of another kind, or has none of the classes.
    """

    file_type = CocoFile
    METAINFO = {'classes': COCO, 'palette': distinct_colors(len(COCO))}

    def __init__(self, *args, extra_annotation_keys: Sequence[str] = (), **kwargs) -> None:
        self.extra_annotation_keys = check_extra_keys(extra_annotation_keys)
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Data infos of all images of the file, in its order."""
        self.report = SkipReport(self.ann_file)
        file = self.read_file()
        self.cat2label = file.labels(self.classes_of_objects())
        self.cat_ids = list(self.cat2label)
        infos = [self.image_info(image) for image in file.images]
        self.add_instances(infos, file)
        self.cat_img_map = self._images_by_category(infos)
        return infos

    def classes_of_objects(self) -> Sequence[str]:
        """The first of ``metainfo['classes']``: those that objects of the file may have; all by default."""
        return self.metainfo['classes']

    def annotation_cache(self) -> AnnotationCache | None:
        """The cache of a large file on a disk; none of subclasses, which may do more than set attributes."""
        local = os.path.isfile(self.ann_file) and not self.backend_args and self.proposal_file is None
        if type(self) is not CocoDataset or not local or not self.serialize_data:
            return None
        if os.path.getsize(self.ann_file) < SMALLEST_FILE:
            return None
        options = {name: getattr(self, name) for name in (*CACHED_BY, 'loads_masks')}
        return AnnotationCache(self.ann_file, options)

    def read_file(self) -> CocoFile:
        """The annotation file, checked."""
        return self.file_type(self.ann_file, self.backend_args, needs_annotations=not self.test_mode)

    def image_info(self, image: dict) -> dict:
        """The data info of an image of the file, without instances; a size that the file lacks is the picture's."""
        if image['file_name'] is None:
            raise DataError(f'{self.ann_file}: image {image["id"]!r} has no file_name; expected the name of a file.')
        prefix = self.data_prefix
        stem = osp.splitext(image['file_name'])[0]
        img_path = osp.join(prefix.get('img', ''), image['file_name'])
        width = image['width']
        height = image['height']
        if width is None or height is None:
            width, height = self._size_of_picture(image, img_path)
        return {
            'img_path': img_path,
            'img_id': image['id'],
            'seg_map_path': osp.join(prefix['seg'], stem + self.seg_map_suffix) if prefix.get('seg') else None,
            'height': height,
            'width': width,
            'instances': [],
        }

    def _size_of_picture(self, image: dict, img_path: str) -> tuple[int, int]:
        self.may_be_cached = False  # the picture may change without the annotations
        try:
            return picture_size(img_path, self.backend_args)
        except ImageError as error:
            missing = [key for key in ('width', 'height') if image[key] is None]
            raise DataError(
                f'{self.ann_file}: an image lacks {missing}, and the picture cannot be asked: image {image["id"]!r}, '
                f'{error}.'
            ) from error

    def add_instances(self, infos: list[dict], file: CocoFile) -> None:
        """Append the objects of ``file`` to the ``instances`` of their images, which are in the file's order."""
        objects = file.objects(self.report, self.extra_annotation_keys)
        usable = self.usable_objects(infos, file, objects)
        sizes = [(info['height'], info['width']) for info in infos]
        masks = read_segmentations(
            [objects.segmentations[row] for row, _ in usable], [sizes[objects.images[row]] for row, _ in usable]
        )
        for (row, box), mask_as_read in zip(usable, masks):
            info = infos[objects.images[row]]
            category = file.categories[objects.categories[row]]['id']
            instance = {'ignore_flag': int(objects.ignored[row]), 'bbox': box, 'bbox_label': self.cat2label[category]}
            self._report_mask(mask_as_read, objects.segmentations[row], partial(file.object_name, objects, row))
            if mask_as_read.mask is not None:
                instance['mask'] = mask_as_read.mask
            if objects.keypoints[row] is not None:
                instance['keypoints'] = objects.keypoints[row]
            instance.update(objects.points[row] or {})
            instance.update(objects.extras[row] or {})
            if objects.instance_ids[row] is not None:
                instance['instance_id'] = objects.instance_ids[row]
            if not np.isnan(objects.areas[row]):
                instance['area'] = float(objects.areas[row])
            info['instances'].append(instance)

    def usable_objects(
        self, infos: list[dict], file: CocoFile, objects: ObjectColumns
    ) -> list[tuple[int, list[float]]]:
        """Rows of the objects that are of our classes and have usable boxes, each with its clipped box xyxy."""
        sizes = np.array([(info['width'], info['height']) for info in infos], dtype=np.float64).reshape(-1, 2)
        rows, boxes = file.usable(objects, self.cat2label, sizes, self.report)
        return list(zip(rows.tolist(), boxes.tolist()))

    def _report_mask(self, mask_as_read: Segmentation, segmentation: object, name: Callable[[], str]) -> None:
        """Let the report count what cannot be read of the mask of an object."""
        mask, problem = mask_as_read
        if problem:
            tell_of_mask(problem, mask is None, segmentation, name(), self.report)
        elif mask is None and self.loads_masks:
            self.report.correct('without a mask, hence ignored', name())

    def _images_by_category(self, infos: list[dict]) -> dict[int | str, list]:
        ids_by_label = {label: cat_id for cat_id, label in self.cat2label.items()}
        images = defaultdict(list)
        for info in infos:
            for label in sorted(self.labels_in(info)):
                images[ids_by_label[label]].append(info['img_id'])
        return dict(images)

    @staticmethod
    def labels_in(info: dict) -> set[int]:
        """The labels of what a data info shows."""
        return {instance['bbox_label'] for instance in info['instances']}
