"""Balanced feature pyramid: Libra R-CNN: Towards Balanced Learning for Object Detection, arXiv 1904.02701."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule, build_plugin_layer
from mmdetlike.registry import MODELS

from .inputs import check_number

REFINE_TYPES = (None, 'conv', 'non_local')


@MODELS.register_module()
class BFP(BaseModule):
    """Add to every level of a pyramid the mean of all levels, refined, so that each has semantics and detail.

    Args:
        in_channels, num_levels: Channels of every map and number of maps.
        refine_level: The level at whose size the mean is taken.
        refine_type: ``'conv'`` for a 3x3 convolution, ``'non_local'`` for a non-local block, None for neither.
        conv_cfg, norm_cfg: Convolution and norm layer.

    Raises:
        ValueError: ``refine_type`` is unknown or ``refine_level`` not below ``num_levels``.
    """

    def __init__(
        self,
        in_channels: int,
        num_levels: int,
        refine_level: int = 2,
        refine_type: str | None = None,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Xavier', layer='Conv2d', distribution='uniform'))
        if refine_type not in REFINE_TYPES:
            raise ValueError(f'refine_type must be one of {REFINE_TYPES}, got {refine_type!r}')
        if not 0 <= refine_level < num_levels:
            raise ValueError(f'refine_level must be in 0 to num_levels - 1 = {num_levels - 1}, got {refine_level}')
        self.num_levels, self.refine_level = num_levels, refine_level
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        self.refine: nn.Module = nn.Identity()
        if refine_type == 'conv':
            self.refine = ConvModule(in_channels, in_channels, 3, padding=1, **layers)
        elif refine_type == 'non_local':
            non_local = dict(type='NonLocal2d', in_channels=in_channels, reduction=1, use_scale=False, **layers)
            self.refine = build_plugin_layer(non_local)[1]

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (B, C, H_i, W_i), fine to coarse -> maps of the same shapes."""
        check_number(self, inputs, self.num_levels)
        # gathered at one size: finer levels are pooled, coarser ones enlarged
        size = inputs[self.refine_level].shape[2:]
        is_finer = [i < self.refine_level for i in range(self.num_levels)]
        mean = sum(resized(x, size, shrink=finer) for x, finer in zip(inputs, is_finer)) / len(inputs)
        refined = self.refine(mean)
        # and scattered back, the other way round
        return tuple(x + resized(refined, x.shape[2:], shrink=not finer) for x, finer in zip(inputs, is_finer))


def resized(x: Tensor, size: Sequence[int], shrink: bool) -> Tensor:
    """``x`` at another size: the maximum of the pixels that fall together, or the nearest one."""
    return F.adaptive_max_pool2d(x, size) if shrink else F.interpolate(x, size=size, mode='nearest')
