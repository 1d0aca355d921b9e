"""Box sides by buckets: Side-Aware Boundary Localization for More Precise Object Detection, arXiv 1912.04260."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry, get_box_tensor

from ..priors import Boxes


class BucketTargets(NamedTuple):
    """The targets of n boxes; each of the four sides, left, right, top and bottom, has S buckets.

    Attributes:
        offsets: (n, 4 * S) distance from the side to the middle of each bucket, by the size of a bucket.
        offset_weights: (n, 4 * S) 1 for the nearest buckets, of which offsets are learned.
        labels: (n, 4 * S) 1 for the nearest bucket.
        label_weights: (n, 4 * S) 0 for buckets that are neither the nearest one nor wrong.
    """

    offsets: Tensor
    offset_weights: Tensor
    labels: Tensor
    label_weights: Tensor


@TASK_UTILS.register_module()
class BucketingBBoxCoder:
    """Encode each side of a box as one of several buckets and an offset from its middle.

    A proposal, grown by ``scale_factor``, is cut into ``num_buckets`` strips along x and along y; each side is looked
    for in the half of them that is next to it.

    Args:
        num_buckets: Strips along an axis; a ``ConfigError`` if below 2.
        scale_factor: Proposals are grown by this factor first.
        offset_topk: Offsets are learned from so many buckets nearest to a side; a ``ConfigError`` if it has fewer.
        offset_upperbound: But for the nearest one only from those less than so many buckets away.
        cls_ignore_neighbor: Leave buckets out of the classification that are less than one away and not the nearest.
        clip_border: Clip decoded boxes to the image.
    """

    # what dense heads ask of any coder: see ``BaseBBoxCoder``, whose one tensor of codes this one doesn't make
    box_dim = geometry.HORIZONTAL
    uses_points = False

    def __init__(
        self,
        num_buckets: int,
        scale_factor: float,
        offset_topk: int = 2,
        offset_upperbound: float = 1.0,
        cls_ignore_neighbor: bool = True,
        clip_border: bool = True,
    ) -> None:
        if num_buckets < 2:
            raise ConfigError(f'num_buckets must be at least 2, got {num_buckets}')
        self.num_buckets, self.scale_factor = num_buckets, scale_factor
        self.side_num = math.ceil(num_buckets / 2)
        if not 1 <= offset_topk <= self.side_num:
            raise ConfigError(f'offset_topk must be in 1..{self.side_num}, the buckets of a side, got {offset_topk}')
        self.offset_topk, self.offset_upperbound = offset_topk, offset_upperbound
        self.cls_ignore_neighbor, self.clip_border = cls_ignore_neighbor, clip_border

    @property
    def encode_size(self) -> int:
        """Numbers that a box is encoded as, of buckets and of offsets each."""
        return 4 * self.side_num

    def encode(self, bboxes: Boxes, gt_bboxes: Boxes) -> BucketTargets:
        """Codes of ``gt_bboxes`` (n, 4) xyxy seen from ``bboxes`` (n, 4)."""
        name = type(self).__name__
        middles, sizes = self.buckets(geometry.require_horizontal(get_box_tensor(bboxes), name))
        sides = geometry.require_horizontal(get_box_tensor(gt_bboxes), name)[:, [0, 2, 1, 3]]
        offsets = (middles - sides[..., None]) / sizes[..., None]
        distances = offsets.abs()
        nearest, inds = distances.topk(self.offset_topk, dim=-1, largest=False)
        close = nearest < self.offset_upperbound
        # a side that is far from all buckets learns its offset from the nearest one
        close[..., 0] = True
        offset_weights = torch.zeros_like(offsets).scatter(-1, inds, close.to(offsets.dtype))
        labels = F.one_hot(inds[..., 0], self.side_num).to(offsets.dtype)
        label_weights = torch.ones_like(offsets)
        if self.cls_ignore_neighbor:
            label_weights[(distances < 1) & (labels == 0)] = 0
        return BucketTargets(*(part.flatten(1) for part in (offsets, offset_weights, labels, label_weights)))

    def decode(self, bboxes: Boxes, bucket_logits: Tensor, offsets: Tensor, max_shape=None) -> tuple[Tensor, Tensor]:
        """Decode to boxes, and to how surely their sides are known.

        Args:
            bboxes: (n, 4) xyxy in pixels, the proposals.
            bucket_logits: (n, 4 * S) logits of buckets.
            offsets: (n, 4 * S) predicted offsets.
            max_shape: Height and width of the image; boxes are clipped to one less.

        Returns:
            Boxes (n, 4) xyxy, and confidences (n,) in [0, 1]: the probability of the best bucket and, if it is its
            neighbor, the second best, averaged over sides.
        """
        middles, sizes = self.buckets(get_box_tensor(bboxes))
        logits = bucket_logits.reshape(-1, 4, self.side_num)
        best, inds = logits.softmax(-1).topk(2 if self.side_num > 1 else 1, dim=-1)
        chosen = inds[..., :1]
        offset = offsets.reshape(-1, 4, self.side_num).gather(-1, chosen)[..., 0]
        sides = middles.gather(-1, chosen)[..., 0] - offset * sizes
        boxes = sides[:, [0, 2, 1, 3]]
        if self.clip_border and max_shape is not None:
            # to the center of the last pixel, as the original does: other coders clip to its border
            limit = boxes.new_tensor([max_shape[1] - 1, max_shape[0] - 1] * 2)
            boxes = boxes.clamp(min=0).minimum(limit)
        confidence = best[..., 0]
        if self.side_num > 1:
            is_neighbor = (inds[..., 0] - inds[..., 1]).abs() == 1
            confidence = confidence + best[..., 1] * is_neighbor
        return boxes, confidence.mean(1)

    def buckets(self, bboxes: Tensor) -> tuple[Tensor, Tensor]:
        """Cut proposals (n, 4) into buckets: their middles (n, 4, S), from outside to inside, and sizes (n, 4)."""
        left, top, right, bottom = geometry.resized(bboxes, self.scale_factor).split(1, dim=-1)
        # objects of no width are proposals too: offsets from them must stay finite
        size = (geometry.sizes(bboxes) * self.scale_factor / self.num_buckets).clamp(min=1e-3)
        steps = torch.arange(self.side_num, device=bboxes.device) + 0.5
        across, down = (steps * size[..., None]).unbind(1)
        middles = torch.stack([left + across, right - across, top + down, bottom - down], dim=1)
        return middles, size[:, [0, 0, 1, 1]]
