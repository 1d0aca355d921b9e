"""ATSS: Bridging the Gap Between Anchor-based and Anchor-free Detection, arXiv 1912.02424."""

from torch import Tensor, nn

from mmdetlike.models.layers import Scale, build_two_towers
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2distance

from ..common import BINARY_CROSS_ENTROPY, TOWER_NORM, loss_normalizer, rare_classes_init, require_decoded_boxes
from .anchor_head import DEFAULT_ANCHORS, DELTA_CODER, SMOOTH_L1_LOSS
from .base import DenseHead
from .fcos_head import centerness_target
from .predictions import DenseTargets, FlatPredictions, LossTerms, positive_term


@MODELS.register_module()
class ATSSHead(DenseHead):
    """Predict classes, deltas and centerness of the anchors, from two towers; one anchor at a cell is enough.

    Args:
        stacked_convs: Convolutions in each of the two towers.
        conv_cfg, norm_cfg: Convolution and norm layer of the towers.
        pred_kernel_size: Kernel of the convolutions that predict.
        anchor_generator: Makes the anchors, one at a cell.
        reg_decoded_bbox: Must be True: ``loss_bbox`` sees decoded boxes.
        loss_bbox: Loss of boxes in pixels.
        loss_centerness: Loss of centerness.
        num_classes, in_channels, feat_channels, bbox_coder, loss_cls: As of ``DenseHead``.
        train_cfg, test_cfg, init_cfg: As of ``DenseHead``.

    Raises:
        ValueError: ``reg_decoded_bbox`` is False.
    """

    map_names = ('cls_score', 'bbox_pred', 'centerness')
    default_init = rare_classes_init('atss_cls')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = TOWER_NORM,
        pred_kernel_size: int = 3,
        anchor_generator: dict = DEFAULT_ANCHORS,
        bbox_coder: dict = DELTA_CODER,
        reg_decoded_bbox: bool = True,
        loss_cls: dict = BINARY_CROSS_ENTROPY,
        loss_bbox: dict = SMOOTH_L1_LOSS,
        loss_centerness: dict = BINARY_CROSS_ENTROPY,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        require_decoded_boxes(type(self), reg_decoded_bbox)
        self.stacked_convs, self.pred_kernel_size = stacked_convs, pred_kernel_size
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        boxes = dict(prior_generator=anchor_generator, bbox_coder=bbox_coder)
        losses = dict(loss_cls=loss_cls, loss_bbox=loss_bbox)
        settings = dict(train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init_cfg)
        super().__init__(num_classes, in_channels, feat_channels, **boxes, **losses, **settings)
        self.loss_centerness = MODELS.build(loss_centerness)

    def build_layers(self) -> None:
        tower = (self.in_channels, self.feat_channels, self.stacked_convs, self.conv_cfg, self.norm_cfg)
        self.cls_convs, self.reg_convs = build_two_towers(*tower)
        self.atss_cls = self.build_predictor(self.cls_out_channels, self.pred_kernel_size)
        self.atss_reg = self.build_predictor(4, self.pred_kernel_size)
        self.atss_centerness = self.build_predictor(1, self.pred_kernel_size)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.prior_generator.strides)

    def predict_maps(self, level: int, cls_feat: Tensor, reg_feat: Tensor) -> tuple[Tensor, ...]:
        # one learned factor a level: convolutions are shared, and levels differ in the size of deltas
        deltas = self.scales[level](self.atss_reg(reg_feat)).float()
        return self.atss_cls(cls_feat), deltas, self.atss_centerness(reg_feat)

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> LossTerms:
        """``cls`` over all anchors, ``bbox`` and ``centerness`` over the positives, one value a level."""
        gt_boxes = targets.pos_gt_bboxes
        boxes = self.bbox_coder.decode(targets.pos_priors.boxes, preds.bbox_pred.flatten(0, 1)[targets.pos_inds])
        logits = preds.centerness.flatten()[targets.pos_inds]
        centerness = centerness_target(bbox2distance(targets.pos_priors.points, gt_boxes))
        # boxes count by their centerness, so that is what their loss is divided by
        box_factor = loss_normalizer(centerness)
        terms = dict(
            cls=self.class_term(preds, targets),
            bbox=positive_term(self.loss_bbox, boxes, gt_boxes, centerness, avg_factor=box_factor),
            centerness=positive_term(self.loss_centerness, logits, centerness, avg_factor=targets.avg_factor),
        )
        return self.losses_by_level(preds, targets, **terms)
