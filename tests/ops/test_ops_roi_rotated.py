import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike_ops import RoIAlignRotated, active_rotated_filter, roi_align, roi_align_rotated, rotated_feature_align

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9, torch.float16: 4e-3, torch.bfloat16: 3e-2}
NAN = float('nan')


def boxes_on_map(x):
    """(n, h, w, 5) boxes, some of which reach outside the image."""
    shape = (x.shape[0], *x.shape[2:], 5)
    unit = (torch.arange(math.prod(shape)) * 0.7548776).frac().reshape(shape)
    return unit * torch.tensor([8 * x.shape[2], 8 * x.shape[3], 90, 60, 6.0]) + torch.tensor([0, 0, 5, 5, -3.0])


POOLS = (
    lambda x, rois: roi_align_rotated(x, rois, (3, 2), 0.25, 2),
    lambda x, rois: roi_align_rotated(x, rois, (3, 2), 0.25, 0, aligned=False, clockwise=True),
    lambda x, rois: rotated_feature_align(x, boxes_on_map(x).to(x.device), 1 / 8, 1),
    lambda x, rois: rotated_feature_align(x, boxes_on_map(x).to(x.device), 1 / 8, 5),
)
NAMES = ('align', 'align_adaptive', 'centre', 'corners')
each_pool = pytest.mark.parametrize('pool', POOLS, ids=NAMES)


@pytest.fixture
def random_rotated_rois(rng):
    """Makes k rotated regions (k, 6) of a batch of 2 images of 80 x 120 pixels."""

    def make(k):
        unit = torch.rand(k, 6, generator=rng)
        unit[:, 0] = torch.randint(0, 2, (k,), generator=rng)
        return unit * torch.tensor([1, 120, 80, 60, 60, 6.0]) + torch.tensor([0, 0, 0, 4, 4, -3.0])

    return make


def bilinear(plane, y, x):
    """One sample of a map, as defined."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = (1 - dx) * plane[top, left].item() + dx * plane[top, right].item()
    return (1 - dy) * upper + dy * ((1 - dx) * plane[bottom, left].item() + dx * plane[bottom, right].item())


def slow_feature_align(x, boxes, scale, points):
    out = x.clone()
    for n, c, i, j in torch.cartesian_prod(*(torch.arange(size) for size in x.shape)).tolist():
        y, x_, w, h, angle = boxes[n, i, j].tolist()
        along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
        corners = ((0, 0), (w / 2, h / 2), (-w / 2, h / 2), (-w / 2, -h / 2), (w / 2, -h / 2))
        for u, v in corners[:points]:
            at_x, at_y = x_ + u * along[0] + v * across[0], y + u * along[1] + v * across[1]
            out[n, c, i, j] += bilinear(x[n, c], at_y * scale, at_x * scale)
    return out


def test_recorded_roi_align_rotated(recording):
    for case, inputs, expected in recording.select('roi_align_rotated'):
        inputs['x'].requires_grad_()
        out = roi_align_rotated(**inputs, **case['settings'])
        torch.testing.assert_close(out, expected('out'), rtol=1e-4, atol=1e-5)
        out.backward(expected('upstream'))
        torch.testing.assert_close(inputs['x'].grad, expected('grad/x'), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
def test_angle_zero_is_roi_align(rng, random_rotated_rois, aligned, ratio):
    x, rois = torch.randn(2, 5, 20, 30, generator=rng), random_rotated_rois(12)
    rois[:, 5] = 0
    boxes = torch.cat([rois[:, :1], rois[:, 1:3] - rois[:, 3:5] / 2, rois[:, 1:3] + rois[:, 3:5] / 2], dim=1)
    # odd scale, so that no size rounds to another number of samples
    actual = roi_align_rotated(x, rois, (4, 3), 0.24, ratio, aligned)
    torch.testing.assert_close(actual, roi_align(x, boxes, (4, 3), 0.24, ratio, 'avg', aligned), rtol=1e-3, atol=1e-4)


def test_a_quarter_turn_turns_the_features(rng):
    x = torch.randn(1, 3, 16, 16, generator=rng)
    roi = torch.tensor([[0, 8.0, 8, 8, 8, 0]])
    plain = roi_align_rotated(x, roi, 4, sampling_ratio=2)
    roi[:, 5] = math.pi / 2
    # the region's x axis points where y points: down; its y axis points left
    clockwise = roi_align_rotated(x, roi, 4, sampling_ratio=2, clockwise=True)
    torch.testing.assert_close(clockwise, plain.rot90(1, (2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        roi_align_rotated(x, roi, 4, sampling_ratio=2), plain.rot90(-1, (2, 3)), rtol=1e-4, atol=1e-5
    )


@given(st.floats(-3, 3), st.floats(4, 20), st.floats(4, 20), st.floats(0.5, 6), st.floats(0.5, 6), st.floats(-9, 9))
@settings(max_examples=25, deadline=None)
def test_a_constant_map_pools_to_the_constant(value, cx, cy, w, h, angle):
    x, rois = torch.full((1, 3, 24, 24), value), torch.tensor([[0, cx, cy, w, h, angle]])
    for ratio in (0, 3):
        out = roi_align_rotated(x, rois, 3, 1.0, ratio)
        torch.testing.assert_close(out, torch.full((1, 3, 3, 3), value))


@given(st.floats(-4, 4), st.floats(8, 16), st.floats(8, 16), st.floats(1, 8), st.floats(1, 8))
@settings(max_examples=25, deadline=None)
def test_a_ramp_pools_to_the_place_of_each_bin(angle, cx, cy, w, h):
    ramp = torch.stack(torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing='xy'))[None]
    out = roi_align_rotated(ramp, torch.tensor([[0, cx, cy, w, h, angle]]), 2, clockwise=True, aligned=False)
    u, v = torch.tensor([-w / 4, w / 4])[None, :], torch.tensor([-h / 4, h / 4])[:, None]
    expected = torch.stack([
        cx + u * math.cos(angle) - v * math.sin(angle),
        cy + u * math.sin(angle) + v * math.cos(angle),
    ])  # fmt: skip
    torch.testing.assert_close(out[0], expected, rtol=1e-4, atol=1e-4)


def test_the_module_is_the_function(rng, random_rotated_rois):
    x, rois = torch.randn(2, 5, 20, 30, generator=rng), random_rotated_rois(4)
    module = RoIAlignRotated((3, 2), 0.25, 2, clockwise=True)
    assert torch.equal(module(x, rois), roi_align_rotated(x, rois, (3, 2), 0.25, 2, clockwise=True))
    assert 'sampling_ratio=2, aligned=True, clockwise=True' in repr(module)


def test_feature_align_as_recorded_in_the_wild():
    """A position of the example that the OpenMMLab ops library tests: the first number of a box is y."""
    x = torch.tensor([
        [1.2924, -0.2172, -0.5222, 0.1172],
        [0.9144, 1.2248, 1.3115, -0.9690],
        [-0.8949, -1.1797, -0.9093, -0.3961],
        [-0.4586, 0.5062, -0.7947, -0.7397],
    ])  # fmt: skip
    boxes = torch.full((1, 4, 4, 5), -900.0)
    boxes[0, 0, 0] = torch.tensor([13.080, 12.688, 11.214, 93.944, -0.91905])
    out = rotated_feature_align(x[None, None], boxes)
    assert out[0, 0, 0, 0].item() == pytest.approx(1.1095, abs=1e-4)
    assert torch.equal(out.flatten()[1:], x.flatten()[1:])


@pytest.mark.parametrize('points', [1, 5])
def test_feature_align_is_what_the_definition_says(rng, points):
    x = torch.randn(2, 3, 6, 7, generator=rng, dtype=torch.float64)
    boxes = boxes_on_map(x).double()
    actual = rotated_feature_align(x, boxes, 1 / 8, points)
    torch.testing.assert_close(actual, slow_feature_align(x, boxes, 1 / 8, points))
    assert (actual - x).abs().gt(0).float().mean() > 0.5


@each_pool
def test_gradcheck(rng, random_rotated_rois, pool):
    x = torch.randn(2, 3, 8, 9, dtype=torch.float64, generator=rng).requires_grad_()
    rois = random_rotated_rois(4).double()
    rois[:, 1:5] *= 0.3
    assert torch.autograd.gradcheck(lambda x: pool(x, rois), x)


@each_pool
@pytest.mark.parametrize('channels', [1, 16, 19])
def test_strides_do_not_matter(rng, random_rotated_rois, pool, channels):
    x, rois = torch.randn(2, channels, 20, 30, generator=rng), random_rotated_rois(6)
    expected = pool(x, rois)
    assert torch.equal(pool(x.contiguous(memory_format=torch.channels_last), rois), expected)
    assert torch.equal(pool(x.transpose(2, 3).contiguous().transpose(2, 3), rois.T.contiguous().T), expected)
    assert torch.equal(pool(torch.cat([x, x], 1)[:, channels:], rois), expected)


@each_pool
def test_non_contiguous_gradient(rng, random_rotated_rois, pool):
    x, rois = torch.randn(2, 5, 20, 30, generator=rng).requires_grad_(), random_rotated_rois(6)
    out = pool(x, rois)
    upstream = torch.randn(out.shape, generator=rng)
    (expected,) = torch.autograd.grad(out, x, upstream, retain_graph=True)
    (strided,) = torch.autograd.grad(out, x, upstream.transpose(0, 1).contiguous().transpose(0, 1))
    assert torch.equal(strided, expected)


@each_pool
@pytest.mark.parametrize('dtype', DTYPES)
def test_dtypes(rng, random_rotated_rois, pool, dtype):
    x, rois = torch.randn(2, 5, 20, 30, generator=rng).to(dtype).requires_grad_(), random_rotated_rois(6)
    exact = x.detach().double().requires_grad_()
    out, wanted = pool(x, rois), pool(exact, rois)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    out.sum().backward()
    wanted.sum().backward()
    assert x.grad.dtype == dtype
    torch.testing.assert_close(x.grad.double(), exact.grad, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@each_pool
def test_empty(pool):
    x = torch.randn(2, 5, 20, 30, requires_grad=True)
    out = pool(x, torch.zeros(0, 6))
    assert out.shape[1] == 5
    out.sum().backward()
    assert x.grad.isfinite().all()
    assert pool(torch.zeros(0, 5, 20, 30), torch.zeros(0, 6)).shape[1] == 5
    assert pool(torch.zeros(1, 0, 20, 30), torch.zeros(1, 6)).shape[1] == 0
    assert roi_align_rotated(x, torch.zeros(0, 6), (3, 2)).shape == (0, 5, 3, 2)


@pytest.mark.parametrize('ratio', [0, 2])
def test_regions_without_sense_give_zero_or_finite_features(ratio):
    rois = torch.tensor([
        [0, -900, -900, 9, 9, 1],
        [0, NAN, 0, 9, 9, 1],
        [0, 4, 4, 9, 9, NAN],
        [0, 4, 4, 9, 9, float('inf')],
        [0, 5, 5, 0, 0, 1],
        [0, 5, 5, -3, 4, 1],
        [0, 5, 5, float('inf'), 8, 1],
        [0, 5, 5, 1e30, 1e30, 1],
        [0, 5, 5, 1e6, 1e6, 1],
        [0, 1e30, 5, 4, 4, 1],
    ])  # fmt: skip
    x = torch.ones(1, 2, 8, 8, requires_grad=True)
    out = roi_align_rotated(x, rois, 3, sampling_ratio=ratio)
    assert out[:4].abs().sum() == 0
    assert out.isfinite().all()
    out.sum().backward()
    assert x.grad.isfinite().all()


def test_a_region_far_larger_than_the_map_averages_over_all_its_samples():
    """Few of its samples lie on the map; the result is the area they stand for, whatever is spared of the others."""
    x = torch.ones(1, 1, 9, 9)
    for angle in (0.0, 0.4, math.pi / 2):
        out = roi_align_rotated(x, torch.tensor([[0, 4.5, 4.5, 300, 300, angle]]), 1)
        # samples count from one pixel outside the map on: 10 x 10 of 300 x 300 samples
        assert out.item() == pytest.approx(100 / 300**2, rel=0.05)


@pytest.mark.parametrize('value', [NAN, float('inf')])
def test_values_elsewhere_do_not_matter(value):
    x = torch.ones(1, 1, 8, 8)
    x[0, 0, 0, 0] = value
    rois = torch.tensor([[0, 5.0, 5, 4, 4, 0.5], [0, -50, -50, 4, 4, 0.5]])
    assert roi_align_rotated(x, rois, 2).flatten().tolist() == pytest.approx([1] * 4 + [0] * 4)


@pytest.mark.parametrize('image', [-1, 2, NAN])
def test_image_outside_the_batch(image):
    with pytest.raises(RuntimeError, match='roi 1 belongs to image'):
        roi_align_rotated(torch.ones(2, 3, 8, 8), torch.tensor([[0.0, 4, 4, 4, 4, 1], [image, 4, 4, 4, 4, 1]]), 2)


def test_points_held_and_not_held_agree(rng):
    """A region with more samples than are held for all channels gives what it gives alone, in a smaller part."""
    x = torch.randn(1, 12, 30, 30, generator=rng)
    many = torch.tensor([[0, 15.0, 15, 20, 20, 0.3]]).repeat(3, 1)
    few = roi_align_rotated(x, many[:1], 7, sampling_ratio=140)
    assert torch.equal(roi_align_rotated(x, many.repeat(3, 1), 7, sampling_ratio=140), few.repeat(9, 1, 1, 1))


def test_autocast_mixes_dtypes(rng, random_rotated_rois):
    x, rois = torch.randn(2, 5, 20, 30, generator=rng), random_rotated_rois(6)
    with torch.autocast('cpu', torch.bfloat16):
        out = roi_align_rotated(x.bfloat16(), rois, 7, 0.25)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), roi_align_rotated(x, rois, 7, 0.25), rtol=0.05, atol=0.05)


def rotations(orientations, size, count):
    """(orientations, size, size, count) 1-based places: any permutation for each rotation will do."""
    places = orientations * size * size
    generator = torch.Generator().manual_seed(2)
    columns = [torch.randperm(places, generator=generator) + 1 for _ in range(count)]
    return torch.stack(columns, dim=1).reshape(orientations, size, size, count)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('index_dtype', [torch.uint8, torch.int32, torch.int64])
def test_filters_move_to_their_places(rng, dtype, index_dtype):
    weights, indices = torch.randn(4, 2, 2, 3, 3, generator=rng).to(dtype), rotations(2, 3, 5)
    out = active_rotated_filter(weights, indices.to(index_dtype))
    assert out.shape == (20, 4, 3, 3) and out.dtype == dtype
    moved = out.reshape(4, 5, 2, 18)
    for rotation in range(5):
        for source, place in enumerate(indices[..., rotation].flatten().tolist()):
            assert torch.equal(moved[:, rotation, :, place - 1], weights.flatten(2)[:, :, source])


def test_a_filter_turned_by_a_quarter(rng):
    weights = torch.randn(1, 1, 1, 3, 3, generator=rng)
    places = torch.arange(1, 10).reshape(3, 3)
    indices = torch.stack([places, places.rot90(1)], dim=2)[None]
    out = active_rotated_filter(weights, indices)
    assert torch.equal(out[0, 0], weights[0, 0, 0])
    assert torch.equal(out[1, 0], weights[0, 0, 0].rot90(-1))


def test_filter_gradients(rng):
    weights = torch.randn(2, 2, 2, 3, 3, dtype=torch.float64, generator=rng).requires_grad_()
    indices = rotations(2, 3, 4)
    assert torch.autograd.gradcheck(lambda w: active_rotated_filter(w, indices), weights)
    active_rotated_filter(weights, indices).sum().backward()
    assert (weights.grad == 4).all()
    assert active_rotated_filter(torch.zeros(0, 2, 2, 3, 3), indices).shape == (0, 4, 3, 3)


GOOD = {'x': torch.zeros(1, 3, 8, 8), 'rois': torch.zeros(2, 6), 'output_size': 2}


@pytest.mark.parametrize('change, error, words', [
    ({'x': torch.zeros(3, 8, 8)}, ValueError, r'x has shape \(3, 8, 8\), \(n, c, h, w\) is expected'),
    ({'x': torch.zeros(1, 3, 0, 8)}, ValueError, r'x has shape \(1, 3, 0, 8\), at least one pixel is expected'),
    ({'x': torch.zeros(1, 3, 8, 8).int()}, TypeError, 'x has dtype torch.int32, a floating dtype'),
    ({'rois': torch.zeros(2, 5)}, ValueError, r'rois has shape \(2, 5\), \(n, 6\) is expected'),
    ({'rois': torch.zeros(2, 6, device='meta')}, ValueError, 'rois is on meta'),
    ({'output_size': 0}, ValueError, r'output_size is \(0, 0\)'),
])  # fmt: skip
def test_bad_regions(change, error, words):
    with pytest.raises(error, match=words):
        roi_align_rotated(**{**GOOD, **change})


@pytest.mark.parametrize('call, error, words', [
    (lambda x, b: rotated_feature_align(x[0], b), ValueError, r'features has shape \(3, 4, 5\), \(n, c, h, w\)'),
    (lambda x, b: rotated_feature_align(x, b[..., :4]), ValueError, r'best_rbboxes has .*\(2, 4, 5, 5\) is expected'),
    (lambda x, b: rotated_feature_align(x, b.int()), TypeError, 'best_rbboxes has dtype torch.int32'),
    (lambda x, b: rotated_feature_align(x, b.to('meta')), ValueError, 'best_rbboxes is on meta'),
    (lambda x, b: rotated_feature_align(x, b, points=4), ValueError, r'points is 4, one of \(1, 5\) is expected'),
    (lambda x, b: active_rotated_filter(x, b), ValueError, r'input has .*, \(out, in, orientations, kh, kw\) is exp'),
    (lambda x, b: active_rotated_filter(x[None], b.long()), ValueError, r'indices has .*\(3, 4, 5, rotations\) is'),
    (lambda x, b: active_rotated_filter(x[None], torch.ones(3, 4, 5, 1)), TypeError, 'indices has dtype torch.float32'),
    (lambda x, b: active_rotated_filter(x[None], torch.ones(3, 4, 5, 1).int()), ValueError, 'each place from 1 to 60'),
])  # fmt: skip
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(torch.zeros(2, 3, 4, 5), torch.zeros(2, 4, 5, 5))


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('deterministic', [False, True])
@each_pool
def test_pooling_on_cuda(cuda, rng, random_rotated_rois, pool, layout, dtype, deterministic):
    x, rois = (
        torch.randn(2, 19, 20, 30, generator=rng).to(dtype).contiguous(memory_format=layout),
        random_rotated_rois(30),
    )
    results = []
    torch.use_deterministic_algorithms(deterministic)
    try:
        for device in ('cpu', cuda, cuda):
            leaf = x.to(device).requires_grad_()
            out = pool(leaf, rois.to(device))
            results.append((out.detach().cpu(), torch.autograd.grad(out.sum(), leaf)[0].cpu()))
    finally:
        torch.use_deterministic_algorithms(False)
    for expected, actual, again in zip(*results):
        torch.testing.assert_close(actual, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
        assert not deterministic or torch.equal(actual, again)


@pytest.mark.gpu
def test_a_region_of_no_image_gives_zeros_on_cuda(cuda):
    x = torch.ones(2, 3, 8, 8, device=cuda, requires_grad=True)
    out = roi_align_rotated(x, torch.tensor([[5.0, 4, 4, 4, 4, 1], [-1, 4, 4, 4, 4, 1]], device=cuda), 2)
    out.sum().backward()
    assert out.abs().sum() == 0
    assert x.grad.abs().sum() == 0


@pytest.mark.gpu
def test_filters_on_cuda(cuda, rng):
    weights, indices = torch.randn(4, 2, 2, 3, 3, generator=rng), rotations(2, 3, 5)
    assert torch.equal(
        active_rotated_filter(weights.to(cuda), indices.to(cuda)).cpu(), active_rotated_filter(weights, indices)
    )
