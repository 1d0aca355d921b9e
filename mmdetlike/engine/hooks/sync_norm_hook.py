"""Averaging batch norms over processes."""

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from torch.nn.modules.batchnorm import _NormBase

from mmdetlike.registry import HOOKS


@HOOKS.register_module()
class SyncNormHook(Hook):
    """Average the parameters and running statistics of batch norms over processes before every validation."""

    def before_val_epoch(self, runner) -> None:
        """Average over all processes; with a single one nothing changes."""
        if get_world_size() == 1:
            return
        with torch.no_grad():
            for module in runner.model.modules():
                if isinstance(module, _NormBase):
                    for value in module.state_dict().values():
                        if value.is_floating_point():
                            all_reduce(value, op='mean')
