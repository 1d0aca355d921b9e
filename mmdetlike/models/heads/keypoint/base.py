"""What heads share that find objects as peaks of heat maps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.utils import (
    gaussian_radius,
    gen_gaussian_target,
    get_local_maximum,
    get_topk_from_heatmap,
    suppress,
    transpose_and_gather_feat,
)
from mmdetlike.structures import DetDataSample
from mmdetlike.structures.bbox import geometry, get_box_tensor

from ..head import Head

MIN_OVERLAP = 0.3  # of a box with its object, both of whose corners lie within the bells' radius


@dataclass
class Peaks:
    """The best keypoints of one kind, k of each image.

    Attributes:
        scores, labels: (B, k).
        points: (B, k, 2) x and y in cells.
        values: Name -> (B, k, c), what the other maps hold there.
    """

    scores: Tensor
    labels: Tensor
    points: Tensor
    values: dict[str, Tensor]


class HeatmapHead(Head):
    """Classes and settings, and the way from boxes on the network's canvas to those of the original image."""

    gives_all_scores = False

    def finish(self, found: InstanceData, sample: DetDataSample, rescale: bool) -> InstanceData:
        """Put boxes where the image was before it was padded and resized, and keep the best.

        Samples of resized images have ``scale_factor``; of images that were padded on all sides ``border``, the first
        and last row, then column, of the image proper.
        """
        border = sample.get('border')
        scale = sample.get('scale_factor')
        if border is not None:
            found.bboxes = geometry.translate(found.bboxes, [-float(border[2]), -float(border[0])])
        if rescale and scale is not None:  # images that were padded alone have no scale
            found.bboxes = geometry.scale(found.bboxes, [1 / factor for factor in scale])
        return self.keep_best(found)

    def keep_best(self, found: InstanceData) -> InstanceData:
        """The ``max_per_img`` best objects, without duplicates where ``nms`` is set."""
        limit = self.test_cfg.get('max_per_img', -1)
        if self.test_cfg.get('nms') is not None:
            return suppress(found, self.test_cfg.nms, limit)
        return found[: limit if limit > 0 else len(found)]

    def find_peaks(self, maps: dict[str, Tensor], count: int) -> Peaks:
        """The ``count`` best peaks of ``maps['heat']``, probabilities (B, classes, h, w), and what others hold there.

        They are moved by ``maps['off']``; of those in a square of ``local_maximum_kernel`` cells the best counts alone.
        """
        kernel = self.test_cfg.get('local_maximum_kernel', 3)
        scores, cells, labels, ys, xs = get_topk_from_heatmap(get_local_maximum(maps['heat'], kernel), count)
        values = {name: transpose_and_gather_feat(m, cells) for name, m in maps.items() if name != 'heat'}
        return Peaks(scores, labels, torch.stack([xs, ys], -1) + values['off'], values)

    def detect_maps(self, x: Sequence[Tensor], img_shapes: Sequence[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """As ``DenseHead.detect_maps``, of maps (B, C, h, w); ``img_shapes`` are those of images with their padding."""
        raise NotImplementedError(f'{type(self).__name__} has no form of tensors alone yet')

    def objects_in_cells(self, heatmap: Tensor, sample: DetDataSample) -> list[tuple[Tensor, int]]:
        """Box (4,) xyxy in cells of ``heatmap`` and label of each object, on the CPU, where reading stops nothing."""
        boxes = geometry.require_horizontal(get_box_tensor(sample.gt_instances.bboxes), type(self).__name__)
        in_cells = boxes.cpu() / pixels_per_cell(heatmap, sample.batch_input_shape).cpu()
        return list(zip(in_cells, sample.gt_instances.labels.tolist()))


def pixels_per_cell(heatmap: Tensor, shape: tuple[int, int]) -> Tensor:
    """(4,) pixels of a padded image of ``shape`` (height, width) for each cell of a map (..., h, w): x, y, x, y."""
    height, width = shape[:2]
    return heatmap.new_tensor([width / heatmap.shape[-1], height / heatmap.shape[-2]]).repeat(2)


def clamp_cell(point: Tensor, heatmap: Tensor) -> tuple[int, int]:
    """The cell x, y of ``heatmap`` (..., h, w) that a point (2,) falls into, the nearest one where it is outside."""
    height, width = heatmap.shape[-2:]
    x, y = point.tolist()
    return min(max(int(x), 0), width - 1), min(max(int(y), 0), height - 1)


def bell_radius(width: float, height: float) -> int:
    """How far the bells at the keypoints of a box of this size reach, all in cells."""
    return max(0, int(gaussian_radius((height, width), MIN_OVERLAP)))


@dataclass
class KeypointTargets:
    """What the maps of one kind of keypoint should predict; h x w cells.

    Attributes:
        heat: (B, classes, h, w) bells, 1 at the cell of each object's keypoint.
        weight: (B, 1, h, w) 1 where there is a keypoint.
        values: Name -> (B, 2, h, w), numbers that are asked where there is a keypoint.
    """

    heat: Tensor
    weight: Tensor
    values: dict[str, Tensor]

    @classmethod
    def empty(cls, heat: Tensor, names: Iterable[str]) -> 'KeypointTargets':
        """Targets of maps of the size of ``heat`` (B, classes, h, w) without any object."""
        weight = torch.zeros_like(heat[:, :1])
        return cls(torch.zeros_like(heat), weight, {name: weight.repeat(1, 2, 1, 1) for name in names})

    def add(self, image: int, label: int, cell: tuple[int, int], radius: int, values: dict[str, Tensor]) -> None:
        """Enter the keypoint of an object of image ``image`` at ``cell``, x and y."""
        x, y = cell
        gen_gaussian_target(self.heat[image, label], cell, radius)
        self.weight[image, :, y, x] = 1
        for name, value in values.items():
            self.values[name][image, :, y, x] = value
