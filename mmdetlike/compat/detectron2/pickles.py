"""Detectron2's ``model_final.pkl``: a pickle of arrays or tensors, read without running what it names."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmdetlike.errors import CheckpointError
from mmdetlike.utils.array_pickles import ArrayUnpickler

from .backbone_weights import OTHERS, from_caffe2, has_caffe2_names


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
            loaded = ArrayUnpickler(file, encoding='latin1').load()
    except Exception as error:  # a damaged pickle raises anything
        reason = ' '.join(str(error).split())
        if reason.startswith('it holds'):
            raise CheckpointError(f'checkpoint {path} is not read: {reason}') from error
        raise CheckpointError(f'checkpoint {path} is no whole pickle: {type(error).__name__}: {reason}') from error
    # Caffe2's have blobs
    weights = loaded.get('model', loaded.get('blobs', loaded)) if isinstance(loaded, dict) else None
    if not isinstance(weights, dict):
        raise CheckpointError(f'checkpoint {path} holds a {type(loaded).__name__}, expected a dict with "model"')
    if not all(isinstance(name, str) for name in weights):
        raise CheckpointError(f'checkpoint {path} holds {list(weights)!r:.60}, expected names of parameters')
    if has_caffe2_names(weights):
        weights = _renamed(weights, path)
    return {name: _tensor(name, value, path) for name, value in weights.items()}


def _renamed(weights: dict, path: str | Path) -> dict:
    """The weights of a backbone that Caffe2 wrote, by Detectron2's names."""
    kept = {name: value for name, value in weights.items() if not OTHERS.match(name)}
    unknown = [name for name in kept if from_caffe2(name) is None]
    if unknown:
        raise CheckpointError(
            f"checkpoint {path} has Caffe2's names, as {unknown[0]}: expected Detectron2's, or those of a ResNet alone"
        )
    return {from_caffe2(name): value for name, value in kept.items()}


def _tensor(name: str, value, path: str | Path) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    if not isinstance(value, np.ndarray) or value.dtype.kind not in 'biuf':
        raise CheckpointError(f'checkpoint {path}: {name} is a {_kind(value)}, expected an array of numbers')
    return torch.from_numpy(value.copy())


def _kind(value) -> str:
    return f'{type(value).__name__} of {value.dtype}' if isinstance(value, np.ndarray) else type(value).__name__
