"""SOLOHead and its relatives: targets on paper, masks of cells, losses."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.models.heads.mask_grid import base as mask_grid_head
from mmdetlike.models.heads.mask_grid.base import GridOutputs, local_peaks, shrink_masks, with_coordinates
from mmdetlike.models.heads.mask_grid.solo_head import SOLOV2MaskFeatures
from mmdetlike.registry import MODELS
from mmdetlike_ops import mask_matrix_nms
from tests.models.tiny_masks import GRID_TEST, grid_head, masked_sample, prepared


def head(kind='solo', **kwargs):
    torch.manual_seed(0)
    return MODELS.build(dict(grid_head(kind, **kwargs), test_cfg=GRID_TEST))


def maps(batch=2):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, 8, side, side, generator=generator) for side in (16, 8, 4, 2)]


def test_targets_on_paper():
    # 20 x 20 pixels with their centre of mass at (31.5, 11.5): of size 20, for the ranges (1, 24) and (12, 48)
    sample = masked_sample([[22, 2, 42, 22]])
    sample.gt_instances.labels[:] = 2
    targets = head().targets(sample, (64, 64))
    # cells of 6.4 pixels: two pixels around the centre lie in columns 4 and 5, rows 1 and 2; then cells of 8 pixels
    assert targets[0].labels.view(10, 10).eq(2).nonzero().tolist() == [[1, 4], [1, 5], [2, 4], [2, 5]]
    assert targets[0].cells.tolist() == [14, 15, 24, 25] and targets[0].objects.tolist() == [0] * 4
    assert int((targets[0].labels == 3).sum()) == 96
    assert targets[1].labels.view(8, 8).eq(2).nonzero().tolist() == [[1, 3], [1, 4]]
    assert [len(level.cells) for level in targets[2:]] == [0, 0]


def _reach(center, half, grid):
    cells = [int(value / 64 * grid) for value in (center - half, center, center + half)]
    return range(max(cells[0], cells[1] - 1), min(cells[2], cells[1] + 1) + 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(0.05, 1.5))
def test_targets_against_a_loop(seed, count, pos_scale):
    model, sample = head(pos_scale=pos_scale), masked_sample(count, index=seed)
    model.one_object_a_cell = False
    boxes, masks = sample.gt_instances.bboxes, sample.gt_instances.masks.to_ndarray()
    for level, targets in enumerate(model.targets(sample, (64, 64))):
        grid, (low, high) = model.num_grids[level], model.scale_ranges[level]
        labels, pairs = torch.full((grid, grid), 3), []
        for i, (box, mask) in enumerate(zip(boxes.tolist(), masks)):
            width, height = box[2] - box[0], box[3] - box[1]
            if not low <= (width * height) ** 0.5 <= high:
                continue
            ys, xs = np.nonzero(mask)
            rows, columns = (_reach(c.mean(), side * pos_scale / 2, grid) for c, side in ((ys, height), (xs, width)))
            for row in rows:
                for column in columns:
                    if 0 <= row < grid and 0 <= column < grid:
                        labels[row, column] = sample.gt_instances.labels[i]
                        pairs.append((i, row * grid + column))
        assert torch.equal(targets.labels.view(grid, grid), labels)
        assert list(zip(targets.objects.tolist(), targets.cells.tolist())) == pairs


def test_the_last_object_of_a_cell_counts():
    covers = torch.tensor([[True, True, False], [False, True, False]])
    labels = torch.tensor([1, 0])
    single = head().level_targets(covers, labels)
    assert single.labels.tolist() == [1, 0, 3] and single.cells.tolist() == [0, 1] and single.objects.tolist() == [0, 1]
    every = head('solov2').level_targets(covers, labels)
    assert every.cells.tolist() == [0, 1, 1] and every.objects.tolist() == [0, 0, 1]


def test_masks_shrink_as_opencv_shrinks_them():
    generator = np.random.default_rng(0)
    masks = (cv2.GaussianBlur(generator.random((48, 64)), (0, 0), 4) > 0.5).astype(np.uint8)
    for stride in (4, 8):
        expected = cv2.resize(masks, (64 // stride, 48 // stride), interpolation=cv2.INTER_LINEAR)
        ours = shrink_masks(torch.from_numpy(masks)[None].float(), stride)[0]
        assert expected.sum() > 0 and torch.equal(ours, torch.from_numpy(expected).float())
    assert shrink_masks(torch.ones(1, 3, 3), 16).shape == (1, 1, 1)


def test_coordinates_and_peaks():
    located = with_coordinates(torch.zeros(1, 1, 3, 5))
    assert located[0, 1, 0].tolist() == [-1, -0.5, 0, 0.5, 1] and located[0, 2, :, 0].tolist() == [-1, 0, 1]
    scores = torch.tensor([[[[0.5, 0.4], [0.6, 0.6]]]])
    # each is compared with those left, above and above left
    assert local_peaks(scores)[0, 0].tolist() == [[0.5, 0.0], pytest.approx([0.6, 0.6])]


def test_a_decoupled_mask_is_the_product_of_a_column_and_a_row():
    model = head('decoupled')
    columns, rows = ([torch.randn(1, g, 8, 8) for g in model.num_grids] for _ in range(2))
    outs = GridOutputs([], (columns, rows))
    got = model.training_masks(outs, 1, 0, torch.tensor([8 * 3 + 5]))[0]  # row 3, column 5 of 8
    torch.testing.assert_close(got, columns[1][0, 5].sigmoid() * rows[1][0, 3].sigmoid())


@pytest.mark.parametrize('size', [1, 3])
def test_a_dynamic_mask_is_a_convolution(size):
    features = dict(feat_channels=8, start_level=0, end_level=2, out_channels=4)
    model = head('solov2', mask_feature_head=features, dynamic_conv_size=size)
    assert model.kernel_out_channels == 4 * size**2
    outs = model(maps())
    cells = torch.tensor([7, 0])
    kernels = outs.masks[0][2][1].flatten(1).T[cells].view(2, 4, size, size)
    expected = F.conv2d(outs.masks[1][1][None], kernels, padding=size // 2)[0]
    torch.testing.assert_close(model.training_masks(outs, 2, 1, cells), expected)
    assert model.training_masks(outs, 2, 1, cells[:0]).shape == (0, 16, 16)


@pytest.mark.parametrize('kind', ['solo', 'decoupled', 'solov2'])
def test_losses_are_sums_over_cells(kind):
    model, samples = head(kind), prepared([masked_sample(2, index=i) for i in range(2)])
    terms = model.loss(maps(), samples)
    outs, dice, count = model(maps()), [], 0
    for image, sample in enumerate(samples):
        masks = torch.from_numpy(sample.gt_instances.masks.to_ndarray()).float()
        for level, targets in enumerate(model.targets(sample, (64, 64))):
            count += int((targets.labels < 3).sum())
            for cell, number in zip(targets.cells.tolist(), targets.objects.tolist()):
                pred = model.training_masks(outs, level, image, torch.tensor([cell]))
                pred = pred if kind == 'decoupled' else pred.sigmoid()
                gt = F.interpolate(masks[None, number : number + 1], pred.shape[-2:], mode='bilinear')[0] >= 0.5
                overlap, sizes = (pred * gt).sum(), pred.square().sum() + gt.sum()
                dice.append(3 * (1 - 2 * overlap / (sizes + 2e-3)))
    assert count > 5
    torch.testing.assert_close(terms['loss_mask'], torch.stack(dice).sum() / count, rtol=1e-4, atol=1e-5)


def test_scores_are_weighed_by_the_quality_of_masks():
    model = head()
    logits = [torch.full((1, g * g, 16, 16), -9.0) for g in model.num_grids]
    logits[0][0, 7, :8] = 2.0
    logits[1][0, 3, 8:, 8:] = 9.0
    logits[2][0, 0, 0, :16] = 9.0  # 16 pixels are not more than the stride, so this one is dropped
    cls = [torch.full((1, 3, g, g), -9.0) for g in model.num_grids]
    cls[0][0, 1, 0, 7], cls[1][0, 2, 0, 3], cls[2][0, 0, 0, 0] = 3.0, 1.0, 5.0
    scores = torch.cat([c.sigmoid().flatten(2).transpose(1, 2) for c in cls], 1)[0]
    kept, cells = model.select(GridOutputs(cls, (logits,)), 0, scores)
    assert cells.tolist() == [7, 103] and kept.labels.tolist() == [1, 2]
    expected = torch.tensor([3.0, 1.0]).sigmoid() * torch.tensor([2.0, 9.0]).sigmoid()
    torch.testing.assert_close(kept.scores, expected)


def test_masks_of_the_best_candidates_alone_are_compared(monkeypatch):
    model = head('solov2')
    compared = []

    def counted(masks, *args, **kwargs):
        compared.append(len(masks))
        return mask_matrix_nms(masks, *args, **kwargs)

    monkeypatch.setattr(mask_grid_head, 'mask_matrix_nms', counted)
    outs = model(maps())
    scores = torch.rand(sum(g * g for g in model.num_grids), 3, generator=torch.Generator().manual_seed(0))
    model.test_cfg.score_thr, model.test_cfg.mask_thr = 0.0, 0.3  # every cell and class is a candidate
    best, cells = model.select(outs, 0, scores)
    model.test_cfg.nms_pre, model.test_cfg.max_per_img = -1, -1
    every, _ = model.select(outs, 0, scores)
    assert compared[0] == 50 and compared[1] > 200
    # those that are kept are ranked the same, whoever else took part with less
    assert len(cells) == 30 and best.scores[0] == every.scores[0] and best.labels[0] == every.labels[0]


def test_deformable_layers():
    dcn = dict(type='DCNv2')
    light = head('light', dcn_cfg=dcn)
    assert [hasattr(layer.conv, 'conv_offset') for layer in light.mask_convs] == [False, True]
    every = head('solov2', dcn_cfg=dcn)
    assert all(hasattr(layer.conv, 'conv_offset') for layer in [*every.cls_convs, *every.kernel_convs])
    last = head('solov2', dcn_cfg=dcn, dcn_apply_to_all_conv=False)
    assert [hasattr(layer.conv, 'conv_offset') for layer in last.kernel_convs] == [False, True]


def test_classes_are_brought_to_the_grid_before_a_chosen_layer():
    early, late = head(cls_down_index=0), head(cls_down_index=1)
    assert [tuple(c.shape[-2:]) for c in late(maps()).cls] == [(10, 10), (8, 8), (6, 6), (4, 4)]
    assert not torch.equal(early(maps()).cls[0], late(maps()).cls[0])


def test_bad_settings():
    with pytest.raises(ValueError, match='4 strides, 4 scale_ranges and 3 num_grids'):
        head(num_grids=[1, 2, 3])
    with pytest.raises(ValueError, match='num_classes must be at least 1, got 0'):
        head(num_classes=0)
    with pytest.raises(ValueError, match='start_level must be'):
        head('solov2', mask_feature_head=dict(feat_channels=8, start_level=2, end_level=1, out_channels=8))


def test_mask_features_may_be_of_another_registered_type():
    @MODELS.register_module(name='ZeroMaskFeatures', force=True)
    class ZeroMaskFeatures(SOLOV2MaskFeatures):
        def forward(self, x):
            return super().forward(x) * 0

    features = dict(feat_channels=8, start_level=0, end_level=2, out_channels=8)
    model = head('solov2', mask_feature_head=dict(features, type='ZeroMaskFeatures'))
    assert type(model.mask_feature_head) is ZeroMaskFeatures
    assert float(model(maps()).masks[1].abs().sum()) == 0
