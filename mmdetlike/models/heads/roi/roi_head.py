"""The one pipeline of region heads: proposals -> stages of boxes -> branches (masks, keypoints, ...).

``RoIHead`` knows boxes and loops over stages and branches. A family says which branches it has (``build_branches``,
``mask_branch_class``), which features its box head takes (``box_features``), what the whole image adds
(``image_context``) and, where the steps of a stage come in another order, which class its stages are
(``stage_class``).
"""

import functools
import itertools
from collections.abc import Sequence

from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.utils import fixed_rows
from mmdetlike.registry import MODELS, TASK_UTILS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import geometry, scale_boxes

from .branches import MaskBranch, RoIBranch
from .stage import Stage, StageOutputs, StageResult


class RoIHead(BaseModule):
    """Base of the heads that look at regions, with one stage or ``num_stages``.

    Args:
        bbox_roi_extractor: Pools features of proposals.
        bbox_head: Classifies and regresses them.
        mask_roi_extractor: Pools features for masks; None to use those of the boxes.
        mask_head: Predicts masks; None for a detector of boxes.
        shared_head: Runs on region features before the heads.
        train_cfg: ``assigner``, ``sampler``, ``pos_weight`` and, for masks, ``mask_size``. With
            ``train_on_pred_boxes=True`` branches learn at the boxes that are predicted for proposals, as they are asked
            in testing, not at the proposals.
        test_cfg: ``score_thr``, ``nms``, ``max_per_img`` and, for masks, ``mask_thr_binary``. With
            ``mult_proposal_score=True`` the scores of proposals count, too: see ``RegionHead.detect``.

    Attributes:
        branches: What is predicted for boxes beside themselves, by name.
        fields_for_branches: What the box head puts into results for the branches alone.

    Raises:
        ConfigError: ``train_cfg`` of a stage has no sampler, or some stages have an assigner and others none; or
            rotated boxes are predicted for a branch or for a next stage; or ``mult_proposal_score`` is asked of a head
            that knows nothing of proposals' scores.
    """

    num_stages = 1
    stage_class = Stage
    mask_branch_class = MaskBranch
    fields_for_branches: Sequence[str] = ()

    def __init__(
        self,
        bbox_roi_extractor: dict,
        bbox_head: dict,
        mask_roi_extractor: dict | None = None,
        mask_head: dict | None = None,
        shared_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.stage_cfgs = self.cfgs_of_stages(train_cfg)
        self.test_cfg = ConfigDict(test_cfg or {})
        self.shared_head = None if shared_head is None else MODELS.build(shared_head)
        self.bbox_roi_extractor = self.build_part('bbox_roi_extractor', bbox_roi_extractor)
        self.bbox_head = self.build_part('bbox_head', bbox_head)
        self.mask_roi_extractor = self.build_part('mask_roi_extractor', mask_roi_extractor)
        self.mask_head = self.build_part('mask_head', mask_head)
        self.assigners, self.samplers = build_assigners_and_samplers(self.stage_cfgs)
        self.branches = self.build_branches()
        self._check_box_kinds()
        self._check_predicted_boxes()
        self._check_objectness()

    def _check_objectness(self) -> None:
        head = self.part('bbox_head', self.num_stages - 1)
        if self.test_cfg.get('mult_proposal_score', False) and not head.takes_objectness:
            raise ConfigError(
                f'test_cfg.rcnn.mult_proposal_score=True: {type(head).__name__} gives scores without proposals'
            )

    def _check_predicted_boxes(self) -> None:
        at_predicted = any(cfg.get('train_on_pred_boxes', False) for cfg in self.stage_cfgs)
        if at_predicted and self.with_mask and self.mask_roi_extractor is None:
            raise ConfigError(
                f'{type(self).__name__}: train_cfg.rcnn.train_on_pred_boxes=True needs a mask_roi_extractor: without '
                'one, masks are made of the features of the proposals'
            )

    def _check_box_kinds(self) -> None:
        """Only what comes last may make rotated boxes: regions, from which features are pooled, are axis-aligned."""
        taken = dict.fromkeys(range(self.num_stages - 1), 'the next stage')
        if self.branches:
            taken[self.num_stages - 1] = f'the branch of {next(iter(self.branches))}'
        for stage, taker in taken.items():
            head = self.part('bbox_head', stage)
            if head.box_dim != geometry.HORIZONTAL:
                raise ConfigError(
                    f'{type(self).__name__}: {taker} takes axis-aligned boxes, but {type(head).__name__} predicts '
                    f'{geometry.KINDS[head.box_dim]}'
                )

    def cfgs_of_stages(self, train_cfg: dict | None) -> list[ConfigDict]:
        """``train_cfg.rcnn`` of each stage."""
        return [ConfigDict(train_cfg or {})]

    def build_part(self, name: str, cfg: dict | None) -> nn.Module | None:
        """The part ``name`` of all stages, a ModuleList if there are several; None where there is none."""
        return None if cfg is None else MODELS.build(cfg)

    def build_branches(self) -> dict[str, RoIBranch]:
        """The branches by name, in the order in which they run: masks, if there is a mask head.

        Called at the end of this constructor, before a subclass has built its own parts: branches look them up later.
        """
        return dict(mask=self.mask_branch_class(self)) if self.with_mask else {}

    @property
    def with_mask(self) -> bool:
        """Whether masks are predicted."""
        return self.mask_head is not None

    def part(self, name: str, stage: int) -> nn.Module:
        """The part of a stage, e.g. ``part('bbox_head', 1)``."""
        parts = getattr(self, name)
        return parts[stage] if isinstance(parts, nn.ModuleList) else parts

    def stage(self, i: int, training: bool = False) -> Stage:
        """Stage ``i`` with its settings for training or testing.

        Raises:
            ConfigError: It is to be trained without an assigner.
        """
        extract = functools.partial(self.box_features, i)
        head = self.part('bbox_head', i)
        if not training:
            return self.stage_class(extract, head, self.test_cfg)
        if not self.assigners:
            raise ConfigError(f'{type(self).__name__} is trained, but train_cfg.rcnn has no assigner and no sampler')
        return self.stage_class(extract, head, self.stage_cfgs[i], self.assigners[i], self.samplers[i])

    def box_features(self, stage: int, x: Sequence[Tensor], rois: Tensor) -> tuple[Tensor, ...]:
        """The arguments of a stage's box head for ``rois`` (n, 5): one tensor of region features (n, C, h, w)."""
        return (self.features('bbox_roi_extractor', stage, x, rois),)

    def features(
        self,
        extractor: str,
        stage: int,
        x: Sequence[Tensor],
        rois: Tensor,
        roi_scale_factor: float | None = None,
    ) -> Tensor:
        """Region features (n, C, h, w) by the part ``extractor`` of a stage.

        Args:
            extractor: Name of the part.
            stage: Index of the stage.
            x: Feature maps (B, C, H_i, W_i).
            rois: (n, 5) image index and xyxy in pixels.
            roi_scale_factor: Pool from regions so many times as high and wide; None for the regions themselves.
        """
        # an extractor of the user's that never grows regions need not know how
        scale = {} if roi_scale_factor is None else dict(roi_scale_factor=roi_scale_factor)
        pool = self.part(extractor, stage)
        # an extractor of the user's pools from axis-aligned regions
        box_dim = getattr(pool, 'box_dim', geometry.HORIZONTAL)
        geometry.require_kind(rois[:, 1:], box_dim, type(pool).__name__)
        feats = pool(x, rois, **scale)
        return feats if self.shared_head is None else self.shared_head(feats)

    def image_context(
        self, x: Sequence[Tensor], samples: SampleList | None = None
    ) -> tuple[Sequence[Tensor], dict[str, Tensor]]:
        """What the whole image adds before its regions are looked at.

        Args:
            x: Feature maps (B, C, H_i, W_i).
            samples: In training, the samples; None in testing.

        Returns:
            The feature maps that stages and branches get, and loss terms of the whole image.
        """
        return x, {}

    def forward(
        self, x: Sequence[Tensor], rpn_results_list: Sequence[InstanceData], batch_data_samples: SampleList = ()
    ) -> tuple:
        """Raw outputs for all proposals: what the box head of each stage returns, then those of each branch."""
        x, _ = self.image_context(x)
        outputs = self.run_stages(x, rpn_results_list, batch_data_samples)
        raw = []
        for outs in outputs:
            raw += outs.preds
        for branch in self.branches.values():
            raw += branch.raw(x, outputs[-1])
        return tuple(raw)

    def run_stages(
        self, x: Sequence[Tensor], proposals: Sequence[InstanceData], samples: SampleList
    ) -> list[StageOutputs]:
        """The outputs of all stages in testing, each for the regions that the one before has refined."""
        stages = [self.stage(i) for i in range(self.num_stages)]
        outputs = [stages[0].test(x, proposals)]
        for before, stage in itertools.pairwise(stages):
            outputs.append(stage.test(x, before.next_proposals(outputs[-1], samples)))
        return outputs

    # -- training ----------------------------------------------------------------------------------------------------

    def loss(
        self, x: Sequence[Tensor], rpn_results_list: Sequence[InstanceData], batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Loss terms of all stages and branches.

        Args:
            x: Feature maps (B, C, H_i, W_i).
            rpn_results_list: Proposals of each image, ``bboxes`` (n, 4) xyxy in pixels.
            batch_data_samples: Samples with ``gt_instances``.
        """
        x, losses = self.image_context(x, batch_data_samples)
        proposals = rpn_results_list
        for i in range(self.num_stages):
            stage = self.stage(i, training=True)
            result = stage.train(x, proposals, batch_data_samples)
            self.observe(i, result)
            terms = dict(result.terms)
            sampled = result.sampled
            if self.branches and self.stage_cfgs[i].get('train_on_pred_boxes', False):
                sampled = stage.at_predicted_boxes(result, batch_data_samples)
            for branch in self.branches.values():
                terms.update(branch.loss(i, x, sampled, result.outs, batch_data_samples))
            losses.update(self.named_terms(i, terms))
            if i + 1 < self.num_stages:
                proposals = stage.next_proposals(result.outs, batch_data_samples, result.sampled)
        return losses

    def observe(self, stage: int, result: StageResult) -> None:
        """Look at the result of a stage in training, to adapt settings to it; does nothing by default."""

    def named_terms(self, stage: int, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms of a stage as they appear in the log."""
        return terms

    # -- testing -----------------------------------------------------------------------------------------------------

    def predict(
        self,
        x: Sequence[Tensor],
        rpn_results_list: Sequence[InstanceData],
        batch_data_samples: SampleList,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Objects of each image.

        Returns:
            ``bboxes`` (n, 4) xyxy, ``scores`` (n,), ``labels`` (n,) and what the branches add, such as ``masks``
            (n, h, w) bool, in pixels of the original image if ``rescale``.
        """
        found = self.detect(x, rpn_results_list, batch_data_samples, rescale)
        return [InstanceData(**image) for image in found]

    def predict_given_boxes(
        self, x: Sequence[Tensor], given: Sequence[InstanceData], samples: SampleList, rescale: bool = False
    ) -> list[InstanceData]:
        """What the branches say of boxes that are given; as of ``predict``, but with all of them and no others.

        ``given`` has of each image ``bboxes`` (n, 4) xyxy in pixels of the network's input, ``labels`` and ``scores``.
        """
        x, _ = self.image_context(x)
        results = [image.to(x[0].device) for image in given]
        for branch in self.branches.values():
            branch.add_predictions(x, results, samples, rescale)
        return self._in_original(results, samples) if rescale else results

    @staticmethod
    def _in_original(results: Sequence[InstanceData], samples: SampleList) -> Sequence[InstanceData]:
        for result, sample in zip(results, samples):
            result.bboxes = scale_boxes(result.bboxes, [1 / factor for factor in sample.scale_factor])
        return results

    def detect(
        self,
        x: Sequence[Tensor],
        proposals: Sequence[InstanceData],
        samples: SampleList,
        rescale: bool = False,
        counts: Sequence[int] | None = None,
    ) -> list[dict[str, Tensor]]:
        """Objects of each image as tensors by name, which ``torch.export`` can trace; ``predict`` wraps them.

        Args:
            x: Feature maps (B, C, H_i, W_i).
            proposals: Of each image ``bboxes`` (n, 4) xyxy in pixels of the network's input.
            samples: Only their ``img_shape`` is read and, to rescale, ``ori_shape`` and ``scale_factor``.
            rescale: Put out what is found in pixels of the original image.
            counts: How many rows of each image's proposals, its first ones, are proposals; None for all. The others
                fill up a graph of a fixed number of proposals.
        """
        x, _ = self.image_context(x)
        found = self.detect_boxes(x, proposals, samples, counts)
        numbers = [image['scores'].shape[0] for image in found]
        limit = self.test_cfg.get('max_per_img', -1)
        results = [InstanceData(**fixed_rows(image, limit, 'test_cfg.rcnn.max_per_img')) for image in found]
        for branch in self.branches.values():
            branch.add_predictions(x, results, samples, rescale)
        if rescale:
            results = self._in_original(results, samples)
        for result in results:
            for name in self.fields_for_branches:
                result.pop(name)
        return [{name: value[:count] for name, value in result.items()} for result, count in zip(results, numbers)]

    def merge_stages(self, head: nn.Module, preds_of_stages: Sequence[tuple]) -> tuple:
        """What is predicted in testing, of the preds of all stages; by default what the last stage's ``head`` says."""
        return head.merge_stages(preds_of_stages)

    def predict_boxes(
        self, x: Sequence[Tensor], proposals: Sequence[InstanceData], samples: SampleList
    ) -> list[InstanceData]:
        """Boxes of each image, in pixels of the network's input, from feature maps with their ``image_context``."""
        return [InstanceData(**image) for image in self.detect_boxes(x, proposals, samples)]

    def detect_boxes(
        self,
        x: Sequence[Tensor],
        proposals: Sequence[InstanceData],
        samples: SampleList,
        counts: Sequence[int] | None = None,
    ) -> list[dict[str, Tensor]]:
        """Boxes of each image, in pixels of the network's input, by what the last stage's head makes of all stages.

        The arguments are those of ``detect``, feature maps with their ``image_context``.
        """
        outputs = self.run_stages(x, proposals, samples)
        head = self.part('bbox_head', self.num_stages - 1)
        preds = self.merge_stages(head, [outs.preds for outs in outputs])
        found = []
        for i, (rois, image) in enumerate(zip(outputs[-1].rois_of_images(), head.split(preds, outputs[-1].counts))):
            # stages keep all regions in testing, in their order
            if counts is not None:
                rois = rois[: counts[i]]
                image = head.take(image, slice(counts[i]))
            told = {}
            if self.test_cfg.get('mult_proposal_score', False):
                told['objectness'] = scores_of_proposals(proposals[i])[: len(rois)]
            found.append(head.detect(rois, image, samples[i].img_shape, self.test_cfg, **told))
        return found


@MODELS.register_module()
class StandardRoIHead(RoIHead):
    """One stage of regions: classify the proposals, refine their boxes and draw their masks; see ``RoIHead``.

    Fast, Faster and Mask R-CNN: arXiv 1504.08083, 1506.01497, 1703.06870.
    """


def scores_of_proposals(proposals: InstanceData) -> Tensor:
    """The ``scores`` (n,) of an image's proposals; raises a ``ValueError`` where they have none."""
    if 'scores' not in proposals:
        raise ValueError(
            f'test_cfg.rcnn.mult_proposal_score=True needs proposals with scores, got {sorted(proposals.keys())}'
        )
    return proposals.scores


def build_assigners_and_samplers(stage_cfgs: Sequence[ConfigDict]) -> tuple[list, list]:
    """The assigner and the sampler of each stage; two empty lists where no stage has any.

    Raises:
        ConfigError: Some stages have one and others lack it.
    """
    if not any('assigner' in cfg or 'sampler' in cfg for cfg in stage_cfgs):
        return [], []
    for i, cfg in enumerate(stage_cfgs):
        missing = [name for name in ('assigner', 'sampler') if name not in cfg]
        if missing:
            name = f'train_cfg.rcnn[{i}]' if len(stage_cfgs) > 1 else 'train_cfg.rcnn'
            raise ConfigError(f'{name} has no {" and no ".join(missing)}; every stage needs both, got {sorted(cfg)}')
    assigners = [TASK_UTILS.build(cfg.assigner) for cfg in stage_cfgs]
    samplers = [TASK_UTILS.build(cfg.sampler) for cfg in stage_cfgs]
    return assigners, samplers
