"""FoveaBox: Beyond Anchor-based Object Detector, arXiv 1904.03797."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule, run_tower
from mmdetlike.models.task_modules import FoveaAssigner
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2distance, distance2bbox
from mmdetlike.utils.dist import mean_over_ranks
from mmdetlike_ops import DeformConv2d

from ..common import notice_unused_assigner
from .anchor_free_head import AnchorFreeHead
from .predictions import DenseTargets, FlatPredictions

# how many times a distance may be as long as the level's base edge, or as short
LARGEST_RATIO = 16.0


class FeatureAlign(BaseModule):
    """Align features with the predicted boxes: a deformable 3x3 convolution whose offsets are made of the distances."""

    def __init__(self, in_channels: int, out_channels: int, deform_groups: int = 4) -> None:
        super().__init__(dict(type='Normal', layer='Conv2d', std=0.1))
        self.conv_offset = nn.Conv2d(4, deform_groups * 18, 1, bias=False)
        self.conv_adaption = DeformConv2d(in_channels, out_channels, 3, padding=1, deform_groups=deform_groups)

    def forward(self, x: Tensor, shape: Tensor) -> Tensor:
        """Features (B, C, H, W) and distances of cells to the sides of their boxes (B, 4, H, W) -> features."""
        return self.conv_adaption(x, self.conv_offset(shape).to(x.dtype)).relu()


@MODELS.register_module()
class FoveaHead(AnchorFreeHead):
    """Predict classes and box distances of points, the latter as logarithms of the ratio to a level's base edge.

    Args:
        base_edge_list: For each level the distance that 0 stands for, in pixels.
        scale_ranges: For each level the range of an object's size, the root of its area in pixels.
        sigma: Size of the part of an object that is positive over that of the object.
        with_deform: Align the features of classes with the predicted boxes.
        deform_groups: Groups of channels that are aligned each in its own way.
        kwargs: See ``AnchorFreeHead``; objects are assigned by ``scale_ranges``, not by a ``train_cfg.assigner``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        base_edge_list: Sequence[int] = (16, 32, 64, 128, 256),
        scale_ranges: Sequence[tuple[float, float]] = ((8, 32), (16, 64), (32, 128), (64, 256), (128, 512)),
        sigma: float = 0.4,
        with_deform: bool = False,
        deform_groups: int = 4,
        **kwargs,
    ) -> None:
        self.base_edge_list, self.with_deform, self.deform_groups = base_edge_list, with_deform, deform_groups
        super().__init__(num_classes, in_channels, **kwargs)
        notice_unused_assigner(type(self), self.train_cfg, 'scale_ranges')
        self.assigner = FoveaAssigner(scale_ranges, sigma)

    def build_layers(self) -> None:
        self.reg_convs = self.build_tower()
        self.conv_reg = nn.Conv2d(self.feat_channels, 4, 3, padding=1)
        self.cls_convs = self.build_wide_layers() if self.with_deform else self.build_tower()
        width = self.feat_channels * 4 if self.with_deform else self.feat_channels
        self.conv_cls = nn.Conv2d(width, self.cls_out_channels, 3, padding=1)

    def build_wide_layers(self) -> nn.ModuleList:
        """The layers of classes after their features are aligned, which is a layer of the head itself."""
        self.feature_adaption = FeatureAlign(self.in_channels, self.feat_channels, self.deform_groups)
        width = self.feat_channels
        layer = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, bias=self.conv_bias)
        return nn.ModuleList(
            [ConvModule(width, width * 4, 3, padding=1, **layer), ConvModule(width * 4, width * 4, 1, **layer)]
        )

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes and exponents of distances (B, 4, H, W)."""
        exponents = self.conv_reg(run_tower(self.reg_convs, x))
        cls_feat = self.feature_adaption(x, exponents.exp()) if self.with_deform else x
        return self.conv_cls(run_tower(self.cls_convs, cls_feat)), exponents

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> dict[str, Tensor]:
        """``cls`` over all points, ``bbox`` of the exponents of the positives."""
        pos = targets.pos_inds
        count = mean_over_ranks(len(pos), pos.device)
        distances = bbox2distance(targets.pos_priors.points, targets.pos_gt_bboxes)
        ratios = distances / self.base_edges(targets.pos_priors.level_ids)
        exponents = ratios.clamp(min=1 / LARGEST_RATIO, max=LARGEST_RATIO).log()
        every = slice(0, len(preds.priors))
        # one more for each image: the background of those without an object is learned too
        return dict(
            cls=self.class_loss(preds, targets, every, avg_factor=count + len(samples)),
            bbox=self.loss_bbox(preds.bbox_pred.flatten(0, 1)[pos], exponents, avg_factor=targets.num_pos),
        )

    def base_edges(self, level_ids: Tensor) -> Tensor:
        """(n, 1) the base edges of levels (n,)."""
        return torch.tensor(self.base_edge_list, dtype=torch.float32, device=level_ids.device)[level_ids, None]

    def decode(self, preds: FlatPredictions, index: int, inds: Tensor, img_shape: tuple[int, int] | None) -> Tensor:
        """Boxes of the chosen points, clipped to the centers of the image's outermost pixels."""
        priors = preds.priors.of_image(index)[inds]
        distances = preds.bbox_pred[index][inds].exp() * self.base_edges(priors.level_ids)
        # one pixel less than other heads, as the original does
        return distance2bbox(priors.points, distances, (img_shape[0] - 1, img_shape[1] - 1))
