"""Heads that predict a mask at every cell of a grid: SOLO: Segmenting Objects by Locations, arXiv 1912.04488.

Each level has a grid of G x G cells over the padded image, for objects of some range of sizes. The cells around the
center of mass of an object predict its class and its mask. Cells of all levels in a row: N = sum of G * G.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.layers import build_tower
from mmdetlike.models.utils import annotated_masks, crop_or_pad, mask_centroids, masks_in_image
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList
from mmdetlike.structures.bbox import geometry, get_box_tensor
from mmdetlike_ops import mask_matrix_nms

from ..common import FOCAL_LOSS, TOWER_NORM
from ..head import Head

SOLO_LOSS_MASK = dict(type='DiceLoss', use_sigmoid=True, loss_weight=3.0)
MASKS_AT_ONCE = 128  # cells whose masks of full precision are in memory at the same time


@dataclass
class GridOutputs:
    """The predictions of a mask grid head for a batch.

    Attributes:
        cls: Class logits (B, classes, G, G) of each level.
        masks: What the head's ``mask_logits`` makes masks of; the first map of the last entry has the size of masks.
    """

    cls: list[Tensor]
    masks: tuple


@dataclass
class LevelTargets:
    """The targets of the cells of one level in one image.

    Attributes:
        labels: (G * G,) class of each cell, ``num_classes`` for background.
        cells: (p,) cells that train their masks; a cell may come more than once.
        objects: (p,) whose mask each of them should predict.
    """

    labels: Tensor
    cells: Tensor
    objects: Tensor


class MaskGridHead(Head):
    """Base of the heads that predict a class and a mask at each cell of a grid.

    A subclass supplies ``build_layers``, ``forward`` and ``mask_logits``.

    Args:
        in_channels: Channels of the pyramid's feature maps.
        feat_channels, stacked_convs: Channels of the towers, and convolutions in each.
        strides: Stride of each level in pixels, after ``resize_feats``; a predicted mask must have more pixels than
            the stride of its level.
        scale_ranges: For each level the range of the square root of an object's box area, in pixels.
        pos_scale: The share of an object's box around its center of mass that its positive cells cover.
        num_grids: Cells along each side of each level's grid.
        cls_down_index: The convolution of the class tower before which its map is resized to the grid.
        loss_mask, loss_cls: Losses of masks and of classes.
        norm_cfg: Norm layer of the towers.
        num_classes, train_cfg, init_cfg: As of ``Head``.
        test_cfg: ``score_thr``, least score of a cell; ``mask_thr``, least probability inside a mask; ``nms_pre``,
            ``kernel``, ``sigma``, ``filter_thr``, ``max_per_img`` of ``mask_matrix_nms``.

    Raises:
        ValueError: Strides, ranges and grids differ in number.
    """

    mask_stride = 4  # of the masks that are put out, in pixels of the padded image
    # names of the layers whose outputs are probabilities, for their initialization
    predictors: tuple[str, ...] = ('conv_cls',)
    # where several objects reach a cell: the last one trains its mask if True, each of them if False
    one_object_a_cell = True
    # other convolutions of the towers than plain ones, as arguments of ``build_tower``
    tower_convs: dict = {}

    gives_all_scores = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        scale_ranges: Sequence[tuple[float, float]] = ((8, 32), (16, 64), (32, 128), (64, 256), (128, 512)),
        pos_scale: float = 0.2,
        num_grids: Sequence[int] = (40, 36, 24, 16, 12),
        cls_down_index: int = 0,
        loss_mask: dict = SOLO_LOSS_MASK,
        loss_cls: dict = FOCAL_LOSS,
        norm_cfg: dict | None = TOWER_NORM,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(num_classes, train_cfg, test_cfg, init_cfg)
        if not len(strides) == len(scale_ranges) == len(num_grids):
            counts = f'{len(strides)} strides, {len(scale_ranges)} scale_ranges and {len(num_grids)} num_grids'
            raise ValueError(f'strides, scale_ranges and num_grids must have one entry a level each, got {counts}')
        self.in_channels, self.feat_channels, self.stacked_convs = in_channels, feat_channels, stacked_convs
        self.strides, self.scale_ranges, self.num_grids = strides, scale_ranges, num_grids
        self.pos_scale, self.cls_down_index, self.norm_cfg = pos_scale, cls_down_index, norm_cfg
        self.loss_mask = MODELS.build(loss_mask)
        self.loss_cls = MODELS.build(loss_cls)
        self.build_layers()
        self.conv_cls = nn.Conv2d(feat_channels, num_classes, 3, padding=1)

    @property
    def default_init(self) -> list[dict]:
        """Weights from N(0, 0.01); classes and masks begin at a probability of 0.01."""
        own = [dict(type='Normal', std=0.01, bias_prob=0.01, override=dict(name=name)) for name in self.predictors]
        return [dict(type='Normal', layer='Conv2d', std=0.01), *own]

    def build_tower(self, in_channels: int) -> nn.ModuleList:
        """Convolutions from ``in_channels`` to those of the towers."""
        layer = dict(norm_cfg=self.norm_cfg, **self.tower_convs)
        return build_tower(in_channels, self.feat_channels, self.stacked_convs, **layer)

    def forward(self, x: Sequence[Tensor]) -> GridOutputs:
        """Feature maps (B, C, H_i, W_i), the finest of stride 4 -> logits of all cells."""
        raise NotImplementedError

    def mask_logits(self, outs: GridOutputs, level: int, image: int, cells: Tensor) -> list[Tensor]:
        """Logits (n, h, w) of ``cells`` (n,) of a level, one or more, whose probabilities multiplied are the masks."""
        raise NotImplementedError

    def training_masks(self, outs: GridOutputs, level: int, image: int, cells: Tensor) -> Tensor:
        """The masks of ``cells`` (p,) of a level for ``loss_mask``: logits (p, h, w), or a product of probabilities."""
        logits = self.mask_logits(outs, level, image, cells)
        return logits[0] if len(logits) == 1 else prod(factor.sigmoid() for factor in logits)

    def probabilities(self, outs: GridOutputs, level: int, image: int, cells: Tensor) -> Tensor:
        """Masks (n, H / mask_stride, W / mask_stride) in [0, 1] of ``cells`` (n,) of a level."""
        size = outs.masks[-1][0].shape[-2:]
        factors = [factor[:, None].sigmoid() for factor in self.mask_logits(outs, level, image, cells)]
        return prod(F.interpolate(f, size=size, mode='bilinear', align_corners=False)[:, 0] for f in factors)

    def target_stride(self, level: int) -> float:
        """The stride of masks that are trained at this level, in pixels of the image."""
        return self.strides[level] / 2

    @staticmethod
    def resize_feats(feats: Sequence[Tensor]) -> list[Tensor]:
        """Resize the finest feature map to half its size, the coarsest one to that of the one before."""
        feats = list(feats)
        feats[0] = F.interpolate(feats[0], scale_factor=0.5, mode='bilinear', align_corners=False)
        feats[-1] = F.interpolate(feats[-1], size=feats[-2].shape[-2:], mode='bilinear', align_corners=False)
        return feats

    def loss(self, x: Sequence[Tensor], batch_data_samples: SampleList) -> dict[str, Tensor]:
        """``loss_mask`` of the positive cells and ``loss_cls`` of all."""
        outs = self(x)
        # the finest feature map has stride 4
        size = tuple(side * 4 for side in x[0].shape[-2:])
        masks = [annotated_masks(sample, type(self).__name__) for sample in batch_data_samples]
        masks = [image.to_tensor(torch.float32, x[0].device) for image in masks]
        targets = [self.targets(sample, size) for sample in batch_data_samples]
        terms = [self.level_mask_loss(outs, level, targets, masks) for level in range(len(self.num_grids))]
        num_pos = sum(int((grid.labels < self.num_classes).sum()) for image in targets for grid in image)
        labels = torch.cat([torch.cat([image[i].labels for image in targets]) for i in range(len(self.num_grids))])
        scores = torch.cat([cls.permute(0, 2, 3, 1).reshape(-1, self.num_classes) for cls in outs.cls])
        # one more: the background of a batch without objects is learned too
        return dict(
            loss_mask=torch.cat(terms).sum() / max(num_pos, 1),
            loss_cls=self.loss_cls(float32_if_half(scores)[0], labels, avg_factor=num_pos + 1),
        )

    def level_mask_loss(
        self, outs: GridOutputs, level: int, targets: list[list[LevelTargets]], masks: list[Tensor]
    ) -> Tensor:
        """Loss (p,) of each mask that is trained at one level, image after image."""
        terms = []
        stride = self.target_stride(level)
        for image, (grids, gt) in enumerate(zip(targets, masks)):
            grid = grids[level]
            pred = float32_if_half(self.training_masks(outs, level, image, grid.cells))[0]
            # the mask of an object is shrunk once, though several cells predict it
            objects, target_inds = grid.objects.unique(return_inverse=True)
            target = crop_or_pad(shrink_masks(gt[objects], stride), pred.shape[-2:])[target_inds]
            terms.append(self.loss_mask(pred, target, reduction_override='none'))
        return torch.cat(terms)

    def targets(self, sample: DetDataSample, size: tuple[int, int]) -> list[LevelTargets]:
        """The targets of each level's cells in an image padded to ``size``, height and width in pixels."""
        boxes = geometry.to_horizontal(get_box_tensor(sample.gt_instances.bboxes))
        labels = sample.gt_instances.labels
        centers, areas = mask_centroids(annotated_masks(sample, type(self).__name__).to_ndarray())
        sides = geometry.sizes(boxes)
        extent = boxes.new_tensor([size[1], size[0]])
        scale = sides.prod(-1).clamp(min=0).sqrt()
        visible = areas.to(boxes.device) > 0
        spans = torch.stack([-0.5 * sides * self.pos_scale, torch.zeros_like(sides), 0.5 * sides * self.pos_scale])
        results = []
        for (low, high), grid in zip(self.scale_ranges, self.num_grids):
            # cells (m, 2), x and y, of the upper left corner, the center and the lower right corner of each core
            first, middle, last = ((centers.to(boxes) + spans) / extent * grid).floor().long()
            # a core has at most one cell on each side of the center, however large it is
            first = torch.maximum(first, middle - 1).clamp(min=0)
            last = torch.minimum(last, middle + 1)
            steps = torch.arange(grid, device=boxes.device)
            columns, rows = ((steps >= a[:, None]) & (steps <= b[:, None]) for a, b in zip(first.T, last.T))
            covers = rows[:, :, None] & columns[:, None] & (visible & (scale >= low) & (scale <= high))[:, None, None]
            results.append(self.level_targets(covers.flatten(1), labels))
        return results

    def level_targets(self, covers: Tensor, labels: Tensor) -> LevelTargets:
        """Targets of a level where object i covers the cells ``covers[i]``, of (m, G * G) bool.

        Of several objects that cover a cell the last one gives it its class.
        """
        # objects count from 1, so that the maximum over objects is the last one that covers a cell, or 0 for none
        numbers = torch.arange(1, len(labels) + 1, device=labels.device)
        zero = numbers.new_zeros(1, covers.shape[1])
        owner = torch.cat([zero, covers * numbers[:, None]]).amax(0)
        classes = torch.cat([labels.new_tensor([self.num_classes]), labels])[owner]
        if self.one_object_a_cell:
            cells = owner.nonzero().squeeze(1)
            return LevelTargets(classes, cells, owner[cells] - 1)
        objects, cells = covers.nonzero().T
        return LevelTargets(classes, cells, objects)

    def predict(self, x: Sequence[Tensor], batch_data_samples: SampleList, rescale: bool = False) -> list[InstanceData]:
        """``masks`` (n, h, w) bool of each image, of the size of the original one if ``rescale``.

        Besides, ``scores`` (n,) falling, ``labels`` (n,) and ``bboxes`` (n, 4), which are zeros.
        """
        outs = self(x)
        scores = [local_peaks(float32_if_half(cls)[0].sigmoid()).flatten(2).transpose(1, 2) for cls in outs.cls]
        scores = torch.cat(scores, 1)
        results = []
        upsample = partial(F.interpolate, scale_factor=float(self.mask_stride), mode='bilinear')
        for i, sample in enumerate(batch_data_samples):
            kept, cells = self.select(outs, i, scores[i])
            soft = self.soft_masks(outs, i, cells)
            shape = tuple(sample.img_shape[:2])
            out_shape = tuple(sample.ori_shape[:2]) if rescale else shape
            kept.masks = masks_in_image(soft, upsample, shape, out_shape, self.test_cfg.mask_thr)
            kept.bboxes = soft.new_zeros(len(cells), 4)
            results.append(kept)
        return results

    def soft_masks(self, outs: GridOutputs, image: int, cells: Tensor) -> Tensor:
        """Masks (n, h, w) in [0, 1] of ``cells`` (n,) of all levels."""
        level = self.levels_of(cells)
        start = 0
        masks = []
        rows = []
        for i, grid in enumerate(self.num_grids):
            rows.append((level == i).nonzero().squeeze(1))
            masks.append(float32_if_half(self.probabilities(outs, i, image, cells[rows[-1]] - start))[0])
            start += grid * grid
        # level by level -> in the order of `cells`
        return torch.cat(masks)[torch.cat(rows).argsort()]

    def levels_of(self, cells: Tensor) -> Tensor:
        """The level of each of ``cells`` (n,)."""
        ends = torch.tensor([grid * grid for grid in self.num_grids], device=cells.device).cumsum(0)
        return torch.bucketize(cells, ends, right=True)

    def select(self, outs: GridOutputs, image: int, scores: Tensor) -> tuple[InstanceData, Tensor]:
        """The best cells by ``scores`` (N, classes) and the quality of their masks: scores and labels, and cells."""
        cfg = self.test_cfg
        cells, labels = (scores > cfg.score_thr).nonzero().T
        distinct, mask_inds = cells.unique(return_inverse=True)
        # hundreds of cells pass, a hundred are kept: until then masks are binary, and soft ones live for a moment
        parts = [self.score_masks(outs, image, chunk) for chunk in distinct.split(MASKS_AT_ONCE)]
        masks, areas, quality = (torch.cat(column) for column in zip(*parts))
        strides = torch.tensor(self.strides, device=cells.device)[self.levels_of(distinct)]
        # a mask of fewer pixels than the stride of its level is noise
        large = (areas > strides)[mask_inds].nonzero().squeeze(1)
        # maskness: the score of a class says nothing of the mask
        ranked = scores[cells, labels] * quality[mask_inds]
        # a cell's classes share its mask, which is copied for those alone that matrix suppression looks at
        best = large[ranked[large].argsort(descending=True, stable=True)]
        best = best[: cfg.nms_pre] if cfg.get('nms_pre', -1) > 0 else best
        cells, labels, mask_inds, ranked = (column[best] for column in (cells, labels, mask_inds, ranked))
        options = {name: cfg[name] for name in ('kernel', 'sigma', 'filter_thr') if name in cfg}
        options.update(mask_area=areas[mask_inds], max_num=cfg.get('max_per_img', -1))
        decayed, labels, _, inds = mask_matrix_nms(masks[mask_inds], labels, ranked, **options)
        return InstanceData(scores=decayed, labels=labels), cells[inds]

    def score_masks(self, outs: GridOutputs, image: int, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Binary masks (n, h, w) of ``cells`` (n,), their areas (n,) in pixels and the mean probability inside (n,)."""
        soft = self.soft_masks(outs, image, cells)
        masks = soft > self.test_cfg.mask_thr
        areas = masks.sum((1, 2)).float()
        return masks, areas, (soft * masks).sum((1, 2)) / areas.clamp(min=1)


def with_coordinates(x: Tensor, axes: slice = slice(0, 2)) -> Tensor:
    """Append the coordinates x and y of each pixel, from -1 to 1, to maps (B, C, H, W), or one of these ``axes``.

    A convolution cannot tell otherwise where in the image it is: CoordConv, arXiv 1807.03247.
    """
    ys, xs = (torch.linspace(-1, 1, side, device=x.device, dtype=x.dtype) for side in x.shape[-2:])
    grid = torch.stack(torch.meshgrid(xs, ys, indexing='xy'))
    return torch.cat([x, grid[axes].expand(len(x), -1, -1, -1)], 1)


def local_peaks(scores: Tensor) -> Tensor:
    """``scores`` (B, C, H, W) where they are at least those left, above and above left, 0 elsewhere: points NMS.

    The window is not symmetric: a 2x2 pooling, as in the original.
    """
    largest = F.max_pool2d(scores, 2, stride=1, padding=1)[:, :, :-1, :-1]
    return scores * (scores == largest)


def shrink_masks(masks: Tensor, stride: float) -> Tensor:
    """Masks (n, h, w) of 0 and 1 at a smaller size, with a pixel for every ``stride``: bilinear, then rounded."""
    size = tuple(max(int(side / stride + 0.5), 1) for side in masks.shape[-2:])
    return (F.interpolate(masks[:, None], size, mode='bilinear', align_corners=False)[:, 0] >= 0.5).float()
