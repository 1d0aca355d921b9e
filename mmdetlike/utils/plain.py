"""Plain values, which our readers of checkpoints and configs accept, and the conversion of others to them."""

import argparse
import pickle
import types
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePath

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

BUILTINS = (bool, int, float, complex, str, bytes)
FUNCTIONS = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, partial, type)
# kinds of numpy's dtypes that hold their values in the array itself, not references to objects
NUMPY_KINDS = 'biufcSUMm'


def plain_scalar(value):
    """Convert numpy scalars, instances of subclasses of builtin types (as enums are) and paths to builtin values."""
    if type(value) in BUILTINS or value is None:
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    for builtin, kind in ((int, np.integer), (float, np.floating), (complex, np.complexfloating)):
        if isinstance(value, (builtin, kind)):
            return builtin(value)
    for builtin in (str, bytes):
        if isinstance(value, builtin):
            # a slice, as builtin(value) would call the subclass's own __str__
            return builtin.__getitem__(value, slice(None))
    return str(value) if isinstance(value, PurePath) else value


def plain_state(value, name: str, refuse: Callable[[str, object], None], drop_functions: bool = False):
    """Rebuild state for a checkpoint from builtin containers and values; tensors and arrays stay as they are.

    Args:
        value: Any value.
        name: What it is called, for ``refuse``; what it contains is called ``name.key`` or ``name[index]``.
        refuse: Called with the name and the value of each part that is neither plain nor known to be harmless.
        drop_functions: Leave functions, methods and classes out of dicts: their owner makes them anew.
    """
    if isinstance(value, Mapping):
        kept = {
            plain_scalar(key): plain_state(part, f'{name}.{key}', refuse, drop_functions)
            for key, part in value.items()
            if not (drop_functions and isinstance(part, FUNCTIONS))
        }
        return type(value)(kept) if type(value) in (OrderedDict, Counter) else kept
    if isinstance(value, (list, tuple, deque, range)) and not isinstance(value, torch.Size):
        parts = [plain_state(part, f'{name}[{i}]', refuse, drop_functions) for i, part in enumerate(value)]
        return tuple(parts) if isinstance(value, tuple) else parts
    if isinstance(value, (set, frozenset)):
        return {plain_state(part, name, refuse, drop_functions) for part in value}
    value = plain_scalar(value)
    if not _is_harmless(value):
        refuse(name, value)
    return value


def _is_harmless(value) -> bool:
    if isinstance(value, (np.ndarray, np.generic)):
        return type(value) in (np.ndarray, type(value.dtype.type(0))) and value.dtype.kind in NUMPY_KINDS
    return value is None or isinstance(value, (*BUILTINS, torch.Tensor, HistoryBuffer))


# -- what the pickles of checkpoints may name --------------------------------------------------------------------------


STATISTICS = ('current', 'max', 'mean', 'min')


class _OneCycle:
    """Stands for mmengine's ``OneCycleParamScheduler`` in checkpoints, which name only its static methods."""


def _attribute(owner, name: str):
    """``getattr`` for the only uses that checkpoints make of it.

    A pickled ``HistoryBuffer`` names its own methods, a one-cycle schedule of a run by mmengine its annealing function.
    """
    if owner is HistoryBuffer and name in (*STATISTICS, *HistoryBuffer._statistics_methods):
        return getattr(HistoryBuffer, name)
    if owner is _OneCycle and name in ('_annealing_cos', '_annealing_linear'):
        return getattr(OneCycleParamScheduler, name)
    where = f'{getattr(owner, "__module__", "builtins")}.{getattr(owner, "__qualname__", type(owner).__name__)}'
    raise pickle.UnpicklingError(f'Unsupported global: GLOBAL {where}.{name}')


def _numpy_globals() -> list:
    dtypes = {type(np.dtype(scalar)) for scalar in np.sctypeDict.values() if np.dtype(scalar).kind in NUMPY_KINDS}
    multiarray = np._core.multiarray if hasattr(np, '_core') else np.core.multiarray
    # checkpoints written beside numpy 1 call the module numpy.core
    functions = [multiarray._reconstruct, multiarray.scalar]
    old_names = [(f, f'numpy.core.multiarray.{f.__name__}') for f in functions]
    return [np.ndarray, np.dtype, *dtypes, np.str_, np.bytes_, *functions, *old_names]


def harmless_globals() -> list:
    """The callables that torch's safe unpickler needs for what mmengine's hub, optimizers and schedulers store.

    None of it runs code of the file's.
    """
    scheduler = f'{OneCycleParamScheduler.__module__}.{OneCycleParamScheduler.__qualname__}'
    renamed = [(_attribute, 'builtins.getattr'), (_OneCycle, scheduler)]
    # empty bytes are pickled as a call of their class; scripts of torchvision and DETR store their command line
    return [HistoryBuffer, bytes, argparse.Namespace, *renamed, *_numpy_globals()]
