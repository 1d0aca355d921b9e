"""What users call: a detector from a config and a checkpoint, and its predictions for pictures and videos.

Each name is imported when it is asked for: importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

from mmdetlike.utils.imports import resting_collector

if TYPE_CHECKING:
    from mmdetlike.apis.deployed import Detector
    from mmdetlike.apis.detector import init_detector
    from mmdetlike.apis.inference import inference_detector
    from mmdetlike.apis.inferencer import DetInferencer
    from mmdetlike.apis.tta import with_tta
    from mmdetlike.models.optimize import optimize_model

__all__ = ['DetInferencer', 'Detector', 'inference_detector', 'init_detector', 'optimize_model', 'with_tta']

_MODULES = {
    'DetInferencer': 'mmdetlike.apis.inferencer',
    'Detector': 'mmdetlike.apis.deployed',
    'inference_detector': 'mmdetlike.apis.inference',
    'init_detector': 'mmdetlike.apis.detector',
    'optimize_model': 'mmdetlike.models.optimize',
    'with_tta': 'mmdetlike.apis.tta',
}


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    with resting_collector():
        return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
