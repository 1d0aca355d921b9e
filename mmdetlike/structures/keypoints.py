"""Keypoints of objects, and the heatmaps by which networks speak of them (Mask R-CNN, arXiv 1703.06870, section 5).

Coordinates are continuous, as COCO's evaluation takes them: the center of the first pixel is (0.5, 0.5).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdetlike.structures.bbox import geometry
from mmdetlike_ops import heatmap_peaks

NOT_LABELED = 0
HIDDEN = 1
VISIBLE = 2


class Keypoints:
    """Keypoints (n, k, 3) of n objects: x, y in pixels, and 0 (not labeled), 1 (labeled but hidden) or 2 (visible).

    Args:
        keypoints: Tensor, array or nested list.

    Raises:
        ValueError: The shape isn't (n, k, 3).
    """

    def __init__(self, keypoints: Tensor | np.ndarray | Sequence) -> None:
        tensor = torch.as_tensor(np.asarray(keypoints) if isinstance(keypoints, (list, tuple)) else keypoints)
        self.tensor = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
        if self.tensor.dim() != 3 or self.tensor.shape[2] != 3:
            raise ValueError(f'Keypoints need data of shape (n, k, 3), but its shape is {tuple(tensor.shape)}.')

    def to_heatmap(self, boxes: Tensor, heatmap_size: int) -> tuple[Tensor, Tensor]:
        """Cells of square heatmaps over boxes in which the keypoints lie; see `heatmap_targets`.

        Args:
            boxes: (n, 4) xyxy in pixels, one of each object.
            heatmap_size: Cells along each side.

        Returns:
            Indices (n, k) in [0, heatmap_size ** 2), and (n, k) bool: labeled and in the box.
        """
        return heatmap_targets(self.tensor, boxes, (heatmap_size, heatmap_size))

    def to(self, *args: Any, **kwargs: Any) -> 'Keypoints':
        """As ``torch.Tensor.to``."""
        return Keypoints(self.tensor.to(*args, **kwargs))

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: int | slice | Tensor) -> 'Keypoints':
        return Keypoints(self.tensor[[index]] if isinstance(index, int) else self.tensor[index])

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.tensor)

    def __repr__(self) -> str:
        return f'Keypoints(num_instances={len(self)})'

    @staticmethod
    def cat(keypoints_list: Sequence['Keypoints']) -> 'Keypoints':
        """Join the keypoints of several groups of objects."""
        return Keypoints(torch.cat([keypoints.tensor for keypoints in keypoints_list]))


def heatmap_targets(keypoints: Tensor, boxes: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Cells in which keypoints lie, and which keypoints are valid.

    Args:
        keypoints: (p, K, 3) x, y in pixels and visibility.
        boxes: (p, 4) xyxy, the regions.
        size: Height and width of the heatmaps.

    Returns:
        Indices (p, K) into flattened heatmaps, and (p, K) bool: the keypoint is labeled and lies in its region.
    """
    height, width = size
    cells_per_side = keypoints.new_tensor([width, height])
    corner = boxes[:, None, :2]
    extent = geometry.sizes(boxes)[:, None]
    cells = ((keypoints[..., :2] - corner) * (cells_per_side / extent)).floor()
    # a point on the right or bottom border belongs to the last cell
    cells = torch.where(keypoints[..., :2] == boxes[:, None, 2:], cells_per_side - 1, cells)
    valid = ((cells >= 0) & (cells < cells_per_side)).all(-1) & (keypoints[..., 2] > NOT_LABELED)
    cells = torch.where(valid[..., None], cells, 0).long()
    return cells[..., 1] * width + cells[..., 0], valid


def heatmaps_to_keypoints(maps: Tensor, rois: Tensor) -> Tensor:
    """Keypoints from the heatmaps of regions: the center of the best pixel of each.

    Args:
        maps: (R, K, h, w) logits.
        rois: (R, 4) xyxy in pixels, the regions.

    Returns:
        (R, K, 4): x and y in pixels, the logit at the point, and the score in [0, 1]: the share of the heatmap there.
    """
    sizes = geometry.sizes(rois).clamp(min=1).ceil().flip(-1)
    pixels, best = heatmap_peaks(maps, sizes.long())
    # the softmax is taken over the cells of the heatmap, whose number doesn't depend on the region
    scores = (best - maps.flatten(2).logsumexp(2)).exp().clamp(max=1)
    shares = ((pixels + 0.5) / sizes[:, None]).flip(-1)
    extent = geometry.sizes(rois).clamp(min=1)
    points = rois[:, None, :2] + shares * extent[:, None]
    return torch.cat([points, best[..., None], scores[..., None]], dim=-1)
