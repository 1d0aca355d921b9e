"""CentripetalNet: Pursuing High-quality Keypoint Pairs for Object Detection, arXiv 2003.09119."""

import torch
from mmengine.model import normal_init
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import geometry
from mmdetlike_ops import DeformConv2d

from .base import Peaks
from .corner_head import DEFAULT_LOSS_EMBEDDING, DEFAULT_LOSS_HEATMAP, DEFAULT_LOSS_OFFSET, SIDES, CornerHead, Pairs

DEFAULT_LOSS_GUIDING = dict(type='SmoothL1Loss', beta=1.0, loss_weight=0.05)
DEFAULT_LOSS_CENTRIPETAL = dict(type='SmoothL1Loss', beta=1.0, loss_weight=1)
LARGE_AREA = 3500  # pixels from which a box counts as large
LARGE_REGION = 1 / 2.1  # side of the region that centers of a large box must fall into, as a part of the box
SMALL_REGION = 1 / 2.4
MIN_SHIFT = 1e-4  # cells: boxes without extent have a logarithm, too


@MODELS.register_module()
class CentripetalHead(CornerHead):
    """Corners that point at the center of their object, and are paired where they point at the same pixel.

    A first guess at the center, the guiding shift, tells a deformable convolution where to look for the second, the
    centripetal shift, which is the logarithm of the distance.

    Args:
        num_classes, in_channels, num_feat_levels, corner_emb_channels, train_cfg, init_cfg: As of ``CornerHead``.
        test_cfg: As of ``CornerHead``; ``distance_threshold`` is of the rectangle between both centers, as a part of
            the region that they must fall into.
        loss_heatmap, loss_embedding, loss_offset: As of ``CornerHead``.
        loss_guiding_shift, loss_centripetal_shift: Losses of both shifts.
    """

    corner_terms = dict(
        CornerHead.corner_terms,
        guiding_shift=('guiding_loss', 'loss_guiding_shift'),
        centripetal_shift=('centripetal_loss', 'loss_centripetal_shift'),
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_feat_levels: int = 2,
        corner_emb_channels: int = 0,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        loss_heatmap: dict = DEFAULT_LOSS_HEATMAP,
        loss_embedding: dict | None = DEFAULT_LOSS_EMBEDDING,
        loss_offset: dict = DEFAULT_LOSS_OFFSET,
        loss_guiding_shift: dict = DEFAULT_LOSS_GUIDING,
        loss_centripetal_shift: dict = DEFAULT_LOSS_CENTRIPETAL,
        init_cfg: dict | None = None,
    ) -> None:
        cfgs = dict(train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init_cfg)
        losses = dict(loss_heatmap=loss_heatmap, loss_embedding=loss_embedding, loss_offset=loss_offset)
        super().__init__(num_classes, in_channels, num_feat_levels, corner_emb_channels, **cfgs, **losses)
        self.loss_guiding_shift = MODELS.build(loss_guiding_shift)
        self.loss_centripetal_shift = MODELS.build(loss_centripetal_shift)
        self.add_branches('guiding_shift', 2)
        self.add_branches('centripetal_shift', 2)
        levels = range(num_feat_levels)
        for side in SIDES:
            adaptions = (DeformConv2d(in_channels, in_channels, 3, padding=1, bias=False) for _ in levels)
            offsets = (ConvModule(2, 2 * 3 * 3, 1, bias=False, act_cfg=None) for _ in levels)
            self.add_module(f'{side}_feat_adaption', nn.ModuleList(adaptions))
            self.add_module(f'{side}_dcn_offset', nn.ModuleList(offsets))

    def init_level(self, side: str, level: int) -> None:
        super().init_level(side, level)
        for name in ('guiding_shift', 'centripetal_shift'):
            self.branch(side, name, level)[-1].conv.reset_parameters()
        normal_init(self.branch(side, 'dcn_offset', level).conv, std=0.1)
        normal_init(self.branch(side, 'feat_adaption', level), std=0.01)

    def pairing_maps(self, pooled: Tensor, side: str, level: int) -> dict[str, Tensor]:
        """``guiding_shift`` and ``centripetal_shift`` (B, 2, h, w), beside the embedding if there is one."""
        guiding = self.branch(side, 'guiding_shift', level)(pooled)
        # the guess is learned from its own loss alone
        offsets = self.branch(side, 'dcn_offset', level)(guiding.detach())
        adapted = self.branch(side, 'feat_adaption', level)(pooled, offsets)
        centripetal = self.branch(side, 'centripetal_shift', level)(adapted)
        maps = super().pairing_maps(pooled, side, level)
        return dict(maps, guiding_shift=guiding, centripetal_shift=centripetal)

    def corner_values(self, corner: Tensor, cell: Tensor, center: Tensor) -> dict[str, Tensor]:
        values = super().corner_values(corner, cell, center)
        # both sides point inwards with a positive number
        values['guiding_shift'] = (center - cell) * (center - corner).sign()
        values['centripetal_shift'] = (center - corner).abs().clamp(min=MIN_SHIFT).log()
        return values

    def score_pairs(self, pairs: Pairs, top_left: Peaks, bottom_right: Peaks, scales: Tensor) -> None:
        """Both centers must lie in the middle of the box; the nearer they are to each other, the higher the score."""
        super().score_pairs(pairs, top_left, bottom_right, scales)
        first = (top_left.points + top_left.values['centripetal_shift'].exp())[:, :, None]
        second = (bottom_right.points - bottom_right.values['centripetal_shift'].exp())[:, None]
        region = central_regions(pairs.boxes, geometry.areas(pairs.boxes * scales[:, None, None]))
        inside = in_regions(first, region) & in_regions(second, region)
        distance = (first - second).abs().prod(-1) / geometry.areas(region).clamp(min=1e-6)
        pairs.valid &= inside & (distance <= self.test_cfg.get('distance_threshold', 0.5))
        pairs.scores = pairs.scores * torch.exp(-distance)


def central_regions(boxes: Tensor, areas: Tensor) -> Tensor:
    """The middle (..., 4) of boxes (..., 4) xyxy, of which ``areas`` (...) in pixels tells how much that is."""
    part = torch.where(areas > LARGE_AREA, LARGE_REGION, SMALL_REGION)[..., None]
    center = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = (boxes[..., 2:] - boxes[..., :2]) / 2 * part
    return torch.cat([center - half, center + half], -1)


def in_regions(points: Tensor, regions: Tensor) -> Tensor:
    """Whether points (..., 2) lie in regions (..., 4) xyxy."""
    return ((points > regions[..., :2]) & (points < regions[..., 2:])).all(-1)
