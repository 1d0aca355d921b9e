"""YOLOF: You Only Look One-level Feature, arXiv 2103.09460."""

import torch
from torch import Tensor, nn

from mmdetlike.models.layers import build_tower
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import get_box_tensor

from ..common import BATCH_NORM, BINARY_CROSS_ENTROPY, rare_classes_init, require_decoded_boxes
from .anchor_head import DEFAULT_ANCHORS, DELTA_CODER, SMOOTH_L1_LOSS, AnchorHead
from .predictions import DenseTargets, FlatPredictions, among_all

# keeps the exponentials of large logits finite
LARGEST_ODDS = 1e8


@MODELS.register_module()
class YOLOFHead(AnchorHead):
    """Predict classes, deltas and objectness of anchors of all sizes on a single feature map.

    Args:
        in_channels: Channels of the map.
        num_cls_convs, num_reg_convs: Convolutions before the classes, and before deltas and objectness.
        norm_cfg: Norm layer of these.
        reg_decoded_bbox: Must be True: ``loss_bbox`` sees decoded boxes.
        num_classes, feat_channels, anchor_generator, bbox_coder, loss_cls, loss_bbox: As of ``AnchorHead``.
        train_cfg, test_cfg, init_cfg: As of ``DenseHead``.

    Raises:
        ValueError: ``reg_decoded_bbox`` is False.
    """

    default_init = rare_classes_init('cls_score')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_cls_convs: int = 2,
        num_reg_convs: int = 4,
        norm_cfg: dict | None = BATCH_NORM,
        reg_decoded_bbox: bool = True,
        feat_channels: int = 256,
        anchor_generator: dict = DEFAULT_ANCHORS,
        bbox_coder: dict = DELTA_CODER,
        loss_cls: dict = BINARY_CROSS_ENTROPY,
        loss_bbox: dict = SMOOTH_L1_LOSS,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        require_decoded_boxes(type(self), reg_decoded_bbox)
        self.num_cls_convs, self.num_reg_convs, self.norm_cfg = num_cls_convs, num_reg_convs, norm_cfg
        boxes = dict(anchor_generator=anchor_generator, bbox_coder=bbox_coder, reg_decoded_bbox=reg_decoded_bbox)
        losses = dict(loss_cls=loss_cls, loss_bbox=loss_bbox)
        settings = dict(train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init_cfg)
        super().__init__(num_classes, in_channels, feat_channels, **boxes, **losses, **settings)

    def build_layers(self) -> None:
        width = self.in_channels
        count = self.num_base_priors
        self.cls_subnet = nn.Sequential(*build_tower(width, width, self.num_cls_convs, norm_cfg=self.norm_cfg))
        self.bbox_subnet = nn.Sequential(*build_tower(width, width, self.num_reg_convs, norm_cfg=self.norm_cfg))
        self.cls_score = nn.Conv2d(width, count * self.num_classes, 3, padding=1)
        self.bbox_pred = nn.Conv2d(width, count * 4, 3, padding=1)
        self.object_pred = nn.Conv2d(width, count, 3, padding=1)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps: classes, whose logits have those of objectness in them, and deltas."""
        reg_feat = self.bbox_subnet(x)
        classes = self.cls_score(self.cls_subnet(x)).unflatten(1, (self.num_base_priors, -1)).float()
        objectness = self.object_pred(reg_feat)[:, :, None].float()
        # the logit of the product of both probabilities, so that losses and scores take it as an ordinary class logit
        odds = classes.exp().clamp(max=LARGEST_ODDS) + objectness.exp().clamp(max=LARGEST_ODDS)
        return (classes + objectness - odds.log1p()).flatten(1, 2), self.bbox_pred(reg_feat)

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> dict[str, Tensor]:
        """``cls`` over all anchors, ``bbox`` over all matches: an anchor may learn several boxes."""
        boxes = []
        gt_boxes = []
        for i, (sample, sampling) in enumerate(zip(samples, targets.samplings)):
            of_image = preds.of_image(i)
            rows, objects = sampling.assign_result.matches.unbind(1)
            usable = self.usable_priors(preds, of_image.priors, sample)
            boxes.append(self.decode(of_image, 0, among_all(usable, rows), None))
            gt_boxes.append(get_box_tensor(self.gt_instances(sample).bboxes)[objects])
        return dict(
            cls=self.class_loss(preds, targets, slice(None)),
            bbox=self.loss_bbox(torch.cat(boxes), torch.cat(gt_boxes), avg_factor=targets.avg_factor),
        )
