"""ATSS: Bridging the Gap Between Anchor-based and Anchor-free Detection, arXiv 1912.02424."""

from torch import Tensor, nn

from mmdetlike.models.layers import Scale
from mmdetlike.models.layers.tower import run_tower
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import bbox2distance

from ..common import rare_classes_init
from .anchor_head import TowerHead, box_centres
from .base import DenseTargets, FlatPredictions
from .centerness import centerness_target
from .fcos_head import DEFAULT_LOSS_CENTERNESS, DEFAULT_NORM


@MODELS.register_module()
class ATSSHead(TowerHead):
    """Classes, deltas and centerness of one anchor at every cell.

    Args:
        pred_kernel_size: Kernel of the convolutions that predict.
        reg_decoded_bbox: ``loss_bbox`` always sees decoded boxes.
        loss_centerness: Loss of centerness.
        kwargs: See ``TowerHead``.
    """

    map_names = ('cls_score', 'bbox_pred', 'centerness')
    default_init = rare_classes_init('atss_cls')

    def __init__(
        self,
        *args,
        pred_kernel_size: int = 3,
        norm_cfg: dict | None = DEFAULT_NORM,
        reg_decoded_bbox: bool = True,
        loss_centerness: dict = DEFAULT_LOSS_CENTERNESS,
        **kwargs,
    ) -> None:
        self.pred_kernel_size = pred_kernel_size
        super().__init__(*args, norm_cfg=norm_cfg, reg_decoded_bbox=reg_decoded_bbox, **kwargs)
        self.loss_centerness = MODELS.build(loss_centerness)

    def _init_layers(self) -> None:
        self.cls_convs, self.reg_convs = self._tower(), self._tower()
        self.atss_cls = self._predictors(self.cls_out_channels)
        self.atss_reg = self._predictors(4)
        self.atss_centerness = self._predictors(1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.prior_generator.strides)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes, deltas and centerness."""
        cls_feat, reg_feat = run_tower(self.cls_convs, x), run_tower(self.reg_convs, x)
        deltas = self.scales[level](self.atss_reg(reg_feat)).float()
        return self.atss_cls(cls_feat), deltas, self.atss_centerness(reg_feat)

    def losses(self, preds: FlatPredictions, priors: Tensor, targets: DenseTargets) -> dict[str, list[Tensor]]:
        """``cls`` over all anchors, ``bbox`` and ``centerness`` over the positives, one value a level."""
        deltas, anchors = preds.bbox_pred.flatten(0, 1)[targets.pos_inds], targets.pos_priors
        logits = preds.centerness.flatten()[targets.pos_inds]
        boxes, gt_boxes = self.bbox_coder.decode(anchors, deltas), targets.pos_gt_bboxes
        centerness = centerness_target(bbox2distance(box_centres(anchors), gt_boxes))

        def centerness_loss(rows: slice, pos: Tensor) -> Tensor:
            return self.loss_centerness(logits[pos], centerness[pos], avg_factor=targets.avg_factor)

        return self.level_losses(preds, targets, boxes, gt_boxes, centerness, centerness=centerness_loss)
