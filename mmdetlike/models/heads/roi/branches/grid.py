"""Boxes refined by the points of a grid: Grid R-CNN Plus, arXiv 1906.05688."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2roi, geometry

from ..stage import StageOutputs
from .base import RoIBranch

# how far regions are moved and resized in training, as a share of their size
JITTER = 0.15


class GridBranch(RoIBranch):
    """Grid points by ``grid_head`` on features of ``grid_roi_extractor``; they take the place of regressed boxes."""

    def loss(
        self,
        stage: int,
        x: Sequence[Tensor],
        sampled: Sequence[SamplingResult],
        outs: StageOutputs,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """Loss of the heatmaps of at most ``max_num_grid`` positives, moved and resized at random."""
        cfg = self.regions.stage_cfgs[stage]
        head = self.regions.grid_head
        boxes = [jitter(result.pos_priors, sample.img_shape) for result, sample in zip(sampled, samples)]
        gt_bboxes = torch.cat([result.pos_gt_bboxes for result in sampled])
        preds = head(self.regions.features(self.extractor, stage, x, bbox2roi(boxes)))
        taken = torch.randperm(len(gt_bboxes), device=gt_bboxes.device)[: cfg.get('max_num_grid', 192)]
        targets = head.targets(torch.cat(boxes)[taken], gt_bboxes[taken], cfg.pos_radius)
        return dict(loss_grid=head.loss([pred[taken] for pred in preds], targets))

    @property
    def extractor(self) -> str:
        """The name of the part that extracts features for grids."""
        return 'bbox_roi_extractor' if self.regions.grid_roi_extractor is None else 'grid_roi_extractor'

    def add_predictions(
        self, x: Sequence[Tensor], results: Sequence[InstanceData], samples: SampleList, rescale: bool
    ) -> None:
        """Replace ``bboxes`` of the results, which stay in pixels of the network's input."""
        rois = bbox2roi([result.bboxes for result in results])
        heatmaps = self.heatmaps(x, rois).split([len(result) for result in results])
        for result, maps in zip(results, heatmaps):
            result.bboxes = self.regions.grid_head.predict(maps, result.bboxes)

    def raw(self, x: Sequence[Tensor], outs: StageOutputs) -> list[Tensor]:
        """Heatmap logits (n, grid_points, h, w)."""
        return [self.heatmaps(x, outs.rois)]

    def heatmaps(self, x: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Heatmap logits (n, grid_points, h, w) of regions (n, 5)."""
        return self.regions.grid_head(self.regions.features(self.extractor, 0, x, rois))[0]


def jitter(boxes: Tensor, img_shape: tuple[int, int]) -> Tensor:
    """Boxes (n, 4) moved and resized at random, within the image."""
    offsets = boxes.new_empty(len(boxes), 4).uniform_(-JITTER, JITTER)
    center = geometry.centers(boxes)
    size = geometry.sizes(boxes)
    center = center + size * offsets[:, :2]
    half = size * (1 + offsets[:, 2:]) / 2
    limit = boxes.new_tensor([img_shape[1] - 1, img_shape[0] - 1] * 2)
    return torch.cat([center - half, center + half], dim=1).clamp(min=0).minimum(limit)
