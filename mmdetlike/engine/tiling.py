"""Looking at large pictures tile by tile."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.engine.tile_masks import Window, picture_masks, tile_mask
from mmdetlike.engine.tile_merging import METHODS, Found, join, merge
from mmdetlike.errors import ConfigError
from mmdetlike.structures import DetDataSample

# objects this near to a border, in pixels, are cut by it
NEAR = 1.0
OF_OBJECTS = ('bboxes', 'scores', 'labels', 'masks', 'keypoints', 'keypoint_scores')


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut into tiles, and how what is found in them is joined.

    Tiles of an edge length of ``tile`` pixels overlap so that every object up to ``overlap * tile`` pixels is whole in
    one of them; a tile's parts of such objects are left out. The whole picture, made small, is one more view, for
    objects that are larger than tiles. A picture no larger than a tile is looked at once.

    Args:
        tile: Edge length in pixels.
        overlap: Share of it by which neighbors overlap, from 0 to below 1.
        merge: ``'nms'``, ``'nmm'`` or ``'wbf'``; see ``merge``.
        threshold: Overlap from which on two objects of a class are the same.
        whole: Look at the whole picture, too.

    Raises:
        ConfigError: A setting is out of its range.
    """

    tile: int
    overlap: float = 0.2
    merge: str = 'nms'
    threshold: float = 0.5
    whole: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.tile, int) or isinstance(self.tile, bool) or self.tile < 16:
            raise ConfigError(f'tile must be an edge length of 16 pixels or more, got {self.tile!r}')
        if not isinstance(self.overlap, Real) or not 0 <= self.overlap < 1:
            raise ConfigError(f'overlap must be a share of the tile from 0 to below 1, got {self.overlap!r}')
        if not isinstance(self.threshold, Real) or not 0 < self.threshold <= 1:
            raise ConfigError(f'the threshold of tiles must be above 0 and at most 1, got {self.threshold!r}')
        if self.merge not in METHODS:
            raise ConfigError(f'tiles can be merged by {", ".join(METHODS)}, got {self.merge!r}')

    def windows(self, height: int, width: int) -> list[Window]:
        """The tiles of a picture, all within it; then, unless that is the only tile, the whole picture if wanted."""
        rows = self._starts(height)
        columns = self._starts(width)
        tiles = [
            Window(top, left, min(top + self.tile, height), min(left + self.tile, width))
            for top, left in itertools.product(rows, columns)
        ]
        has_whole = self.whole and len(tiles) > 1
        return [*tiles, Window(0, 0, height, width)] if has_whole else tiles

    def _starts(self, length: int) -> list[int]:
        """First pixels of the tiles along an axis: the last tile ends with the picture."""
        step = max(1, int(self.tile * (1 - self.overlap)))
        last = max(length - self.tile, 0)
        return [*range(0, last, step), last]

    def predict(
        self,
        shape: tuple[int, int],
        read: Callable[[Window], dict],
        predict: Callable[[list[dict]], list[DetDataSample]],
        batch_size: int,
    ) -> InstanceData:
        """The objects of a picture.

        Args:
            shape: Its height and width.
            read: From a window to what ``predict`` takes; called for a batch of windows at a time.
            predict: From inputs to samples whose ``pred_instances`` are in pixels of their windows; masks (n, h, w)
                may have fewer.
            batch_size: Windows that go through the model at once.

        Returns:
            ``bboxes``, ``scores`` and ``labels`` and, where the detector has them, ``masks``, ``keypoints`` and
            ``keypoint_scores``; on the CPU, the best ones first. Masks are (n, height, width) bool, or run-length
            encodings, see `picture_masks`.

        Raises:
            ConfigError: The detector predicts something else.
        """
        parts = []
        windows = self.windows(*shape)
        for batch in in_batches(windows, batch_size):
            for window, sample in zip(batch, predict([read(window) for window in batch])):
                parts.append(self.in_picture(sample, window, shape))
        return as_instances(merge(join(parts), self.merge, self.threshold), shape)

    def in_picture(self, sample: DetDataSample, window: Window, shape: tuple[int, int]) -> Found:
        """What was found in a window, in pixels of the picture, without parts of objects that others see whole."""
        found = _checked(sample)
        offset = torch.tensor([window.left, window.top], dtype=torch.float32)
        boxes = found.bboxes + offset.repeat(2)
        is_cut, is_elsewhere = self._at_borders(boxes, window, shape)
        masks = None
        if 'masks' in found:
            masks = [[tile_mask(mask, window)] for mask in found.masks]
        fields = {}
        if 'keypoints' in found:
            fields = dict(keypoints=found.keypoints + offset, keypoint_scores=found.keypoint_scores)
        all_found = Found(boxes, found.scores, found.labels, is_cut, masks, fields)
        return all_found.take(torch.where(~is_elsewhere)[0])

    def _at_borders(self, boxes: Tensor, window: Window, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Which boxes a border of the tile cuts, and which are so small that a neighbor sees the object whole."""
        is_cut = torch.zeros(len(boxes), dtype=torch.bool)
        is_elsewhere = is_cut.clone()
        margin = self.tile * self.overlap
        for axis, (start, end, size) in enumerate(
            ((window.left, window.right, shape[1]), (window.top, window.bottom, shape[0]))
        ):
            low = boxes[:, axis]
            high = boxes[:, axis + 2]
            # the picture's own borders cut nothing that another tile could see
            is_at_border = (low <= start + NEAR) & (start > 0) | (high >= end - NEAR) & (end < size)
            is_cut |= is_at_border
            is_elsewhere |= is_at_border & (high - low < margin - 2 * NEAR)
        return is_cut, is_elsewhere


def in_batches(items: Sequence, size: int) -> Iterator[Sequence]:
    """Parts of a sequence of ``size`` items, the last one shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _checked(sample: DetDataSample) -> InstanceData:
    """A sample's objects on the CPU, once it is clear that they can be joined."""
    found = sample.get('pred_instances')
    if found is None or set(found.keys()) - set(OF_OBJECTS) or found.bboxes.shape[-1] != 4:
        fields = 'no pred_instances' if found is None else ', '.join(sorted(found.keys()))
        raise ConfigError(
            f'tiles can be joined of detectors that predict {", ".join(OF_OBJECTS)} with boxes of 4 numbers; this one '
            f'predicts {fields}'
        )
    return found.cpu()


def as_instances(found: Found, shape: tuple[int, int]) -> InstanceData:
    """Objects as a detector returns them, with masks of the whole picture."""
    result = InstanceData(bboxes=found.boxes, scores=found.scores, labels=found.labels, **found.fields)
    if found.masks is not None:
        result.masks = picture_masks(found.masks, shape)
    return result
