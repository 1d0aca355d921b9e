"""Masks by kernels that queries make: Instances as Queries, arXiv 2105.01928."""

import torch
from torch import Tensor

from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.utils.dist import mean_over_ranks

from ..bbox_heads.dii_head import DEFAULT_DYNAMIC_CONV as DYNAMIC_CONV_OF_BOXES
from .fcn_mask_head import FCNMaskHead, masks_of_class

DEFAULT_DYNAMIC_CONV = dict(DYNAMIC_CONV_OF_BOXES, input_feat_shape=14, with_proj=False)
DEFAULT_LOSS = dict(type='DiceLoss', loss_weight=8.0)
DEFAULT_NORM = dict(type='BN')


@MODELS.register_module()
class DynamicMaskHead(FCNMaskHead):
    """An ``FCNMaskHead`` on region features that each query has filtered with a kernel of its own.

    Args:
        dynamic_conv_cfg: The layer that filters.
        norm_cfg: As of ``FCNMaskHead``.
        loss_mask: Loss of the probabilities of each query's own mask.
    """

    def __init__(
        self,
        dynamic_conv_cfg: dict = DEFAULT_DYNAMIC_CONV,
        norm_cfg: dict | None = DEFAULT_NORM,
        loss_mask: dict = DEFAULT_LOSS,
        **kwargs,
    ) -> None:
        super().__init__(norm_cfg=norm_cfg, loss_mask=loss_mask, **kwargs)
        self.instance_interactive_conv = MODELS.build(dynamic_conv_cfg)

    def forward(self, roi_feat: Tensor, proposal_feat: Tensor) -> Tensor:
        """Mask logits (n, num_classes or 1, 2h, 2w) of region features (n, C, h, w) and queries (n, C)."""
        # the layer puts out the cells of a region in a row: (n, cells, C)
        filtered = self.instance_interactive_conv(proposal_feat, roi_feat)
        return super().forward(filtered.transpose(1, 2).reshape(roi_feat.shape))

    def loss(self, mask_preds: Tensor, mask_targets: Tensor, labels: Tensor) -> Tensor:
        mask_preds = float32_if_half(mask_preds)[0]
        avg_factor = mean_over_ranks(len(labels), labels.device, least=1.0)
        if not len(mask_preds):
            return mask_preds.sum()
        own = masks_of_class(mask_preds, labels, self.class_agnostic)
        return self.loss_mask(torch.sigmoid(own), mask_targets, avg_factor=avg_factor)
