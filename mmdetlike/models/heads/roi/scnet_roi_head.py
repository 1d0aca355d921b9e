"""The region head of SCNet: Training Inference Sample Consistency for Instance Segmentation, arXiv 2012.10150."""

from collections.abc import Sequence

from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .branches import MaskBranch
from .htc_roi_head import SemanticCascadeRoIHead
from .stage import StageOutputs, positives_among


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
