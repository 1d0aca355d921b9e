"""Features of regions from all levels together: A novel Region of Interest Extraction Layer, arXiv 2004.13665."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.models.layers import build_plugin_layer
from mmdetlike.registry import MODELS

from .single_level_roi_extractor import RoIExtractor, scale_rois

AGGREGATIONS = ('sum', 'concat')


@MODELS.register_module()
class GenericRoIExtractor(RoIExtractor):
    """Pool each region from every level and add or stack the results.

    Args:
        aggregation: ``'sum'`` or ``'concat'`` over levels.
        pre_cfg: A plugin layer that runs on each level's result.
        post_cfg: A plugin layer that runs on the whole.
        kwargs: ``roi_layer``, ``out_channels`` and ``featmap_strides``, see ``SingleRoIExtractor``.

    Raises:
        ValueError: ``aggregation`` is unknown.
    """

    def __init__(
        self, aggregation: str = 'sum', pre_cfg: dict | None = None, post_cfg: dict | None = None, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        if aggregation not in AGGREGATIONS:
            raise ValueError(f'aggregation must be one of {AGGREGATIONS}, got {aggregation!r}')
        self.aggregation = aggregation
        self.pre_module = build_plugin_layer(pre_cfg, '_pre_module')[1] if pre_cfg else None
        self.post_module = build_plugin_layer(post_cfg, '_post_module')[1] if post_cfg else None

    def forward(self, feats: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """Pool regions.

        Args:
            feats: Maps (B, C, H_i, W_i), at least ``num_inputs`` of them, fine to coarse.
            rois: (n, 5) image index and xyxy in pixels.
            roi_scale_factor: Grow regions about their centre by this factor.

        Returns:
            (n, C, h, w), or (n, C * num_inputs, h, w) stacked.
        """
        if roi_scale_factor is not None:
            rois = scale_rois(rois, roi_scale_factor)
        pooled = [layer(feat, rois) for layer, feat in zip(self.roi_layers, feats)]
        if self.pre_module is not None:
            pooled = [self.pre_module(level) for level in pooled]
        out = sum(pooled[1:], pooled[0]) if self.aggregation == 'sum' else torch.cat(pooled, dim=1)
        return out if self.post_module is None else self.post_module(out)
