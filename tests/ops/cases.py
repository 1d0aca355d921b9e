"""The functions of `mmdetlike_ops` with inputs to try them on: the table that `test_ops_all.py` runs over.

A new operator needs an entry; `test_every_operator_is_in_the_table` fails without.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

import mmdetlike_ops as ops


class Maker:
    """Random inputs; `large` ones give every thread a part."""

    def __init__(self, large: bool = False):
        self.rng = torch.Generator().manual_seed(0)
        self.count = 400 if large else 12
        self.size = (40, 50) if large else (9, 11)

    def normal(self, *shape):
        return torch.randn(shape, generator=self.rng)

    def uniform(self, *shape):
        return torch.rand(shape, generator=self.rng)

    def integers(self, below, *shape):
        return torch.randint(0, below, shape, generator=self.rng)

    def features(self, channels=12):
        return self.normal(2, channels, *self.size)

    def boxes(self, count=None, pixels=40.0):
        count = count or self.count
        low = self.uniform(count, 2) * pixels
        return torch.cat([low, low + 2 + self.uniform(count, 2) * pixels / 2], dim=1)

    def rotated(self):
        return torch.cat([self.uniform(self.count, 2) * 40, 4 + self.uniform(self.count, 2) * 20, self.angles()], dim=1)

    def angles(self):
        return 6 * self.uniform(self.count, 1) - 3

    def images(self):
        return self.integers(2, self.count, 1).float()

    def quadrilaterals(self):
        corners = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]]) * 14 + 3 * self.uniform(self.count, 4, 2)
        return (corners + self.uniform(self.count, 1, 2) * 30).flatten(1)

    def pointsets(self):
        return (self.uniform(self.count, 1, 2) * 30 + self.uniform(self.count, 9, 2) * 15).flatten(1)

    def scores(self):
        return self.uniform(self.count)

    def masks(self, height=9, width=11):
        return (self.uniform(self.count, height, width) > 0.5).float()


@dataclass(frozen=True)
class Case:
    """How to call a function.

    Args:
        function: Called with tensors and settings by name.
        make: From a `Maker`, the tensors by name.
        settings: The other arguments.
        grads: The tensors that receive gradients.
        empty: Ways to be empty: of each tensor named, the axis that has nothing.
        bad: Settings that must be refused with a sentence that names them.
        twice: Whether gradients have gradients.
        rounding: How many roundings a result in half precision is allowed.
        fixed: Floating tensors that are not to be narrowed.
        anywhere: Tensors that may be on another device.
    """

    function: Callable
    make: Callable[[Maker], dict[str, Tensor]]
    settings: Mapping = field(default_factory=dict)
    grads: tuple[str, ...] = ()
    empty: tuple[dict[str, int], ...] = ()
    bad: Mapping = field(default_factory=dict)
    twice: bool = False
    rounding: float = 2.0
    fixed: tuple[str, ...] = ()
    anywhere: tuple[str, ...] = ()

    def tensors(self, large: bool = False) -> dict[str, Tensor]:
        made = self.make(Maker(large))
        return {name: x.requires_grad_(name in self.grads) for name, x in made.items()}

    def run(self, tensors: Mapping) -> tuple[Tensor, ...]:
        out = self.function(**tensors, **self.settings)
        return out if isinstance(out, tuple) else (out,)


def regions(m: Maker) -> dict[str, Tensor]:
    return {'x': m.features(), 'rois': torch.cat([m.images(), m.boxes()], dim=1)}


POOL = {'output_size': (3, 2), 'spatial_scale': 0.25}
POOL_BAD = {'output_size': (0, 2)}
NO_REGION = ({'rois': 0}, {'x': 0, 'rois': 0}, {'x': 1})
SCORED = {'boxes': 0, 'scores': 0}


def rotated_regions(m: Maker) -> dict[str, Tensor]:
    return {'x': m.features(), 'rois': torch.cat([m.images(), m.rotated()], dim=1)}


def deformed_regions(m: Maker) -> dict[str, Tensor]:
    return {**regions(m), 'offset': m.normal(m.count, 2, 3, 2)}


def boxes_of_pixels(m: Maker) -> dict[str, Tensor]:
    features = m.features()
    n, _, h, w = features.shape
    place = m.uniform(n, h, w, 2) * 40
    return {'features': features, 'best_rbboxes': torch.cat([place, 9 * m.uniform(n, h, w, 3)], dim=-1)}


def borders(m: Maker) -> dict[str, Tensor]:
    return {'input': m.features(), 'boxes': m.boxes(2 * m.count, 10.0).view(2, -1, 4)}


def deformable(m: Maker, modulated: bool) -> dict[str, Tensor]:
    x = m.features(8)
    (n, _, h, w), weight = x.shape, m.normal(6, 4, 3, 2) / 5
    named = {'x': x, 'offset': m.normal(n, 2 * 2 * 6, h, w - 1)}
    if modulated:
        return {**named, 'mask': m.uniform(n, 2 * 6, h, w - 1), 'weight': weight, 'bias': m.normal(6)}
    return {**named, 'weight': weight}


DEFORMABLE = {'padding': (1, 0), 'groups': 2, 'deform_groups': 2}
DEFORMABLE_BAD = {'stride': 0, 'padding': -1, 'dilation': 0, 'groups': 5, 'deform_groups': 0}


def attention(m: Maker) -> dict[str, Tensor]:
    h, w = m.size
    shapes = torch.tensor([[h, w], [4, 5]])
    heads = (3, 2, 4)  # heads, levels, points
    return {
        'value': m.normal(2, h * w + 20, 3, 8),
        'spatial_shapes': shapes,
        'level_start_index': torch.tensor([0, h * w]),
        'sampling_locations': m.uniform(2, m.count, *heads, 2) * 1.2 - 0.1,
        'attention_weights': m.uniform(2, m.count, *heads),
    }


def reassembly(m: Maker) -> dict[str, Tensor]:
    features = m.features(8)
    n, _, h, w = features.shape
    return {'features': features, 'masks': m.uniform(n, 2 * 9, 2 * h, 2 * w)}


REASSEMBLY = {'kernel_size': 3, 'group_size': 2, 'scale_factor': 2}
REASSEMBLY_BAD = {'kernel_size': 2, 'group_size': 0, 'scale_factor': 0}
REASSEMBLY_EMPTY = ({'features': 0, 'masks': 0}, {'features': 2, 'masks': 2})


def scored_boxes(m: Maker) -> dict[str, Tensor]:
    return {'boxes': m.boxes(), 'scores': m.scores()}


def scored_masks(m: Maker) -> dict[str, Tensor]:
    return {'masks': m.masks(), 'labels': m.integers(2, m.count), 'scores': m.scores()}


def focal(m: Maker) -> dict[str, Tensor]:
    return {'input': 3 * m.normal(8 * m.count, 7), 'target': m.integers(9, 8 * m.count)}


def binary_targets(m: Maker) -> dict[str, Tensor]:
    return {'input': 3 * m.normal(8 * m.count, 7), 'target': m.integers(2, 8 * m.count, 7).float()}


def rotations(m: Maker) -> dict[str, Tensor]:
    indices = torch.stack([torch.randperm(36, generator=m.rng) + 1 for _ in range(8)], dim=-1)
    return {'input': m.normal(3, 2, 4, 3, 3), 'indices': indices.view(4, 3, 3, 8)}


def masked(m: Maker) -> dict[str, Tensor]:
    features = m.features(8)
    mask = m.uniform(2, *features.shape[2:]) > 0.5
    return {'features': features, 'mask': mask, 'weight': m.normal(6, 4, 3, 3) / 6, 'bias': m.normal(6)}


PAIR = ({'a': 0}, {'b': 0}, {'a': 0, 'b': 0})

CASES = {
    'roi_align': Case(
        ops.roi_align, regions, POOL, ('x',), NO_REGION, {**POOL_BAD, 'pool_mode': 'median', 'sampling_ratio': 5000}
    ),
    'roi_align max': Case(ops.roi_align, regions, {**POOL, 'pool_mode': 'max', 'sampling_ratio': 2}, ('x',), NO_REGION),
    'roi_align_rotated': Case(
        ops.roi_align_rotated, rotated_regions, POOL, ('x',), NO_REGION, {**POOL_BAD, 'sampling_ratio': 5000}
    ),
    'roi_pool': Case(ops.roi_pool, regions, POOL, ('x',), NO_REGION, POOL_BAD),
    'prroi_pool': Case(ops.prroi_pool, regions, POOL, ('x', 'rois'), NO_REGION, POOL_BAD, rounding=8),
    'deform_roi_pool': Case(
        ops.deform_roi_pool, deformed_regions, POOL, ('x', 'offset'), ({'rois': 0, 'offset': 0}, {'x': 1}),
        {**POOL_BAD, 'sampling_ratio': 5000}, rounding=8,
    ),
    'rotated_feature_align': Case(
        ops.rotated_feature_align, boxes_of_pixels, {'points': 5}, ('features',),
        ({'features': 0, 'best_rbboxes': 0}, {'features': 1}), {'points': 3},
    ),
    'border_align': Case(
        ops.border_align, borders, {'pool_size': 4}, ('input',), ({'boxes': 1}, {'input': 0, 'boxes': 0}),
        {'pool_size': 0},
    ),
    'deform_conv2d': Case(
        ops.deform_conv2d, lambda m: deformable(m, False), DEFORMABLE, ('x', 'offset', 'weight'),
        ({'x': 0, 'offset': 0},), {**DEFORMABLE_BAD, 'bias': True, 'im2col_step': 0}, rounding=16,
    ),
    'modulated_deform_conv2d': Case(
        ops.modulated_deform_conv2d, lambda m: deformable(m, True), DEFORMABLE,
        ('x', 'offset', 'mask', 'weight', 'bias'), ({'x': 0, 'offset': 0, 'mask': 0},), DEFORMABLE_BAD, rounding=16,
    ),
    'masked_conv2d': Case(
        ops.masked_conv2d, masked, {'padding': 1, 'groups': 2}, ('features', 'weight', 'bias'),
        ({'features': 0, 'mask': 0},), {'stride': 0, 'padding': -1, 'dilation': 0, 'groups': 5}, True, rounding=16,
    ),
    'ms_deform_attn': Case(
        ops.ms_deform_attn, attention, {}, ('value', 'sampling_locations', 'attention_weights'),
        ({'value': 0, 'sampling_locations': 0, 'attention_weights': 0},
         {'sampling_locations': 1, 'attention_weights': 1}), rounding=8,
        anywhere=('spatial_shapes', 'level_start_index'),
    ),
    'carafe': Case(
        ops.carafe, reassembly, REASSEMBLY, ('features', 'masks'), REASSEMBLY_EMPTY, REASSEMBLY_BAD, rounding=8
    ),
    'carafe_naive': Case(
        ops.carafe_naive, reassembly, REASSEMBLY, ('features', 'masks'), REASSEMBLY_EMPTY[:1], REASSEMBLY_BAD, True,
        rounding=16,
    ),
    'psa_mask': Case(
        ops.psa_mask, lambda m: {'input': m.features(15)}, {'psa_type': 'collect', 'mask_size': (3, 5)}, ('input',),
        ({'input': 0},), {'psa_type': 'gather', 'mask_size': (0, 5)},
    ),
    'CornerPool': Case(ops.CornerPool('top'), lambda m: {'x': m.features()}, {}, ('x',), ({'x': 0}, {'x': 1})),
    'sigmoid_focal_loss': Case(
        ops.sigmoid_focal_loss, focal, {'reduction': 'none'}, ('input',), ({'input': 0, 'target': 0}, {'input': 1}),
        {'gamma': -1.0, 'reduction': 'median'}, rounding=8,
    ),
    'sigmoid_focal_loss_star': Case(
        ops.sigmoid_focal_loss_star, binary_targets, {'gamma': 2.0}, ('input',), ({'input': 0, 'target': 0},),
        {'gamma': 0.0, 'reduction': 'median'}, True, rounding=8,
    ),
    'softmax_focal_loss': Case(
        ops.softmax_focal_loss, focal, {'reduction': 'none'}, ('input',), ({'input': 0, 'target': 0},),
        {'gamma': -1.0, 'reduction': 'median'}, True, rounding=8,
    ),
    'nms': Case(
        ops.nms, scored_boxes, {'iou_threshold': 0.4}, ('boxes', 'scores'), (SCORED,),
        {'iou_threshold': 2.0, 'offset': 2}, True,
    ),
    'batched_nms': Case(
        ops.batched_nms, lambda m: {**scored_boxes(m), 'idxs': m.integers(m.count // 4, m.count)},
        {'nms_cfg': {'type': 'nms', 'iou_threshold': 0.4}}, ('boxes', 'scores'), ({**SCORED, 'idxs': 0},),
        {'nms_cfg': {'type': 'fast_nms'}}, True,
    ),
    'soft_nms': Case(
        ops.soft_nms, scored_boxes, {'method': 'gaussian'}, ('boxes',), (SCORED,),
        {'iou_threshold': 2.0, 'sigma': 0.0, 'method': 'hard', 'offset': 2}, True, rounding=4,
    ),
    'nms_rotated': Case(
        ops.nms_rotated,
        lambda m: {'boxes': m.rotated(), 'scores': m.scores(), 'labels': m.integers(m.count // 4, m.count)},
        {'iou_threshold': 0.4}, ('boxes', 'scores'), ({**SCORED, 'labels': 0},), {'iou_threshold': -1.0}, True,
    ),
    'nms_quadri': Case(
        ops.nms_quadri, lambda m: {'boxes': m.quadrilaterals(), 'scores': m.scores()}, {'iou_threshold': 0.4},
        ('boxes', 'scores'), (SCORED,), {'iou_threshold': -1.0}, True,
    ),
    'mask_matrix_nms': Case(
        ops.mask_matrix_nms, scored_masks, {'max_num': 9}, ('scores',), ({'masks': 0, 'labels': 0, 'scores': 0},),
        {'kernel': 'cubic'}, True, rounding=8, fixed=('masks',),
    ),
    'bbox_overlaps': Case(
        ops.bbox_overlaps, lambda m: {'a': m.boxes(), 'b': m.boxes(m.count // 2)}, {}, (), PAIR,
        {'mode': 'diou', 'offset': 2},
    ),
    'box_iou_rotated': Case(
        ops.box_iou_rotated, lambda m: {'a': m.rotated(), 'b': m.rotated()[::2]}, {}, (), PAIR, {'mode': 'giou'}
    ),
    'box_iou_quadri': Case(
        ops.box_iou_quadri, lambda m: {'a': m.quadrilaterals(), 'b': m.quadrilaterals()}, {}, (), PAIR,
        {'mode': 'giou'},
    ),
    'mask_iou': Case(
        ops.mask_iou, lambda m: {'a': m.masks(), 'b': m.masks()[:5]}, {}, (), PAIR, {'mode': 'giou'}, fixed=('a', 'b')
    ),
    'convex_iou': Case(
        ops.convex_iou, lambda m: {'pointsets': m.pointsets(), 'polygons': m.quadrilaterals()}, {}, (),
        ({'pointsets': 0}, {'polygons': 0}),
    ),
    'convex_giou': Case(
        ops.convex_giou, lambda m: {'pointsets': m.pointsets(), 'polygons': m.quadrilaterals()}, {}, ('pointsets',),
        ({'pointsets': 0, 'polygons': 0},), rounding=8,
    ),
    'min_area_polygons': Case(
        ops.min_area_polygons, lambda m: {'pointsets': m.pointsets()}, {}, (), ({'pointsets': 0},)
    ),
    'points_in_polygons': Case(
        ops.points_in_polygons, lambda m: {'points': m.uniform(m.count, 2) * 40, 'polygons': m.quadrilaterals()}, {},
        (), ({'points': 0}, {'polygons': 0}),
    ),
    'paste_masks': Case(
        ops.paste_masks, lambda m: {'masks': m.uniform(m.count, 7, 7), 'boxes': m.boxes()},
        {'img_h': 50, 'img_w': 60}, (), ({'masks': 0, 'boxes': 0},), {'img_h': -1, 'img_w': -1},
    ),
    'heatmap_peaks': Case(
        ops.heatmap_peaks,
        lambda m: {'maps': m.normal(m.count, 3, 7, 6), 'sizes': 1 + m.integers(30, m.count, 2)}, {}, (),
        ({'maps': 0, 'sizes': 0}, {'maps': 1}), fixed=('maps',),  # rounding settles which of two near pixels is best
    ),
    'active_rotated_filter': Case(
        ops.active_rotated_filter, rotations, {}, ('input',), ({'input': 0}, {'input': 1}), {}, True
    ),
    'SimpleRoIAlign': Case(
        ops.SimpleRoIAlign((3, 2), 0.25), lambda m: {'features': m.features(), 'rois': regions(m)['rois']}, {},
        ('features',), ({'rois': 0}, {'features': 0, 'rois': 0}), {}, True, rounding=8,
    ),
    'point_sample': Case(
        ops.point_sample, lambda m: {'input': m.features(), 'points': m.uniform(2, m.count, 2)}, {},
        ('input', 'points'), ({'points': 1}, {'input': 0, 'points': 0}), {'mode': 'area', 'padding_mode': 'wrap'}, True,
        rounding=8,
    ),
    'rel_roi_point_to_abs_img_point': Case(
        ops.rel_roi_point_to_abs_img_point, lambda m: {'rois': m.boxes(), 'rel_roi_points': m.uniform(m.count, 5, 2)},
        {}, ('rois', 'rel_roi_points'), ({'rois': 0, 'rel_roi_points': 0}, {'rel_roi_points': 1}), {}, True, rounding=8,
    ),
    'rel_roi_point_to_rel_img_point': Case(
        ops.rel_roi_point_to_rel_img_point, lambda m: {'rois': m.boxes(), 'rel_roi_points': m.uniform(m.count, 5, 2)},
        {'img': (40, 50), 'spatial_scale': 0.5}, ('rois', 'rel_roi_points'),
        ({'rois': 0, 'rel_roi_points': 0}, {'rel_roi_points': 1}), {'img': (40,)}, True, rounding=8,
    ),
    'abs_img_point_to_rel_img_point': Case(
        ops.abs_img_point_to_rel_img_point, lambda m: {'abs_img_points': m.uniform(m.count, 5, 2) * 40},
        {'img': (40, 50)}, ('abs_img_points',), ({'abs_img_points': 0}, {'abs_img_points': 1}), {'img': (40,)}, True,
        rounding=8,
    ),
    'rotated_boxes_from_detectron2': Case(
        ops.rotated_boxes_from_detectron2, lambda m: {'boxes': m.rotated()}, {}, ('boxes',), ({'boxes': 0},), {}, True
    ),
    'rotated_boxes_to_detectron2': Case(
        ops.rotated_boxes_to_detectron2, lambda m: {'boxes': m.rotated()}, {}, ('boxes',), ({'boxes': 0},), {}, True
    ),
}  # fmt: skip
