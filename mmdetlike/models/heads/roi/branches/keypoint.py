"""Keypoints of regions: Mask R-CNN, arXiv 1703.06870, section 5."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2roi

from ..stage import StageOutputs
from .base import RoIBranch


class KeypointBranch(RoIBranch):
    """Keypoints by ``keypoint_head`` on features of ``keypoint_roi_extractor``."""

    def loss(
        self,
        stage: int,
        x: Sequence[Tensor],
        sampled: Sequence[SamplingResult],
        outs: StageOutputs,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """Loss of the heatmaps of the positives; see ``RoIBranch``."""
        boxes = [result.pos_priors for result in sampled]
        heatmaps = self.heatmaps(x, bbox2roi(boxes))
        targets = keypoint_targets(sampled, samples, self.regions.keypoint_head.num_keypoints)
        loss = self.regions.keypoint_head.loss(heatmaps, targets, torch.cat(boxes), len(samples))
        return dict(loss_keypoint=loss)

    def add_predictions(
        self, x: Sequence[Tensor], results: Sequence[InstanceData], samples: SampleList, rescale: bool
    ) -> None:
        """Put ``keypoints`` (n, K, 2) and ``keypoint_scores`` (n, K) into the results."""
        boxes = [result.bboxes for result in results]
        heatmaps = self.heatmaps(x, bbox2roi(boxes)).split([len(result) for result in results])
        for result, maps, sample in zip(results, heatmaps, samples):
            points, result.keypoint_scores = self.regions.keypoint_head.predict(maps, result.bboxes)
            result.keypoints = points / points.new_tensor(sample.scale_factor) if rescale else points

    def raw(self, x: Sequence[Tensor], outs: StageOutputs) -> list[Tensor]:
        """Heatmap logits (n, K, h, w)."""
        return [self.heatmaps(x, outs.rois)]

    def heatmaps(self, x: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Heatmap logits (n, K, h, w) of regions (n, 5)."""
        return self.regions.keypoint_head(self.regions.features('keypoint_roi_extractor', 0, x, rois))


def keypoint_targets(sampled: Sequence[SamplingResult], samples: SampleList, num_keypoints: int) -> Tensor:
    """The keypoints (p, K, 3), x, y in pixels and visibility, of the positives' objects.

    Raises:
        ConfigError: A sample has objects without keypoints, or with another number of them.
    """
    targets = []
    for result, sample in zip(sampled, samples):
        keypoints = sample.gt_instances.get('keypoints')
        if keypoints is None:
            raise ConfigError(
                f'a keypoint head needs gt_instances.keypoints; {sample.get("img_path")} has none (load them with '
                'LoadAnnotations(with_keypoints=True))'
            )
        keypoints = torch.as_tensor(keypoints, dtype=torch.float32, device=result.priors.device)
        if len(keypoints) and keypoints.shape[1:] != (num_keypoints, 3):
            raise ConfigError(
                f'keypoint_head predicts num_keypoints={num_keypoints}, but the objects of {sample.get("img_path")} '
                f'have {keypoints.shape[1]} keypoints'
            )
        targets.append(keypoints.reshape(-1, num_keypoints, 3)[result.pos_assigned_gt_inds])
    return torch.cat(targets)
