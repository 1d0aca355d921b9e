"""Checks of ``test_cfg``, the settings of prediction, made before a model predicts."""

import math
from collections.abc import Iterator

import torch

from mmdetlike.errors import ConfigError
from mmdetlike_ops import batched_nms

# numbers of the boxes that each kind of suppression takes; heads of one's own may have other kinds
_SUPPRESSIONS = {'nms': 4, 'soft_nms': 4, 'nms_rotated': 5, 'nms_quadri': 8}
_MAY_BE_ABSENT = ('nms_pre', 'min_bbox_size')
_COUNTS = ('nms_pre', 'max_per_img')
_LIMITS = ('nms_pre', 'max_per_img', 'min_bbox_size', 'drop_small')
_THRESHOLDS = ('max_num', 'score_thr', 'iou_threshold', 'mask_thr', 'mask_thr_binary', 'filter_thr')


def check_test_cfg(model_cfg: dict) -> None:
    """Make sure that thresholds and limits in every ``test_cfg`` of a model are numbers, and suppressions known.

    Args:
        model_cfg: The model's config.

    Raises:
        ConfigError: One is something else, such as text; the message has its dotted key.
    """
    for key, value in _settings(model_cfg, 'model'):
        path = key.split('.')
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)
        is_absent = value is None and path[-1] in _MAY_BE_ABSENT
        if 'test_cfg' in path and path[-1] in (*_LIMITS, *_THRESHOLDS) and not (is_number or is_absent):
            raise ConfigError(f'{key} must be a number, got the {type(value).__name__} {value!r}')
        if 'test_cfg' in path and path[-1] == 'return_all_scores' and not isinstance(value, bool):
            raise ConfigError(f'{key} must be True or False, got {value!r}')
        if 'test_cfg' in path and path[-1] in _COUNTS and is_number and not float(value).is_integer():
            raise ConfigError(f'{key}={value!r}: expected a whole number')
        if 'test_cfg' in path and path[-1] == 'max_per_img' and is_number and value == 0:
            raise ConfigError(f'{key}=0 would not mean none: write -1 for all predictions, or a number of at least 1')
    for key, settings in _suppressions(model_cfg, 'model'):
        _try_suppression(key, settings)


def _settings(cfg, key: str) -> Iterator[tuple[str, object]]:
    """Dotted keys and values of a config that are no dicts."""
    if isinstance(cfg, dict):
        for name, value in cfg.items():
            yield from _settings(value, f'{key}.{name}')
    elif isinstance(cfg, (list, tuple)) and any(isinstance(entry, dict) for entry in cfg):
        for i, value in enumerate(cfg):
            yield from _settings(value, f'{key}.{i}')
    else:
        yield key, cfg


def _suppressions(cfg, key: str) -> Iterator[tuple[str, dict]]:
    """Dotted keys and values of all that is called ``nms``."""
    if isinstance(cfg, dict):
        for name, value in cfg.items():
            if name == 'nms' and isinstance(value, dict):
                yield f'{key}.nms', value
            yield from _suppressions(value, f'{key}.{name}')
    elif isinstance(cfg, (list, tuple)):
        for i, value in enumerate(cfg):
            yield from _suppressions(value, f'{key}.{i}')


def _try_suppression(key: str, settings: dict) -> None:
    """Run a suppression on no boxes: wrong arguments are refused all the same."""
    columns = _SUPPRESSIONS.get(settings.get('type', 'nms'))
    if columns is None:
        return
    try:
        batched_nms(torch.zeros(0, columns), torch.zeros(0), torch.zeros(0, dtype=torch.long), dict(settings))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f'{key}={dict(settings)}: {str(error).splitlines()[0]}') from error
