"""Dynamic R-CNN: Towards High Quality Object Detection via Dynamic Training, arXiv 2004.06002."""

import statistics

import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.losses import SmoothL1Loss
from mmdetlike.registry import MODELS, TASK_UTILS

from .roi_head import StandardRoIHead
from .stage import StageResult

SETTINGS = ('iou_topk', 'beta_topk', 'update_iter_interval', 'initial_iou', 'initial_beta')


@MODELS.register_module()
class DynamicRoIHead(StandardRoIHead):
    """A region head that demands more of proposals, and of their boxes, as these get better.

    Every ``update_iter_interval`` iterations the threshold of the assigner becomes the mean overlap of good proposals,
    and ``beta`` of the box loss the median error of good ones. A resumed run begins with the settings of the config
    again, and adapts them at its first update.

    Args:
        kwargs: See ``StandardRoIHead``; ``train_cfg.dynamic_rcnn`` has ``iou_topk``: the overlap that so many proposals
            of an image reach is taken; ``beta_topk``: the error that so many positives of an image stay below;
            ``update_iter_interval``; ``initial_iou``: the least threshold; ``initial_beta``: the largest ``beta``.

    Raises:
        ConfigError: ``loss_bbox`` is no ``SmoothL1Loss``, or ``train_cfg.dynamic_rcnn`` lacks a setting.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        kind = type(self.bbox_head.loss_bbox)
        if not issubclass(kind, SmoothL1Loss):
            raise ConfigError(f'DynamicRoIHead adapts beta of a SmoothL1Loss, but loss_bbox is {kind.__name__}')
        settings = self.stage_cfgs[0].get('dynamic_rcnn', {})
        missing = [name for name in SETTINGS if name not in settings]
        if missing and self.assigners:
            raise ConfigError(f'train_cfg.rcnn.dynamic_rcnn lacks {", ".join(missing)}')
        self.iou_history: list[float] = []
        self.beta_history: list[float] = []

    def observe(self, stage: int, result: StageResult) -> None:
        """Remember the overlaps and errors of a training step, and adapt at the end of an interval."""
        settings = self.stage_cfgs[0].dynamic_rcnn
        overlaps = [kth_largest(sampled.assign_result.max_overlaps, settings.iou_topk) for sampled in result.sampled]
        self.iou_history.append(statistics.fmean(overlaps))
        errors = self.errors_of_positives(result)
        if len(errors):
            count = min(settings.beta_topk * len(result.sampled), len(errors))
            self.beta_history.append(float(errors.kthvalue(count).values))
        if len(self.iou_history) == settings.update_iter_interval:
            self.adapt()

    def errors_of_positives(self, result: StageResult) -> torch.Tensor:
        """How far (p,) the center of each positive's object is away, in the coder's units."""
        priors = torch.cat([sampled.pos_priors for sampled in result.sampled])
        targets = torch.cat([sampled.pos_gt_bboxes for sampled in result.sampled])
        return self.bbox_head.bbox_coder.encode(priors, targets)[:, :2].abs().mean(1)

    def adapt(self) -> None:
        """Set the assigner's thresholds and ``beta`` by what was remembered, and forget it."""
        settings = self.stage_cfgs[0].dynamic_rcnn
        threshold = max(settings.initial_iou, statistics.fmean(self.iou_history))
        thresholds = dict(pos_iou_thr=threshold, neg_iou_thr=threshold, min_pos_iou=threshold)
        self.assigners[0] = TASK_UTILS.build(dict(self.stage_cfgs[0].assigner, **thresholds))
        median = statistics.median(self.beta_history) if self.beta_history else 0
        if median:  # a beta of 0 would be another loss
            self.bbox_head.loss_bbox.beta = min(settings.initial_beta, median)
        self.iou_history.clear()
        self.beta_history.clear()


def kth_largest(values: torch.Tensor, count: int) -> float:
    """The ``count``-th largest of values (n,), the smallest where there are fewer; 0 where there are none."""
    if not len(values):
        return 0.0
    return float(values.topk(min(count, len(values))).values[-1])
