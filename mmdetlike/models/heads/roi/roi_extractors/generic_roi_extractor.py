"""Features of regions from all levels together: A novel Region of Interest Extraction Layer, arXiv 2004.13665."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import build_plugin_layer
from mmdetlike.registry import MODELS

from .single_level_roi_extractor import RoIExtractor

AGGREGATIONS = ('sum', 'concat')


@MODELS.register_module()
class GenericRoIExtractor(RoIExtractor):
    """Pool each region from every level and add or stack the results.

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
