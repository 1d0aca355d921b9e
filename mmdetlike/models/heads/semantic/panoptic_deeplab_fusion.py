"""From centers and ways to instances: the grouping of Panoptic-DeepLab, arXiv 1911.10194."""

import torch
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from mmdetlike.models.utils import get_local_maximum, get_topk_from_heatmap
from mmdetlike.registry import MODELS

from .panoptic_fusion import PanopticFusionHead, boxes_of_masks

# pixels whose distances to all centers are held at once
PIXELS_AT_ONCE = 1 << 16


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
