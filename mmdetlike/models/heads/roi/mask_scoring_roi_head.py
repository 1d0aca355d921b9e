"""Masks whose quality is predicted: Mask Scoring R-CNN, arXiv 1903.00241."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmdetlike.errors import ConfigError
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2roi

from .branches import MaskBranch, PositiveMasks
from .linear_layers import linear_layers, run_linear
from .mask_heads import masks_of_class
from .roi_head import StandardRoIHead

EPS = 1e-7
DEFAULT_LOSS = dict(type='MSELoss', loss_weight=0.5)
DEFAULT_INIT = [
    dict(type='Kaiming', override=dict(name='convs')),
    dict(type='Caffe2Xavier', override=dict(name='fcs')),
    dict(type='Normal', std=0.01, override=dict(name='fc_mask_iou')),
]


@MODELS.register_module()
class MaskIoUHead(BaseModule):
    """Convolutions and linear layers on region features and a mask, which predict the mask's overlap with its object.

    Args:
        num_convs: 3x3 convolutions, the last with stride 2.
        num_fcs, fc_out_channels: Hidden linear layers and their width.
        roi_feat_size: Height and width of region features; masks are twice as large.
        in_channels, conv_out_channels: Channels of region features and of the convolutions.
        num_classes: Classes without background.
        loss_iou: Loss of the overlaps.
    """

    def __init__(
        self,
        num_convs: int = 4,
        num_fcs: int = 2,
        roi_feat_size: int = 14,
        in_channels: int = 256,
        conv_out_channels: int = 256,
        fc_out_channels: int = 1024,
        num_classes: int = 80,
        loss_iou: dict = DEFAULT_LOSS,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or DEFAULT_INIT)
        self.num_classes = num_classes
        self.loss_iou = MODELS.build(loss_iou)
        widths = [in_channels + 1] + [conv_out_channels] * num_convs  # one more for the mask
        self.convs = nn.ModuleList(
            nn.Conv2d(width, conv_out_channels, 3, stride=2 if i == num_convs - 1 else 1, padding=1)
            for i, width in enumerate(widths[:num_convs])
        )
        height, width = (size // 2 for size in _pair(roi_feat_size))
        self.fcs, width = linear_layers(widths[-1] * height * width, fc_out_channels, num_fcs)
        self.fc_mask_iou = nn.Linear(width, num_classes)

    def forward(self, feats: Tensor, masks: Tensor) -> Tensor:
        """Overlaps (n, num_classes) of masks (n, 2h, 2w) in [0, 1] on region features (n, C, h, w)."""
        # to the size of the features, by a maximum, as the paper has it
        masks = F.max_pool2d(masks[:, None].to(feats.dtype), 2)
        x = torch.cat([feats, masks], dim=1)
        for conv in self.convs:
            x = F.relu(conv(x))
        return self.fc_mask_iou(run_linear(self.fcs, x.flatten(1)))

    def loss(self, pred: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """Loss of overlaps (p, num_classes) against ``targets`` (p,) of classes ``labels`` (p,).

        Masks that miss their object (target 0) take no part.
        """
        own = masks_of_class(float32_if_half(pred)[0], labels, class_agnostic=False)
        hits = targets > 0
        return self.loss_iou(own[hits], targets[hits]) if hits.any() else own.sum() * 0


class MaskScoringBranch(MaskBranch):
    """Masks by ``mask_head``, their overlap with the object by ``mask_iou_head``; scores are multiplied by it."""

    def compute_losses(
        self, stage: int, x: Sequence[Tensor], masks: PositiveMasks, samples: SampleList
    ) -> dict[str, Tensor]:
        """The mask loss, and the loss of the predicted overlaps."""
        losses = super().compute_losses(stage, x, masks, samples)
        logits = masks_of_class(masks.logits, masks.labels, self.regions.part('mask_head', stage).class_agnostic)
        logits = float32_if_half(logits)[0]
        pred = self.regions.mask_iou_head(masks.feats, logits.sigmoid())
        # the original's threshold acts on logits: trained weights expect the overlaps of these (smaller) masks
        threshold = self.regions.stage_cfgs[stage].mask_thr_binary
        targets = mask_ious(logits > threshold, masks.targets, visible_shares(masks.sampled, samples))
        return dict(losses, loss_mask_iou=self.regions.mask_iou_head.loss(pred, targets, masks.labels))

    def add_predictions(
        self, x: Sequence[Tensor], results: Sequence[InstanceData], samples: SampleList, rescale: bool
    ) -> None:
        """Put ``masks`` into the results and multiply ``scores`` by the predicted overlaps.

        Results stay in the order of the scores of their boxes.
        """
        probabilities = self.probabilities(x, results)
        self.paste(probabilities, results, samples, rescale)
        feats = self.regions.features(self.extractor, 0, x, bbox2roi([result.bboxes for result in results]))
        pred = float32_if_half(self.regions.mask_iou_head(feats, probabilities))[0]
        ious = masks_of_class(pred, torch.cat([result.labels for result in results]), class_agnostic=False)
        for result, of_image in zip(results, ious.split([len(result) for result in results])):
            result.scores = result.scores * of_image


def visible_shares(sampled: Sequence[SamplingResult], samples: SampleList) -> Tensor:
    """Which share (p,) of its object's mask lies within the region of each positive."""
    shares = []
    for result, sample in zip(sampled, samples):
        masks = sample.gt_instances.masks.to_ndarray()
        boxes = result.pos_priors.int().tolist()
        inside = [
            masks[gt, y1 : y2 + 1, x1 : x2 + 1].sum()
            for (x1, y1, x2, y2), gt in zip(boxes, result.pos_assigned_gt_inds.tolist())
        ]
        areas = torch.as_tensor(masks.sum((1, 2), dtype='float32'), device=result.priors.device)
        inside = torch.tensor(inside, dtype=torch.float32, device=result.priors.device)
        shares.append(inside / (areas[result.pos_assigned_gt_inds] + EPS))
    return torch.cat(shares)


def mask_ious(masks: Tensor, targets: Tensor, shares: Tensor) -> Tensor:
    """Overlap (p,) of masks (p, h, w) bool, within regions, with whole objects.

    Of an object a region shows a part only: ``targets`` (p, h, w) of 0 and 1, which is one of ``shares`` (p,) of it.
    """
    overlaps = (masks * targets).sum((1, 2))
    whole = targets.sum((1, 2)) / (shares + EPS)
    return overlaps / (masks.sum((1, 2)) + whole - overlaps).clamp(min=EPS)


@MODELS.register_module()
class MaskScoringRoIHead(StandardRoIHead):
    """A region head that predicts how well its masks fit, and scores objects by it too.

    Args:
        mask_iou_head: Predicts the overlap of a mask with its object.
        kwargs: See ``StandardRoIHead``; ``train_cfg`` has ``mask_thr_binary``, the threshold of the masks whose overlap
            is learned.

    Raises:
        ConfigError: There is no ``mask_head``.
    """

    mask_branch_class = MaskScoringBranch

    def __init__(self, mask_iou_head: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        if not self.with_mask:
            raise ConfigError('MaskScoringRoIHead scores masks, but there is no mask_head')
        self.mask_iou_head = MODELS.build(mask_iou_head)
