"""Detectors that look at several versions of each picture."""

import copy

from torch import nn

from mmdetlike.engine.test_time_aug import augment_test
from mmdetlike.registry import MODELS


def with_tta(model: nn.Module, tta: bool | dict = True) -> nn.Module:
    """Let a detector of ``init_detector`` look at several versions of each picture (test-time augmentation).

    Versions are those of the config's ``tta_pipeline``, or else the picture as it is and mirrored; they are joined as
    its ``tta_model`` says.

    Args:
        model: The detector; it is wrapped, not copied.
        tta: True, or a ``tta_cfg`` in place of the config's: see `DetTTAModel`.

    Returns:
        A model that ``inference_detector`` takes.

    Raises:
        ConfigError: The test pipeline of the config doesn't end with ``PackDetInputs``, or a setting is unknown.
    """
    cfg = copy.deepcopy(model.cfg)
    augment_test(cfg)
    settings = dict(cfg.model, module=model)
    if isinstance(tta, dict):
        settings['tta_cfg'] = tta
    wrapped = MODELS.build(settings)
    wrapped.cfg = cfg
    wrapped.dataset_meta = model.dataset_meta
    return wrapped.eval()
