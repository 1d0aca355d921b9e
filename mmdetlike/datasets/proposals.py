"""Precomputed proposals, read from a pickle without running code that a stranger's pickle may hold."""

import io
import os.path as osp
import pickle

import numpy as np
import torch
from mmengine import fileio

from .errors import DataError

# all that a pickle of arrays in dicts or InstanceData needs, in old and new versions of numpy
_ALLOWED = {
    ('collections', 'OrderedDict'),
    ('_codecs', 'encode'),
    ('numpy', 'ndarray'),
    ('numpy', 'dtype'),
    ('mmengine.structures.instance_data', 'InstanceData'),
    ('torch', 'Size'),
    ('torch._utils', '_rebuild_tensor_v2'),
    *(
        (f'numpy.{core}.{module}', name)
        for core in ('core', '_core')
        for module, name in (('multiarray', '_reconstruct'), ('multiarray', 'scalar'), ('numeric', '_frombuffer'))
    ),
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) == ('torch.storage', '_load_from_bytes'):
            return _storage  # torch's own would unpickle anything
        if (module, name) not in _ALLOWED:
            raise DataError(f'this pickle may hold arrays and tensors only, not {module}.{name}.')
        return super().find_class(module, name)


def _storage(content: bytes):
    """The numbers of a tensor."""
    return torch.load(io.BytesIO(content), map_location='cpu', weights_only=True)


def unpickle_arrays(content: bytes) -> object:
    """The content of a pickle that holds arrays, tensors, numbers and text, without running what it says.

    They may lie in lists, tuples and dicts. Tensors come to the CPU.

    Raises:
        DataError: It holds something else.
    """
    return _ArrayUnpickler(io.BytesIO(content)).load()


def proposal_key(img_path: str) -> str:
    """The name of an image in a proposal file: its folder and its file name."""
    folder, name = osp.split(img_path)
    return f'{osp.basename(folder)}/{name}'


def read_proposals(path: str, backend_args: dict | None = None) -> dict[str, dict[str, np.ndarray]]:
    """Proposals by image: ``bboxes`` (n, 4) xyxy and ``scores`` (n,), float32.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It isn't a pickle of such a dict, or holds more than arrays.
    """
    try:
        content = unpickle_arrays(fileio.get(path, backend_args=backend_args))
        return {key: _arrays(value) for key, value in content.items()}
    except FileNotFoundError as error:
        raise FileNotFoundError(f'The proposal_file {path!r} does not exist.') from error
    except (DataError, pickle.UnpicklingError, EOFError, AttributeError, KeyError, TypeError) as error:
        raise DataError(f'{path}: not a proposal file, a dict of image name -> bboxes and scores: {error}') from error


def _arrays(value) -> dict[str, np.ndarray]:
    # a dict as ours writes, or InstanceData as OpenMMLab's toolbox does
    get = value.__getitem__ if isinstance(value, dict) else value.__getattribute__
    boxes, scores = (np.asarray(get(key), dtype=np.float32) for key in ('bboxes', 'scores'))
    return {'bboxes': boxes.reshape(-1, 4), 'scores': scores}


def attach_proposals(data_list: list[dict], path: str, backend_args: dict | None = None) -> None:
    """Add ``proposals`` to each data info, looked up by folder and file name or by the file name alone.

    Raises:
        DataError: Images are missing from the file; the message says how many and which.
    """
    proposals = read_proposals(path, backend_args)
    missing = []
    for info in data_list:
        key = proposal_key(info['img_path'])
        found = proposals.get(key, proposals.get(osp.basename(key)))
        if found is None:
            missing.append(key)
        info['proposals'] = found
    if missing:
        raise DataError(f'{path}: no proposals for {len(missing)} of {len(data_list)} images, e.g. {missing[:3]}.')
