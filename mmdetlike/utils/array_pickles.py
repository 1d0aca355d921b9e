"""Pickles of arrays, tensors and plain data, read without running what they name."""

import functools
import io
import pickle
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np
import torch


class ArrayUnpickler(pickle.Unpickler):
    """Builds arrays, tensors and plain data and refuses everything else by name.

    Args:
        file: The pickle.
        extra: What else may be named, as (module, name) -> what is taken for it; it must be harmless.
        encoding: Of text and bytes that Python 2 wrote.
    """

    def __init__(
        self, file: BinaryIO, extra: Mapping[tuple[str, str], object] | None = None, encoding: str = 'ASCII'
    ) -> None:
        super().__init__(file, encoding=encoding)
        self.allowed = {**_allowed(), **(extra or {})}

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f'it holds {module}.{name}; only arrays, tensors and plain data are read')
        return self.allowed[(module, name)]


@functools.cache
def _allowed() -> dict[tuple[str, str], object]:
    """What such pickles name: how arrays, tensors and plain containers are made."""
    core = np._core if hasattr(np, '_core') else np.core
    names = {
        ('numpy', 'ndarray'): np.ndarray,
        ('numpy', 'dtype'): np.dtype,
        ('collections', 'OrderedDict'): dict,
        ('_codecs', 'encode'): _encode,
        ('torch', 'Size'): torch.Size,
        ('torch._utils', '_rebuild_parameter'): torch._utils._rebuild_parameter,
        ('torch._utils', '_rebuild_tensor_v2'): torch._utils._rebuild_tensor_v2,
        ('torch.storage', '_load_from_bytes'): _storage,  # torch's own would unpickle anything
    }
    # newer versions of numpy call the package otherwise
    for package in ('numpy.core', 'numpy._core'):
        names[(f'{package}.multiarray', '_reconstruct')] = core.multiarray._reconstruct
        names[(f'{package}.multiarray', 'scalar')] = core.multiarray.scalar
        names[(f'{package}.numeric', '_frombuffer')] = core.numeric._frombuffer
    return names


def _encode(text: str, encoding: str = 'latin1') -> bytes:
    """Bytes, which the oldest pickles hold as text; any other codec is not asked for."""
    return text.encode('latin1')


def _storage(content: bytes):
    """The numbers of a tensor, on the CPU."""
    try:
        return torch.load(io.BytesIO(content), map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        raise pickle.UnpicklingError('it holds a tensor whose content is more than numbers') from error
