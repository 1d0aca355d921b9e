"""Let code that imports ``mmcv`` and ``mmdet`` run on ours, where these packages are not installed.

One import opts in::

    import mmdetlike.compat.openmmlab

    from mmcv.ops import nms
    from mmdet.registry import MODELS

What is offered is in ``table``. A package that is installed is never shadowed: its own modules are imported as before.
"""

from .finder import install, stand_ins
from .table import MODULES

__all__ = ['MODULES', 'install', 'stand_ins']

install()
