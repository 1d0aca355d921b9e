"""Datasets with an XML file for each image (The PASCAL Visual Object Classes Challenge)."""

import os.path as osp
from collections.abc import Sequence

import numpy as np

from ..errors import ConfigError
from ..registry import DATASETS
from ..utils.colors import distinct_colors
from .annotations import check_boxes, match_classes
from .base import BaseDetDataset
from .class_names import VOC
from .errors import SkipReport
from .voc_xml import VocImage, annotated_size, image_file, read_image_ids, read_voc_xml


@DATASETS.register_module()
class XMLDataset(BaseDetDataset):
    """Images with boxes from XML files in the format of PASCAL VOC.

    ``ann_file`` lists the names of the images, one a line. VOC counts pixels from 1 and includes the last, so a box is
    [xmin - 1, ymin - 1, xmax, ymax], the same numbers as ``tools/dataset_converters/pascal_voc.py`` gives. Objects
    marked difficult get ``ignore_flag``. Wrong boxes are skipped or clipped as in ``CocoDataset``.

    Args:
        img_subdir: Folder of the images, in ``data_prefix['sub_data_root']``.
        ann_subdir: Folder of the XML files, there too.
        data_prefix: ``dict(sub_data_root='VOC2007/')``.
        filter_cfg: ``dict(filter_empty_gt=True, min_size=32, bbox_min_size=8)``: images to leave out of training, and
            below which side (in pixels) a box is only ignored there.

    The other arguments are those of ``BaseDetDataset``; ``metainfo=dict(classes=(...))`` names the classes.
    """

    ACCEPTED_FILTERS = ('filter_empty_gt', 'min_size', 'bbox_min_size')
    ACCEPTED_PREFIXES = ('sub_data_root',)

    def __init__(self, img_subdir: str = 'JPEGImages', ann_subdir: str = 'Annotations', **kwargs) -> None:
        self.img_subdir = img_subdir
        self.ann_subdir = ann_subdir
        super().__init__(**kwargs)

    @property
    def sub_data_root(self) -> str:
        """Folder that holds ``img_subdir`` and ``ann_subdir``."""
        return self.data_prefix.get('sub_data_root', '')

    def load_data_list(self) -> list[dict]:
        """Data infos of all images that ``ann_file`` lists."""
        if not self._metainfo.get('classes'):
            raise ConfigError(f'{type(self).__name__} needs metainfo=dict(classes=(...)).')
        self.report = SkipReport(self.ann_file)
        ids = read_image_ids(self.ann_file, self.backend_args)
        images = [read_voc_xml(self.xml_path(img_id), self.backend_args) for img_id in ids]
        return self.data_infos(ids, images)

    def data_infos(self, ids: Sequence[str], images: Sequence[VocImage]) -> list[dict]:
        """Data infos of images of these names and annotations."""
        names = sorted({item.name for image in images for item in image.objects})
        if names:
            self.cat2label = match_classes(self.metainfo['classes'], names, self.ann_file)
        return [self._data_info(img_id, image) for img_id, image in zip(ids, images)]

    def xml_path(self, img_id: str) -> str:
        """The XML file of an image."""
        return osp.join(self.sub_data_root, self.ann_subdir, f'{img_id}.xml')

    def image_path(self, img_id: str, image: VocImage) -> str:
        """The file of an image, of which ``image`` is the annotation."""
        return osp.join(self.sub_data_root, self.img_subdir, image_file(image, img_id))

    def _data_info(self, img_id: str, image: VocImage) -> dict:
        img_path = self.image_path(img_id, image)
        width, height = annotated_size(image, img_path, self.backend_args)
        return {
            'img_path': img_path,
            'img_id': img_id,
            'xml_path': self.xml_path(img_id),
            'seg_map_path': None,
            'height': height,
            'width': width,
            'instances': self._instances(img_id, image, (width, height)),
        }

    def _instances(self, img_id: str, image: VocImage, size: tuple[int, int]) -> list[dict]:
        objects = [item for item in image.objects if item.name in self.cat2label]
        boxes = np.array([item.box for item in objects], dtype=np.float64).reshape(-1, 4)
        sizes = np.tile(np.array(size, dtype=np.float64), (len(objects), 1))
        boxes, keep = check_boxes(boxes, sizes, [f'image {img_id}'] * len(objects), self.report)
        return [
            {
                'ignore_flag': int(item.difficult or self.too_small(box)),
                'bbox': box,
                'bbox_label': self.cat2label[item.name],
            }
            for item, box, valid in zip(objects, boxes.tolist(), keep)
            if valid
        ]


@DATASETS.register_module()
class VOCDataset(XMLDataset):
    """PASCAL VOC with its 20 classes; arguments as for ``XMLDataset``."""

    METAINFO = {'classes': VOC, 'palette': distinct_colors(len(VOC))}

    def __init__(self, ann_file: str = 'ImageSets/Main/train.txt', **kwargs) -> None:
        super().__init__(ann_file=ann_file, **kwargs)
