"""Side-Aware Boundary Localization for More Precise Object Detection, arXiv 1912.04260."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule, run_tower
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS, TASK_UTILS

from ..linear_layers import linear_layers, run_linear
from .region_head import RegionHead

DEFAULT_CODER = dict(type='BucketingBBoxCoder', num_buckets=14, scale_factor=1.7)
DEFAULT_LOSS_CLS = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)
DEFAULT_LOSS_BBOX_CLS = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)
DEFAULT_LOSS_BBOX_REG = dict(type='SmoothL1Loss', beta=0.1, loss_weight=1.0)
PREDICTORS = ('reg_conv_att_x', 'reg_conv_att_y', 'fc_reg_cls', 'fc_cls')
HIDDEN_LAYERS = ('cls_fcs', 'reg_cls_fcs', 'reg_offset_fcs')
DEFAULT_INIT = dict(
    type='Xavier',
    layer='ConvTranspose1d',
    distribution='uniform',
    override=[
        *(dict(type='Normal', std=0.01, name=name) for name in PREDICTORS),
        dict(type='Normal', std=0.001, name='fc_reg_offset'),
        *(dict(type='Xavier', name=name, distribution='uniform') for name in HIDDEN_LAYERS),
    ],
)

# class logits (n, num_classes + 1), bucket logits and offsets (n, 4 * buckets of a side)
SidePreds = tuple[Tensor, Tensor, Tensor]


@MODELS.register_module()
class SABLHead(RegionHead):
    """Linear layers for classes; for each side of a box, a bucket that it lies in and an offset from its middle.

    Args:
        cls_in_channels, reg_in_channels: Channels of region features, equal: classes and sides see one set of them.
        roi_feat_size: Their height and width.
        reg_feat_up_ratio: Features along an axis are upsampled by this factor, to one cell a bucket.
        reg_pre_kernel, reg_pre_num: Kernel and number of the convolutions before features are pooled along an axis.
        reg_post_kernel, reg_post_num: Kernel and number of those after that.
        cls_out_channels, num_cls_fcs: Width and number of the linear layers for classes.
        reg_offset_out_channels, reg_cls_out_channels: Width of the linear layers for offsets and of those for buckets.
        num_reg_fcs: Number of the linear layers for offsets and of those for buckets.
        reg_class_agnostic: Must be True: sides don't depend on classes.
        norm_cfg: Norm layer of the convolutions.
        bbox_coder: A ``BucketingBBoxCoder``.
        num_classes, loss_cls: As of ``RegionHead``.
        loss_bbox_cls, loss_bbox_reg: Loss of bucket logits and loss of offsets.

    Raises:
        ConfigError: The channels differ, boxes are to depend on classes, or cells and buckets differ in number.
    """

    def __init__(
        self,
        num_classes: int,
        cls_in_channels: int = 256,
        reg_in_channels: int = 256,
        roi_feat_size: int = 7,
        reg_feat_up_ratio: int = 2,
        reg_pre_kernel: int = 3,
        reg_post_kernel: int = 3,
        reg_pre_num: int = 2,
        reg_post_num: int = 1,
        cls_out_channels: int = 1024,
        reg_offset_out_channels: int = 256,
        reg_cls_out_channels: int = 256,
        num_cls_fcs: int = 1,
        num_reg_fcs: int = 0,
        reg_class_agnostic: bool = True,
        norm_cfg: dict | None = None,
        bbox_coder: dict = DEFAULT_CODER,
        loss_cls: dict = DEFAULT_LOSS_CLS,
        loss_bbox_cls: dict = DEFAULT_LOSS_BBOX_CLS,
        loss_bbox_reg: dict = DEFAULT_LOSS_BBOX_REG,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(num_classes, loss_cls, init_cfg or DEFAULT_INIT)
        if cls_in_channels != reg_in_channels:
            raise ConfigError(f'cls_in_channels={cls_in_channels} and reg_in_channels={reg_in_channels} must be equal')
        if not reg_class_agnostic:
            raise ConfigError('SABLHead predicts one box for all classes: reg_class_agnostic must be True, got False')
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.reg_feat_size = roi_feat_size * reg_feat_up_ratio
        if self.reg_feat_size != self.bbox_coder.num_buckets:
            raise ConfigError(
                f'roi_feat_size={roi_feat_size} times reg_feat_up_ratio={reg_feat_up_ratio} must be '
                f'bbox_coder.num_buckets={self.bbox_coder.num_buckets}'
            )
        self.loss_bbox_cls = MODELS.build(loss_bbox_cls)
        self.loss_bbox_reg = MODELS.build(loss_bbox_reg)
        self.cls_fcs, width = linear_layers(cls_in_channels * roi_feat_size**2, cls_out_channels, num_cls_fcs)
        self.fc_cls = nn.Linear(width, num_classes + 1)
        channels = reg_in_channels
        pre = dict(kernel_size=reg_pre_kernel, padding=reg_pre_kernel // 2, norm_cfg=norm_cfg)
        self.reg_pre_convs = nn.ModuleList(ConvModule(channels, channels, **pre) for _ in range(reg_pre_num))
        half = reg_post_kernel // 2
        along_x = dict(kernel_size=(1, reg_post_kernel), padding=(0, half), norm_cfg=norm_cfg)
        along_y = dict(kernel_size=(reg_post_kernel, 1), padding=(half, 0), norm_cfg=norm_cfg)
        self.reg_post_conv_xs = nn.ModuleList(ConvModule(channels, channels, **along_x) for _ in range(reg_post_num))
        self.reg_post_conv_ys = nn.ModuleList(ConvModule(channels, channels, **along_y) for _ in range(reg_post_num))
        self.reg_conv_att_x = nn.Conv2d(channels, 1, 1)
        self.reg_conv_att_y = nn.Conv2d(channels, 1, 1)
        self.upsample_x = self.upsample_y = None
        if reg_feat_up_ratio > 1:
            self.upsample_x = nn.ConvTranspose1d(channels, channels, reg_feat_up_ratio, stride=reg_feat_up_ratio)
            self.upsample_y = nn.ConvTranspose1d(channels, channels, reg_feat_up_ratio, stride=reg_feat_up_ratio)
        self.reg_cls_fcs, width = linear_layers(channels, reg_cls_out_channels, num_reg_fcs)
        self.fc_reg_cls = nn.Linear(width, 1)
        self.reg_offset_fcs, width = linear_layers(channels, reg_offset_out_channels, num_reg_fcs)
        self.fc_reg_offset = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> SidePreds:
        """Region features (n, C, h, w) -> class logits (n, num_classes + 1), bucket logits and offsets (n, 4 * S)."""
        cls_score = self.fc_cls(run_linear(self.cls_fcs, x.flatten(1)))
        along_x, along_y = self.features_along_axes(x)
        buckets = [self._sides(run_linear(self.reg_cls_fcs, f), self.fc_reg_cls) for f in (along_x, along_y)]
        offsets = [self._sides(run_linear(self.reg_offset_fcs, f), self.fc_reg_offset) for f in (along_x, along_y)]
        return cls_score, torch.cat(buckets, dim=-1), torch.cat(offsets, dim=-1)

    def features_along_axes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Region features (n, C, h, w) -> features of the cells along x and those along y, each (n, cells, C).

        The other axis is averaged out, weighted by an attention that is learned.
        """
        x = run_tower(self.reg_pre_convs, x)
        along_x = attend(x, self.reg_conv_att_x(x), dim=2)
        along_y = attend(x, self.reg_conv_att_y(x), dim=3)
        for conv_x, conv_y in zip(self.reg_post_conv_xs, self.reg_post_conv_ys):
            along_x = conv_x(along_x)
            along_y = conv_y(along_y)
        along_x = along_x.squeeze(2)
        along_y = along_y.squeeze(3)
        if self.upsample_x is not None:
            along_x = F.relu(self.upsample_x(along_x))
            along_y = F.relu(self.upsample_y(along_y))
        return along_x.transpose(1, 2), along_y.transpose(1, 2)

    def _sides(self, feats: Tensor, predictor: nn.Linear) -> Tensor:
        """(n, 2 * S) predictions of the low and of the high side of an axis, from the outside to the inside each."""
        # the first half of an axis speaks of its low side, the second of its high one; flipped, since the coder counts
        # the buckets of both from the outside
        cells = predictor(feats)[..., 0]
        count = self.bbox_coder.side_num
        return torch.cat([cells[:, :count], cells[:, -count:].flip(1)], dim=1)

    # -- training ----------------------------------------------------------------------------------------------------

    def loss(self, preds: SidePreds, sampled: Sequence[SamplingResult], cfg: ConfigDict) -> dict[str, Tensor]:
        cls_score, buckets, offsets = (float32_if_half(pred)[0] for pred in preds)
        labels, weights, pos_inds = self.classification_targets(sampled, cfg.get('pos_weight', -1))
        losses = self.classification_terms(cls_score, labels, weights)
        priors = torch.cat([result.pos_priors for result in sampled])
        targets = self.bbox_coder.encode(priors, torch.cat([result.pos_gt_bboxes for result in sampled]))
        # by all sampled regions, as in BBoxHead; 4 sides a region in the loss of buckets
        count = max(len(labels), 1)
        by_side = (-1, self.bbox_coder.side_num)
        losses['loss_bbox_cls'] = self.loss_bbox_cls(
            buckets[pos_inds].reshape(by_side),
            targets.labels.reshape(by_side),
            targets.label_weights.reshape(by_side),
            avg_factor=4 * count,
        )
        losses['loss_bbox_reg'] = self.loss_bbox_reg(
            offsets[pos_inds], targets.offsets, targets.offset_weights, avg_factor=count
        )
        return losses

    # -- testing -----------------------------------------------------------------------------------------------------

    def decode(
        self, boxes: Tensor, preds: SidePreds, labels: Tensor, img_shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Boxes (n, 4), the same for all classes, and how surely their sides are known (n,)."""
        buckets, offsets = (float32_if_half(pred)[0] for pred in preds[1:])
        return self.bbox_coder.decode(boxes, buckets, offsets, img_shape)


def attend(x: Tensor, logits: Tensor, dim: int) -> Tensor:
    """Mean of features (n, C, h, w) along an axis, which stays with size 1, weighted by sigmoids of (n, 1, h, w)."""
    weights = logits.sigmoid()
    return (x * (weights / weights.sum(dim, keepdim=True))).sum(dim, keepdim=True)
