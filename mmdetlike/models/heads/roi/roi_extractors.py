"""Features of regions from the levels of a pyramid."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import build_plugin_layer
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import geometry
from mmdetlike_ops import RoIAlignRotated

AGGREGATIONS = ('sum', 'concat')


class RoIExtractor(BaseModule):
    """A pooling layer for each level of a pyramid.

    Args:
        roi_layer: Registered pooling layer, e.g. ``dict(type='RoIAlign', output_size=7)``, one for each level.
        out_channels: Channels of the feature maps.
        featmap_strides: Stride of each level used.

    Attributes:
        box_dim: Numbers of the boxes from which it pools: 4, or 5 where the layers take rotated ones.
    """

    def __init__(
        self,
        roi_layer: dict,
        out_channels: int,
        featmap_strides: Sequence[int],
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        layers = [MODELS.build(dict(roi_layer, spatial_scale=1 / stride)) for stride in featmap_strides]
        self.roi_layers = nn.ModuleList(layers)
        self.out_channels, self.featmap_strides = out_channels, featmap_strides
        is_rotated = any(isinstance(layer, RoIAlignRotated) for layer in self.roi_layers)
        self.box_dim = geometry.ROTATED if is_rotated else geometry.HORIZONTAL

    @property
    def num_inputs(self) -> int:
        """Number of levels used."""
        return len(self.featmap_strides)

    def forward(self, feats: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """Pool regions.

        Args:
            feats: Feature maps (B, C, H_i, W_i), at least ``num_inputs`` of them, fine to coarse.
            rois: (n, 5) image index and xyxy in pixels, or (n, 6) rotated boxes.
            roi_scale_factor: Grow regions about their center by this factor; their level stays.

        Returns:
            (n, C, h, w), h and w being the pooling layer's output size.
        """
        grown = rois if roi_scale_factor is None else scale_rois(rois, roi_scale_factor)
        return self.pool(feats[: self.num_inputs], grown, rois)

    def pool(self, feats: Sequence[Tensor], rois: Tensor, original_rois: Tensor) -> Tensor:
        """Features (n, C, h, w) of ``rois`` (n, 5), given those before they were grown."""
        raise NotImplementedError


@MODELS.register_module()
class SingleRoIExtractor(RoIExtractor):
    """Pool each region from the level chosen by its size: Feature Pyramid Networks, arXiv 1612.03144.

    Args:
        finest_scale: Regions smaller than this many pixels (square root of the area) go to the finest level, those
            twice as large to the next, and so on.
        roi_layer, out_channels, featmap_strides: As of ``RoIExtractor``.
    """

    def __init__(
        self,
        roi_layer: dict,
        out_channels: int,
        featmap_strides: Sequence[int],
        finest_scale: int = 56,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(roi_layer, out_channels, featmap_strides, init_cfg)
        self.finest_scale = finest_scale

    def map_roi_levels(self, rois: Tensor, num_levels: int) -> Tensor:
        """Level (n,) of each region of ``rois`` (n, 5)."""
        area = geometry.sizes(rois[:, 1:]).prod(-1).clamp(min=0)
        # equation 1 of FPN, with k0 counted from the finest level; 1e-6 keeps the logarithm of an empty region finite
        level = torch.floor(torch.log2(area.sqrt() / self.finest_scale + 1e-6))
        return level.clamp(min=0, max=num_levels - 1).long()

    def pool(self, feats: Sequence[Tensor], rois: Tensor, original_rois: Tensor) -> Tensor:
        """Features (n, C, h, w) of ``rois`` (n, 5); their level is that of the regions before they were grown."""
        if len(feats) == 1:
            return self.roi_layers[0](feats[0], rois)
        levels = self.map_roi_levels(original_rois, len(feats))
        pooled = [layer(feat, rois[levels == i]) for i, (layer, feat) in enumerate(zip(self.roi_layers, feats))]
        # regions stand level by level now: put them back in the order of `rois`
        return torch.cat(pooled)[levels.argsort(stable=True).argsort()]


def scale_rois(rois: Tensor, factor: float) -> Tensor:
    """Grow regions (n, 5) about their center."""
    return torch.cat([rois[:, :1], geometry.resized(rois[:, 1:], factor)], dim=1)


@MODELS.register_module()
class GenericRoIExtractor(RoIExtractor):
    """Pool each region from every level and add or stack the results: GRoIE, arXiv 2004.13665.

    Args:
        aggregation: ``'sum'`` or ``'concat'`` over levels.
        pre_cfg, post_cfg: Plugin layers that run on each level's result and on the whole.
        roi_layer, out_channels, featmap_strides: As of ``RoIExtractor``.

    Raises:
        ConfigError: ``aggregation`` is unknown.
    """

    def __init__(
        self,
        roi_layer: dict,
        out_channels: int,
        featmap_strides: Sequence[int],
        aggregation: str = 'sum',
        pre_cfg: dict | None = None,
        post_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(roi_layer, out_channels, featmap_strides, init_cfg)
        if aggregation not in AGGREGATIONS:
            raise ConfigError(f'aggregation must be one of {AGGREGATIONS}, got {aggregation!r}')
        self.aggregation = aggregation
        self.pre_module = build_plugin_layer(pre_cfg, '_pre_module')[1] if pre_cfg else None
        self.post_module = build_plugin_layer(post_cfg, '_post_module')[1] if post_cfg else None

    def pool(self, feats: Sequence[Tensor], rois: Tensor, original_rois: Tensor) -> Tensor:
        """Features (n, C, h, w), or (n, C * num_inputs, h, w) stacked."""
        pooled = [layer(feat, rois) for layer, feat in zip(self.roi_layers, feats)]
        if self.pre_module is not None:
            pooled = [self.pre_module(level) for level in pooled]
        out = sum(pooled[1:], pooled[0]) if self.aggregation == 'sum' else torch.cat(pooled, dim=1)
        return out if self.post_module is None else self.post_module(out)
