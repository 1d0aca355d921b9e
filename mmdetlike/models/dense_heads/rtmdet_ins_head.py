"""Instance segmentation by convolutions that are predicted: RTMDet, arXiv 2212.07784; CondInst, arXiv 2003.05664."""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.utils import masks_in_image
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .dense_head import DenseTargets, FlatPredictions
from .dynamic_masks import MaskNetwork, masks_at_stride
from .rtmdet_head import RTMDetHead, RTMDetSepBNHead
from .tower import build_tower, run_tower

DEFAULT_LOSS_MASK = dict(type='DiceLoss', loss_weight=2.0, eps=5e-6, reduction='mean')
SEP_BN_ACT, SEP_BN_NORM = dict(type='SiLU', inplace=True), dict(type='BN', requires_grad=True)


class MaskFeatModule(BaseModule):
    """Features of all levels, fused at the size of the finest, that masks are made of.

    Args:
        in_channels: Channels of the pyramid maps.
        feat_channels: Channels of the convolutions.
        num_levels: Number of pyramid maps.
        num_prototypes: Channels put out.
        layer: Norm and activation layers of the convolutions.
    """

    def __init__(self, in_channels: int, feat_channels: int, num_levels: int, num_prototypes: int, **layer) -> None:
        super().__init__()
        self.num_levels = num_levels
        self.fusion_conv = nn.Conv2d(num_levels * in_channels, in_channels, 1)
        self.stacked_convs = nn.Sequential(*build_tower(in_channels, feat_channels, 4, **layer))
        self.projection = nn.Conv2d(feat_channels, num_prototypes, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (B, C, H_i, W_i), fine to coarse -> (B, prototypes, H_0, W_0)."""
        size = features[0].shape[-2:]
        others = [F.interpolate(x, size=size, mode='bilinear') for x in features[1 : self.num_levels]]
        return self.projection(self.stacked_convs(self.fusion_conv(torch.cat([features[0], *others], dim=1))))


class DynamicMasks:
    """What heads with predicted mask convolutions have beside those of boxes; comes before ``RTMDetHead``.

    Args:
        num_prototypes: Channels of the features that masks are made of.
        dyconv_channels: Channels of the predicted convolutions.
        num_dyconvs: Number of predicted convolutions.
        mask_loss_stride: Masks are compared at this stride, in pixels.
        loss_mask: Loss of masks.
        kwargs: See the other base class.
    """

    map_names = ('cls_score', 'bbox_pred', 'kernel_pred')

    def __init__(
        self,
        *args,
        num_prototypes: int = 8,
        dyconv_channels: int = 8,
        num_dyconvs: int = 3,
        mask_loss_stride: int = 4,
        loss_mask: dict = DEFAULT_LOSS_MASK,
        **kwargs,
    ) -> None:
        self.num_prototypes, self.mask_loss_stride = num_prototypes, mask_loss_stride
        self.network = MaskNetwork([num_prototypes + 2, *[dyconv_channels] * (num_dyconvs - 1), 1])
        super().__init__(*args, **kwargs)
        self.loss_mask = MODELS.build(loss_mask)

    def _init_layers(self) -> None:
        super()._init_layers()
        self.kernel_convs = self._separate_towers()
        self.rtm_kernel = self._predictors(self.network.num_params)
        shape = self.in_channels, self.feat_channels, self.prior_generator.num_levels, self.num_prototypes
        self.mask_head = MaskFeatModule(*shape, act_cfg=self.act_cfg, norm_cfg=self.norm_cfg)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes, distances in pixels and kernels."""
        kernels = self.at_level(self.rtm_kernel, level)(run_tower(self.at_level(self.kernel_convs, level), x))
        return *super().forward_level(level, x), kernels

    def forward(self, x: Sequence[Tensor]) -> tuple:
        """Maps (B, C, H_i, W_i) -> lists of maps of classes, distances and kernels, and features of masks."""
        return *super().forward(x), self.mask_head(x)

    def flatten(self, outs: Sequence) -> FlatPredictions:
        """See ``DenseHead``; ``mask_feat`` (B, prototypes, H_0, W_0) stays a map."""
        preds = super().flatten(outs[:-1])
        preds.maps['mask_feat'] = outs[-1].float()
        return preds

    def instance_fields(self, preds: FlatPredictions, index: int, prior_inds: Tensor) -> dict[str, Tensor]:
        """``params`` (n, parameters) of the networks of points, and ``priors`` (n, 4)."""
        return dict(params=preds.kernel_pred[index, prior_inds], priors=self.priors(preds)[prior_inds])

    def mask_logits(self, mask_feat: Tensor, params: Tensor, priors: Tensor) -> Tensor:
        """(n, h, w) of objects from the mask features (prototypes, h, w) of one image."""
        cells = self.prior_generator.single_level_grid_priors(tuple(mask_feat.shape[-2:]), 0, device=mask_feat.device)
        return self.network.draw(mask_feat, cells, params, priors)

    def _loss(self, preds: FlatPredictions, batch_data_samples: SampleList) -> dict[str, Tensor | list[Tensor]]:
        priors = self.priors(preds)
        targets = self.targets(preds, priors, batch_data_samples)
        losses = self._named_losses(preds, priors, targets)
        return dict(losses, loss_mask=self.mask_loss(preds, targets, batch_data_samples))

    def mask_loss(self, preds: FlatPredictions, targets: DenseTargets, batch_data_samples: SampleList) -> Tensor:
        """Loss of the positives' masks, at a stride of ``mask_loss_stride``."""
        num_pos = targets.num_pos  # of all processes, so before any of them can leave
        if not len(targets.pos_inds):
            return (preds.mask_feat.sum() + preds.kernel_pred.sum()) * 0
        stride = self.mask_loss_stride
        scale = self.prior_generator.strides[0][0] // stride
        size = tuple(side * scale for side in preds.mask_feat.shape[-2:])
        logits, masks = [], []
        for feat, pos, sample in zip(preds.mask_feat, self.positives(preds, targets), batch_data_samples):
            logits.append(self.mask_logits(feat, pos.params, pos.priors))
            masks.append(masks_at_stride(sample, stride, size, type(self).__name__).to(feat)[pos.gt_inds])
        logits = F.interpolate(torch.cat(logits)[None], size=size, mode='bilinear')[0]
        return self.loss_mask(logits, torch.cat(masks), weight=None, avg_factor=num_pos)

    def _predict(
        self, preds: FlatPredictions, batch_data_samples: SampleList, cfg: ConfigDict, rescale: bool
    ) -> list[InstanceData]:
        results = super()._predict(preds, batch_data_samples, cfg, rescale)
        for feat, result, sample in zip(preds.mask_feat, results, batch_data_samples):
            logits = self.mask_logits(feat, result.pop('params'), result.pop('priors'))
            result.masks = self.full_masks(logits, sample, cfg.mask_thr_binary, rescale)
        return results

    def full_masks(self, logits: Tensor, sample, threshold: float, rescale: bool) -> Tensor:
        """Masks (n, h, w) bool at the size of the image, or of the original one, from logits (n, H, W)."""
        size = content = tuple(sample.img_shape)
        if rescale:
            # the image may be padded: what it shows ends where the resized original ends
            size, (scale_w, scale_h) = tuple(sample.ori_shape), sample.scale_factor
            content = max(round(size[0] * scale_h), 1), max(round(size[1] * scale_w), 1)
        upsample = partial(F.interpolate, scale_factor=self.prior_generator.strides[0][0], mode='bilinear')
        return masks_in_image(logits, upsample, content, size, float(torch.tensor(threshold).logit()))


@MODELS.register_module()
class RTMDetInsHead(DynamicMasks, RTMDetHead):
    """``RTMDetHead`` with masks; arguments are those of ``DynamicMasks`` and ``RTMDetHead``."""

    def distances(self, level: int, raw: Tensor) -> Tensor:
        return self.scales[level](raw).float() * self.prior_generator.strides[level][0]


@MODELS.register_module()
class RTMDetInsSepBNHead(DynamicMasks, RTMDetSepBNHead):
    """``RTMDetSepBNHead`` with masks.

    As in the models that are published, classes and boxes come from one tower, which has both names, and the towers of
    kernels share nothing.

    See ``DynamicMasks`` and ``RTMDetSepBNHead`` for the arguments; ``with_objectness`` is False by default.
    """

    initial_biases = dict(RTMDetSepBNHead.initial_biases, rtm_reg=1.0)

    def __init__(
        self,
        *args,
        with_objectness: bool = False,
        norm_cfg: dict | None = SEP_BN_NORM,
        act_cfg: dict | None = SEP_BN_ACT,
        **kwargs,
    ) -> None:
        super().__init__(*args, with_objectness=with_objectness, norm_cfg=norm_cfg, act_cfg=act_cfg, **kwargs)

    def _init_layers(self) -> None:
        super()._init_layers()
        self.reg_convs = self.cls_convs

    def distances(self, level: int, raw: Tensor) -> Tensor:
        return raw.float().relu() * self.prior_generator.strides[level][0]
