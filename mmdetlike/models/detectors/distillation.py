"""Detectors that learn from another one, the teacher: LD, arXiv 2102.12252, and LAD, arXiv 2108.10520."""

import logging
from pathlib import Path

import torch
from mmengine.config import ConfigDict
from mmengine.logging import print_log
from torch import Tensor

from mmdetlike.models.heads.dense import DenseTargets, FlatPredictions
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.utils.checkpoint import load_weights, read_weights
from mmdetlike.utils.config import load_config, require
from mmdetlike.utils.config_files import find_config

from .single_stage import SingleStageDetector


@MODELS.register_module()
class KnowledgeDistillationSingleStageDetector(SingleStageDetector):
    """A detector whose head learns from what a teacher predicts for the same images.

    The teacher is no part of the state: checkpoints hold the student alone. It follows the student from device to
    device; ``init_weights``, which training calls, reads its checkpoint, so that testing needs none.

    Args:
        bbox_head: Pyramid -> boxes; a head with ``loss_with_teacher``.
        teacher_config: The teacher's config, or its file, or the name of one that comes with the package.
        teacher_ckpt: File or URL of the teacher's weights; it keeps random ones where None.
        eval_teacher: Keep the teacher in evaluation mode while the student trains.
    """

    def __init__(
        self,
        bbox_head: dict,
        teacher_config: dict | str | Path,
        teacher_ckpt: str | None = None,
        eval_teacher: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(bbox_head=bbox_head, **kwargs)
        self.teacher_ckpt, self.eval_teacher = teacher_ckpt, eval_teacher
        if isinstance(teacher_config, (str, Path)):
            teacher_config = load_config(find_config(teacher_config))
            require(teacher_config, 'model')
        teacher = MODELS.build(ConfigDict(teacher_config['model'])).requires_grad_(False)
        # past nn.Module, which would make it a part of the state and of what is trained
        object.__setattr__(self, 'teacher_model', teacher.train(not eval_teacher))

    def init_weights(self) -> None:
        super().init_weights()
        if self.teacher_ckpt is None:
            print_log('the teacher has random weights: there is no teacher_ckpt', 'current', logging.WARNING)
            return
        load_weights(self.teacher_model, read_weights(self.teacher_ckpt), f'teacher_ckpt {self.teacher_ckpt}')

    def _apply(self, fn, recurse: bool = True):
        # what moves a module and changes its type, as .to() and .cuda() do
        self.teacher_model._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def train(self, mode: bool = True) -> 'KnowledgeDistillationSingleStageDetector':
        self.teacher_model.train(mode and not self.eval_teacher)
        return super().train(mode)

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        with torch.no_grad():
            taught = self.taught(batch_inputs, batch_data_samples)
        return self.bbox_head.loss_with_teacher(self.extract_feat(batch_inputs), batch_data_samples, taught)

    def taught(self, images: Tensor, samples: SampleList) -> FlatPredictions | DenseTargets:
        """What the head of the student learns from: here the teacher's predictions for the images (B, 3, H, W)."""
        head = self.teacher_model.bbox_head
        return head.flatten(head(self.teacher_model.extract_feat(images)))


@MODELS.register_module()
class LAD(KnowledgeDistillationSingleStageDetector):
    """Improving Object Detection by Label Assignment Distillation, arXiv 2108.10520.

    Args:
        bbox_head: Pyramid -> boxes, a ``LADHead``.
        teacher_backbone, teacher_neck: Images -> maps -> pyramid, of the teacher; its neck may be None.
        teacher_bbox_head: Pyramid -> boxes, of the teacher: a ``PAAHead`` or ``LADHead``.
        teacher_ckpt, eval_teacher: As of ``KnowledgeDistillationSingleStageDetector``.
        train_cfg, test_cfg: Settings of student and teacher.
    """

    def __init__(
        self,
        bbox_head: dict,
        teacher_backbone: dict,
        teacher_neck: dict | None,
        teacher_bbox_head: dict,
        teacher_ckpt: str | None = None,
        eval_teacher: bool = True,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        cfgs = dict(train_cfg=train_cfg, test_cfg=test_cfg)
        parts = dict(backbone=teacher_backbone, neck=teacher_neck, bbox_head=teacher_bbox_head)
        teacher = dict(model=dict(type='SingleStageDetector', **parts, **cfgs))
        super().__init__(bbox_head, teacher, teacher_ckpt, eval_teacher, **cfgs, **kwargs)

    def taught(self, images: Tensor, samples: SampleList) -> DenseTargets:
        """What the losses of the teacher assign for images (B, 3, H, W)."""
        return self.teacher_model.bbox_head.likely_targets(super().taught(images, samples), samples)
