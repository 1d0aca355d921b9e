"""Joining what was found in overlapping tiles of a picture to one set of objects."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmdetlike.engine.tile_masks import TileMask
from mmdetlike.errors import ConfigError


@dataclass(frozen=True)
class Found:
    """Objects of a picture.

    Args:
        boxes: (n, 4) xyxy in pixels of the picture.
        scores: (n,).
        labels: (n,).
        is_cut: (n,) bool, whether a tile's border cuts the object.
        masks: For each object the parts that its mask is the union of; None of detectors without masks.
        fields: Further tensors (n, ...) by name.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    is_cut: Tensor
    masks: list[list[TileMask]] | None
    fields: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, indices: Tensor) -> 'Found':
        """The objects ``indices`` (m,)."""
        masks = None if self.masks is None else [self.masks[i] for i in indices.tolist()]
        fields = {name: value[indices] for name, value in self.fields.items()}
        columns = (self.boxes[indices], self.scores[indices], self.labels[indices], self.is_cut[indices])
        return Found(*columns, masks, fields)


def join(parts: list[Found]) -> Found:
    """The objects of several views, one after the other."""
    columns = [torch.cat(column) for column in zip(*((p.boxes, p.scores, p.labels, p.is_cut) for p in parts))]
    masks = None if parts[0].masks is None else [mask for part in parts for mask in part.masks]
    fields = {name: torch.cat([part.fields[name] for part in parts]) for name in parts[0].fields}
    return Found(*columns, masks, fields)


def merge(found: Found, method: str = 'nms', threshold: float = 0.5) -> Found:
    """The objects without their duplicates, the best ones first.

    Two objects of a class are the same if the intersection of their boxes over their union is ``threshold`` or more;
    where a tile's border cuts the smaller one, over its own area, since a part overlaps little with the whole.

    Args:
        found: What all views found.
        method: ``'nms'`` keeps the best of each group; ``'nmm'`` (non-maximum merging) also takes the box around all,
            and the union of their masks; ``'wbf'`` (weighted boxes fusion, arXiv 1910.13302) the mean of the boxes,
            weighted by scores. Cut objects don't weigh in a mean if there are others.
        threshold: See above.

    Raises:
        ConfigError: There is no such method.
    """
    if method not in METHODS:
        raise ConfigError(f'tiles can be merged by {", ".join(METHODS)}, got {method!r}')
    found = found.take(found.scores.argsort(descending=True, stable=True))
    groups = group(found, threshold)
    kept = found.take(torch.tensor([int(indices[0]) for indices in groups], dtype=torch.long))
    return METHODS[method](kept, found, groups)


def group(found: Found, threshold: float) -> list[Tensor]:
    """Indices of objects that are the same, for each of them, by falling score; the best of a group comes first."""
    groups = []
    for label in found.labels.unique():
        left = torch.where(found.labels == label)[0]
        while len(left):
            is_same = overlaps(found, left) >= threshold
            is_same[0] = True  # an empty box doesn't even overlap with itself
            groups.append(left[is_same])
            left = left[~is_same]
    return sorted(groups, key=lambda indices: int(indices[0]))


def overlaps(found: Found, indices: Tensor) -> Tensor:
    """Of the object ``indices[0]`` with each of ``indices`` (n,)."""
    boxes = found.boxes[indices]
    corner = torch.maximum(boxes[:, :2], boxes[0, :2])
    end = torch.minimum(boxes[:, 2:], boxes[0, 2:])
    intersection = (end - corner).clamp(min=0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    is_cut = found.is_cut[indices]
    # of the smaller one: a whole object that lies within a part of another is no part of it
    is_part = torch.where(areas <= areas[0], is_cut, is_cut[0])
    smaller = torch.minimum(areas, areas[0])
    union = areas + areas[0] - intersection
    return intersection / torch.where(is_part, smaller, union).clamp(min=1e-6)


def keep_best(kept: Found, found: Found, groups: list[Tensor]) -> Found:
    """The best of each group as it is."""
    return kept


def unite(kept: Found, found: Found, groups: list[Tensor]) -> Found:
    """Boxes around each group, and the union of its masks."""
    boxes = [torch.cat([found.boxes[g, :2].amin(0), found.boxes[g, 2:].amax(0)]) for g in groups]
    masks = found.masks
    if masks is not None:
        masks = [[part for i in g.tolist() for part in found.masks[i]] for g in groups]
    return replace(kept, boxes=torch.stack(boxes) if boxes else kept.boxes, masks=masks)


def average(kept: Found, found: Found, groups: list[Tensor]) -> Found:
    """Means of the boxes of each group, weighted by scores."""
    boxes = []
    for g in groups:
        whole = g[~found.is_cut[g]]
        g = whole if len(whole) else g
        weights = found.scores[g, None]
        boxes.append((found.boxes[g] * weights).sum(0) / weights.sum().clamp(min=1e-12))
    return replace(kept, boxes=torch.stack(boxes) if boxes else kept.boxes)


METHODS: dict[str, Callable[[Found, Found, list[Tensor]], Found]] = dict(nms=keep_best, nmm=unite, wbf=average)
