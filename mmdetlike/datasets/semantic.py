"""Pictures with a label map each, for semantic segmentation."""

import os.path as osp

from ..registry import DATASETS
from ..utils.colors import distinct_colors
from .annotations import read_lines
from .base import BaseDetDataset
from .class_names import ADE20K
from .errors import DataError, ImageError
from .named_objects import files_in
from .picture_size import picture_size


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

    The other arguments are those of ``BaseDetDataset``; ``metainfo=dict(classes=(...))`` names the classes.

    Raises:
        FileNotFoundError: There is no such folder or list.
        DataError: There is no picture in it, or one can't be read or has no label map.
    """

    ACCEPTED_PREFIXES = ('img_path', 'seg_map_path')

    def __init__(self, *args, img_suffix: str = '.jpg', seg_map_suffix: str = '.png', **kwargs) -> None:
        self.img_suffix = img_suffix
        super().__init__(*args, seg_map_suffix=seg_map_suffix, **kwargs)

    @property
    def source(self) -> str:
        """What messages call this dataset."""
        return self.ann_file or self.data_prefix.get('img_path') or type(self).__name__

    def load_data_list(self) -> list[dict]:
        """Data infos of all pictures, without instances."""
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
