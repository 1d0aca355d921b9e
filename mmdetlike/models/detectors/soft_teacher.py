"""End-to-End Semi-Supervised Object Detection with Soft Teacher, arXiv 2106.09018."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import geometry
from mmdetlike.utils.dist import mean_over_ranks

from .base import weighted_terms
from .semi import SemiBaseDetector, TeacherView, homography, keep_objects, project_within, to_original, with_objects


@MODELS.register_module()
class SoftTeacher(SemiBaseDetector):
    """A two-stage student whose three losses of unlabeled images each choose their own pseudo-labels.

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


def jitter(boxes: Tensor, times: int, scale: float) -> Tensor:
    """Boxes (times * n, 4): each of ``boxes`` (n, 4), its coordinates moved by up to ``scale`` of width or height."""
    offsets = torch.rand(times, *boxes.shape, device=boxes.device) * 2 - 1
    return (boxes + offsets * scale * _sizes(boxes).repeat(1, 2)).flatten(0, 1)


def _sizes(boxes: Tensor) -> Tensor:
    """Widths and heights (n, 2) of boxes (n, 4), one pixel at least."""
    return geometry.sizes(geometry.require_horizontal(boxes, 'SoftTeacher')).clamp(min=1)
