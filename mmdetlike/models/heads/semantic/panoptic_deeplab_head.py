"""Panoptic-DeepLab, arXiv 1911.10194: classes of pixels, centers of instances, ways to the center, and grouping."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

from mmdetlike.models.utils import (
    annotated_masks,
    crop_or_pad,
    gen_gaussian_target,
    get_local_maximum,
    get_topk_from_heatmap,
    mask_centroids,
    semantic_maps,
    to_image_size,
)
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList

from .base import PIXEL_LOSS
from .deeplab_head import DeepLabDecoder, DeepLabV3PlusHead
from .panoptic_fusion import PanopticFusionHead, boxes_of_masks

CENTER_LOSS = dict(type='MSELoss', loss_weight=200.0)
OFFSET_LOSS = dict(type='L1Loss', loss_weight=0.01)
# pixels whose distances to all centers are held at once
PIXELS_AT_ONCE = 1 << 16


@MODELS.register_module()
class PanopticDeepLabSemanticHead(DeepLabV3PlusHead):
    """Classify pixels, those of small things with more weight: Panoptic-DeepLab, arXiv 1911.10194.

    Args:
        num_classes: Classes of pixels: things, then stuff.
        in_channels, decoder, loss_seg, init_cfg: As of ``DeepLabV3PlusHead``.
        head_channels: Channels between decoder and logits.
        small_area, small_weight: Pixels below which an instance is small, and the weight of each of them.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        decoder: dict | None = None,
        head_channels: int = 256,
        small_area: int = 4096,
        small_weight: float = 3.0,
        loss_seg: dict = PIXEL_LOSS,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(num_classes, in_channels, decoder, loss_seg, init_cfg, head_channels)
        self.small_area, self.small_weight = small_area, small_weight

    def pixel_weights(self, samples: SampleList) -> Tensor:
        """(B, h, w): ``small_weight`` on small instances, 1 elsewhere; a ``ValueError`` where a sample has no masks."""
        weights = []
        for sample in samples:
            device = sample.gt_sem_seg.sem_seg.device
            masks = annotated_masks(sample, type(self).__name__).to_tensor(torch.bool, device)
            small = masks[masks.flatten(1).sum(1) < self.small_area].any(0)
            weights.append(torch.where(small, self.small_weight, 1.0))
        return torch.stack(weights)


@MODELS.register_module()
class CenterOffsetHead(BaseModule):
    """Find the centers of instances, and from each pixel the way to the center: Panoptic-DeepLab, arXiv 1911.10194.

    Args:
        in_channels, decoder: As of ``DeepLabV3PlusHead``.
        head_channels: Channels between decoder and predictions.
        radius: Half the size, in pixels of the image, of the bell at a center; its deviation is a third of that.
        ignore_index: Number of pixels without a class, which don't say whether they are a center.
        loss_center: Loss of the map of centers, over the pixels that have a class.
        loss_offset: Loss of the ways, over the pixels of things.
        center_separable: Whether the convolutions between decoder and centers are separable; None as the decoder's.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        decoder: dict | None = None,
        head_channels: int = 32,
        radius: int = 24,
        ignore_index: int = 255,
        loss_center: dict = CENTER_LOSS,
        loss_offset: dict = OFFSET_LOSS,
        init_cfg: dict | list[dict] | None = None,
        center_separable: bool | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.radius, self.ignore_index = radius, ignore_index
        self.decoder = DeepLabDecoder(in_channels, **(decoder or {}))
        self.center_tower = self.decoder.build_tower(head_channels, center_separable)
        self.conv_center = nn.Conv2d(head_channels, 1, 1)
        self.offset_tower = self.decoder.build_tower(head_channels)
        self.conv_offset = nn.Conv2d(head_channels, 2, 1)
        self.loss_center = MODELS.build(loss_center)
        self.loss_offset = MODELS.build(loss_offset)

    def forward(self, x: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Feature maps -> scores of centers (B, 1, h, w), ways (B, 2, h, w): x and y in pixels of the map."""
        features = self.decoder(x)
        return self.conv_center(self.center_tower(features)), self.conv_offset(self.offset_tower(features))

    def predict_maps(self, x: Sequence[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """What ``forward`` gives at ``size`` (height, width) of the images, ways in their pixels."""
        centers, offsets = float32_if_half(*self(x))
        centers = F.interpolate(centers, size, mode='bilinear', align_corners=False)
        scale = centers.new_tensor([size[1] / offsets.shape[-1], size[0] / offsets.shape[-2]])
        offsets = F.interpolate(offsets, size, mode='bilinear', align_corners=False)
        return centers, offsets * scale[:, None, None]

    def loss(self, x: Sequence[Tensor], samples: SampleList) -> dict[str, Tensor]:
        """``loss_center`` and ``loss_offset``; a ``ValueError`` where a sample has no masks or no ``gt_sem_seg``."""
        labeled = semantic_maps(samples) != self.ignore_index
        centers, offsets = self.predict_maps(x, tuple(labeled.shape[-2:]))
        targets = [self.targets(sample, centers.device) for sample in samples]
        center_target, offset_target, things, crowds = (torch.stack(maps) for maps in zip(*targets))
        center_weight = (labeled & ~crowds)[:, None].to(centers.dtype)
        offset_weight = things[:, None].to(offsets.dtype).expand_as(offsets)
        return dict(
            loss_center=self.loss_center(centers, center_target, center_weight, avg_factor=center_weight.sum()),
            loss_offset=self.loss_offset(offsets, offset_target, offset_weight, avg_factor=things.sum()),
        )

    def targets(self, sample: DetDataSample, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What to predict for an image of (h, w) pixels, and what of it counts.

        Scores of centers (1, h, w), ways to the center (2, h, w) in pixels, x and y; (h, w) whether a pixel is of a
        thing, and (h, w) whether it is of a crowd.
        """
        masks = annotated_masks(sample, type(self).__name__)
        height, width = masks.height, masks.width
        centroids, areas = mask_centroids(masks.to_ndarray())
        centers = torch.zeros(1, height, width)
        for (x, y), area in zip(centroids.tolist(), areas.tolist()):
            if area:  # what a crop left nothing of has no center
                gen_gaussian_target(centers[0], (round(x), round(y)), self.radius)
        binary = masks.to_tensor(torch.bool, device)
        offsets, things = ways_to_centers(binary, centroids.to(device))
        return centers.to(device), offsets, things, crowd_pixels(sample.get('ignored_instances'), things)

    def predict(self, x: Sequence[Tensor], samples: SampleList, rescale: bool = False) -> list[tuple[Tensor, Tensor]]:
        """Scores of centers (1, h, w) and ways (2, h, w) of each image, of the size of the original if ``rescale``."""
        centers, offsets = self.predict_maps(x, samples[0].batch_input_shape)
        results = []
        for center, offset, sample in zip(centers, offsets, samples):
            center = to_image_size(center, sample, rescale)
            offset = to_image_size(offset, sample, rescale)
            height, width = sample.img_shape[:2]
            scale = offset.new_tensor([offset.shape[2] / width, offset.shape[1] / height])
            results.append((center, offset * scale[:, None, None]))
        return results


def ways_to_centers(masks: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """The way (2, h, w), x and y in pixels, from each pixel of masks (n, h, w) to its center (n, 2), and (h, w) where.

    Where masks overlap, the last one counts; 0 outside of all.
    """
    ys, xs = (torch.arange(side, dtype=centers.dtype, device=masks.device) for side in masks.shape[-2:])
    here = torch.stack(torch.meshgrid(xs, ys, indexing='xy'))
    ways = torch.zeros_like(here)
    for mask, center in zip(masks, centers):
        ways = torch.where(mask, center[:, None, None] - here, ways)
    return ways, masks.any(0)


def crowd_pixels(ignored: InstanceData | None, like: Tensor) -> Tensor:
    """(h, w) whether a pixel is of an ignored instance that has a mask; False for all where none has."""
    if ignored is None or 'masks' not in ignored or not len(ignored):
        return torch.zeros_like(like)
    crowds = ignored.masks.to_tensor(torch.bool, like.device).any(0)
    # masks of ignored instances are not padded to the batch
    return crop_or_pad(crowds, like.shape)


@MODELS.register_module()
class CenterFusionHead(PanopticFusionHead):
    """Give each pixel of a thing to the center that its way leads to: Panoptic-DeepLab, arXiv 1911.10194.

    ``test_cfg`` may have ``center_thr`` (0.1), the least score of a center; ``center_kernel`` (7), the side of the
    window in which a center has to be the highest; ``max_per_img`` (200) centers; ``stuff_area_limit`` (2048), the
    pixels below which stuff is dropped.
    """

    def predict_image(self, logits: Tensor, centers: Tensor, ways: Tensor) -> dict[str, PixelData | InstanceData]:
        """``pred_sem_seg``, ``pred_panoptic_seg`` and ``pred_instances`` of an image.

        Pixels have ``logits`` (num_classes, h, w), things first, a score (1, h, w) as the center of an instance, and a
        way (2, h, w) to the center of their instance, x and y in pixels.
        """
        classes = logits.argmax(0)
        points, scores = self.find_centers(centers)
        owner = group_pixels(classes < self.num_things_classes, ways, points)
        owner, labels, kept = self.vote(owner, classes, len(points))
        stuff = torch.where(classes < self.num_things_classes, self.num_classes, classes)
        segments = self.segments(owner, labels, stuff, self.test_cfg.get('stuff_area_limit', 2048))
        return dict(
            pred_sem_seg=PixelData(sem_seg=classes[None]),
            pred_panoptic_seg=PixelData(sem_seg=segments[None]),
            pred_instances=self.instances(owner, labels, scores[kept], logits.softmax(0)),
        )

    def find_centers(self, centers: Tensor) -> tuple[Tensor, Tensor]:
        """Peaks of a map (1, h, w): x and y (n, 2) in pixels, and their scores (n,), falling."""
        peaks = get_local_maximum(centers[None], self.test_cfg.get('center_kernel', 7))
        scores, _, _, rows, columns = get_topk_from_heatmap(peaks, self.test_cfg.get('max_per_img', 200))
        is_center = scores[0] > self.test_cfg.get('center_thr', 0.1)
        points = torch.stack([columns[0], rows[0].to(columns.dtype)], dim=1)
        return points[is_center], scores[0][is_center]

    def vote(self, owner: Tensor, classes: Tensor, num_centers: int) -> tuple[Tensor, Tensor, Tensor]:
        """Let the pixels of each instance choose its class.

        Of ``owner`` (h, w), the center of each pixel, counted from 1, 0 for none, and ``classes`` (h, w) of pixels come
        ``owner`` without centers that have no pixel, the classes (k,) of those that have, and their indices (k,).
        """
        pairs = (owner * self.num_things_classes + classes)[owner > 0]
        votes = pairs.bincount(minlength=(num_centers + 1) * self.num_things_classes)
        votes = votes.view(-1, self.num_things_classes)[1:]
        has_pixels = votes.sum(1) > 0
        numbers = torch.cat([has_pixels.new_zeros(1).long(), has_pixels.cumsum(0)])
        return numbers[owner], votes[has_pixels].argmax(1), has_pixels.nonzero()[:, 0]

    def instances(self, owner: Tensor, labels: Tensor, scores: Tensor, probabilities: Tensor) -> InstanceData:
        """Masks, boxes, classes and scores: that of the center times the mean probability of the class in the mask.

        ``owner`` (h, w) has the instance of each pixel, counted from 1. Instances have ``labels`` and ``scores`` (k,),
        pixels ``probabilities`` (num_classes, h, w).
        """
        numbers = torch.arange(1, len(labels) + 1, device=owner.device)
        masks = owner == numbers[:, None, None]
        # one pass over the pixels, not one for each instance
        of_owner = torch.cat([labels.new_zeros(1), labels])[owner]
        of_pixel = probabilities.gather(0, of_owner[None])[0]
        sums = of_pixel.new_zeros(len(labels) + 1).index_add_(0, owner.flatten(), of_pixel.flatten())
        areas = owner.flatten().bincount(minlength=len(labels) + 1)
        # centers are learned as peaks of 1, by a squared error that may exceed it
        scores = (scores * sums[1:] / areas[1:]).clamp(max=1)
        return InstanceData(bboxes=boxes_of_masks(masks), labels=labels, scores=scores, masks=masks)


def group_pixels(is_thing: Tensor, ways: Tensor, centers: Tensor) -> Tensor:
    """For each pixel where ``is_thing`` (h, w) the center nearest to where its way ends, counted from 1; 0 elsewhere.

    ``ways`` (2, h, w) and ``centers`` (n, 2) are x and y in pixels.
    """
    owner = torch.zeros_like(is_thing, dtype=torch.long)
    if not len(centers):
        return owner
    rows, columns = is_thing.nonzero(as_tuple=True)
    ends = torch.stack([columns, rows], dim=1) + ways[:, rows, columns].T
    nearest = [torch.cdist(part, centers).argmin(1) for part in ends.split(PIXELS_AT_ONCE)]
    owner[rows, columns] = torch.cat(nearest) + 1
    return owner
