"""Detectron2's ``model_final.pkl``: a pickle of numpy arrays, read without running what it names."""

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmdetlike.errors import CheckpointError


def _allowed() -> dict[tuple[str, str], object]:
    """What such files name: how numpy and plain containers are made."""
    # older and newer versions of numpy call this module otherwise
    array = np.array(0).__reduce__()[0]
    scalar = np.float32(0).__reduce__()[0]
    names = {
        ('numpy', 'ndarray'): np.ndarray,
        ('numpy', 'dtype'): np.dtype,
        ('collections', 'OrderedDict'): dict,
        ('_codecs', 'encode'): lambda text, encoding='latin1': text.encode('latin1'),
    }
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        names[(module, '_reconstruct')] = array
        names[(module, 'scalar')] = scalar
    return names


class _PlainUnpickler(pickle.Unpickler):
    """Builds arrays and plain data and refuses everything else by name."""

    allowed = _allowed()

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self.allowed:
            raise CheckpointError(f'it holds {module}.{name}; only numpy arrays and plain data are read')
        return self.allowed[(module, name)]


def read_pickle(path: str | Path) -> dict[str, Tensor]:
    """The weights in a ``.pkl`` checkpoint of Detectron2, tensors by name.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is no such checkpoint, or names what could run code.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'checkpoint {path} does not exist')
    try:
        with open(path, 'rb') as file:
            # written by Python 2 in part
            loaded = _PlainUnpickler(file, encoding='latin1').load()
    except CheckpointError as error:
        raise CheckpointError(f'checkpoint {path} is not read: {error}') from error
    except Exception as error:  # a damaged pickle raises anything
        raise CheckpointError(f'checkpoint {path} is no whole pickle: {type(error).__name__}: {error}') from error
    weights = loaded.get('model', loaded) if isinstance(loaded, dict) else None
    if not isinstance(weights, dict):
        raise CheckpointError(f'checkpoint {path} holds a {type(loaded).__name__}, expected a dict with "model"')
    if weights and all(name.endswith(('_w', '_b', '_s', '_riv', '_rm')) for name in weights if name != 'lr'):
        raise CheckpointError(f"checkpoint {path} has Caffe2's names, as {next(iter(weights))}: expected Detectron2's")
    return {name: _tensor(name, value, path) for name, value in weights.items()}


def _tensor(name: str, value, path: str | Path) -> Tensor:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in 'biuf':
        raise CheckpointError(f'checkpoint {path}: {name} is a {type(value).__name__}, expected an array of numbers')
    return torch.from_numpy(value.copy())
