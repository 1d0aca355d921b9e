"""Decorators of ``mmcv`` and ``mmdet``, whose work is done elsewhere here."""

import functools
from collections.abc import Callable, Sequence

from mmdetlike.structures.bbox import BaseBoxes, HorizontalBoxes

BOX_FIELDS = ('gt_bboxes', 'proposals')


def auto_fp16(apply_to: Sequence[str] | None = None, out_fp32: bool = False, supported_types=None) -> Callable:
    """A decorator that changes nothing: mixed precision is torch's autocast, which ``AmpOptimWrapper`` switches on."""
    return _unchanged


def force_fp32(apply_to: Sequence[str] | None = None, out_fp16: bool = False) -> Callable:
    """A decorator that changes nothing; see ``auto_fp16``."""
    return _unchanged


def cache_randomness(method: Callable) -> Callable:
    """Nothing is to be cached: ``TransformBroadcaster`` repeats the state of the random generators."""
    return method


def avoid_cache_randomness(cls: type) -> type:
    """See ``cache_randomness``."""
    return cls


def autocast_box_type(dst_box_type: str = 'hbox') -> Callable:
    """A decorator of ``transform`` methods that turns arrays and tensors of boxes (n, 4) in a sample into box objects.

    Args:
        dst_box_type: ``'hbox'``; other kinds of boxes come from ``LoadAnnotations(box_type=...)``.
    """

    def decorate(method: Callable) -> Callable:
        @functools.wraps(method)
        def transform(self, results: dict, *args, **kwargs):
            for field in BOX_FIELDS:
                if results.get(field) is not None and not isinstance(results[field], BaseBoxes):
                    results[field] = HorizontalBoxes(results[field])
            return method(self, results, *args, **kwargs)

        return transform

    return decorate


def jit(func: Callable | None = None, **settings) -> Callable:
    """A decorator, with or without settings, that changes nothing: that of ``mmcv`` compiled for another library."""
    return _unchanged if func is None else func


def _unchanged(function: Callable) -> Callable:
    return function
