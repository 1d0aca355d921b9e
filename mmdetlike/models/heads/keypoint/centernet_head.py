"""CenterNet: Objects as Points, arXiv 1904.07850."""

from collections.abc import Sequence

import torch
from mmengine.model import bias_init_with_prob, normal_init
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import geometry

from .base import HeatmapHead, KeypointTargets, bell_radius, clamp_cell, pixels_per_cell

DEFAULT_LOSS_HEATMAP = dict(type='GaussianFocalLoss', loss_weight=1.0)
DEFAULT_LOSS_WH = dict(type='L1Loss', loss_weight=0.1)
DEFAULT_LOSS_OFFSET = dict(type='L1Loss', loss_weight=1.0)


@MODELS.register_module()
class CenterNetHead(HeatmapHead):
    """A heat map of centers for each class, and the size of each object and its position in its cell.

    Args:
        in_channels, feat_channels: Channels of the feature map, and of hidden layers.
        loss_center_heatmap: Loss of the heat map.
        loss_wh, loss_offset: Losses of width and height, and of the position in the cell, both in cells.
        num_classes, train_cfg: As of ``Head``.
        test_cfg: ``topk``, centers taken from an image; ``local_maximum_kernel``, side in cells within which only the
            best one counts; ``max_per_img`` and, to suppress duplicates, ``nms``.
        init_cfg: Must be None, anything else is a ``ValueError``: the head initializes itself.
    """

    def __init__(
        self,
        in_channels: int,
        feat_channels: int,
        num_classes: int,
        loss_center_heatmap: dict = DEFAULT_LOSS_HEATMAP,
        loss_wh: dict = DEFAULT_LOSS_WH,
        loss_offset: dict = DEFAULT_LOSS_OFFSET,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if init_cfg is not None:
            raise ValueError(f'CenterNetHead initializes itself, so init_cfg must be None, got {init_cfg}')
        super().__init__(num_classes, train_cfg, test_cfg)
        self.heatmap_head = build_branch(in_channels, feat_channels, num_classes)
        self.wh_head = build_branch(in_channels, feat_channels, 2)
        self.offset_head = build_branch(in_channels, feat_channels, 2)
        self.loss_center_heatmap = MODELS.build(loss_center_heatmap)
        self.loss_wh = MODELS.build(loss_wh)
        self.loss_offset = MODELS.build(loss_offset)

    def init_weights(self) -> None:
        """Start the heat map at a probability of 0.1, the others near 0."""
        nn.init.constant_(self.heatmap_head[-1].bias, bias_init_with_prob(0.1))
        for branch in (self.wh_head, self.offset_head):
            for layer in branch[::2]:
                normal_init(layer, std=0.001)

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Maps (B, C, h, w) -> probabilities (B, classes, h, w), sizes (B, 2, h, w), offsets (B, 2, h, w) of each."""
        maps = [float32_if_half(self.heatmap_head(m), self.wh_head(m), self.offset_head(m)) for m in x]
        return [heat.sigmoid() for heat, _, _ in maps], [wh for _, wh, _ in maps], [offset for _, _, offset in maps]

    def loss(self, x: Sequence[Tensor], batch_data_samples: SampleList) -> dict[str, Tensor]:
        """``loss_center_heatmap``, ``loss_wh`` and ``loss_offset`` of the one map of ``x``."""
        (heatmap,), (wh,), (offset,) = self(x)
        targets = self.targets(heatmap, batch_data_samples)
        count = max(1, int((targets.heat == 1).sum()))
        return dict(
            loss_center_heatmap=self.loss_center_heatmap(heatmap, targets.heat, avg_factor=count),
            loss_wh=self.loss_wh(wh, targets.values['wh'], targets.weight, avg_factor=2 * count),
            loss_offset=self.loss_offset(offset, targets.values['off'], targets.weight, avg_factor=2 * count),
        )

    def targets(self, heatmap: Tensor, batch_data_samples: SampleList) -> KeypointTargets:
        """What maps of the size of ``heatmap`` (B, classes, h, w) should predict at centers, all in cells.

        ``wh`` is width and height, ``off`` x and y of the center in its cell, in [0, 1).
        """
        targets = KeypointTargets.empty(heatmap, ('wh', 'off'))
        for i, sample in enumerate(batch_data_samples):
            for box, label in self.objects_in_cells(heatmap, sample):
                size = geometry.sizes(box)
                center = geometry.centers(box)
                cell = clamp_cell(center, heatmap)
                values = dict(wh=size, off=center - center.new_tensor(cell))
                targets.add(i, label, cell, bell_radius(*size.tolist()), values)
        return targets

    def predict(self, x: Sequence[Tensor], batch_data_samples: SampleList, rescale: bool = True) -> list[InstanceData]:
        """As ``DenseHead.predict``, of one map (B, C, h, w); see ``finish`` for what samples know."""
        found = self.peaks(x, [sample.batch_input_shape for sample in batch_data_samples])
        return [self.finish(image, sample, rescale) for image, sample in zip(found, batch_data_samples)]

    def detect_maps(self, x: Sequence[Tensor], img_shapes: Sequence[tuple[int, int]]) -> list[dict[str, Tensor]]:
        kept = [self.keep_best(image) for image in self.peaks(x, img_shapes)]
        return [dict(boxes=image.bboxes, scores=image.scores, labels=image.labels) for image in kept]

    def peaks(self, x: Sequence[Tensor], shapes: Sequence[tuple[int, int]]) -> list[InstanceData]:
        """The highest peaks of one map (B, C, h, w), as boxes in pixels of images that were padded to ``shapes``."""
        (heatmap,), (wh,), (offset,) = self(x)
        peaks = self.find_peaks(dict(heat=heatmap, off=offset, wh=wh), self.test_cfg.get('topk', 100))
        half = peaks.values['wh'] / 2
        boxes = torch.cat([peaks.points - half, peaks.points + half], -1)
        scores, labels = peaks.scores, peaks.labels
        return [
            InstanceData(bboxes=boxes[i] * pixels_per_cell(heatmap, shape), scores=scores[i], labels=labels[i])
            for i, shape in enumerate(shapes)
        ]


def build_branch(in_channels: int, feat_channels: int, out_channels: int) -> nn.Sequential:
    """A 3x3 convolution, and a 1x1 convolution that predicts."""
    return nn.Sequential(
        nn.Conv2d(in_channels, feat_channels, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(feat_channels, out_channels, 1),
    )
