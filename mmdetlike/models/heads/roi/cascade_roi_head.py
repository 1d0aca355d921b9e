"""Stages of rising quality, each on the boxes of the one before: Cascade R-CNN, arXiv 1712.00726 and 1906.09756."""

from collections.abc import Sequence

import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import geometry

from .branches import MaskBranch
from .roi_head import RoIHead
from .stage import Stage, StageOutputs


@MODELS.register_module()
class CascadeRoIHead(RoIHead):
    """Several stages of boxes and masks; each part, and ``train_cfg``, is one for all stages or a list of one for each.

    Args:
        num_stages: How many.
        stage_loss_weights: Weight of each stage's losses.
        bbox_roi_extractor, bbox_head, mask_roi_extractor, mask_head, train_cfg, test_cfg: As of ``RoIHead``.
        shared_head: Must be None.

    Attributes:
        has_one_mask_head: Whether all stages have the same mask head and extractor of its features.

    Raises:
        ConfigError: ``shared_head`` is set, or a list has another length than ``num_stages``.
    """

    has_one_mask_head = False

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        bbox_roi_extractor: dict | Sequence[dict],
        bbox_head: dict | Sequence[dict],
        mask_roi_extractor: dict | Sequence[dict] | None = None,
        mask_head: dict | Sequence[dict] | None = None,
        shared_head: None = None,
        train_cfg: dict | Sequence[dict] | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if shared_head is not None:
            raise ConfigError(f'a cascade has no shared_head, got {shared_head}')
        self.num_stages = num_stages  # needed while the parts are built
        super().__init__(
            bbox_roi_extractor,
            bbox_head,
            mask_roi_extractor,
            mask_head,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )
        self.stage_loss_weights = self._one_each('stage_loss_weights', stage_loss_weights)

    def cfgs_of_stages(self, train_cfg: dict | Sequence[dict] | None) -> list[ConfigDict]:
        return [ConfigDict(cfg) for cfg in self._one_each('train_cfg.rcnn', train_cfg or {})]

    def build_part(self, name: str, cfg: dict | Sequence[dict] | None) -> nn.Module | None:
        """The part ``name`` of each stage, or the only one; None where there is none."""
        if cfg is None or (self.has_one_mask_head and name.startswith('mask_')):
            return super().build_part(name, cfg)
        return nn.ModuleList(MODELS.build(stage) for stage in self._one_each(name, cfg))

    def _one_each(self, name: str, values: Sequence | dict) -> list:
        if isinstance(values, dict):
            return [values] * self.num_stages
        if len(values) != self.num_stages:
            raise ConfigError(f'{name} has {len(values)} entries, num_stages={self.num_stages} are expected')
        return list(values)

    def named_terms(self, stage: int, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms of a stage, its losses weighted, with a prefix such as ``s0.``."""
        # what is no loss, such as accuracy, is only logged
        weight = self.stage_loss_weights[stage]
        return {f's{stage}.{name}': value * weight if 'loss' in name else value for name, value in terms.items()}


class KeepingStage(Stage):
    """A stage that hands all its regions on, objects that were among them too, but for those without area."""

    def next_proposals(
        self, outs: StageOutputs, samples: SampleList, sampled: Sequence[SamplingResult] | None = None
    ) -> list[InstanceData]:
        proposals = super().next_proposals(outs, samples)
        if sampled is None:
            return proposals
        return [image[geometry.is_larger(image.bboxes, 0)] for image in proposals]


class FirstStageMaskBranch(MaskBranch):
    """Masks that are trained on the regions of the first stage alone and predicted for the last one's boxes."""

    stages_with_masks = (0,)


@MODELS.register_module()
class SharedMaskCascadeRoIHead(CascadeRoIHead):
    """A cascade as Detectron2 has it, with one mask head, trained on the first stage's regions.

    Beside that, it averages probabilities of the stages, not logits; its backbone gets the mean of their gradients,
    not their sum; and regions go from stage to stage without being sampled or joined by objects again.

    The arguments are those of ``CascadeRoIHead``, but ``mask_roi_extractor`` and ``mask_head`` are one for all stages.
    """

    stage_class = KeepingStage
    mask_branch_class = FirstStageMaskBranch
    has_one_mask_head = True

    def box_features(self, stage: int, x: Sequence[Tensor], rois: Tensor) -> tuple[Tensor, ...]:
        """Region features (n, C, h, w) whose gradient is divided by the number of stages."""
        (feats,) = super().box_features(stage, x, rois)
        share = feats / self.num_stages
        return (share + (feats - share).detach(),)

    def merge_stages(self, head: nn.Module, preds_of_stages: Sequence[tuple]) -> tuple:
        """The last stage's preds, with logits whose probabilities are the mean of those of all stages."""
        scores = torch.stack([head.region_scores(preds) for preds in preds_of_stages]).mean(0)
        return (scores.log(), *preds_of_stages[-1][1:])
