"""Functions of ``mmcv.runner`` and ``mmdet.apis`` that mmengine has otherwise."""

from collections.abc import Mapping

import torch
from mmengine.dist import sync_random_seed
from mmengine.optim import build_optim_wrapper
from mmengine.runner import load_checkpoint as load_by_mmengine
from torch import nn

from mmdetlike.utils.setup_env import bootstrap


def build_optimizer(model: nn.Module, cfg: Mapping) -> torch.optim.Optimizer:
    """The optimizer of a model.

    Args:
        model: Whose parameters it steps.
        cfg: ``type`` and arguments of the optimizer; ``paramwise_cfg`` and ``constructor`` as in 2.x.
    """
    optimizer = dict(cfg)
    wrapper = {key: optimizer.pop(key) for key in ('paramwise_cfg', 'constructor') if key in optimizer}
    if wrapper.get('constructor') == 'DefaultOptimizerConstructor':
        wrapper['constructor'] = 'DefaultOptimWrapperConstructor'
    return build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=optimizer, **wrapper)).optimizer


def load_checkpoint(model: nn.Module, filename: str, map_location=None, strict: bool = False, **kwargs) -> dict:
    """Load a checkpoint into a model, without running code that the file may hold.

    Args:
        model: Takes what fits.
        filename: File or URL.
        map_location: Where the tensors go first.
        strict: Whether all names must fit.
        kwargs: ``logger`` and ``revise_keys`` of ``mmengine.runner.load_checkpoint``.

    Returns:
        What the file holds.
    """
    bootstrap()
    return load_by_mmengine(model, filename, map_location, strict, **kwargs)


def init_random_seed(seed: int | None = None, device: str = 'cuda') -> int:
    """The seed that is given, or one that was drawn, the same in all processes; ``device`` has no meaning here."""
    return sync_random_seed() if seed is None else seed
