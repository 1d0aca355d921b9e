"""SCNet: Training Inference Sample Consistency for Instance Segmentation, arXiv 2012.10150."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones.res_layer import SimplifiedBasicBlock
from mmdetlike.models.layers import build_tower, run_tower
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .bbox_heads import ConvFCBBoxHead
from .branches import MaskBranch
from .htc_roi_head import FusedSemanticHead, SemanticCascadeRoIHead
from .mask_heads import FCNMaskHead
from .stage import StageOutputs, positives_among


def residual_convs(
    num_convs: int, in_channels: int, out_channels: int, conv_cfg: dict | None = None, norm_cfg: dict | None = None
) -> nn.ModuleList:
    """``num_convs`` 3x3 convolutions as residual blocks of two.

    Raises:
        ConfigError: Their number is odd, or input and output differ in channels.
    """
    if num_convs % 2 or in_channels != out_channels:
        raise ConfigError(
            f'conv_to_res=True needs an even num_convs and conv_out_channels=in_channels, got num_convs={num_convs}, '
            f'in_channels={in_channels}, conv_out_channels={out_channels}'
        )
    layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
    return nn.ModuleList(SimplifiedBasicBlock(in_channels, in_channels, **layers) for _ in range(num_convs // 2))


@MODELS.register_module()
class SCNetBBoxHead(ConvFCBBoxHead):
    """A ``ConvFCBBoxHead`` that also returns its shared features, for masks."""

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """Region features (n, C, h, w) -> class logits, deltas and shared features (n, c)."""
        shared = self.shared_features(x)
        return (*self.predict_from_shared(shared), shared)


@MODELS.register_module()
class SCNetMaskHead(FCNMaskHead):
    """An ``FCNMaskHead`` whose convolutions are residual blocks of two.

    Args:
        conv_to_res: Whether they are.
    """

    def __init__(self, conv_to_res: bool = True, **kwargs) -> None:
        self.conv_to_res = conv_to_res  # needed while the convolutions are built
        super().__init__(**kwargs)

    def build_convs(self, num_convs: int, kernel_size: int) -> nn.ModuleList:
        if not self.conv_to_res:
            return super().build_convs(num_convs, kernel_size)
        return residual_convs(num_convs, self.in_channels, self.conv_out_channels, self.conv_cfg, self.norm_cfg)


@MODELS.register_module()
class SCNetSemanticHead(FusedSemanticHead):
    """A ``FusedSemanticHead`` whose convolutions after the sum are residual blocks of two.

    Args:
        conv_to_res: Whether they are.
    """

    def __init__(self, conv_to_res: bool = True, **kwargs) -> None:
        self.conv_to_res = conv_to_res  # needed while the convolutions are built
        super().__init__(**kwargs)

    def build_convs(self, num_convs: int, in_channels: int, out_channels: int, layer: dict) -> nn.ModuleList:
        if not self.conv_to_res:
            return super().build_convs(num_convs, in_channels, out_channels, layer)
        return residual_convs(num_convs, in_channels, out_channels, **layer)


@MODELS.register_module()
class GlobalContextHead(BaseModule):
    """Convolutions on the coarsest feature map, their mean, and a linear layer for all classes at once.

    Args:
        num_convs: 3x3 convolutions.
        in_channels, conv_out_channels: Channels of the feature map and of the convolutions.
        num_classes: Classes.
        loss_weight: Weight of the loss.
        conv_cfg, norm_cfg: Convolution layer and norm layer.
        conv_to_res: Make residual blocks of two of the convolutions.
    """

    def __init__(
        self,
        num_convs: int = 4,
        in_channels: int = 256,
        conv_out_channels: int = 256,
        num_classes: int = 80,
        loss_weight: float = 1.0,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        conv_to_res: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Normal', std=0.01, override=dict(name='fc')))
        self.loss_weight = loss_weight
        if conv_to_res:
            self.convs = residual_convs(num_convs, in_channels, conv_out_channels, conv_cfg, norm_cfg)
        else:
            self.convs = build_tower(in_channels, conv_out_channels, num_convs, conv_cfg, norm_cfg)
        self.fc = nn.Linear(conv_out_channels, num_classes)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Pyramid maps -> class logits (B, num_classes) and features (B, conv_out_channels, 1, 1)."""
        x = run_tower(self.convs, feats[-1]).mean((2, 3), keepdim=True)
        return self.fc(x.flatten(1)), x

    def loss(self, logits: Tensor, samples: SampleList) -> Tensor:
        """Binary cross entropy of logits (B, num_classes) against the classes of each sample's objects."""
        logits = float32_if_half(logits)[0]
        targets = logits.new_zeros(logits.shape)
        for row, sample in zip(targets, samples):
            row[sample.gt_instances.labels] = 1
        return self.loss_weight * F.binary_cross_entropy_with_logits(logits, targets)


@MODELS.register_module()
class FeatureRelayHead(BaseModule):
    """A linear layer that turns a vector into region features, which are upsampled.

    Args:
        in_channels, out_conv_channels: Channels of the vector and of the region features.
        roi_feat_size: Height and width of these before they are upsampled.
        scale_factor: Factor of the upsampling.
    """

    def __init__(
        self,
        in_channels: int = 1024,
        out_conv_channels: int = 256,
        roi_feat_size: int = 7,
        scale_factor: int = 2,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Linear'))
        self.shape = (out_conv_channels, roi_feat_size, roi_feat_size)
        self.scale_factor = scale_factor
        self.fc = nn.Linear(in_channels, out_conv_channels * roi_feat_size**2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels) -> (n, out_conv_channels, h, w)."""
        x = self.fc(x).unflatten(1, self.shape)
        return F.interpolate(x, scale_factor=self.scale_factor, mode='bilinear', align_corners=True)


class SCNetMaskBranch(MaskBranch):
    """Masks by the one ``mask_head``, from features of boxes and from hidden features of the last box head."""

    @property
    def stages_with_masks(self) -> Sequence[int]:
        """The last stage alone."""
        return [self.regions.num_stages - 1]

    def training_features(
        self, stage: int, x: Sequence[Tensor], sampled: Sequence[SamplingResult], outs: StageOutputs
    ) -> Tensor:
        feats = super().training_features(stage, x, sampled, outs)
        return self.with_relayed(feats, outs.preds[2][positives_among(sampled)])

    def logits_of_stages(self, x: Sequence[Tensor], rois: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Mask logits (n, C, h, w) of the last stage for regions (n, 5); its box head looks at them once more."""
        (last,) = stages
        feats = self.regions.features(self.extractor, last, x, rois)
        if self.regions.feat_relay_head is not None:
            hidden = self.regions.part('bbox_head', last)(*self.regions.box_features(last, x, rois))[2]
            feats = self.with_relayed(feats, hidden)
        return self.logits(feats, stages)

    def with_relayed(self, feats: Tensor, hidden: Tensor) -> Tensor:
        """Region features (n, C, h, w) with what the relay makes of hidden features (n, c) of the box head."""
        relay = self.regions.feat_relay_head
        return feats if relay is None else feats + relay(hidden)


@MODELS.register_module()
class SCNetRoIHead(SemanticCascadeRoIHead):
    """A cascade with masks of the last stage alone, so that training and testing see the same boxes.

    Regions are told what the whole image shows (``glbctx_head``) and masks what the box head saw (``feat_relay_head``).

    Args:
        num_stages, stage_loss_weights, semantic_roi_extractor, semantic_head: As of ``SemanticCascadeRoIHead``.
        feat_relay_head: Turns hidden features of the last box head into region features for masks; None for none.
        glbctx_head: Predicts which classes an image shows; None for none.
        kwargs: See ``SemanticCascadeRoIHead``; there is one ``mask_head`` and one ``mask_roi_extractor``.

    Raises:
        ConfigError: There is no ``mask_head`` with its own extractor.
    """

    mask_branch_class = SCNetMaskBranch
    has_one_mask_head = True

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        semantic_roi_extractor: dict | None = None,
        semantic_head: dict | None = None,
        feat_relay_head: dict | None = None,
        glbctx_head: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(num_stages, stage_loss_weights, semantic_roi_extractor, semantic_head, **kwargs)
        if not self.with_mask or self.mask_roi_extractor is None:
            raise ConfigError('SCNetRoIHead needs mask_head and mask_roi_extractor')
        self.feat_relay_head = MODELS.build(feat_relay_head) if feat_relay_head else None
        self.glbctx_head = MODELS.build(glbctx_head) if glbctx_head else None

    def named_terms(self, stage: int, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms of a stage with its prefix and weight; the mask loss with the weights of all stages together."""
        boxes = {name: value for name, value in terms.items() if name != 'loss_mask'}
        named = super().named_terms(stage, boxes)
        if 'loss_mask' in terms:
            # masks are trained by the last stage alone, and shall weigh as much as those of a cascade's three stages
            named['loss_mask'] = terms['loss_mask'] * sum(self.stage_loss_weights)
        return named

    def image_context(
        self, x: Sequence[Tensor], samples: SampleList | None = None
    ) -> tuple[Sequence[Tensor], dict[str, Tensor]]:
        """The feature maps, the global context (B, C, 1, 1) and the semantic features, and the losses of both."""
        if self.glbctx_head is None:
            return super().image_context(x, samples)
        logits, context = self.glbctx_head(x)
        maps, losses = super().image_context((*x, context), samples)
        if samples is not None:
            losses = dict(losses, loss_glbctx=self.glbctx_head.loss(logits, samples))
        return maps, losses

    def features(
        self,
        extractor: str,
        stage: int,
        x: Sequence[Tensor],
        rois: Tensor,
        roi_scale_factor: float | None = None,
    ) -> Tensor:
        """Region features, with semantic ones and the context of the region's image added."""
        feats = super().features(extractor, stage, x, rois, roi_scale_factor)
        if self.glbctx_head is None:
            return feats
        # image_context put the semantic features behind the context
        context = x[-2] if self.with_semantic else x[-1]
        return feats + context[rois[:, 0].long()]
