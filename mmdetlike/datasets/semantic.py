"""Pictures with a label map each, for semantic segmentation."""

import os.path as osp
from collections.abc import Mapping

from ..errors import ConfigError
from ..registry import DATASETS
from ..utils.colors import distinct_colors
from .annotations import read_lines
from .base import BaseDetDataset
from .class_names import ADE20K, COCO, COCO_STUFF_PIXELS
from .errors import DataError, ImageError
from .named_objects import files_in
from .picture_size import picture_size
from .transforms.image_io import LARGEST_LABEL, LARGEST_VALUE


@DATASETS.register_module()
class BaseSegDataset(BaseDetDataset):
    """Pictures with a label map each: a picture of one channel that holds the label of every pixel.

    The map of ``img/a/b.jpg`` is ``maps/a/b.png``. Load it with ``LoadAnnotations(with_bbox=False, with_seg=True)``.

    Args:
        img_suffix: End of the names of pictures.
        seg_map_suffix: End of the names of label maps, in place of it.
        ann_file: A list of names without their ends, one a line, relative to ``data_root``; '' for all pictures of the
            folder.
        data_prefix: ``dict(img_path='images/training', seg_map_path='annotations/training')``. In ``test_mode`` a
            picture may have no label map.
        label_map: The label of each value in the label maps, ``{7: 0, 11: 1}``; values that it lacks don't count. None
            if values are labels, or, where ``VALUES`` says the value of each class, for those of ``classes``.

    The other arguments are those of ``BaseDetDataset``; ``metainfo=dict(classes=(...))`` names the classes.

    Raises:
        FileNotFoundError: There is no such folder or list.
        DataError: There is no picture in it, or one can't be read or has no label map.
    """

    ACCEPTED_PREFIXES = ('img_path', 'seg_map_path')
    VALUES: Mapping[str, int] | None = None  # what the label maps have for each class, where that isn't its label

    def __init__(
        self,
        *args,
        img_suffix: str = '.jpg',
        seg_map_suffix: str = '.png',
        label_map: Mapping[int, int] | None = None,
        **kwargs,
    ) -> None:
        self.img_suffix = img_suffix
        self.label_map = label_map
        super().__init__(*args, seg_map_suffix=seg_map_suffix, **kwargs)

    def get_data_info(self, idx: int) -> dict:
        """The data info of a picture, with ``label_map`` if values of label maps are no labels."""
        info = super().get_data_info(idx)
        return info if self.label_map is None else {**info, 'label_map': self.label_map}

    def _checked_label_map(self) -> dict[int, int] | None:
        """``label_map``, made of ``VALUES`` if it isn't given.

        Raises:
            ConfigError: A class has no value, or a label no class.
        """
        classes = self.metainfo.get('classes') or ()
        if self.label_map is None and self.VALUES is not None:
            unknown = [name for name in classes if name not in self.VALUES]
            if unknown:
                raise ConfigError(f'{type(self).__name__} has no classes {unknown[:5]}; it has {sorted(self.VALUES)}.')
            return {self.VALUES[name]: label for label, name in enumerate(classes)}
        values = range(LARGEST_VALUE + 1)
        labels = range(min(len(classes), LARGEST_LABEL + 1))
        for value, label in (self.label_map or {}).items():
            if type(value) is not int or value not in values or type(label) is not int or label not in labels:
                raise ConfigError(
                    f'{type(self).__name__}: label_map has {value!r}: {label!r}; expected a value of 0 to {values[-1]} '
                    f'and one of the labels of {len(classes)} classes, of at most {LARGEST_LABEL}.'
                )
        return None if self.label_map is None else dict(self.label_map)

    @property
    def source(self) -> str:
        """What messages call this dataset."""
        return self.ann_file or self.data_prefix.get('img_path') or type(self).__name__

    def load_data_list(self) -> list[dict]:
        """Data infos of all pictures, without instances."""
        self.label_map = self._checked_label_map()
        if self.label_map is not None:
            self._metainfo['label_map'] = dict(self.label_map)  # for metrics that read label maps
        return [self._data_info(name) for name in self._names()]

    def is_empty(self, info: dict) -> bool:
        """None is: ``filter_empty_gt`` asks for objects, which no picture has here."""
        return False

    def _names(self) -> list[str]:
        if self.ann_file:
            return read_lines(self.ann_file, self.backend_args)
        names = files_in(self.data_prefix.get('img_path', ''), (self.img_suffix,), 'pictures')
        return [name[: -len(self.img_suffix)] for name in names]

    def _data_info(self, name: str) -> dict:
        img_path = osp.join(self.data_prefix.get('img_path', ''), name + self.img_suffix)
        try:
            width, height = picture_size(img_path, self.backend_args)
        except ImageError as error:
            raise DataError(f'{self.source}: the size of a picture is not known: {error}.') from error
        return {
            'img_path': img_path,
            'img_id': name,
            'seg_map_path': self._map_path(name),
            'height': height,
            'width': width,
            'instances': [],
        }

    def _map_path(self, name: str) -> str | None:
        folder = self.data_prefix.get('seg_map_path')
        path = None if folder is None else osp.join(folder, name + self.seg_map_suffix)
        if not self.test_mode and (path is None or (self.backend_args is None and not osp.isfile(path))):
            expected = path or "data_prefix=dict(seg_map_path='...')"
            raise DataError(f'{self.source}: picture {name!r} has no label map; expected {expected}.')
        return path


@DATASETS.register_module()
class ADE20KSegDataset(BaseSegDataset):
    """ADE20K (Scene Parsing through ADE20K Dataset, CVPR 2017), 150 classes; arguments as for ``BaseSegDataset``.

    Its label maps count classes from 1; 0 is for what has no class: load them with ``reduce_zero_label=True``.
    """

    METAINFO = {'classes': ADE20K, 'palette': distinct_colors(len(ADE20K))}


_THINGS_WITHOUT_CLASS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # ids of COCO that no object has
_THING_IDS = [number for number in range(1, 91) if number not in _THINGS_WITHOUT_CLASS]
_FIRST_STUFF_ID = 92


@DATASETS.register_module()
class CocoStuffDataset(BaseSegDataset):
    """COCO-Stuff 164k (arXiv:1612.03716): 80 classes of things and 91 of stuff; arguments as for ``BaseSegDataset``.

    The label maps are those of ``stuffthingmaps_trainval2017``, which have the id of a category less 1, and 255 for
    pixels that nobody annotated. ``metainfo=dict(classes=(...))`` chooses some of the classes; pixels of others don't
    count then.
    """

    METAINFO = {'classes': COCO + COCO_STUFF_PIXELS, 'palette': distinct_colors(len(COCO + COCO_STUFF_PIXELS))}
    VALUES = {
        **{name: number - 1 for name, number in zip(COCO, _THING_IDS)},
        **{name: number - 1 for number, name in enumerate(COCO_STUFF_PIXELS, _FIRST_STUFF_ID)},
    }
