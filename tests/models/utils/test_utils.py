"""Functions that several heads share: heat maps, sizes, points of masks, panoptic ground truth."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.models.utils import (
    gaussian_radius,
    gen_gaussian_target,
    get_local_maximum,
    get_topk_from_heatmap,
    get_uncertain_point_coords_with_randomness,
    get_uncertainty,
    interpolate_as,
    preprocess_panoptic_gt,
    transpose_and_gather_feat,
)
from mmdetlike.structures.mask import BitmapMasks
from mmdetlike_ops import bbox_overlaps


@settings(max_examples=25, deadline=None)
@given(st.floats(2, 500), st.floats(2, 500), st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]))
def test_within_the_radius_boxes_overlap_as_asked(height, width, min_overlap):
    radius = gaussian_radius((height, width), min_overlap)
    assert radius >= 0
    box = torch.tensor([[0.0, 0.0, width, height]], dtype=torch.float64)
    moves = torch.tensor([[r, r, s, s] for r in (-radius, radius) for s in (-radius, radius)], dtype=torch.float64)
    overlaps = bbox_overlaps(box, box + moves)
    assert float(overlaps.min()) == pytest.approx(min_overlap, rel=1e-4)


def test_radius_of_tensors():
    expected = gaussian_radius((20.0, 30.0), 0.3)
    assert float(gaussian_radius((torch.tensor(20.0), torch.tensor(30.0)), 0.3)) == pytest.approx(expected, rel=1e-5)


def test_gaussian_target_by_hand():
    heatmap = torch.zeros(9, 11)
    assert gen_gaussian_target(heatmap, (4, 3), 2) is heatmap
    sigma = 5 / 6
    assert float(heatmap[3, 4]) == 1
    assert float(heatmap[4, 6]) == pytest.approx(math.exp(-(1 + 4) / (2 * sigma**2)))
    assert int((heatmap > 0).sum()) == 25
    gen_gaussian_target(heatmap, (5, 3), 2, k=0.5)
    assert float(heatmap[3, 4]) == 1 and float(heatmap[3, 5]) == 0.5
    assert float(heatmap[3, 7]) == pytest.approx(0.5 * math.exp(-4 / (2 * sigma**2)))


@settings(max_examples=25, deadline=None)
@given(st.integers(-8, 18), st.integers(-8, 18), st.integers(0, 6))
def test_gaussian_target_is_cut_at_the_border(x, y, radius):
    heatmap = gen_gaussian_target(torch.zeros(10, 12), (x, y), radius)
    large = gen_gaussian_target(torch.zeros(50, 52), (x + 20, y + 20), radius)
    assert torch.equal(heatmap, large[20:30, 20:32])


def test_peaks_of_a_heat_map():
    heat = torch.tensor([[[[0.1, 0.9, 0.2], [0.3, 0.8, 0.4]], [[0.5, 0.1, 0.1], [0.1, 0.1, 0.7]]]])
    peaks = get_local_maximum(heat)
    assert peaks[0, 0].tolist() == [[0, pytest.approx(0.9), 0], [0, 0, 0]]
    scores, inds, classes, rows, columns = get_topk_from_heatmap(peaks, k=3)
    assert scores[0].tolist() == pytest.approx([0.9, 0.7, 0.5])
    assert inds[0].tolist() == [1, 5, 0] and classes[0].tolist() == [0, 1, 1]
    assert rows[0].tolist() == [0, 1, 0] and columns[0].tolist() == [1.0, 2.0, 0.0]
    assert get_topk_from_heatmap(heat, k=100)[0].shape == (1, 12)


def test_gathering():
    feat, ind = torch.arange(24.0).view(2, 3, 2, 2), torch.tensor([[3, 0], [1, 1]])
    gathered = transpose_and_gather_feat(feat, ind)
    assert gathered.tolist() == [[[3, 7, 11], [0, 4, 8]], [[13, 17, 21], [13, 17, 21]]]


def test_uncertainty_is_that_of_the_own_class():
    logits = torch.tensor([[[1.0, -2.0], [3.0, 0.5]], [[0.0, 4.0], [-5.0, 6.0]]])
    assert get_uncertainty(logits, torch.tensor([1, 0])).tolist() == [[[-3.0, -0.5]], [[0.0, -4.0]]]
    assert get_uncertainty(logits[:, :1], torch.tensor([1, 0])).tolist() == [[[-1.0, -2.0]], [[0.0, -4.0]]]


def test_points_are_drawn_where_masks_are_uncertain():
    torch.manual_seed(0)
    # certain but for a column at x = 0.25 in class 0 and a row at y = 0.75 in class 1
    logits = torch.full((2, 2, 16, 16), 10.0)
    logits[:, 0, :, :4], logits[:, 1, 12:] = -10.0, -10.0
    labels = torch.tensor([0, 1])
    points = get_uncertain_point_coords_with_randomness(logits, labels, 40, 10, 0.75)
    assert points.shape == (2, 40, 2) and float(points.min()) >= 0 and float(points.max()) <= 1
    inside = ((points - 0.5).abs() < 0.5 - 1 / 32).all(-1)  # logits fade to 0 towards the border of the map
    for mask, axis, edge in ((0, 0, 0.25), (1, 1, 0.75)):
        uncertain = points[mask, :30][inside[mask, :30]]
        assert len(uncertain) > 5 and float((uncertain[:, axis] - edge).abs().max()) < 0.05
    assert float(points[0, 30:, 0].std()) > 0.15  # the rest is anywhere
    assert get_uncertain_point_coords_with_randomness(logits[:0], labels[:0], 40, 3, 0.75).shape == (0, 40, 2)
    with pytest.raises(ValueError, match=r'oversample_ratio must be at least 1, but got 0\.5'):
        get_uncertain_point_coords_with_randomness(logits, labels, 40, 0.5, 0.75)
    with pytest.raises(ValueError, match=r'importance_sample_ratio must be in \[0, 1\], but got 2'):
        get_uncertain_point_coords_with_randomness(logits, labels, 40, 3, 2)


def test_panoptic_ground_truth():
    things = np.zeros((1, 2, 3), np.uint8)
    things[0, 0, 0] = 1
    semantic = torch.tensor([[[0, 3, 255], [3, 4, 7]]])  # one thing, stuff 3 and 4, ignored, out of range
    masks = BitmapMasks(things, 2, 3)
    labels, out = preprocess_panoptic_gt(torch.tensor([0]), masks, semantic, num_things=3, num_stuff=2)
    assert labels.tolist() == [0, 3, 4] and out.dtype == torch.int64
    assert out.tolist() == [[[1, 0, 0], [0, 0, 0]], [[0, 1, 0], [1, 0, 0]], [[0, 0, 0], [0, 1, 0]]]
    labels, out = preprocess_panoptic_gt(torch.tensor([0]), masks, None, num_things=3, num_stuff=0)
    assert labels.tolist() == [0] and out.tolist() == things.tolist()
    empty = BitmapMasks(np.zeros((0, 2, 3), np.uint8), 2, 3)
    labels, out = preprocess_panoptic_gt(torch.zeros(0).long(), empty, semantic[0], num_things=3, num_stuff=2)
    assert labels.tolist() == [3, 4] and out.shape == (2, 2, 3)


def test_interpolate_as():
    source, target = torch.rand(2, 3, 4, 4), torch.zeros(1, 9, 7)
    expected = F.interpolate(source, (9, 7), mode='bilinear', align_corners=False)
    torch.testing.assert_close(interpolate_as(source, target), expected)
    torch.testing.assert_close(interpolate_as(source[:, 0], np.zeros((9, 7))), expected[:, 0])
    nearest = F.interpolate(source, (9, 7), mode='nearest')
    torch.testing.assert_close(interpolate_as(source, target, mode='nearest'), nearest)
    with pytest.raises(ValueError, match=r'source must be .* but got \(4,\)'):
        interpolate_as(torch.rand(4), target)
