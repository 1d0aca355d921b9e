"""CornerNet: Detecting Objects as Paired Keypoints, arXiv 1808.01244."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from mmengine.model import BaseModule, bias_init_with_prob
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList
from mmdetlike.structures.bbox import geometry
from mmdetlike_ops import CornerPool

from ..common import BATCH_NORM
from .base import HeatmapHead, KeypointTargets, Peaks, bell_radius, clamp_cell, pixels_per_cell

DEFAULT_LOSS_HEATMAP = dict(type='GaussianFocalLoss', alpha=2.0, gamma=4.0, loss_weight=1)
DEFAULT_LOSS_EMBEDDING = dict(type='AssociativeEmbeddingLoss', pull_weight=0.25, push_weight=0.25)
DEFAULT_LOSS_OFFSET = dict(type='SmoothL1Loss', beta=1.0, loss_weight=1)
SIDES = ('tl', 'br')  # top left and bottom right, as the parameters are named
POOL_DIRECTIONS = dict(tl=('top', 'left'), br=('bottom', 'right'))
POOL_CHANNELS = 128
# a map of a side, or a level's maps of both
SideMaps = dict[str, Tensor]
LevelMaps = dict[str, SideMaps]
Corner = tuple[int, int]  # row and column


@dataclass
class BatchTargets:
    """Targets of both sides and, of each image, the cells of each object's two corners."""

    sides: dict[str, KeypointTargets]
    corners: list[list[tuple[Corner, Corner]]] = field(default_factory=list)


@dataclass
class Pairs:
    """Every top left corner with every bottom right one: k x k boxes of each image.

    Attributes:
        boxes: (B, k, k, 4) xyxy in cells.
        scores, labels: (B, k, k), the mean of the corners' scores, and the label of the top left one.
        valid: (B, k, k) whether the corners are of one class and make a box.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    valid: Tensor


class BiCornerPool(BaseModule):
    """Bring to a corner what lies along the two edges that meet in it, beside what lies at it.

    Maps keep their channels; ``directions`` are modes of the two corner poolings.
    """

    def __init__(self, in_channels: int, directions: tuple[str, str]) -> None:
        super().__init__()
        hidden = dict(kernel_size=3, padding=1, norm_cfg=BATCH_NORM)
        self.direction1_conv = ConvModule(in_channels, POOL_CHANNELS, **hidden)
        self.direction2_conv = ConvModule(in_channels, POOL_CHANNELS, **hidden)
        self.aftpool_conv = ConvModule(POOL_CHANNELS, in_channels, **hidden, act_cfg=None)
        self.conv1 = ConvModule(in_channels, in_channels, 1, norm_cfg=BATCH_NORM, act_cfg=None)
        self.conv2 = ConvModule(in_channels, in_channels, **hidden)
        self.direction1_pool = CornerPool(directions[0])
        self.direction2_pool = CornerPool(directions[1])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        first = self.direction1_pool(self.direction1_conv(x))
        second = self.direction2_pool(self.direction2_conv(x))
        return self.conv2((self.aftpool_conv(first + second) + self.conv1(x)).relu())


@MODELS.register_module()
class CornerHead(HeatmapHead):
    """Heat maps of top left and bottom right corners, their positions in their cells, and embeddings that pair them.

    The last map predicts; those before it are supervised alike.

    Args:
        num_classes, train_cfg: As of ``Head``.
        in_channels: Channels of the maps.
        num_feat_levels: Maps, as many as the backbone has hourglasses; all are of one size.
        corner_emb_channels: Numbers that tell which corners belong together; 0 for none.
        test_cfg: ``corner_topk``, corners taken from an image and side; ``local_maximum_kernel``, side in cells within
            which only the best one counts; ``distance_threshold``, how far the embeddings of an object's corners may
            be apart; ``score_thr``, boxes below it are dropped; ``max_per_img``; ``nms``.
        loss_heatmap, loss_offset: Losses of the heat maps and of the positions in the cells.
        loss_embedding: Loss of the embeddings, of two terms.
        init_cfg: Must be None, anything else is a ``ValueError``: the head initializes itself.
    """

    # what is predicted at each corner, beside the heat map: name -> term of the loss, and the module that computes it
    corner_terms = dict(off=('off_loss', 'loss_offset'))

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_feat_levels: int = 2,
        corner_emb_channels: int = 1,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        loss_heatmap: dict = DEFAULT_LOSS_HEATMAP,
        loss_embedding: dict | None = DEFAULT_LOSS_EMBEDDING,
        loss_offset: dict = DEFAULT_LOSS_OFFSET,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(num_classes, train_cfg, test_cfg, init_cfg)
        if init_cfg is not None:
            raise ValueError(f'{type(self).__name__} initializes itself, so init_cfg must be None, got {init_cfg}')
        self.in_channels, self.num_feat_levels = in_channels, num_feat_levels
        self.corner_emb_channels = corner_emb_channels
        self.with_corner_emb = corner_emb_channels > 0
        self.loss_heatmap = MODELS.build(loss_heatmap)
        self.loss_offset = MODELS.build(loss_offset)
        if self.with_corner_emb:
            self.loss_embedding = MODELS.build(loss_embedding)
        for side in SIDES:
            pools = (BiCornerPool(in_channels, POOL_DIRECTIONS[side]) for _ in range(num_feat_levels))
            self.add_module(f'{side}_pool', nn.ModuleList(pools))
        self.add_branches('heat', num_classes)
        self.add_branches('off', 2)
        if self.with_corner_emb:
            self.add_branches('emb', corner_emb_channels)

    def add_branches(self, name: str, out_channels: int) -> None:
        """Append a map for each side and level, kept as ``tl_NAME`` and ``br_NAME``."""
        for side in SIDES:
            branches = (build_branch(self.in_channels, out_channels) for _ in range(self.num_feat_levels))
            self.add_module(f'{side}_{name}', nn.ModuleList(branches))

    def branch(self, side: str, name: str, level: int) -> nn.Module:
        """The layers of a side and level that ``add_branches`` or the constructor calls ``name``."""
        return getattr(self, f'{side}_{name}')[level]

    def init_weights(self) -> None:
        """Start the heat maps at a probability of 0.1; predicting convolutions keep torch's own weights."""
        super().init_weights()
        for side in SIDES:
            for level in range(self.num_feat_levels):
                self.init_level(side, level)

    def init_level(self, side: str, level: int) -> None:
        """Initialize what predicts on a side and level."""
        for name in ('heat', 'off', 'emb')[: 3 if self.with_corner_emb else 2]:
            self.branch(side, name, level)[-1].conv.reset_parameters()
        nn.init.constant_(self.branch(side, 'heat', level)[-1].conv.bias, bias_init_with_prob(0.1))

    def forward(self, x: Sequence[Tensor]) -> list[LevelMaps]:
        """Maps (B, C, h, w) -> what is predicted from each, by side and name.

        ``heat`` holds logits (B, classes, h, w), ``off`` positions in cells (B, 2, h, w). The other names are those of
        ``pairing_maps``.
        """
        return [{side: self.side_maps(m, side, level) for side in SIDES} for level, m in enumerate(x)]

    def side_maps(self, x: Tensor, side: str, level: int) -> SideMaps:
        """What is predicted on a side from a level's map ``x``."""
        pooled = self.branch(side, 'pool', level)(x)
        maps = {name: self.branch(side, name, level)(pooled) for name in ('heat', 'off')}
        maps.update(self.pairing_maps(pooled, side, level))
        return dict(zip(maps, float32_if_half(*maps.values())))

    def pairing_maps(self, pooled: Tensor, side: str, level: int) -> SideMaps:
        """What tells which corners belong together: here the embedding ``emb`` (B, c, h, w)."""
        return dict(emb=self.branch(side, 'emb', level)(pooled)) if self.with_corner_emb else {}

    def loss(self, x: Sequence[Tensor], batch_data_samples: SampleList) -> dict[str, list[Tensor]]:
        """``det_loss``, ``off_loss``, ``pull_loss`` and ``push_loss``, each of every level."""
        levels = self(x)
        # all levels are of one size
        targets = self.targets(levels[0]['tl']['heat'], batch_data_samples)
        terms = [self.level_terms(maps, targets) for maps in levels]
        return {name: [level[name] for level in terms] for name in terms[0]}

    def level_terms(self, maps: LevelMaps, targets: BatchTargets) -> dict[str, Tensor]:
        """The terms of one level: the means of both sides, and what pairs them."""
        sides = [self.side_terms(maps[side], targets.sides[side]) for side in SIDES]
        terms = {name: (sides[0][name] + sides[1][name]) / 2 for name in sides[0]}
        if self.with_corner_emb:
            pull, push = self.loss_embedding(maps['tl']['emb'], maps['br']['emb'], targets.corners)
            terms.update(pull_loss=pull, push_loss=push)
        return terms

    def side_terms(self, maps: SideMaps, targets: KeypointTargets) -> dict[str, Tensor]:
        """``det_loss`` of the heat map, and the terms of ``corner_terms``."""
        peaks = max(1, int((targets.heat == 1).sum()))
        terms = dict(det_loss=self.loss_heatmap(maps['heat'].sigmoid(), targets.heat, avg_factor=peaks))
        # corners of different classes in one cell are one cell to predict numbers at
        corners = max(1, int(targets.weight.sum()))
        for name, (term, module) in self.corner_terms.items():
            loss = getattr(self, module)
            terms[term] = loss(maps[name], targets.values[name], targets.weight, avg_factor=corners)
        return terms

    def targets(self, heat: Tensor, batch_data_samples: SampleList) -> BatchTargets:
        """What maps of the size of ``heat`` (B, classes, h, w) should predict."""
        targets = BatchTargets({side: KeypointTargets.empty(heat, self.corner_terms) for side in SIDES})
        for i, sample in enumerate(batch_data_samples):
            objects = self.objects_in_cells(heat, sample)
            targets.corners.append([self.draw_object(targets, i, box, label) for box, label in objects])
        return targets

    def draw_object(self, targets: BatchTargets, image: int, box: Tensor, label: int) -> tuple:
        """Enter an object with ``box`` (4,) xyxy in cells; return the cells of its corners."""
        radius = bell_radius(*geometry.sizes(box).ceil().tolist())
        center = geometry.centers(box)
        cells = []
        for side, corner in zip(SIDES, (box[:2], box[2:])):
            x, y = clamp_cell(corner, targets.sides[side].heat)
            values = self.corner_values(corner, corner.new_tensor([x, y]), center)
            targets.sides[side].add(image, label, (x, y), radius, values)
            cells.append((y, x))
        return tuple(cells)

    def corner_values(self, corner: Tensor, cell: Tensor, center: Tensor) -> dict[str, Tensor]:
        """The numbers (2,) of ``corner_terms`` to predict at ``cell`` for ``corner`` of a box around ``center``.

        All three are x and y in cells.
        """
        return dict(off=corner - cell)

    def predict(self, x: Sequence[Tensor], batch_data_samples: SampleList, rescale: bool = True) -> list[InstanceData]:
        """As ``DenseHead.predict``, of the last map (B, C, h, w); see ``finish`` for what samples know."""
        maps = self(x)[-1]
        heat = maps['tl']['heat']
        count = self.test_cfg.get('corner_topk', 100)
        peaks = [self.find_peaks(dict(maps[side], heat=maps[side]['heat'].sigmoid()), count) for side in SIDES]
        pairs = pair_up(*peaks)
        scales = torch.stack([pixels_per_cell(heat, sample.batch_input_shape) for sample in batch_data_samples])
        self.score_pairs(pairs, *peaks, scales)
        pairs.boxes = pairs.boxes * scales[:, None, None]
        return [self.detect_image(pairs, i, sample, rescale) for i, sample in enumerate(batch_data_samples)]

    def score_pairs(self, pairs: Pairs, top_left: Peaks, bottom_right: Peaks, scales: Tensor) -> None:
        """Mark pairs whose corners don't belong together as not ``valid``, here by their embeddings.

        ``scales`` (B, 4) are pixels for each cell.
        """
        if self.with_corner_emb:
            distance = (top_left.values['emb'][:, :, None] - bottom_right.values['emb'][:, None]).abs().mean(-1)
            pairs.valid &= distance <= self.test_cfg.get('distance_threshold', 0.5)

    def detect_image(self, pairs: Pairs, image: int, sample: DetDataSample, rescale: bool) -> InstanceData:
        kept = pairs.valid[image] & (pairs.scores[image] > self.test_cfg.get('score_thr', 0.0))
        found = InstanceData(
            bboxes=pairs.boxes[image][kept], scores=pairs.scores[image][kept], labels=pairs.labels[image][kept]
        )
        best = found.scores.sort(descending=True, stable=True).indices
        return self.finish(found[best[: self.test_cfg.get('num_dets', 1000)]], sample, rescale)


def build_branch(in_channels: int, out_channels: int) -> nn.Sequential:
    """A 3x3 convolution with ReLU, and a 1x1 convolution that predicts, as ConvModules."""
    hidden = ConvModule(in_channels, in_channels, 3, padding=1)
    return nn.Sequential(hidden, ConvModule(in_channels, out_channels, 1, act_cfg=None))


def pair_up(top_left: Peaks, bottom_right: Peaks) -> Pairs:
    """The boxes that two corners can make."""
    first = top_left.points[:, :, None]
    second = bottom_right.points[:, None]
    boxes = torch.cat(torch.broadcast_tensors(first, second), -1)
    scores = (top_left.scores[:, :, None] + bottom_right.scores[:, None]) / 2
    labels = top_left.labels[:, :, None].expand_as(scores)
    alike = labels == bottom_right.labels[:, None]
    return Pairs(boxes, scores, labels, alike & (second > first).all(-1))
