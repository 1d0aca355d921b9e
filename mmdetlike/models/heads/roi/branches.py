"""What a region head asks of a branch, and the branch of masks: Mask R-CNN, arXiv 1703.06870."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils import require_masks
from mmdetlike.models.utils.paste_whole_pixels import paste_whole_pixels
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.structures import BitmapMasks, SampleList
from mmdetlike.structures.bbox import bbox2roi, scale_boxes
from mmdetlike_ops import paste_masks, roi_align

from .mask_heads import masks_of_class
from .stage import StageOutputs, positives_among

if TYPE_CHECKING:
    from .roi_head import RoIHead


class RoIBranch:
    """Something that a region head predicts for boxes beside their classes and coordinates: masks, keypoints, ...

    A branch is no module: its layers are attributes of the region head, whose names are those of the checkpoint
    (``roi_head.mask_head``). It finds them through ``regions`` when it runs, not when it is built.

    Args:
        regions: The region head that the branch belongs to.
    """

    def __init__(self, regions: RoIHead) -> None:
        self.regions = regions

    def loss(
        self,
        stage: int,
        x: Sequence[Tensor],
        sampled: Sequence[SamplingResult],
        outs: StageOutputs,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """Loss terms of the branch for one stage, by name without the stage's prefix.

        Args:
            stage: Index of the stage.
            x: Feature maps (B, C, H_i, W_i).
            sampled: Regions that the stage sampled from each image.
            outs: The stage's outputs for them.
            samples: Samples with ``gt_instances``.
        """
        raise NotImplementedError

    def add_predictions(
        self, x: Sequence[Tensor], results: Sequence[InstanceData], samples: SampleList, rescale: bool
    ) -> None:
        """Put the branch's fields into the results of each image.

        Args:
            x: Feature maps.
            results: ``bboxes`` (n, 4) in pixels of the network's input, ``scores`` and ``labels``; boxes are brought
                to the original image after all branches.
            samples: Samples with ``img_shape``, ``ori_shape`` and ``scale_factor``.
            rescale: The fields are wanted in pixels of the original image.
        """
        raise NotImplementedError

    def raw(self, x: Sequence[Tensor], outs: StageOutputs) -> list[Tensor]:
        """Undecoded outputs for the regions of the last stage, as ``mode='tensor'`` returns them."""
        raise NotImplementedError


@dataclass
class PositiveMasks:
    """Masks of the p positives of a batch in training.

    Attributes:
        feats: (p, C, h, w) features of their regions.
        logits: (p, num_classes or 1, H, W) what the mask head makes of them.
        targets: (p, H, W) the masks in [0, 1] that the regions should show.
        sampled: What was sampled from each image, among it their regions.
    """

    feats: Tensor
    logits: Tensor
    targets: Tensor
    sampled: Sequence[SamplingResult]

    @property
    def labels(self) -> Tensor:
        """The classes (p,) of their objects."""
        return torch.cat([result.pos_gt_labels for result in self.sampled])


class MaskBranch(RoIBranch):
    """Masks by ``mask_head``, on features of ``mask_roi_extractor`` or, without one, on those of the boxes."""

    @property
    def extractor(self) -> str:
        """The name of the part that extracts features for masks."""
        return 'bbox_roi_extractor' if self.regions.mask_roi_extractor is None else 'mask_roi_extractor'

    @property
    def stages_with_masks(self) -> Sequence[int]:
        """The stages whose masks are trained, and predicted in testing."""
        return range(self.regions.num_stages)

    # -- training ----------------------------------------------------------------------------------------------------

    def loss(
        self,
        stage: int,
        x: Sequence[Tensor],
        sampled: Sequence[SamplingResult],
        outs: StageOutputs,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """Mask loss of the positives among the sampled regions; see ``RoIBranch``."""
        if stage not in self.stages_with_masks:
            return {}
        return self.terms(stage, x, self.training_features(stage, x, sampled, outs), sampled, samples)

    def training_features(
        self, stage: int, x: Sequence[Tensor], sampled: Sequence[SamplingResult], outs: StageOutputs
    ) -> Tensor:
        """Features (p, C, h, w) from which the masks of the positives are trained."""
        if self.regions.mask_roi_extractor is None:
            # as in the C4 variant: one set of features, and one pass through the shared head, for boxes and masks
            return outs.feats[0][positives_among(sampled)]
        return self.features_of_positives(stage, x, sampled)

    def features_of_positives(self, stage: int, x: Sequence[Tensor], sampled: Sequence[SamplingResult]) -> Tensor:
        """Features (p, C, h, w) extracted for the positives of all images."""
        rois = bbox2roi([result.pos_priors for result in sampled])
        return self.regions.features(self.extractor, stage, x, rois)

    def terms(
        self, stage: int, x: Sequence[Tensor], feats: Tensor, sampled: Sequence[SamplingResult], samples: SampleList
    ) -> dict[str, Tensor]:
        """Loss terms from the features (p, C, h, w) of the positives."""
        logits = self.logits(feats, [stage])[0]
        targets = self.targets(stage, sampled, samples)
        return self.compute_losses(stage, x, PositiveMasks(feats, logits, targets, sampled), samples)

    def targets(self, stage: int, sampled: Sequence[SamplingResult], samples: SampleList) -> Tensor:
        """The masks (p, h, w) in [0, 1] that the positives' regions should show."""
        return mask_targets(sampled, samples, self.regions.stage_cfgs[stage].mask_size)

    def compute_losses(
        self, stage: int, x: Sequence[Tensor], masks: PositiveMasks, samples: SampleList
    ) -> dict[str, Tensor]:
        """Loss terms of the masks of the positives."""
        return dict(loss_mask=self.regions.part('mask_head', stage).loss(masks.logits, masks.targets, masks.labels))

    # -- testing -----------------------------------------------------------------------------------------------------

    def add_predictions(
        self, x: Sequence[Tensor], results: Sequence[InstanceData], samples: SampleList, rescale: bool
    ) -> None:
        """Put ``masks`` (n, height, width) bool, of the size of the image, into the results."""
        self.paste(self.probabilities(x, results), results, samples, rescale)

    def paste(self, probabilities: Tensor, results: Sequence[InstanceData], samples: SampleList, rescale: bool) -> None:
        """Put ``masks`` into the results, from masks (n, h, w) in [0, 1] of their boxes.

        With ``test_cfg.paste_whole_pixels`` boxes are rounded to whole pixels before, as in torchvision.
        """
        of_images = probabilities.split([len(result) for result in results])
        for result, masks, sample in zip(results, of_images, samples):
            boxes = result.bboxes
            if rescale:
                boxes = scale_boxes(boxes, [1 / factor for factor in sample.scale_factor])
            size = sample.ori_shape if rescale else sample.img_shape
            cfg = self.regions.test_cfg
            paste = paste_whole_pixels if cfg.get('paste_whole_pixels', False) else paste_masks
            result.masks = paste(masks, boxes, *size[:2], threshold=cfg.mask_thr_binary)

    def probabilities(self, x: Sequence[Tensor], results: Sequence[InstanceData]) -> Tensor:
        """Masks (n, h, w) in [0, 1] of the boxes of all images, each of its own class, averaged over stages."""
        rois = bbox2roi([result.bboxes for result in results])
        labels = torch.cat([result.labels for result in results])
        masks = []
        for i, logits in zip(self.averaged_stages, self.logits_of_stages(x, rois, self.averaged_stages)):
            own = masks_of_class(logits, labels, self.regions.part('mask_head', i).class_agnostic)
            masks.append(float32_if_half(own)[0].sigmoid())
        return sum(masks) / len(masks)

    @property
    def averaged_stages(self) -> Sequence[int]:
        """The stages whose masks are averaged in testing."""
        return self.stages_with_masks

    def raw(self, x: Sequence[Tensor], outs: StageOutputs) -> list[Tensor]:
        """Mask logits (n, C, h, w) of all stages that have masks for the last stage's regions."""
        return self.logits_of_stages(x, outs.rois, self.stages_with_masks)

    def logits_of_stages(self, x: Sequence[Tensor], rois: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Mask logits (n, C, h, w) of the given stages in testing, each from the features of its own extractor."""
        return [self.logits(self.regions.features(self.extractor, i, x, rois), [i])[0] for i in stages]

    def logits(self, feats: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Mask logits (n, C, h, w) of the given stages from one set of region features."""
        return [self.regions.part('mask_head', i)(feats) for i in stages]


def mask_targets(sampled: Sequence[SamplingResult], samples: SampleList, size: int | tuple[int, int]) -> Tensor:
    """The masks (p, h, w) of 0 and 1 that the positives' regions should show.

    Raises:
        ValueError: A sample has objects without masks.
    """
    require_masks(samples, 'a mask head')
    size = (size, size) if isinstance(size, int) else tuple(size)
    targets = []
    for result, sample in zip(sampled, samples):
        boxes = result.pos_priors
        masks = sample.gt_instances.masks
        if not len(boxes):
            targets.append(boxes.new_zeros(0, *size))
        elif isinstance(masks, BitmapMasks) and boxes.device.type != 'cpu':
            targets.append(crop_bitmaps(masks, boxes, result.pos_assigned_gt_inds, size))
        else:
            cut = masks.crop_and_resize(boxes, size, result.pos_assigned_gt_inds, device=boxes.device).to_ndarray()
            targets.append(torch.as_tensor(cut, dtype=torch.float32, device=boxes.device))
    return torch.cat(targets)


def crop_bitmaps(masks: BitmapMasks, boxes: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (p, h, w) of 0 and 1 as ``masks.crop_and_resize`` gives them, cut on the device of ``boxes``.

    Each of the boxes (p, 4) xyxy in pixels cuts the mask of its index in ``indices`` (p,), to ``size`` (h, w). The loop
    over boxes on the CPU takes 18 ms an image, longer than a GPU needs for the rest of the step.
    """
    bitmaps = torch.from_numpy(masks.to_ndarray()).to(boxes.device)  # moved as bytes, a quarter of floats
    regions = torch.cat([indices[:, None].to(boxes.dtype), boxes], dim=1)
    return (roi_align(bitmaps[:, None].float(), regions.float(), size, sampling_ratio=0)[:, 0] >= 0.5).float()
