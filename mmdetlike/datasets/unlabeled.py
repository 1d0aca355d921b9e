"""Pictures in a folder, without annotations."""

import os.path as osp

from ..registry import DATASETS
from .base import BaseDetDataset
from .errors import DataError, ImageError, warn
from .named_objects import PICTURE_SUFFIXES, files_in
from .picture_size import picture_size


@DATASETS.register_module()
class UnlabeledDataset(BaseDetDataset):
    """All pictures of a folder and of the folders in it: the unlabeled part of semi-supervised training, or a test.

    What cannot be read as a picture is left out with a warning that names it.

    Args:
        data_prefix: ``dict(img='pictures/')``.

    The other arguments are those of ``BaseDetDataset``. ``metainfo`` has to be that of the labeled part where both are
    put together.

    Raises:
        FileNotFoundError: There is no such folder.
        DataError: There is no picture in it.
    """

    @property
    def source(self) -> str:
        """What messages call this dataset."""
        return self.data_prefix.get('img') or type(self).__name__

    def load_data_list(self) -> list[dict]:
        """Data infos of all pictures, sorted by their paths; ``img_id`` is the path in the folder."""
        folder = self.data_prefix.get('img', '')
        infos = []
        unreadable = []
        for name in files_in(folder, PICTURE_SUFFIXES, 'pictures'):
            path = osp.join(folder, name)
            try:
                width, height = picture_size(path, self.backend_args)
            except ImageError as error:
                unreadable.append(str(error))
                continue
            infos.append(_data_info(name, path, width, height))
        if not infos:
            raise DataError(f'{folder}: none of its {len(unreadable)} pictures can be read: {unreadable[:3]}.')
        if unreadable:
            warn(f'{folder}: {len(unreadable)} files cannot be read and are left out, e.g. {unreadable[:3]}.')
        return infos


def _data_info(name: str, path: str, width: int, height: int) -> dict:
    return {
        'img_path': path,
        'img_id': name,
        'seg_map_path': None,
        'height': height,
        'width': width,
        'instances': [],
    }
