"""Boxes found by the points of a grid: Grid R-CNN Plus, arXiv 1906.05688 (Grid R-CNN: arXiv 1811.12030)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2roi, geometry

from .branches import RoIBranch
from .roi_head import StandardRoIHead
from .stage import StageOutputs

# how far regions are moved and resized in training, as a share of their size
JITTER = 0.15
DEFAULT_LOSS = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=15)
DEFAULT_NORM = dict(type='GN', num_groups=36)
RARE = dict(type='Normal', name='deconv2', std=0.001, bias=-math.log(0.99 / 0.01))  # few cells are points
DEFAULT_INIT = [
    dict(type='Kaiming', layer=['Conv2d', 'Linear']),
    dict(type='Normal', layer='ConvTranspose2d', std=0.001, override=RARE),
]


@MODELS.register_module()
class GridHead(BaseModule):
    """Heatmaps of the points of a grid that spans an object, each refined by those of its neighbors.

    The heatmaps are meant for a region twice as high and wide as the box, so that points outside the box are found too;
    each point is looked for in the half of it that surrounds where the grid has it. Points are counted by columns.

    Args:
        grid_points: Points of the grid, a square number.
        num_convs, conv_kernel_size: Convolutions, the first with stride 2, and their kernel.
        roi_feat_size, in_channels: Height and width, and channels, of region features.
        point_feat_channels: Channels of each point.
        deconv_kernel_size: Kernel of the two transposed convolutions, which double the size each.
        class_agnostic: Kept for configs; points are those of all classes.
        loss_grid: Loss of the heatmaps.
        conv_cfg, norm_cfg: Convolution and norm layer, whose groups must divide ``grid_points * point_feat_channels``.

    Raises:
        ConfigError: ``grid_points`` is not a square number of at least 4.
    """

    def __init__(
        self,
        grid_points: int = 9,
        num_convs: int = 8,
        roi_feat_size: int = 14,
        in_channels: int = 256,
        conv_kernel_size: int = 3,
        point_feat_channels: int = 64,
        deconv_kernel_size: int = 4,
        class_agnostic: bool = False,
        loss_grid: dict = DEFAULT_LOSS,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = DEFAULT_NORM,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or DEFAULT_INIT)
        self.grid_size = math.isqrt(grid_points)
        if self.grid_size < 2 or self.grid_size**2 != grid_points:
            raise ConfigError(f'grid_points must be a square number of at least 4, got {grid_points}')
        self.grid_points, self.point_feat_channels = grid_points, point_feat_channels
        self.map_size = roi_feat_size * 4  # of the doubled region; heatmaps have half of it
        self.sub_map_size = self.map_size // 4 * 2
        self.loss_grid = MODELS.build(loss_grid)
        width = point_feat_channels * grid_points
        conv = dict(padding=(conv_kernel_size - 1) // 2, conv_cfg=conv_cfg, norm_cfg=norm_cfg, bias=True)
        widths = [in_channels] + [width] * num_convs
        self.convs = nn.Sequential(
            *(
                ConvModule(before, width, conv_kernel_size, stride=2 if i == 0 else 1, **conv)
                for i, before in enumerate(widths[:num_convs])
            )
        )
        deconv = dict(kernel_size=deconv_kernel_size, stride=2, padding=(deconv_kernel_size - 2) // 2)
        self.deconv1 = nn.ConvTranspose2d(width, width, groups=grid_points, **deconv)
        self.norm1 = nn.GroupNorm(grid_points, width)
        self.deconv2 = nn.ConvTranspose2d(width, grid_points, groups=grid_points, **deconv)
        self.neighbors = [grid_neighbors(point, self.grid_size) for point in range(grid_points)]
        self.forder_trans = self._build_messages()
        self.sorder_trans = self._build_messages()

    def _build_messages(self) -> nn.ModuleList:
        """What each point hears of each of its neighbors."""
        width = self.point_feat_channels
        return nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(nn.Conv2d(width, width, 5, padding=2, groups=width), nn.Conv2d(width, width, 1))
                for _ in neighbors
            )
            for neighbors in self.neighbors
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Heatmap logits (n, grid_points, 2h, 2w) of region features (n, C, h, w).

        In training those of points that have not heard of their neighbors follow; None in testing.
        """
        x = self.convs(x)
        plain = x.split(self.point_feat_channels, dim=1)
        first_order = self._with_messages(plain, plain, self.forder_trans)
        # a point's neighbors have heard of theirs: so it hears of points two steps away
        second_order = self._with_messages(plain, first_order, self.sorder_trans)
        fused = self._heatmaps(torch.cat(second_order, dim=1))
        return fused, self._heatmaps(x) if self.training else None

    def _with_messages(
        self, points: Sequence[Tensor], senders: Sequence[Tensor], layers: nn.ModuleList
    ) -> list[Tensor]:
        heard = []
        for point, neighbors, messages in zip(points, self.neighbors, layers):
            for neighbor, message in zip(neighbors, messages):
                point = point + message(senders[neighbor])
            heard.append(point)
        return heard

    def _heatmaps(self, x: Tensor) -> Tensor:
        return self.deconv2(F.relu(self.norm1(self.deconv1(x))))

    def sub_regions(self) -> list[tuple[int, int]]:
        """Where, in cells from the left and the top of the doubled region, the heatmap of each point begins."""
        # half of the region around a point begins a quarter before it; at the borders it is moved inside
        starts = [int((i / (self.grid_size - 1) - 0.25) * self.map_size) for i in range(self.grid_size)]
        starts[0] = 0
        starts[-1] = self.sub_map_size
        return [(starts[p // self.grid_size], starts[p % self.grid_size]) for p in range(self.grid_points)]

    # -- training ----------------------------------------------------------------------------------------------------

    def loss(self, preds: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
        """Loss of heatmaps, with messages and without, against ``targets`` (p, grid_points, h, w) of 0 and 1."""
        fused, unfused = (float32_if_half(pred)[0] for pred in preds)
        if not len(fused):
            return fused.sum() + unfused.sum()
        return self.loss_grid(fused, targets) + self.loss_grid(unfused, targets)

    def targets(self, boxes: Tensor, gt_bboxes: Tensor, radius: int) -> Tensor:
        """Heatmaps (p, grid_points, h, w) of 0 and 1 for regions, ``boxes`` (p, 4), with objects ``gt_bboxes`` (p, 4).

        Cells up to ``radius`` from a point are 1.
        """
        extent = geometry.sizes(boxes)
        corner = boxes[:, :2] - extent / 2
        shares = torch.arange(self.grid_size, device=boxes.device) / (self.grid_size - 1)
        across = gt_bboxes[:, None, :2] * (1 - shares[:, None]) + gt_bboxes[:, None, 2:] * shares[:, None]
        cells = ((across - corner[:, None]) / (2 * extent[:, None]) * self.map_size).trunc().long()
        # points are counted column by column
        columns = cells[..., 0].repeat_interleave(self.grid_size, dim=1)
        rows = cells[..., 1].repeat(1, self.grid_size)
        grid = torch.arange(self.sub_map_size, device=boxes.device)
        starts = torch.tensor(self.sub_regions(), device=boxes.device)
        x = starts[:, :1] + grid - columns[..., None]
        y = starts[:, 1:] + grid - rows[..., None]
        near = x[:, :, None, :] ** 2 + y[:, :, :, None] ** 2 <= radius**2
        # points of tiny regions can't be told apart
        large = (2 * extent > self.grid_size).all(1)
        return (near & large[:, None, None, None]).to(boxes.dtype)

    # -- testing -----------------------------------------------------------------------------------------------------

    def predict(self, heatmaps: Tensor, boxes: Tensor) -> Tensor:
        """Boxes (n, 4) from the best cells of heatmap logits (n, grid_points, h, w).

        Each side is the mean of the points that lie on it, weighted by their scores. Unlike those of other heads, boxes
        may reach beyond the image: published checkpoints were scored so.
        """
        scores, best = float32_if_half(heatmaps)[0].sigmoid().flatten(2).max(2)
        starts = torch.tensor(self.sub_regions(), device=boxes.device)
        width = heatmaps.shape[-1]
        cells = torch.stack([best % width, torch.div(best, width, rounding_mode='floor')], dim=-1) + starts
        extent = geometry.sizes(boxes)[:, None]
        points = (cells + 0.5) / self.sub_map_size * extent + boxes[:, None, :2] - extent / 2
        x = points[..., 0].unflatten(1, (self.grid_size, self.grid_size))
        y = points[..., 1].unflatten(1, (self.grid_size, self.grid_size)).transpose(1, 2)
        by_column = scores.unflatten(1, (self.grid_size, self.grid_size))
        by_row = by_column.transpose(1, 2)
        sides = [
            (line[:, i] * weights[:, i]).sum(1) / weights[:, i].sum(1)
            for i in (0, -1)
            for line, weights in ((x, by_column), (y, by_row))
        ]
        return torch.stack(sides, dim=1)


def grid_neighbors(point: int, grid_size: int) -> list[int]:
    """The points left, above, below and right of a point of a grid, as far as there are any."""
    column, row = divmod(point, grid_size)
    around = [(column - 1, row), (column, row - 1), (column, row + 1), (column + 1, row)]
    return [c * grid_size + r for c, r in around if 0 <= c < grid_size and 0 <= r < grid_size]


class GridBranch(RoIBranch):
    """Grid points by ``grid_head`` on features of ``grid_roi_extractor``; they take the place of regressed boxes."""

    def loss(
        self,
        stage: int,
        x: Sequence[Tensor],
        sampled: Sequence[SamplingResult],
        outs: StageOutputs,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """Loss of the heatmaps of at most ``max_num_grid`` positives, moved and resized at random."""
        cfg = self.regions.stage_cfgs[stage]
        head = self.regions.grid_head
        boxes = [jitter(result.pos_priors, sample.img_shape) for result, sample in zip(sampled, samples)]
        gt_bboxes = torch.cat([result.pos_gt_bboxes for result in sampled])
        preds = head(self.regions.features(self.extractor, stage, x, bbox2roi(boxes)))
        taken = torch.randperm(len(gt_bboxes), device=gt_bboxes.device)[: cfg.get('max_num_grid', 192)]
        targets = head.targets(torch.cat(boxes)[taken], gt_bboxes[taken], cfg.pos_radius)
        return dict(loss_grid=head.loss([pred[taken] for pred in preds], targets))

    @property
    def extractor(self) -> str:
        """The name of the part that extracts features for grids."""
        return 'bbox_roi_extractor' if self.regions.grid_roi_extractor is None else 'grid_roi_extractor'

    def add_predictions(
        self, x: Sequence[Tensor], results: Sequence[InstanceData], samples: SampleList, rescale: bool
    ) -> None:
        """Replace ``bboxes`` of the results, which stay in pixels of the network's input."""
        rois = bbox2roi([result.bboxes for result in results])
        heatmaps = self.heatmaps(x, rois).split([len(result) for result in results])
        for result, maps in zip(results, heatmaps):
            result.bboxes = self.regions.grid_head.predict(maps, result.bboxes)

    def raw(self, x: Sequence[Tensor], outs: StageOutputs) -> list[Tensor]:
        """Heatmap logits (n, grid_points, h, w)."""
        return [self.heatmaps(x, outs.rois)]

    def heatmaps(self, x: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Heatmap logits (n, grid_points, h, w) of regions (n, 5)."""
        return self.regions.grid_head(self.regions.features(self.extractor, 0, x, rois))[0]


def jitter(boxes: Tensor, img_shape: tuple[int, int]) -> Tensor:
    """Boxes (n, 4) moved and resized at random, within the image."""
    offsets = boxes.new_empty(len(boxes), 4).uniform_(-JITTER, JITTER)
    center = geometry.centers(boxes)
    size = geometry.sizes(boxes)
    center = center + size * offsets[:, :2]
    half = size * (1 + offsets[:, 2:]) / 2
    limit = boxes.new_tensor([img_shape[1] - 1, img_shape[0] - 1] * 2)
    return torch.cat([center - half, center + half], dim=1).clamp(min=0).minimum(limit)


@MODELS.register_module()
class GridRoIHead(StandardRoIHead):
    """A region head whose boxes are found by the points of a grid.

    Args:
        grid_roi_extractor: Pools features for grids; None to use those of the boxes.
        grid_head: Predicts the points.
        kwargs: See ``StandardRoIHead``; ``train_cfg`` has ``pos_radius`` and ``max_num_grid``.
    """

    def __init__(self, grid_roi_extractor: dict | None, grid_head: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        self.grid_roi_extractor = self.build_part('grid_roi_extractor', grid_roi_extractor)
        self.grid_head = MODELS.build(grid_head)

    def build_branches(self) -> dict[str, RoIBranch]:
        """A branch of grids, then one of masks, if there is a mask head: they are drawn in the grid's boxes."""
        return {'grid': GridBranch(self), **super().build_branches()}
