"""Training from few labels: a student learns from labeled images and from what its teacher sees in unlabeled ones.

The teacher is a moving average of the student (``MeanTeacherHook``). A batch has branches: labeled images (``sup``) and
two views of each unlabeled one, ``unsup_teacher`` and ``unsup_student``. What the teacher detects in its view is mapped
into the student's view by the ``homography_matrix`` of both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList, map_back, project_boxes
from mmdetlike.structures.bbox import geometry
from mmdetlike.utils.dist import mean_over_ranks
from mmdetlike.utils.settings.names import did_you_mean

from .base import build_data_preprocessor, weighted_terms

PARTS = ('student', 'teacher')
BRANCHES = ('sup', 'unsup_teacher', 'unsup_student')


@dataclass(frozen=True)
class TeacherView:
    """What the teacher saw of the unlabeled images.

    A sample of each, with ``img_shape`` and ``homography_matrix``, the map from the original image; and the feature
    maps (B, C, H_i, W_i), where pseudo-labels came with them.
    """

    samples: SampleList
    features: tuple[Tensor, ...] = ()


@MODELS.register_module()
class SemiBaseDetector(BaseModel):
    """A student and a teacher of one architecture; the teacher's confident detections are the student's labels.

    A subclass changes what becomes a pseudo-label (``get_pseudo_instances``) or how the student learns from it
    (``loss_by_pseudo_instances``). The checkpoint of a plain detector loads into both.

    Args:
        detector: Config of the student and of the teacher.
        semi_train_cfg: Settings of training; those of ``default_train_cfg`` where left out.
        semi_test_cfg: Which part does the work outside of training: ``predict_on``, ``forward_on`` and
            ``extract_feat_on``, each ``'teacher'``, as by default, or ``'student'``.
        data_preprocessor: Usually a ``MultiBranchDataPreprocessor``.

    Attributes:
        default_train_cfg: ``freeze_teacher``: the teacher gets no gradients and stays in eval mode; ``sup_weight`` and
            ``unsup_weight``: factors of the losses; ``cls_pseudo_thr``: least score of a pseudo-label;
            ``min_pseudo_bbox_wh``: its least width and height in pixels of the student's view.

    Raises:
        ConfigError: A setting is unknown, or a part is neither student nor teacher.
    """

    default_train_cfg = dict(
        freeze_teacher=True, sup_weight=1.0, unsup_weight=1.0, cls_pseudo_thr=0.05, min_pseudo_bbox_wh=(1e-2, 1e-2)
    )
    default_test_cfg = dict(predict_on='teacher', forward_on='teacher', extract_feat_on='teacher')

    def __init__(
        self,
        detector: dict,
        semi_train_cfg: dict | None = None,
        semi_test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(build_data_preprocessor(data_preprocessor), init_cfg)
        self.semi_train_cfg = _settings('semi_train_cfg', semi_train_cfg, self.default_train_cfg)
        self.semi_test_cfg = _settings('semi_test_cfg', semi_test_cfg, self.default_test_cfg)
        for key, part in self.semi_test_cfg.items():
            if part not in PARTS:
                raise ConfigError(f"semi_test_cfg.{key} must be 'student' or 'teacher', got {part!r}")
        self.student = MODELS.build(detector)
        self.check_student()
        self.teacher = MODELS.build(detector)
        if self.semi_train_cfg.freeze_teacher:
            self.teacher.requires_grad_(False)
            self.teacher.eval()
        self.register_load_state_dict_pre_hook(fill_both)

    def check_student(self) -> None:
        """Hook: refuse a student, or settings, that this kind of training cannot do with, by a ``ConfigError``."""

    def train(self, mode: bool = True) -> 'SemiBaseDetector':
        super().train(mode)
        if self.semi_train_cfg.freeze_teacher:
            self.teacher.eval()
        return self

    def forward(
        self,
        inputs: Tensor | dict[str, Tensor],
        data_samples: SampleList | dict[str, SampleList] | None = None,
        mode: str = 'tensor',
    ):
        """Run the detector, as ``BaseDetector.forward``; losses need ``inputs`` and ``data_samples`` by branch."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        part = self.semi_test_cfg.predict_on if mode == 'predict' else self.semi_test_cfg.forward_on
        return getattr(self, part)(inputs, data_samples, mode)

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> feature maps, of ``semi_test_cfg.extract_feat_on``."""
        return getattr(self, self.semi_test_cfg.extract_feat_on).extract_feat(batch_inputs)

    def loss(
        self, multi_batch_inputs: dict[str, Tensor], multi_batch_data_samples: dict[str, SampleList]
    ) -> dict[str, Tensor]:
        """Loss terms of labeled and unlabeled images, as far as a batch has them, with prefix ``sup_`` or ``unsup_``.

        Images (B, 3, H, W) and samples are by branch: those of ``sup`` have ``gt_instances``; ``unsup_teacher`` and
        ``unsup_student`` are views of the same images in the same order. Anything else is a ``ConfigError``.
        """
        inputs, samples = multi_batch_inputs, multi_batch_data_samples
        _check_branches(inputs, samples)
        losses = {}
        if 'sup' in inputs:
            losses.update(self.loss_by_gt_instances(inputs['sup'], samples['sup']))
        if 'unsup_student' in inputs:
            pseudo, view = self.get_pseudo_instances(inputs['unsup_teacher'], samples['unsup_teacher'])
            labeled = self.project_pseudo_instances(pseudo, samples['unsup_student'])
            losses.update(self.loss_by_pseudo_instances(inputs['unsup_student'], labeled, view))
        return losses

    def loss_by_gt_instances(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """The student's loss terms of labeled images, times ``sup_weight``, with the prefix ``sup_``."""
        losses = self.student(batch_inputs, batch_data_samples, mode='loss')
        return weighted_terms(losses, self.semi_train_cfg.sup_weight, 'sup_')

    @torch.no_grad()
    def get_pseudo_instances(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> tuple[list[InstanceData], TeacherView]:
        """What the teacher makes of its views (B, 3, H, W), whose samples have ``homography_matrix`` and ``ori_shape``.

        For each image ``bboxes`` (n, 4) xyxy in pixels of the original image, ``scores``, ``labels`` (n,); and what
        ``loss_by_pseudo_instances`` may need to ask the teacher again.
        """
        copies = [sample.new() for sample in batch_data_samples]
        predicted = self.teacher.predict(batch_inputs, copies, rescale=False)
        pseudo = [to_original(sample.pred_instances, sample) for sample in predicted]
        return pseudo, TeacherView(batch_data_samples)

    def project_pseudo_instances(
        self, pseudo_instances: Sequence[InstanceData], batch_data_samples: SampleList
    ) -> list[DetDataSample]:
        """Copies of the student's samples with ``gt_instances``: pseudo-labels of each original image in its view.

        Boxes are cut at the edges of the view; those smaller than ``min_pseudo_bbox_wh`` are left out. Samples have
        ``homography_matrix`` and ``img_shape``.
        """
        least = self.semi_train_cfg.min_pseudo_bbox_wh
        projected = []
        for instances, sample in zip(pseudo_instances, batch_data_samples):
            boxes = project_within(instances.bboxes, homography(sample), sample.img_shape)
            sizes = geometry.sizes(boxes)
            seen = instances.new()
            seen.bboxes = boxes
            projected.append(with_objects(sample, seen[(sizes > sizes.new_tensor(least)).all(1)]))
        return projected

    def loss_by_pseudo_instances(
        self, batch_inputs: Tensor, batch_data_samples: SampleList, view: TeacherView
    ) -> dict[str, Tensor]:
        """The student's loss terms of unlabeled images, times ``unsup_weight``, with the prefix ``unsup_``.

        Samples are of the student's views (B, 3, H, W), with pseudo-labels as ``gt_instances``.
        """
        samples = keep_objects(batch_data_samples, 'scores', self.semi_train_cfg.cls_pseudo_thr)
        losses = self.student(batch_inputs, samples, mode='loss')
        # without any pseudo-label all would be learned as background
        has_labels = any(len(sample.gt_instances) for sample in samples)
        return weighted_terms(losses, self.semi_train_cfg.unsup_weight * has_labels, 'unsup_')


@MODELS.register_module()
class SoftTeacher(SemiBaseDetector):
    """Soft Teacher, arXiv 2106.09018: a two-stage student whose losses each choose their own pseudo-labels.

    Proposals learn from boxes of a score above ``rpn_pseudo_thr``, classes from those above ``cls_pseudo_thr``, and
    deltas from boxes that the teacher localizes well. Regions that count as background are weighted by the teacher's
    own score of background there, since an object that the teacher missed must not be learned as background.

    Args:
        semi_train_cfg: Beside the settings of ``SemiBaseDetector``: ``pseudo_label_initial_score_thr``, least score of
            what becomes a pseudo-label at all; ``rpn_pseudo_thr``, ``cls_pseudo_thr``; ``reg_pseudo_thr``, the largest
            deviation of a box that deltas learn from; ``jitter_times``, ``jitter_scale``: how that is measured, see
            ``box_deviations``.

    Raises:
        ConfigError: ``detector`` isn't one of regions with one stage of boxes, or ``jitter_times`` is below 2.
    """

    default_train_cfg = dict(
        SemiBaseDetector.default_train_cfg,
        pseudo_label_initial_score_thr=0.5,
        rpn_pseudo_thr=0.9,
        cls_pseudo_thr=0.9,
        reg_pseudo_thr=0.02,
        jitter_times=10,
        jitter_scale=0.06,
    )

    def check_student(self) -> None:
        if getattr(getattr(self.student, 'roi_head', None), 'num_stages', 0) != 1:
            raise ConfigError(
                f'SoftTeacher needs a detector of regions with one stage of boxes, such as FasterRCNN, got '
                f'{type(self.student).__name__}'
            )
        if self.semi_train_cfg.jitter_times < 2:
            raise ConfigError(f'jitter_times must be 2 at least, got {self.semi_train_cfg.jitter_times}')

    @torch.no_grad()
    def get_pseudo_instances(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> tuple[list[InstanceData], TeacherView]:
        """The teacher's confident boxes; ``reg_uncs`` (n,) says how much each moves, see ``box_deviations``."""
        features = self.teacher.extract_feat(batch_inputs)
        proposals = self.teacher.proposals(features, batch_data_samples)
        features, _ = self.teacher.roi_head.image_context(features)
        view = TeacherView(batch_data_samples, features)
        predicted = self.teacher.roi_head.predict_boxes(features, proposals, batch_data_samples)
        least = self.semi_train_cfg.pseudo_label_initial_score_thr
        confident = [instances[instances.scores > least] for instances in predicted]
        for instances, deviations in zip(confident, self.box_deviations(confident, view)):
            instances.reg_uncs = deviations
        pseudo = [to_original(instances, sample) for instances, sample in zip(confident, batch_data_samples)]
        return pseudo, view

    def box_deviations(self, detected: Sequence[InstanceData], view: TeacherView) -> list[Tensor]:
        """How much the teacher's refinement of a box depends on where it starts: section 3.3 of the paper.

        Each ``detected`` box (n, 4) in pixels of the teacher's view is jittered ``jitter_times`` times, each coordinate
        by up to ``jitter_scale`` of the width or height, and refined. The deviations (n,) of each image are those of
        the refined coordinates, their mean over half the box's width and height.
        """
        times = self.semi_train_cfg.jitter_times
        jittered = [jitter(image.bboxes, times, self.semi_train_cfg.jitter_scale) for image in detected]
        stage = self.teacher.roi_head.stage(0)
        outs = stage.test(view.features, [InstanceData(bboxes=boxes) for boxes in jittered])
        images = zip(outs.rois_of_images(), stage.head.split(outs.preds, outs.counts), detected, view.samples)
        deviations = []
        for rois, preds, image, sample in images:
            refined = stage.head.refine(rois, preds, image.labels.repeat(times), sample.img_shape)
            refined = refined.view(times, len(image), 4)
            # torch.std warns of images without boxes
            variances = (refined - refined.mean(0)).square().sum(0) / (times - 1)
            spread = variances.sqrt().mean(1)
            deviations.append(spread / (0.5 * _sizes(image.bboxes).sum(1)))
        return deviations

    def loss_by_pseudo_instances(
        self, batch_inputs: Tensor, batch_data_samples: SampleList, view: TeacherView
    ) -> dict[str, Tensor]:
        cfg = self.semi_train_cfg
        x = self.student.extract_feat(self.student.in_memory_order(batch_inputs))
        for_proposals = keep_objects(batch_data_samples, 'scores', cfg.rpn_pseudo_thr)
        losses, proposals = self.student.proposal_losses(x, for_proposals)
        # without samples: what a head learns of whole images (HTC's semantic branch) has no pseudo-labels
        x, _ = self.student.roi_head.image_context(x)
        losses = dict(losses)
        losses['loss_cls'] = self.classification_loss(x, proposals, batch_data_samples, view)
        losses.update(self.regression_losses(x, proposals, batch_data_samples))
        return weighted_terms(losses, cfg.unsup_weight, 'unsup_')

    def classification_loss(
        self, x: Sequence[Tensor], proposals: Sequence[InstanceData], samples: SampleList, view: TeacherView
    ) -> Tensor:
        """Classification loss of sampled regions: a weighted mean.

        Regions of objects weigh 1, those of background the teacher's score of background. The paper's equation 3
        takes the mean of both kinds apart; one mean of all is what labeled images have, where all weights are 1.
        """
        stage = self.student.roi_head.stage(0, training=True)
        sampled = stage.sample(x, proposals, keep_objects(samples, 'scores', self.semi_train_cfg.cls_pseudo_thr))
        regions = [result.sampled_priors for result in sampled]
        outs = stage.run(x, [InstanceData(bboxes=boxes) for boxes in regions])
        labels, weights, _ = stage.head.classification_targets(sampled, stage.cfg.get('pos_weight', -1))
        is_background = labels == stage.head.num_classes
        weights = torch.where(is_background, self.background_scores(regions, samples, view), weights)
        terms = stage.head.classification_losses(outs.preds, labels) * weights
        return terms.sum() / mean_over_ranks(weights.sum(), weights.device, least=1.0)

    @torch.no_grad()
    def background_scores(self, regions: Sequence[Tensor], samples: SampleList, view: TeacherView) -> Tensor:
        """The teacher's score of background (n,) for boxes (n_i, 4) of all images in pixels of the student's view."""
        seen = []
        for boxes, sample, teachers in zip(regions, samples, view.samples):
            matrix = homography(teachers) @ np.linalg.inv(homography(sample))
            seen.append(InstanceData(bboxes=project_within(boxes, matrix, teachers.img_shape)))
        stage = self.teacher.roi_head.stage(0)
        return stage.head.region_scores(stage.test(view.features, seen).preds)[:, -1]

    def regression_losses(
        self, x: Sequence[Tensor], proposals: Sequence[InstanceData], samples: SampleList
    ) -> dict[str, Tensor]:
        """Regression terms of regions sampled against well localized pseudo-labels."""
        most = self.semi_train_cfg.reg_pseudo_thr
        localized = [with_objects(s, s.gt_instances[s.gt_instances.reg_uncs < most]) for s in samples]
        terms = self.student.roi_head.stage(0, training=True).train(x, proposals, localized).terms
        return {name: value for name, value in terms.items() if 'loss' in name and 'cls' not in name}


def _settings(name: str, given: dict | None, defaults: dict) -> ConfigDict:
    unknown = [key for key in given or () if key not in defaults]
    if unknown:
        raise ConfigError(f'{name} has no setting {unknown[0]!r}; {did_you_mean(unknown[0], defaults)}')
    return ConfigDict({**defaults, **(given or {})})


def _check_branches(inputs: Mapping, samples: Mapping) -> None:
    if not isinstance(inputs, Mapping) or not isinstance(samples, Mapping):
        raise ConfigError(
            f'training from few labels needs inputs and data_samples by branch ({", ".join(BRANCHES)}), got '
            f'{type(inputs).__name__} and {type(samples).__name__}: end the pipelines with MultiBranch and use '
            f'MultiBranchDataPreprocessor'
        )
    unknown = [branch for branch in inputs if branch not in BRANCHES]
    if unknown or not inputs:
        raise ConfigError(f'a batch has the branches {", ".join(inputs)}; expected are {", ".join(BRANCHES)}')
    ids = {
        branch: [sample.get('img_path', sample.get('img_id')) for sample in samples.get(branch, ())]
        for branch in BRANCHES[1:]
    }
    if ids['unsup_teacher'] != ids['unsup_student']:
        raise ConfigError(
            f'unsup_teacher and unsup_student must have the same images in the same order, got {ids["unsup_teacher"]} '
            f'and {ids["unsup_student"]}: give both branches of MultiBranch a pipeline'
        )


def homography(sample: DetDataSample) -> np.ndarray:
    """The map (3, 3) from the original image to that of a sample; a ``ConfigError`` where the sample has none."""
    matrix = sample.get('homography_matrix')
    if matrix is None:
        raise ConfigError(
            f'the sample {sample.get("img_path", "")} has no homography_matrix, by which boxes go from the '
            f"teacher's view to the student's: add it to meta_keys of PackDetInputs in both branches"
        )
    return np.asarray(matrix, dtype=np.float64)


def project_within(boxes: Tensor, matrix: np.ndarray, shape: tuple[int, int]) -> Tensor:
    """Axis-aligned boxes (n, 4) mapped by a 3x3 matrix and cut at the edges of an image of ``shape`` (h, w)."""
    geometry.require_horizontal(boxes, 'training from pseudo-labels')
    return geometry.clip(project_boxes(boxes, matrix), shape)


def to_original(instances: InstanceData, sample: DetDataSample) -> InstanceData:
    """Detections in pixels of the original image, cut at its edges."""
    return map_back(instances, homography(sample), sample.get('ori_shape'))


def with_objects(sample: DetDataSample, instances: InstanceData) -> DetDataSample:
    """A copy of a sample that has other objects."""
    copy = sample.new()
    copy.gt_instances = instances
    return copy


def keep_objects(samples: SampleList, column: str, least: float) -> list[DetDataSample]:
    """Copies of samples with the objects whose ``column`` (n,) is above ``least``."""
    return [with_objects(sample, sample.gt_instances[sample.gt_instances[column] > least]) for sample in samples]


def fill_both(module: nn.Module, state_dict: dict, prefix: str, *args) -> None:
    """A ``load_state_dict`` pre-hook by which the checkpoint of a plain detector fills student and teacher."""
    keys = [key for key in state_dict if key.startswith(prefix)]
    own = tuple(f'{prefix}{part}.' for part in PARTS)
    if any(key.startswith(own) for key in keys):
        return
    for key in keys:
        value = state_dict.pop(key)
        for part in own:
            state_dict[part + key[len(prefix) :]] = value


def jitter(boxes: Tensor, times: int, scale: float) -> Tensor:
    """Boxes (times * n, 4): each of ``boxes`` (n, 4), its coordinates moved by up to ``scale`` of width or height."""
    offsets = torch.rand(times, *boxes.shape, device=boxes.device) * 2 - 1
    return (boxes + offsets * scale * _sizes(boxes).repeat(1, 2)).flatten(0, 1)


def _sizes(boxes: Tensor) -> Tensor:
    """Widths and heights (n, 2) of boxes (n, 4), one pixel at least."""
    return geometry.sizes(geometry.require_horizontal(boxes, 'SoftTeacher')).clamp(min=1)
