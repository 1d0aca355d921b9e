"""Boxes and masks that help each other, with semantic context: Hybrid Task Cascade, arXiv 1901.07518."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule, build_tower, run_tower
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils import semantic_maps
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .branches import MaskBranch
from .cascade_roi_head import CascadeRoIHead
from .mask_heads import FCNMaskHead
from .stage import StageOutputs

DEFAULT_LOSS = dict(type='CrossEntropyLoss', ignore_index=255, loss_weight=0.2)


@MODELS.register_module()
class HTCMaskHead(FCNMaskHead):
    """An ``FCNMaskHead`` that adds the features of the stage before to its input.

    Args:
        with_conv_res: Take features of a stage before, through a 1x1 convolution.
    """

    def __init__(self, with_conv_res: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        self.conv_res = None
        if with_conv_res:
            width = self.conv_out_channels
            self.conv_res = ConvModule(width, width, 1, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)

    def hidden(self, x: Tensor, previous: Tensor | None = None) -> Tensor:
        """The features after the convolutions, of region features (n, C, h, w) and those of the stage before."""
        if previous is not None and self.conv_res is not None:
            x = x + self.conv_res(previous)
        return super().hidden(x)


@MODELS.register_module()
class FusedSemanticHead(BaseModule):
    """Add all levels up at one of them, then segment the image by convolutions.

    Args:
        num_ins: Levels of the pyramid.
        fusion_level: The level whose size the sum has.
        seg_scale_factor: Size of that level by the size of the image.
        num_convs: 3x3 convolutions after the sum.
        in_channels, conv_out_channels: Channels of the feature maps and of the convolutions.
        num_classes: Classes of the segmentation.
        conv_cfg, norm_cfg: Convolution layer and norm layer.
        loss_seg: Loss of the logits.
        ignore_label, loss_weight: Of the loss, in place of ``loss_seg.ignore_index`` and ``loss_seg.loss_weight``.
    """

    predicts_dataset_classes = False  # its classes are those of pixels, stuff among them

    def __init__(
        self,
        num_ins: int,
        fusion_level: int,
        seg_scale_factor: float = 1 / 8,
        num_convs: int = 4,
        in_channels: int = 256,
        conv_out_channels: int = 256,
        num_classes: int = 183,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        ignore_label: int | None = None,
        loss_weight: float | None = None,
        loss_seg: dict = DEFAULT_LOSS,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', override=dict(name='conv_logits')))
        self.fusion_level, self.seg_scale_factor = fusion_level, seg_scale_factor
        layer = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        self.lateral_convs = nn.ModuleList(
            ConvModule(in_channels, in_channels, 1, inplace=False, **layer) for _ in range(num_ins)
        )
        self.convs = self.build_convs(num_convs, in_channels, conv_out_channels, layer)
        width = conv_out_channels if num_convs else in_channels
        self.conv_embedding = ConvModule(width, conv_out_channels, 1, **layer)
        self.conv_logits = nn.Conv2d(conv_out_channels, num_classes, 1)
        overrides = {'ignore_index': ignore_label, 'loss_weight': loss_weight}
        self.criterion = MODELS.build({**loss_seg, **{k: v for k, v in overrides.items() if v is not None}})

    def build_convs(self, num_convs: int, in_channels: int, out_channels: int, layer: dict) -> nn.ModuleList:
        """The convolutions after the sum, called by the constructor; ``layer`` has ``conv_cfg`` and ``norm_cfg``."""
        return build_tower(in_channels, out_channels, num_convs, **layer)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Pyramid maps -> class logits (B, num_classes, h, w) and semantic features (B, conv_out_channels, h, w)."""
        size = feats[self.fusion_level].shape[-2:]
        x = self.lateral_convs[self.fusion_level](feats[self.fusion_level])
        for i, (feat, lateral) in enumerate(zip(feats, self.lateral_convs)):
            if i != self.fusion_level:
                x = x + lateral(F.interpolate(feat, size=size, mode='bilinear', align_corners=True))
        x = run_tower(self.convs, x)
        return self.conv_logits(x), self.conv_embedding(x)

    def loss(self, logits: Tensor, samples: SampleList) -> Tensor:
        """Loss of logits (B, num_classes, h, w) against each sample's ``gt_sem_seg``.

        Raises:
            ValueError: A sample has none.
        """
        labels = semantic_maps(samples)[:, None].float()
        labels = F.interpolate(labels, scale_factor=self.seg_scale_factor, mode='nearest')[:, 0].long()
        return self.criterion(float32_if_half(logits)[0], labels)


class SemanticCascadeRoIHead(CascadeRoIHead):
    """Base of cascades whose regions see semantic features of the whole image: arXiv 1901.07518, 2012.10150.

    Args:
        num_stages, stage_loss_weights: As of ``CascadeRoIHead``.
        semantic_roi_extractor: Pools semantic features of regions.
        semantic_head: Segments the image from the pyramid; None for none.
        semantic_fusion: Which of ``'bbox'`` and ``'mask'`` add semantic features to their own.

    Raises:
        ConfigError: One of ``semantic_head`` and ``semantic_roi_extractor`` is missing.
    """

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        semantic_roi_extractor: dict | None = None,
        semantic_head: dict | None = None,
        semantic_fusion: Sequence[str] = ('bbox', 'mask'),
        **kwargs,
    ) -> None:
        super().__init__(num_stages, stage_loss_weights, **kwargs)
        if (semantic_head is None) != (semantic_roi_extractor is None):
            raise ConfigError('semantic_head and semantic_roi_extractor go together, got one of them')
        self.semantic_roi_extractor = MODELS.build(semantic_roi_extractor) if semantic_roi_extractor else None
        self.semantic_head = MODELS.build(semantic_head) if semantic_head else None
        self.semantic_fusion = semantic_fusion

    @property
    def with_semantic(self) -> bool:
        """Whether there is a semantic branch."""
        return self.semantic_head is not None

    def image_context(
        self, x: Sequence[Tensor], samples: SampleList | None = None
    ) -> tuple[Sequence[Tensor], dict[str, Tensor]]:
        """The feature maps, followed by the semantic features, and the loss of the segmentation.

        In training the samples need ``gt_sem_seg``.
        """
        if not self.with_semantic:
            return super().image_context(x, samples)
        logits, feats = self.semantic_head(x)
        losses = {} if samples is None else dict(loss_semantic_seg=self.semantic_head.loss(logits, samples))
        return (*x, feats), losses

    def features(
        self,
        extractor: str,
        stage: int,
        x: Sequence[Tensor],
        rois: Tensor,
        roi_scale_factor: float | None = None,
    ) -> Tensor:
        """Region features, with the semantic ones added where ``semantic_fusion`` says so."""
        feats = super().features(extractor, stage, x, rois, roi_scale_factor)
        if self.with_semantic and extractor.removesuffix('_roi_extractor') in self.semantic_fusion:
            semantic = self.semantic_roi_extractor([x[-1]], rois, roi_scale_factor)
            feats = feats + F.adaptive_avg_pool2d(semantic, feats.shape[-2:])
        return feats


class HTCMaskBranch(MaskBranch):
    """Masks of a cascade; the region head says by ``interleaved`` and ``mask_info_flow`` how they depend on it."""

    def loss(
        self,
        stage: int,
        x: Sequence[Tensor],
        sampled: Sequence[SamplingResult],
        outs: StageOutputs,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """Mask loss of the positives, with ``interleaved`` among the boxes that this stage has refined."""
        if not self.regions.interleaved:
            return super().loss(stage, x, sampled, outs, samples)
        # the paper's interleaved execution: masks learn on boxes of the quality that testing has, so refined boxes are
        # assigned and sampled once more
        steps = self.regions.stage(stage, training=True)
        refined = steps.next_proposals(outs, samples, sampled)
        resampled = steps.sample(x, refined, samples)
        return self.terms(stage, x, self.features_of_positives(stage, x, resampled), resampled, samples)

    def logits(self, feats: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Mask logits of the given stages; with ``mask_info_flow`` each head gets the features of those before it."""
        if not self.regions.mask_info_flow:
            return super().logits(feats, stages)
        logits = []
        hidden = None
        for i, head in enumerate(self.regions.mask_head[: max(stages) + 1]):
            hidden = head.hidden(feats, hidden)
            if i in stages:
                logits.append(head.logits(hidden))
        return logits

    def logits_of_stages(self, x: Sequence[Tensor], rois: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Mask logits in testing; with ``mask_info_flow`` all from the features of the last stage's extractor."""
        if not self.regions.mask_info_flow:
            return super().logits_of_stages(x, rois, stages)
        last = self.regions.num_stages - 1
        return self.logits(self.regions.features(self.extractor, last, x, rois), stages)

    @property
    def averaged_stages(self) -> Sequence[int]:
        """With ``mask_info_flow`` the last stage alone, which has seen the features of all others."""
        return [self.regions.num_stages - 1] if self.regions.mask_info_flow else super().averaged_stages


@MODELS.register_module()
class HybridTaskCascadeRoIHead(SemanticCascadeRoIHead):
    """A cascade whose masks are trained on refined boxes, hand their features on and see a semantic branch.

    Args:
        num_stages, stage_loss_weights: As of ``CascadeRoIHead``.
        semantic_roi_extractor, semantic_head, semantic_fusion: As of ``SemanticCascadeRoIHead``.
        interleaved: Train a stage's masks on the boxes that this stage has refined.
        mask_info_flow: Feed each mask head the features of the one before.
    """

    mask_branch_class = HTCMaskBranch

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        semantic_roi_extractor: dict | None = None,
        semantic_head: dict | None = None,
        semantic_fusion: Sequence[str] = ('bbox', 'mask'),
        interleaved: bool = True,
        mask_info_flow: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(
            num_stages, stage_loss_weights, semantic_roi_extractor, semantic_head, semantic_fusion, **kwargs
        )
        self.interleaved, self.mask_info_flow = interleaved, mask_info_flow
