"""Instance segmentation by convolutions that are predicted: RTMDet, arXiv 2212.07784; CondInst, arXiv 2003.05664."""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.layers import build_tower, run_tower, share_convolutions
from mmdetlike.models.utils import masks_at_stride, masks_in_image
from mmdetlike.models.utils.fixed_rows import fixed_rows
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList

from .masks import MaskNetwork, with_masks
from .predictions import DenseTargets, FlatPredictions, LossTerms
from .rtmdet_head import RTMDetHead

RTMDET_LOSS_MASK = dict(type='DiceLoss', loss_weight=2.0, eps=5e-6, reduction='mean')
INS_SEPARATE_BN_NORM = dict(type='BN', requires_grad=True)
INS_SEPARATE_BN_ACT = dict(type='SiLU', inplace=True)


class FusedMaskFeatures(BaseModule):
    """Fuse the features of all levels, at the size of the finest, to the prototypes that masks are made of."""

    def __init__(self, in_channels: int, feat_channels: int, num_levels: int, num_prototypes: int, layer: dict) -> None:
        super().__init__()
        self.num_levels = num_levels
        self.fusion_conv = nn.Conv2d(num_levels * in_channels, in_channels, 1)
        self.stacked_convs = nn.Sequential(*build_tower(in_channels, feat_channels, 4, **layer))
        self.projection = nn.Conv2d(feat_channels, num_prototypes, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Feature maps (B, C, H_i, W_i), fine to coarse -> (B, prototypes, H_0, W_0)."""
        size = features[0].shape[-2:]
        coarse = [F.interpolate(x, size=size, mode='bilinear') for x in features[1 : self.num_levels]]
        fused = self.fusion_conv(torch.cat([features[0], *coarse], dim=1))
        return self.projection(self.stacked_convs(fused))


@MODELS.register_module()
class RTMDetInsHead(RTMDetHead):
    """An ``RTMDetHead`` with masks: each point also predicts the parameters of a small network that makes its mask.

    Args:
        num_prototypes: Channels of the features that masks are made of.
        dyconv_channels, num_dyconvs: Channels and number of the predicted convolutions.
        mask_loss_stride: Masks are compared at this stride, in pixels.
        loss_mask: Loss of masks.
        num_classes, in_channels, kwargs: As of ``RTMDetHead``.
    """

    map_names = ('cls_score', 'bbox_pred', 'kernel_pred')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_prototypes: int = 8,
        dyconv_channels: int = 8,
        num_dyconvs: int = 3,
        mask_loss_stride: int = 4,
        loss_mask: dict = RTMDET_LOSS_MASK,
        **kwargs,
    ) -> None:
        self.num_prototypes, self.mask_loss_stride = num_prototypes, mask_loss_stride
        # a pixel has its features and its distance x and y from the point
        self.network = MaskNetwork([num_prototypes + 2, *[dyconv_channels] * (num_dyconvs - 1), 1])
        super().__init__(num_classes, in_channels, **kwargs)
        self.loss_mask = MODELS.build(loss_mask)

    def build_layers(self) -> None:
        super().build_layers()
        self.kernel_convs = self.for_levels(self.build_tower)
        self.rtm_kernel = self.build_predictors(self.network.num_params)
        layer = dict(norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        widths = self.in_channels, self.feat_channels
        self.mask_head = FusedMaskFeatures(*widths, self.prior_generator.num_levels, self.num_prototypes, layer)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes, distances in pixels and kernels."""
        kernel_feat = run_tower(self.at_level(self.kernel_convs, level), x)
        kernels = self.at_level(self.rtm_kernel, level)(kernel_feat)
        return *super().forward_level(level, x), kernels

    def forward(self, x: Sequence[Tensor]) -> tuple:
        """Feature maps (B, C, H_i, W_i) -> lists of maps of classes, distances and kernels, and mask features."""
        return *super().forward(x), self.mask_head(x)

    def flatten(self, outs: Sequence, priors=None) -> FlatPredictions:
        """See ``DenseHead``; ``mask_feat`` (B, prototypes, H_0, W_0) stays a map."""
        preds = super().flatten(outs[:-1], priors)
        # masks are sums over many products, too coarse in half precision
        preds.maps['mask_feat'] = outs[-1].float()
        return preds

    def distances(self, level: int, raw: Tensor) -> Tensor:
        return self.scales[level](raw).float() * self.prior_generator.strides[level][0]

    def instance_fields(self, preds: FlatPredictions, index: int, prior_inds: Tensor) -> dict[str, Tensor]:
        """``params`` (n, parameters) of the networks of points, and their ``points`` and ``strides``, both (n, 2)."""
        priors = preds.priors[prior_inds]
        return dict(params=preds.kernel_pred[index, prior_inds], points=priors.points, strides=priors.strides)

    def mask_logits(self, mask_feat: Tensor, instances: InstanceData) -> Tensor:
        """(n, h, w) of objects, which have ``instance_fields``, from mask features (prototypes, h, w) of one image."""
        size = tuple(mask_feat.shape[-2:])
        pixels = self.prior_generator.single_level_grid_priors(size, 0, device=mask_feat.device)
        return self.network.mask_logits(mask_feat, pixels, instances)

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> LossTerms:
        """The terms of ``RTMDetHead``, and ``mask`` over the positives."""
        terms = super().target_losses(preds, targets, samples)
        return dict(terms, mask=self.mask_term(preds, targets, samples))

    def mask_term(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> Tensor:
        """Loss of the positives' masks, at a stride of ``mask_loss_stride``."""
        num_pos = targets.num_pos  # counted over all processes, so before any of them can leave
        if not len(targets.pos_inds):
            # with a gradient of 0: all processes of a training must have gradients of the same parameters
            return (preds.mask_feat.sum() + preds.kernel_pred.sum()) * 0
        stride = self.mask_loss_stride
        # logits have the stride of the finest level, annotated masks are compared at a finer one
        scale = self.prior_generator.strides[0][0] // stride
        size = tuple(side * scale for side in preds.mask_feat.shape[-2:])
        logits = []
        masks = []
        for feat, positives, sample in zip(preds.mask_feat, self.positives(preds, targets), samples):
            logits.append(self.mask_logits(feat, positives))
            masks.append(masks_at_stride(sample, stride, size, type(self).__name__).to(feat)[positives.gt_inds])
        logits = F.interpolate(torch.cat(logits)[None], size=size, mode='bilinear')[0]
        return self.loss_mask(logits, torch.cat(masks), weight=None, avg_factor=num_pos)

    def predict_flat(
        self, preds: FlatPredictions, samples: SampleList, cfg: ConfigDict, rescale: bool
    ) -> list[InstanceData]:
        """Boxes with ``masks`` (n, h, w) bool."""
        results = []
        for feat, found, sample in zip(preds.mask_feat, super().predict_flat(preds, samples, cfg, rescale), samples):
            masks = self.full_masks(self.mask_logits(feat, found), sample, cfg.mask_thr_binary, rescale)
            results.append(with_masks(found, masks))
        return results

    def detect_flat(
        self, preds: FlatPredictions, img_shapes: Sequence[tuple[int, int]], cfg: ConfigDict
    ) -> list[dict[str, Tensor]]:
        """See ``DenseHead``, with ``masks`` (n, height, width) bool of the image."""
        results = []
        for i, img_shape in enumerate(img_shapes):
            of_image = preds.of_image(i)
            kept = self.detect(of_image, img_shape, cfg)
            fields = self.instance_fields(of_image, 0, kept.prior_inds)
            count = kept.scores.shape[0]
            rows = fixed_rows(fields, cfg.get('max_per_img', -1), 'test_cfg.max_per_img')
            logits = self.mask_logits(preds.mask_feat[i], InstanceData(**rows))
            masks = self.masks_in_shape(logits, img_shape, img_shape, cfg.mask_thr_binary)[:count]
            results.append(dict(boxes=kept.boxes, scores=kept.scores, labels=kept.labels, masks=masks))
        return results

    def full_masks(self, logits: Tensor, sample: DetDataSample, threshold: float, rescale: bool) -> Tensor:
        """Masks (n, h, w) bool at the size of the image, or of the original one, from logits (n, H, W)."""
        size = content = tuple(sample.img_shape)
        if rescale:
            # the image may be padded: what it shows ends where the resized original ends
            size = tuple(sample.ori_shape)
            scale_w, scale_h = sample.scale_factor
            content = max(round(size[0] * scale_h), 1), max(round(size[1] * scale_w), 1)
        return self.masks_in_shape(logits, content, size, threshold)

    def masks_in_shape(
        self, logits: Tensor, content: tuple[int, int], size: tuple[int, int], threshold: float
    ) -> Tensor:
        """Masks (n, *size) bool of an image that is resized to it, and has the size ``content`` in the network."""
        upsample = partial(F.interpolate, scale_factor=self.prior_generator.strides[0][0], mode='bilinear')
        # logits are compared with the logit of the threshold: a sigmoid of every pixel of full size is saved
        return masks_in_image(logits, upsample, content, size, float(torch.tensor(threshold).logit()))


@MODELS.register_module()
class RTMDetInsSepBNHead(RTMDetInsHead):
    """An ``RTMDetInsHead`` whose levels have norm layers and predictors of their own.

    As in the models that are published, classes and boxes come from one tower, which has both names, and the towers of
    kernels share nothing.

    Args:
        share_conv: Levels share the convolutions of the tower of classes and boxes.
        use_depthwise: Build the towers of depthwise separable convolutions.
        with_objectness, norm_cfg, act_cfg, pred_kernel_size: As of ``RTMDetHead``.
        num_classes, in_channels, kwargs: As of ``RTMDetInsHead``.
    """

    separate_levels = True
    initial_biases = dict(RTMDetInsHead.initial_biases, rtm_reg=1.0)

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        share_conv: bool = True,
        use_depthwise: bool = False,
        with_objectness: bool = False,
        norm_cfg: dict | None = INS_SEPARATE_BN_NORM,
        act_cfg: dict | None = INS_SEPARATE_BN_ACT,
        pred_kernel_size: int = 1,
        **kwargs,
    ) -> None:
        self.share_conv, self.use_depthwise = share_conv, use_depthwise
        layers = dict(norm_cfg=norm_cfg, act_cfg=act_cfg, pred_kernel_size=pred_kernel_size)
        super().__init__(num_classes, in_channels, with_objectness=with_objectness, **layers, **kwargs)

    def build_towers(self) -> None:
        self.cls_convs = self.for_levels(self.build_tower)
        if self.share_conv:
            share_convolutions(self.cls_convs)
        self.reg_convs = self.cls_convs

    def distances(self, level: int, raw: Tensor) -> Tensor:
        return raw.float().relu() * self.prior_generator.strides[level][0]
