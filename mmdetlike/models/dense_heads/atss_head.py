"""ATSS: Bridging the Gap Between Anchor-based and Anchor-free Detection, arXiv 1912.02424."""

from torch import Tensor, nn

from mmdetlike.models.layers import Scale
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import bbox2distance
from mmdetlike.utils.dist import mean_over_ranks

from .anchor_head import AnchorHead, box_centres
from .dense_head import DenseTargets, FlatPredictions
from .fcos_head import DEFAULT_LOSS_CENTERNESS, DEFAULT_NORM, centerness_target
from .tower import build_tower, run_tower


@MODELS.register_module()
class ATSSHead(AnchorHead):
    """Classes, deltas and centerness of one anchor at every cell.

    Args:
        num_classes: Classes without background.
        in_channels: Channels of the pyramid maps.
        pred_kernel_size: Kernel of the convolutions that predict.
        stacked_convs: Convolutions in each tower.
        conv_cfg: Convolution layer of the towers.
        norm_cfg: Norm layer of the towers.
        reg_decoded_bbox: ``loss_bbox`` always sees decoded boxes.
        loss_centerness: Loss of centerness.
        init_cfg: Weight initialisation; by default classes start at a probability of 0.01.
        kwargs: See ``AnchorHead``.
    """

    map_names = ('cls_score', 'bbox_pred', 'centerness')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        pred_kernel_size: int = 3,
        stacked_convs: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = DEFAULT_NORM,
        reg_decoded_bbox: bool = True,
        loss_centerness: dict = DEFAULT_LOSS_CENTERNESS,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        self.pred_kernel_size, self.stacked_convs = pred_kernel_size, stacked_convs
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        prior = dict(type='Normal', name='atss_cls', std=0.01, bias_prob=0.01)
        super().__init__(
            num_classes,
            in_channels,
            reg_decoded_bbox=reg_decoded_bbox,
            init_cfg=init_cfg or dict(type='Normal', layer='Conv2d', std=0.01, override=prior),
            **kwargs,
        )
        self.loss_centerness = MODELS.build(loss_centerness)

    def _init_layers(self) -> None:
        tower = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)
        widths = self.in_channels, self.feat_channels, self.stacked_convs
        self.cls_convs, self.reg_convs = build_tower(*widths, **tower), build_tower(*widths, **tower)
        kernel = dict(kernel_size=self.pred_kernel_size, padding=self.pred_kernel_size // 2)
        self.atss_cls = nn.Conv2d(self.feat_channels, self.num_base_priors * self.cls_out_channels, **kernel)
        self.atss_reg = nn.Conv2d(self.feat_channels, self.num_base_priors * 4, **kernel)
        self.atss_centerness = nn.Conv2d(self.feat_channels, self.num_base_priors, **kernel)
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
        weight = max(mean_over_ranks(float(centerness.sum()), centerness.device), 1.0)
        terms = dict(cls=[], bbox=[], centerness=[])
        for rows, pos in self.levels(preds, targets.pos_inds):
            terms['cls'].append(self.class_loss(preds, targets, rows))
            terms['bbox'].append(self.loss_bbox(boxes[pos], gt_boxes[pos], centerness[pos], avg_factor=weight))
            terms['centerness'].append(
                self.loss_centerness(logits[pos], centerness[pos], avg_factor=targets.avg_factor)
            )
        return terms

    def score_factors(self, preds: FlatPredictions) -> Tensor:
        """Centerness (B, N) in [0, 1]."""
        return preds.centerness.squeeze(-1).sigmoid()
