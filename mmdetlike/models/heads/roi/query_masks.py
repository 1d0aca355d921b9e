"""Masks of queries: Instances as Queries, arXiv 2105.01928."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2roi
from mmdetlike.utils.dist import mean_over_ranks

from .bbox_heads.dii_head import DEFAULT_DYNAMIC_CONV as DYNAMIC_CONV_OF_BOXES
from .branches import MaskBranch
from .mask_heads import FCNMaskHead, masks_of_class
from .stage import StageOutputs

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


class QueryMaskBranch(MaskBranch):
    """Masks by ``mask_head`` from the features of a query's box and the query itself."""

    def loss(
        self,
        stage: int,
        x: Sequence[Tensor],
        sampled: Sequence[SamplingResult],
        outs: StageOutputs,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """Mask loss of the matched queries, in the boxes that this stage predicts."""
        head = self.regions.part('mask_head', stage)
        of_images = outs.preds.attended.split(outs.counts)
        queries = torch.cat([image[result.pos_inds] for image, result in zip(of_images, sampled)])
        logits = head(self.features_of_positives(stage, x, sampled), queries)
        labels = torch.cat([result.pos_gt_labels for result in sampled])
        return dict(loss_mask=head.loss(logits, self.targets(stage, sampled, samples), labels))

    def probabilities(self, x: Sequence[Tensor], results: Sequence[InstanceData]) -> Tensor:
        """Masks (n, h, w) in [0, 1] of the boxes of all images by the last stage, each of its own class."""
        rois = bbox2roi([result.bboxes for result in results])
        logits = self.last_logits(x, rois, torch.cat([result.query_features for result in results]))
        labels = torch.cat([result.labels for result in results])
        return float32_if_half(masks_of_class(logits, labels, self.regions.mask_head[-1].class_agnostic))[0].sigmoid()

    def raw(self, x: Sequence[Tensor], outs: StageOutputs) -> list[Tensor]:
        """Mask logits (n, C, h, w) of all queries in the boxes that the last stage predicts."""
        image_inds = outs.rois[:, :1]
        return [self.last_logits(x, torch.cat([image_inds, outs.preds.bboxes], dim=1), outs.preds.attended)]

    def last_logits(self, x: Sequence[Tensor], rois: Tensor, queries: Tensor) -> Tensor:
        """Mask logits (n, C, h, w) of the last stage for regions (n, 5) and queries (n, C)."""
        last = self.regions.num_stages - 1
        return self.regions.mask_head[last](self.regions.features(self.extractor, last, x, rois), queries)
