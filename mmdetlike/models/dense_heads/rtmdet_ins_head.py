"""Instance segmentation by convolutions that are predicted: RTMDet, arXiv 2212.07784; CondInst, arXiv 2003.05664."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .dense_head import DenseTargets, FlatPredictions
from .rtmdet_head import RTMDetHead, RTMDetSepBNHead
from .tower import build_tower, run_tower

DEFAULT_LOSS_MASK = dict(type='DiceLoss', loss_weight=2.0, eps=5e-6, reduction='mean')
MASK_ACT, MASK_NORM = dict(type='ReLU', inplace=True), dict(type='BN')
SEP_BN_ACT, SEP_BN_NORM = dict(type='SiLU', inplace=True), dict(type='BN', requires_grad=True)
# a point sees coordinates in units of so many of its strides
COORDINATE_RANGE = 8
# masks of so many objects are put to full size at a time
MASKS_AT_ONCE = 16


class MaskFeatModule(BaseModule):
    """Features of all levels, fused at the size of the finest, that masks are made of.

    Args:
        in_channels: Channels of the pyramid maps.
        feat_channels: Channels of the convolutions.
        stacked_convs: Number of convolutions.
        num_levels: Number of pyramid maps.
        num_prototypes: Channels put out.
        act_cfg: Activation of the convolutions.
        norm_cfg: Norm layer of the convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        num_levels: int = 3,
        num_prototypes: int = 8,
        act_cfg: dict | None = MASK_ACT,
        norm_cfg: dict | None = MASK_NORM,
    ) -> None:
        super().__init__()
        self.num_levels = num_levels
        self.fusion_conv = nn.Conv2d(num_levels * in_channels, in_channels, 1)
        tower = build_tower(in_channels, feat_channels, stacked_convs, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.stacked_convs = nn.Sequential(*tower)
        self.projection = nn.Conv2d(feat_channels, num_prototypes, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (B, C, H_i, W_i), fine to coarse -> (B, prototypes, H_0, W_0)."""
        size = features[0].shape[-2:]
        others = [F.interpolate(x, size=size, mode='bilinear') for x in features[1 : self.num_levels]]
        return self.projection(self.stacked_convs(self.fusion_conv(torch.cat([features[0], *others], dim=1))))


class DynamicMasks:
    """What heads with predicted mask convolutions have beside those of boxes; comes before ``RTMDetHead``.

    Args:
        num_classes: Classes without background.
        in_channels: Channels of the pyramid maps.
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
        num_classes: int,
        in_channels: int,
        num_prototypes: int = 8,
        dyconv_channels: int = 8,
        num_dyconvs: int = 3,
        mask_loss_stride: int = 4,
        loss_mask: dict = DEFAULT_LOSS_MASK,
        **kwargs,
    ) -> None:
        self.num_prototypes, self.mask_loss_stride = num_prototypes, mask_loss_stride
        self.layer_widths = [num_prototypes + 2, *[dyconv_channels] * (num_dyconvs - 1), 1]
        super().__init__(num_classes, in_channels, **kwargs)
        self.loss_mask = MODELS.build(loss_mask)

    @property
    def num_gen_params(self) -> int:
        """Weights and biases of the convolutions of one mask."""
        return sum(a * b + b for a, b in zip(self.layer_widths, self.layer_widths[1:]))

    def _init_layers(self) -> None:
        super()._init_layers()
        self.kernel_convs = self._kernel_towers()
        self.rtm_kernel = self._predictors(self.num_gen_params)
        self.mask_head = MaskFeatModule(
            self.in_channels,
            self.feat_channels,
            num_levels=self.prior_generator.num_levels,
            num_prototypes=self.num_prototypes,
            act_cfg=self.act_cfg,
            norm_cfg=self.norm_cfg,
        )

    def _kernel_towers(self) -> nn.ModuleList:
        return self._towers()

    def forward(self, x: Sequence[Tensor]) -> tuple:
        """Maps (B, C, H_i, W_i) -> lists of maps of classes, distances and kernels, and features of masks."""
        return *super().forward(x), self.mask_head(x)

    def flatten(self, outs: Sequence) -> FlatPredictions:
        """See ``DenseHead``; ``mask_feat`` (B, prototypes, H_0, W_0) stays a map."""
        preds = super().flatten(outs[:-1])
        preds.maps['mask_feat'] = outs[-1].float()
        return preds

    # -- training ----------------------------------------------------------------------------------------------------

    def _loss(self, preds: FlatPredictions, batch_data_samples: SampleList) -> dict[str, Tensor | list[Tensor]]:
        priors = self.priors(preds)
        targets = self.targets(preds, priors, batch_data_samples)
        terms = self.losses(preds, priors, targets)
        terms['mask'] = self.mask_loss(preds, targets, batch_data_samples)
        return {f'loss_{name}': term for name, term in terms.items()}

    def mask_loss(self, preds: FlatPredictions, targets: DenseTargets, batch_data_samples: SampleList) -> Tensor:
        """Loss of the positives' masks, at a stride of ``mask_loss_stride``."""
        if not len(targets.pos_inds):
            return (preds.mask_feat.sum() + preds.kernel_pred.sum()) * 0
        images = torch.div(targets.pos_inds, sum(preds.num_priors), rounding_mode='floor')
        kernels = preds.kernel_pred.flatten(0, 1)[targets.pos_inds]
        scale = self.prior_generator.strides[0][0] // self.mask_loss_stride
        size = tuple(side * scale for side in preds.mask_feat.shape[-2:])
        logits, masks = [], []
        for i, sample in enumerate(batch_data_samples):
            mine, objects = images == i, targets.samplings[i].pos_assigned_gt_inds
            logits.append(self.mask_logits(preds.mask_feat[i], kernels[mine], targets.pos_priors[mine]))
            masks.append(self.mask_targets(sample, size, objects.device)[objects])
        logits = F.interpolate(torch.cat(logits)[None], size=size, mode='bilinear')[0]
        return self.loss_mask(logits, torch.cat(masks).to(logits), weight=None, avg_factor=targets.num_pos)

    def mask_targets(self, sample, size: tuple[int, int], device: torch.device) -> Tensor:
        """Masks (m, h, w) bool of a sample's objects, one pixel in the middle of each square of the stride.

        They are cut or filled at the right and the bottom to be of ``size``, as images of a batch may be padded.
        """
        masks, stride = sample.gt_instances.masks, self.mask_loss_stride
        masks = masks if isinstance(masks, Tensor) else masks.to_tensor(torch.bool, device)
        masks = masks[:, stride // 2 :: stride, stride // 2 :: stride][:, : size[0], : size[1]]
        return F.pad(masks, (0, size[1] - masks.shape[2], 0, size[0] - masks.shape[1]))

    # -- masks -------------------------------------------------------------------------------------------------------

    def mask_logits(self, mask_feat: Tensor, kernels: Tensor, priors: Tensor) -> Tensor:
        """Run the predicted convolutions.

        Args:
            mask_feat: (prototypes, H, W) features of one image.
            kernels: (n, weights and biases), those of each object.
            priors: (n, 4) the point that predicted it, with its strides.

        Returns:
            (n, H, W).
        """
        size = tuple(mask_feat.shape[-2:])
        cells = self.prior_generator.single_level_grid_priors(size, 0, device=mask_feat.device)
        weights, biases = self.split_kernels(kernels)
        # A convolution of the place relative to the object's point is one of the place itself with another bias.
        per_pixel = weights[0][..., :2] / (COORDINATE_RANGE * priors[:, None, 2:])
        offset = biases[0] + (per_pixel * priors[:, None, :2]).sum(-1)
        features = torch.cat([cells.T, mask_feat.flatten(1)])
        x = torch.cat([-per_pixel, weights[0][..., 2:]], dim=-1).flatten(0, 1) @ features
        x = x.view(*offset.shape, features.shape[1]) + offset[..., None]
        for weight, bias in zip(weights[1:], biases[1:]):
            x = torch.baddbmm(bias[..., None], weight, x.relu())
        return x.view(len(kernels), *size)

    def split_kernels(self, kernels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Weights (n, out, in) and biases (n, out) of each layer, from (n, parameters), all weights first."""
        shapes = list(zip(self.layer_widths[1:], self.layer_widths))
        parts = kernels.split([b * a for b, a in shapes] + [b for b, _ in shapes], dim=1)
        weights = [part.unflatten(1, shape) for part, shape in zip(parts, shapes)]
        return weights, list(parts[len(shapes) :])

    # -- testing -----------------------------------------------------------------------------------------------------

    def finish(self, kept: InstanceData, preds: FlatPredictions, index: int) -> InstanceData:
        """Boxes and, for the masks that follow, the priors they come from."""
        return InstanceData(**super().finish(kept, preds, index), prior_inds=kept.prior_inds)

    def _predict(
        self, preds: FlatPredictions, batch_data_samples: SampleList, cfg: ConfigDict, rescale: bool
    ) -> list[InstanceData]:
        results, priors = super()._predict(preds, batch_data_samples, cfg, rescale), self.priors(preds)
        for i, (result, sample) in enumerate(zip(results, batch_data_samples)):
            inds = result.pop('prior_inds')
            logits = self.mask_logits(preds.mask_feat[i], preds.kernel_pred[i][inds], priors[inds])
            result.masks = self.full_masks(logits, sample, cfg.mask_thr_binary, rescale)
        return results

    def full_masks(self, logits: Tensor, sample, threshold: float, rescale: bool) -> Tensor:
        """Masks (n, h, w) bool at the size of the image, or of the original one, from logits (n, H, W)."""
        size = content = tuple(sample.img_shape)
        if rescale:
            # the image may be padded: what it shows ends where the resized original ends
            size, (scale_w, scale_h) = tuple(sample.ori_shape), sample.scale_factor
            content = max(round(size[0] * scale_h), 1), max(round(size[1] * scale_w), 1)
        masks = torch.zeros(len(logits), *size, dtype=torch.bool, device=logits.device)
        for start in range(0, len(logits), MASKS_AT_ONCE):
            some = slice(start, start + MASKS_AT_ONCE)
            full = F.interpolate(logits[some][None], scale_factor=self.prior_generator.strides[0][0], mode='bilinear')
            full = full[..., : content[0], : content[1]]
            if full.shape[-2:] != size:
                full = F.interpolate(full, size=size, mode='bilinear')
            masks[some] = full[0].sigmoid() > threshold
        return masks


@MODELS.register_module()
class RTMDetInsHead(DynamicMasks, RTMDetHead):
    """``RTMDetHead`` with masks; arguments are those of ``DynamicMasks`` and ``RTMDetHead``."""

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes, distances in pixels and kernels."""
        return *super().forward_level(level, x), self.rtm_kernel(run_tower(self.kernel_convs, x))

    def distances(self, level: int, raw: Tensor) -> Tensor:
        """Distances in pixels of what is predicted."""
        return self.scales[level](raw).float() * self.prior_generator.strides[level][0]


@MODELS.register_module()
class RTMDetInsSepBNHead(DynamicMasks, RTMDetSepBNHead):
    """``RTMDetSepBNHead`` with masks.

    As in the models that are published, classes and boxes come from one tower, which has both names, and the towers of
    kernels share nothing.

    Args:
        num_classes: Classes without background.
        in_channels: Channels of the pyramid maps.
        share_conv: Levels share the convolutions of their towers.
        with_objectness: Predict objectness too.
        norm_cfg: Norm layer of the towers.
        act_cfg: Activation of the towers.
        pred_kernel_size: Kernel of the convolutions that predict.
        kwargs: See ``DynamicMasks`` and ``RTMDetSepBNHead``.
    """

    initial_biases = dict(RTMDetSepBNHead.initial_biases, rtm_reg=1.0)

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        share_conv: bool = True,
        with_objectness: bool = False,
        norm_cfg: dict | None = SEP_BN_NORM,
        act_cfg: dict | None = SEP_BN_ACT,
        pred_kernel_size: int = 1,
        **kwargs,
    ) -> None:
        super().__init__(
            num_classes,
            in_channels,
            share_conv=share_conv,
            with_objectness=with_objectness,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            pred_kernel_size=pred_kernel_size,
            **kwargs,
        )

    def _init_layers(self) -> None:
        super()._init_layers()
        self.reg_convs = self.cls_convs

    def _kernel_towers(self) -> nn.ModuleList:
        return self._separate_towers()

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes, distances in pixels and kernels."""
        kernels = self.rtm_kernel[level](run_tower(self.kernel_convs[level], x))
        return *super().forward_level(level, x), kernels

    def distances(self, level: int, raw: Tensor) -> Tensor:
        """Distances in pixels of what is predicted, none of them negative."""
        return raw.float().relu() * self.prior_generator.strides[level][0]
