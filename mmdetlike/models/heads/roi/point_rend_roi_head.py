"""PointRend: Image Segmentation as Rendering, arXiv 1912.08193."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils import get_uncertain_point_coords_with_randomness, get_uncertainty
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2roi
from mmdetlike_ops import point_sample, rel_roi_point_to_rel_img_point

from .branches import MaskBranch, PositiveMasks
from .linear_layers import linear_layers, run_linear
from .mask_heads import MaskHead, masks_of_class
from .roi_head import StandardRoIHead

DEFAULT_LOSS = dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0)
DEFAULT_INIT = dict(type='Normal', std=0.001, override=dict(name='fc_logits'))


@MODELS.register_module()
class CoarseMaskHead(MaskHead):
    """Convolutions, a strided one and linear layers that put out a small mask for each class.

    Args:
        num_convs: As of ``MaskHead``.
        num_fcs, fc_out_channels: Linear layers and their width.
        downsample_factor: The mask is so much smaller than the region features.

    Raises:
        ConfigError: ``num_fcs`` or ``downsample_factor`` is below 1.
    """

    def __init__(
        self,
        num_convs: int = 0,
        num_fcs: int = 2,
        fc_out_channels: int = 1024,
        downsample_factor: int = 2,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        if num_fcs < 1 or downsample_factor < 1:
            raise ConfigError(f'num_fcs and downsample_factor must be at least 1, got {num_fcs}, {downsample_factor}')
        names = [dict(type='Constant', val=0.001, name='fc_logits'), dict(type='Xavier', name='fcs')]
        default_init = dict(type='Normal', std=0.001, override=names)
        super().__init__(num_convs=num_convs, init_cfg=init_cfg or default_init, **kwargs)
        width = self.hidden_channels
        self.downsample_conv = None
        if downsample_factor > 1:
            self.downsample_conv = ConvModule(width, self.conv_out_channels, downsample_factor, downsample_factor)
            width = self.conv_out_channels
        self.output_size = tuple(size // downsample_factor for size in _pair(self.roi_feat_size))
        area = self.output_size[0] * self.output_size[1]
        self.fcs, width = linear_layers(width * area, fc_out_channels, num_fcs)
        self.fc_logits = nn.Linear(width, self.num_masks * area)

    def logits(self, x: Tensor) -> Tensor:
        """Mask logits (n, num_classes or 1, h / factor, w / factor) from the features after the convolutions."""
        if self.downsample_conv is not None:
            x = self.downsample_conv(x)
        x = run_linear(self.fcs, x.flatten(1))
        return self.fc_logits(x).unflatten(1, (-1, *self.output_size))


@MODELS.register_module()
class MaskPointHead(BaseModule):
    """A small network on the features and the coarse prediction of each point.

    Args:
        num_classes: Classes without background.
        num_fcs, fc_channels: Hidden layers and their channels.
        in_channels: Channels of the features of a point.
        class_agnostic: One mask for all classes.
        coarse_pred_each_layer: Feed the coarse prediction to every layer, not to the first alone.
        conv_cfg: Layer that acts on each point.
        norm_cfg, act_cfg: Norm layer and activation.
        loss_point: Loss of the logits of points.
    """

    def __init__(
        self,
        num_classes: int,
        num_fcs: int = 3,
        in_channels: int = 256,
        fc_channels: int = 256,
        class_agnostic: bool = False,
        coarse_pred_each_layer: bool = True,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        loss_point: dict = DEFAULT_LOSS,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or DEFAULT_INIT)
        self.num_classes, self.class_agnostic = num_classes, class_agnostic
        self.coarse_pred_each_layer = coarse_pred_each_layer
        self.loss_point = MODELS.build(loss_point)
        channels = 1 if class_agnostic else num_classes
        # the coarse prediction always speaks of all classes
        extra = num_classes if coarse_pred_each_layer else 0
        layer = dict(conv_cfg=conv_cfg or dict(type='Conv1d'), norm_cfg=norm_cfg, act_cfg=act_cfg or dict(type='ReLU'))
        widths = [in_channels + num_classes] + [fc_channels + extra] * num_fcs
        self.fcs = nn.ModuleList(ConvModule(width, fc_channels, 1, **layer) for width in widths[:num_fcs])
        self.fc_logits = nn.Conv1d(widths[-1], channels, 1)

    def forward(self, fine_grained_feats: Tensor, coarse_feats: Tensor) -> Tensor:
        """Features (n, C, p) and coarse logits (n, num_classes, p) of p points -> their logits (n, num_classes, p)."""
        x = torch.cat([fine_grained_feats, coarse_feats], dim=1)
        for fc in self.fcs:
            x = fc(x)
            if self.coarse_pred_each_layer:
                x = torch.cat([x, coarse_feats], dim=1)
        return self.fc_logits(x)

    def loss(self, point_pred: Tensor, point_targets: Tensor, labels: Tensor) -> Tensor:
        """Loss of logits (n, C, p) against targets (n, p) in [0, 1] of classes ``labels`` (n,)."""
        point_pred = float32_if_half(point_pred)[0]
        if not len(point_pred):
            return point_pred.sum()
        own_masks = torch.zeros_like(labels) if self.class_agnostic else labels
        return self.loss_point(point_pred, point_targets, region_labels=own_masks)

    def training_points(self, mask_preds: Tensor, labels: Tensor, cfg: ConfigDict) -> Tensor:
        """Points (n, num_points, 2) in [0, 1] of each region to train on, rather where its mask is uncertain."""
        labels = torch.zeros_like(labels) if self.class_agnostic else labels
        return get_uncertain_point_coords_with_randomness(
            mask_preds, labels, cfg.num_points, cfg.oversample_ratio, cfg.importance_sample_ratio
        )

    @staticmethod
    def uncertain_points(masks: Tensor, num_points: int) -> tuple[Tensor, Tensor]:
        """Pixels where masks (n, 1, h, w) are least certain: their indices (n, p) and centers (n, p, 2) in [0, 1]."""
        height, width = masks.shape[-2:]
        uncertainty = get_uncertainty(masks, torch.zeros(len(masks), dtype=torch.long, device=masks.device))
        inds = uncertainty.flatten(1).topk(min(height * width, num_points)).indices
        x = inds % width
        y = torch.div(inds, width, rounding_mode='floor')
        return inds, torch.stack([(x + 0.5) / width, (y + 0.5) / height], dim=-1)


class PointRendMaskBranch(MaskBranch):
    """Coarse masks by ``mask_head``, upsampled step by step, their uncertain points predicted by ``point_head``."""

    def compute_losses(
        self, stage: int, x: Sequence[Tensor], masks: PositiveMasks, samples: SampleList
    ) -> dict[str, Tensor]:
        """Loss terms of the coarse masks and of points drawn rather where they are uncertain."""
        losses = super().compute_losses(stage, x, masks, samples)
        point_head = self.regions.point_head
        rois = bbox2roi([result.pos_priors for result in masks.sampled])
        points = point_head.training_points(masks.logits, masks.labels, self.regions.stage_cfgs[stage])
        of_points = point_head(self.point_features(x, rois, points), point_sample(masks.logits, points))
        loss_point = point_head.loss(of_points, point_targets(masks.sampled, samples, rois, points), masks.labels)
        return dict(losses, loss_point=loss_point)

    def point_features(self, x: Sequence[Tensor], rois: Tensor, points: Tensor) -> Tensor:
        """Features (n, C, p) of points (n, p, 2) in [0, 1] of regions (n, 5), the levels' one after another."""
        levels = []
        for feats, stride in zip(x, self.regions.mask_roi_extractor.featmap_strides):
            sampled = feats.new_zeros(rois.shape[0], feats.shape[1], points.shape[1])
            for image in range(len(feats)):
                rows = (rois[:, 0] == image).nonzero().squeeze(1)
                in_image = rel_roi_point_to_rel_img_point(rois[rows], points[rows], feats.shape[-2:], 1 / stride)
                # all points of the image at once: one map, not one for each region
                of_image = point_sample(feats[image : image + 1], in_image.flatten(0, 1)[None])[0]
                values = of_image.unflatten(1, (rows.shape[0], points.shape[1])).transpose(0, 1)
                sampled = sampled.index_copy(0, rows, values.to(sampled.dtype))
            levels.append(sampled)
        return torch.cat(levels, dim=1)

    def probabilities(self, x: Sequence[Tensor], results: Sequence[InstanceData]) -> Tensor:
        """Masks (n, h, w) in [0, 1] after ``subdivision_steps`` upsamplings, each of its own class."""
        cfg = self.regions.test_cfg
        point_head = self.regions.point_head
        rois = bbox2roi([result.bboxes for result in results])
        labels = torch.cat([result.labels for result in results])
        coarse = float32_if_half(*self.logits_of_stages(x, rois, [0]))[0]
        masks = masks_of_class(coarse, labels, self.regions.mask_head.class_agnostic)[:, None]
        for step in range(cfg.subdivision_steps if len(rois) else 0):
            masks = F.interpolate(masks, scale_factor=cfg.scale_factor, mode='bilinear', align_corners=False)
            next_area = cfg.scale_factor**2 * masks.shape[-2] * masks.shape[-1]
            if cfg.subdivision_num_points >= next_area and step < cfg.subdivision_steps - 1:
                continue  # the next step will predict every pixel
            inds, points = point_head.uncertain_points(masks, cfg.subdivision_num_points)
            logits = point_head(self.point_features(x, rois, points), point_sample(coarse, points))
            own = masks_of_class(logits, labels, point_head.class_agnostic)
            masks = masks.flatten(1).scatter(1, inds, own.to(masks.dtype)).view_as(masks)
        return masks[:, 0].sigmoid()


def point_targets(sampled: Sequence[SamplingResult], samples: SampleList, rois: Tensor, points: Tensor) -> Tensor:
    """The object's mask (n, p) at points (n, p, 2) in [0, 1] of the positives' regions (n, 5)."""
    targets = points.new_zeros(points.shape[:2])
    start = 0
    for result, sample in zip(sampled, samples):
        objects = result.pos_assigned_gt_inds
        masks = sample.gt_instances.masks.to_tensor(points.dtype, points.device)
        for gt in objects.unique().tolist():
            rows = (objects == gt).nonzero().squeeze(1) + start
            in_image = rel_roi_point_to_rel_img_point(rois[rows], points[rows], masks.shape[-2:])
            # all points of the object at once: one mask, not one for each region
            targets[rows] = point_sample(masks[gt][None, None], in_image.flatten(0, 1)[None]).view(len(rows), -1)
        start += len(objects)
    return targets


@MODELS.register_module()
class PointRendRoIHead(StandardRoIHead):
    """A coarse mask, upsampled step by step with its uncertain points predicted anew.

    Args:
        point_head: Predicts points.
        kwargs: See ``StandardRoIHead``; ``train_cfg`` has ``num_points``, ``oversample_ratio`` and
            ``importance_sample_ratio``, ``test_cfg`` has ``subdivision_steps``, ``subdivision_num_points`` and
            ``scale_factor``.

    Raises:
        ConfigError: There is no ``mask_head`` with its own extractor, or it is class agnostic.
    """

    mask_branch_class = PointRendMaskBranch

    def __init__(self, point_head: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        if not self.with_mask or self.mask_roi_extractor is None:
            raise ConfigError('PointRendRoIHead needs mask_head and mask_roi_extractor')
        if self.mask_head.class_agnostic:
            raise ConfigError(
                'PointRendRoIHead needs a mask_head with class_agnostic=False: points see masks of all classes'
            )
        self.point_head = MODELS.build(point_head)
