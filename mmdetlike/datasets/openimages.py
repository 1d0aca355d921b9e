"""The Open Images Dataset (arXiv:1811.00982), releases 4 to 7 and the challenge of 2019."""

import os.path as osp

import numpy as np

from ..registry import DATASETS
from ..utils.colors import distinct_colors
from .annotations import check_boxes
from .base import BaseDetDataset
from .errors import DataError, ImageError, SkipReport
from .openimages_files import (
    OpenImagesBox,
    read_ancestors,
    read_challenge_boxes,
    read_class_names,
    read_csv_boxes,
    read_image_labels,
    read_sizes,
)
from .picture_size import picture_size
from .text_tables import decimal


@DATASETS.register_module()
class OpenImagesDataset(BaseDetDataset):
    """Images with boxes from the CSV files of Open Images.

    The classes are those of ``label_file``, in its order, or those of them that ``metainfo['classes']`` names. An
    instance says ``is_group_of``, which evaluation treats apart. ``metainfo['RELATION_MATRIX']`` is the hierarchy:
    (n, n) uint8, 1 in row i and column j if class j includes class i. With ``image_level_ann_file``, an image has
    ``image_level_labels``: labels of the classes that it was looked through for, the only ones judged there.

    Boxes are shares of the image's sides; the sizes come from ``meta_file``, or from the headers of the pictures.

    Args:
        label_file: CSV of the classes, ``annotations/class-descriptions-boxable.csv``.
        meta_file: Pickle of the sizes of the images, a list of ``dict(filename, ori_shape)``.
        hierarchy_file: Tree of the classes in JSON, or a matrix as numpy saves it.
        image_level_ann_file: CSV of the labels of whole images.
        ann_file: CSV of the boxes. Like the files above, relative to ``data_root``.
        data_prefix: ``dict(img='OpenImages/train/')``.

    The other arguments are those of ``BaseDetDataset``.

    Raises:
        FileNotFoundError: One of the files isn't there.
        DataError: One of them has something of another kind than expected, or the size of an image isn't known.
    """

    def __init__(
        self,
        label_file: str,
        meta_file: str | None = None,
        hierarchy_file: str | None = None,
        image_level_ann_file: str | None = None,
        data_root: str | None = '',
        metainfo: dict | None = None,
        backend_args: dict | None = None,
        **kwargs,
    ) -> None:
        join = self._join(data_root)
        self.meta_file = join(meta_file)
        self.image_level_ann_file = join(image_level_ann_file)
        self.class_names = read_class_names(join(label_file), backend_args)
        metainfo = dict(metainfo or {})
        metainfo.setdefault('classes', tuple(self.class_names.values()))
        metainfo.setdefault('palette', distinct_colors(len(metainfo['classes'])))
        if hierarchy_file is not None:
            ancestors = read_ancestors(join(hierarchy_file), list(self.class_names), backend_args)
            metainfo['RELATION_MATRIX'] = self._of_classes(ancestors, metainfo['classes'])
        super().__init__(data_root=data_root, metainfo=metainfo, backend_args=backend_args, **kwargs)

    @staticmethod
    def _join(data_root: str | None):
        root = osp.expanduser(data_root or '')
        return lambda path: None if path is None else osp.join(root, osp.expanduser(path))

    def _of_classes(self, ancestors: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
        """The rows and columns of a matrix of all classes that belong to ``classes``."""
        indices = {name: index for index, name in enumerate(self.class_names.values())}
        unknown = [name for name in classes if name not in indices]
        if unknown:
            raise DataError(f'The classes {unknown[:5]} are not in label_file, which has {len(indices)} classes.')
        chosen = [indices[name] for name in classes]
        return ancestors[np.ix_(chosen, chosen)]

    def load_data_list(self) -> list[dict]:
        """Data infos of all images that have a box, in the order of the file."""
        self.report = SkipReport(self.ann_file)
        by_name = {name: label for label, name in enumerate(self.metainfo['classes'])}
        self.labels = {entity: by_name[name] for entity, name in self.class_names.items() if name in by_name}
        sizes = read_sizes(self.meta_file, self.backend_args) if self.meta_file else {}
        images = self.read_boxes()
        infos = [self._data_info(file_name, sizes) for file_name, _ in images]
        self._add_instances(infos, [boxes for _, boxes in images])
        if self.image_level_ann_file is not None:
            image_labels = self._image_labels()
            for info in infos:
                info['image_level_labels'] = image_labels.get(info['img_id'], np.zeros(0, dtype=np.int64))
        return infos

    def read_boxes(self) -> list[tuple[str, list[OpenImagesBox]]]:
        """File name and boxes of each image of ``ann_file``; the names of classes in them are known."""
        images: dict[str, list[OpenImagesBox]] = {}
        for place, name, item in read_csv_boxes(self.ann_file, self.backend_args):
            if item.label not in self.class_names:
                raise DataError(f'{place}: image {name!r} has a box of class {item.label!r}, not one of label_file.')
            images.setdefault(f'{name}.jpg', []).append(item)
        return list(images.items())

    def _image_labels(self) -> dict[str, np.ndarray]:
        """The labels that each image was looked through for, by its name."""
        return {
            name: np.array(sorted({self.labels[entity] for entity in entities if entity in self.labels}), np.int64)
            for name, entities in read_image_labels(self.image_level_ann_file, self.backend_args).items()
        }

    def _data_info(self, file_name: str, sizes: dict[str, tuple[int, int]]) -> dict:
        name = osp.splitext(osp.basename(file_name))[0]
        img_path = osp.join(self.data_prefix.get('img', ''), file_name)
        height, width = sizes.get(name) or self._size_of_picture(name, img_path)
        return {
            'img_path': img_path,
            'img_id': name,
            'seg_map_path': None,
            'height': height,
            'width': width,
            'instances': [],
        }

    def _size_of_picture(self, name: str, img_path: str) -> tuple[int, int]:
        try:
            width, height = picture_size(img_path, self.backend_args)
        except ImageError as error:
            raise DataError(f'{self.ann_file}: the size of image {name!r} is not known: {error}.') from error
        return height, width

    def _add_instances(self, infos: list[dict], boxes: list[list[OpenImagesBox]]) -> None:
        """Append the boxes of each image to its ``instances``; all are checked at once, as there are millions."""
        rows = [(info, item) for info, items in zip(infos, boxes) for item in items if item.label in self.labels]
        self.report.leave_out('objects of other classes', sum(map(len, boxes)) - len(rows))
        corners = np.array([item.corners for _, item in rows], dtype=np.float64).reshape(-1, 4)
        sides = np.array([(info['width'], info['height']) for info, _ in rows], dtype=np.float64).reshape(-1, 2)
        # Shares of the sides are at most 1; as pixels such a box would be too thin to be one.
        are_shares = (corners <= 1).all(1, keepdims=True)
        corners = np.where(are_shares, corners * np.tile(sides, 2), corners)
        corners, keep = check_boxes(corners, sides, lambda row: f'image {rows[row][0]["img_id"]!r}', self.report)
        for (info, item), box, valid in zip(rows, corners.tolist(), keep):
            if valid:
                label = self.labels[item.label]
                info['instances'].append(
                    {'ignore_flag': 0, 'bbox': box, 'bbox_label': label, 'is_group_of': item.is_group_of}
                )


@DATASETS.register_module()
class OpenImagesChallengeDataset(OpenImagesDataset):
    """The challenge of 2019, with 500 of the classes of Open Images; arguments as for ``OpenImagesDataset``.

    ``ann_file`` is the text file ``challenge-2019-train-detection-bbox.txt``, in which classes are numbered from 1, or
    a CSV file as those of Open Images.
    """

    def read_boxes(self) -> list[tuple[str, list[OpenImagesBox]]]:
        """File name and boxes of each image of ``ann_file``; the names of classes in them are known."""
        if self.ann_file.endswith('.csv'):
            return super().read_boxes()
        entities = list(self.class_names)
        images = read_challenge_boxes(self.ann_file, self.backend_args)
        for name, boxes in images:
            for item in boxes:
                if not 1 <= (decimal(item.label) or 0) <= len(entities):
                    raise DataError(
                        f'{self.ann_file}: image {name!r} has a box of class {item.label!r}; expected a number from 1 '
                        f'to {len(entities)}.'
                    )
                item.label = entities[int(item.label) - 1]
        return images
