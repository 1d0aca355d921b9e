from . import (
    backbones,
    data_preprocessors,
    dense_heads,
    detectors,
    layers,
    losses,
    necks,
    roi_heads,
    seg_heads,
    task_modules,
    utils,
)

__all__ = [
    'backbones',
    'data_preprocessors',
    'dense_heads',
    'detectors',
    'layers',
    'losses',
    'necks',
    'roi_heads',
    'seg_heads',
    'task_modules',
    'utils',
]
