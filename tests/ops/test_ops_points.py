import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike_ops import (
    SimpleRoIAlign,
    abs_img_point_to_rel_img_point,
    generate_grid,
    point_sample,
    rel_roi_point_to_abs_img_point,
    rel_roi_point_to_rel_img_point,
    roi_align,
)


def interpolate(image, x, y, align_corners):
    """One bilinear sample of a map (c, h, w), 0 outside."""
    height, width = image.shape[1:]
    x, y = (x * (width - 1), y * (height - 1)) if align_corners else (x * width - 0.5, y * height - 0.5)
    total = torch.zeros(image.shape[0], dtype=image.dtype)
    for row in range(height):
        for column in range(width):
            total += image[:, row, column] * max(1 - abs(x - column), 0) * max(1 - abs(y - row), 0)
    return total


def test_recorded_samples(recording):
    for case, inputs, expected in recording.select('point_sample'):
        x = inputs['x'].requires_grad_()
        out = point_sample(x, inputs['points'], **case['settings'])
        torch.testing.assert_close(out, expected('out'), rtol=1e-4, atol=1e-6)
        (grad,) = torch.autograd.grad(out, x, expected('upstream'))
        torch.testing.assert_close(grad, expected('grad/x'), rtol=1e-4, atol=1e-6)


@given(st.integers(1, 5), st.integers(1, 5), st.booleans(), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_samples_by_definition(height, width, align_corners, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, height, width, dtype=torch.double, generator=generator)
    points = 1.4 * torch.rand(2, 4, 2, dtype=torch.double, generator=generator) - 0.2
    out = point_sample(x, points, align_corners)
    for n in range(2):
        for p, (px, py) in enumerate(points[n].tolist()):
            torch.testing.assert_close(out[n, :, p], interpolate(x[n], px, py, align_corners))


def test_a_grid_of_points_and_other_modes(rng):
    x, points = torch.randn(2, 3, 6, 7, generator=rng), torch.rand(2, 4, 5, 2, generator=rng)
    out = point_sample(x, points)
    assert out.shape == (2, 3, 4, 5)
    assert torch.equal(out.flatten(2), point_sample(x, points.flatten(1, 2)))
    centre = torch.tensor([[[2.5 / 7, 1.5 / 6]]]).expand(2, -1, -1)
    assert torch.equal(point_sample(x, centre, mode='nearest')[..., 0], x[:, :, 1, 2])
    corner = torch.tensor([[[-3.0, 4.0]]]).expand(2, -1, -1)
    assert torch.equal(point_sample(x, corner, padding_mode='border')[..., 0], x[:, :, -1, 0])
    assert point_sample(x, corner).abs().sum() == 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_narrow_maps_are_sampled_where_wide_ones_are(rng, dtype):
    x, points = torch.randn(1, 2, 300, 400, generator=rng).to(dtype), torch.rand(1, 50, 2, generator=rng)
    out = point_sample(x, points)
    assert out.dtype == dtype
    torch.testing.assert_close(out, point_sample(x.float(), points).to(dtype))


def test_empty_and_layouts(rng):
    x, points = torch.randn(2, 3, 6, 7, generator=rng), torch.rand(2, 5, 2, generator=rng)
    assert point_sample(x[:0], points[:0]).shape == (0, 3, 5)
    assert point_sample(x, points[:, :0]).shape == (2, 3, 0)
    strided = points.transpose(1, 2).contiguous().transpose(1, 2)
    out = point_sample(x.contiguous(memory_format=torch.channels_last), strided)
    torch.testing.assert_close(out, point_sample(x, points))


def test_wild_points_are_outside(rng):
    x = torch.randn(1, 2, 6, 7, generator=rng)
    points = torch.tensor([[[1e30, 0.5], [0.5, -1e30], [-1e9, 1e9], [0.5, 0.5]]])
    assert point_sample(x, points)[..., :3].abs().sum() == 0
    lost = torch.tensor([[[float('inf'), 0.5], [float('nan'), 0.5], [0.5, 0.5]]])
    assert torch.equal(point_sample(x, lost)[..., 2], point_sample(x, points)[..., 3])


def test_gradients(rng):
    x = torch.randn(1, 2, 4, 5, dtype=torch.double, generator=rng).requires_grad_()
    points = torch.rand(1, 3, 2, dtype=torch.double, generator=rng).requires_grad_()
    assert torch.autograd.gradcheck(point_sample, (x, points))


def test_points_of_regions():
    rois = torch.tensor([[0, 10.0, 20, 30, 60], [1, 0, 0, 8, 4]])
    points = torch.tensor([[[0.0, 0], [1, 1], [0.5, 0.25]], [[0, 1], [0.25, 0.5], [1, 0]]])
    pixels = torch.tensor([[[10.0, 20], [30, 60], [20, 30]], [[0, 4], [2, 2], [8, 0]]])
    torch.testing.assert_close(rel_roi_point_to_abs_img_point(rois, points), pixels)
    torch.testing.assert_close(rel_roi_point_to_abs_img_point(rois[:, 1:], points), pixels)
    relative = pixels / 4 / torch.tensor([20.0, 16])
    for img in ((16, 20), torch.zeros(2, 3, 16, 20)):
        torch.testing.assert_close(abs_img_point_to_rel_img_point(pixels, img, 0.25), relative)
        torch.testing.assert_close(rel_roi_point_to_rel_img_point(rois, points, img, 0.25), relative)


def test_grid_is_centres_row_by_row():
    grid = generate_grid(2, (2, 3), 'cpu')
    rows = [[1 / 6, 0.25], [0.5, 0.25], [5 / 6, 0.25], [1 / 6, 0.75], [0.5, 0.75], [5 / 6, 0.75]]
    torch.testing.assert_close(grid, torch.tensor([rows, rows]))
    assert generate_grid(0, 7).shape == (0, 49, 2)


@pytest.mark.parametrize('aligned', [True, False])
def test_simple_roi_align_by_definition(rng, aligned):
    features = torch.randn(2, 3, 8, 10, dtype=torch.double, generator=rng)
    # regions of images in any order
    rois = torch.tensor([[1, 0.0, 2, 40, 30], [0, 5, 5, 25, 31], [1, 8, 0, 16, 20]]).double()
    out = SimpleRoIAlign((2, 3), 0.25, aligned)(features, rois)
    for k, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        for i in range(2):
            for j in range(3):
                x, y = (x1 + (x2 - x1) * (j + 0.5) / 3) / 40, (y1 + (y2 - y1) * (i + 0.5) / 2) / 32
                torch.testing.assert_close(out[k, :, i, j], interpolate(features[int(image)], x, y, not aligned))


def test_simple_roi_align_is_roi_align_with_one_sample(rng, random_rois):
    features = torch.randn(3, 4, 200, 200, generator=rng)
    rois = random_rois(12, images=3)
    rois[:, 1:] = rois[:, 1:] / 2 + 100
    out = SimpleRoIAlign(7, 0.5)(features, rois)
    torch.testing.assert_close(out, roi_align(features, rois, 7, 0.5, 1), rtol=1e-4, atol=1e-4)
    assert SimpleRoIAlign(7, 0.5)(features, rois[:0]).shape == (0, 4, 7, 7)


def test_simple_roi_align_gradient_and_dtypes(rng):
    features = torch.randn(2, 2, 4, 5, dtype=torch.double, generator=rng).requires_grad_()
    rois = torch.tensor([[1, 0.0, 2, 4, 3], [0, 1, 1, 3, 4]]).double()
    pool = SimpleRoIAlign(2, 1.0)
    assert torch.autograd.gradcheck(lambda x: pool(x, rois), features)
    half = pool(features.detach().bfloat16(), rois.float())
    torch.testing.assert_close(half, pool(features.detach(), rois).bfloat16(), rtol=2e-2, atol=2e-2)
    outside = torch.tensor([[5.0, 0, 0, 4, 4], [-1, 0, 0, 4, 4]])
    assert pool(features.detach().float(), outside).abs().sum() == 0


def test_unknown_arguments_are_refused():
    with pytest.raises(TypeError, match='align_corner'):
        point_sample(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2), align_corner=True)


@pytest.mark.parametrize('change, error, words', [
    ({'input': torch.zeros(2, 3, 4)}, ValueError, r'input has shape \(2, 3, 4\), \(n, c, h, w\) is expected'),
    ({'input': torch.zeros(2, 3, 4, 5).long()}, TypeError, 'input has dtype torch.int64, a floating dtype'),
    ({'points': torch.zeros(2, 4, 3)}, ValueError, r'points has shape \(2, 4, 3\), \(2, p, 2\) is expected'),
    ({'points': torch.zeros(1, 4, 4, 2)}, ValueError, r'points has shape \(1, 4, 4, 2\), \(2, p, q, 2\) is expected'),
    ({'points': torch.zeros(2, 4, 2, device='meta')}, ValueError, 'points is on meta, the other tensors are on cpu'),
    ({'points': [[0, 0]]}, TypeError, 'points is a list, a tensor is expected'),
    ({'mode': 'cubic'}, ValueError, "mode is 'cubic', one of"),
    ({'padding_mode': 'zero'}, ValueError, "padding_mode is 'zero', one of"),
])  # fmt: skip
def test_bad_input(change, error, words):
    good = {'input': torch.zeros(2, 3, 4, 5), 'points': torch.zeros(2, 4, 2)}
    with pytest.raises(error, match=words):
        point_sample(**{**good, **change})


def test_bad_regions():
    with pytest.raises(ValueError, match=r'rois has shape \(2, 6\), \(n, 5\) is expected'):
        rel_roi_point_to_abs_img_point(torch.zeros(2, 6), torch.zeros(2, 3, 2))
    with pytest.raises(ValueError, match=r'rel_roi_points has shape \(1, 3, 2\), \(2, p, 2\) is expected'):
        rel_roi_point_to_abs_img_point(torch.zeros(2, 5), torch.zeros(1, 3, 2))
    with pytest.raises(ValueError, match=r'img is \(3, 4, 5\), a map or its \(h, w\) is expected'):
        abs_img_point_to_rel_img_point(torch.zeros(1, 3, 2), (3, 4, 5))
    with pytest.raises(ValueError, match=r'SimpleRoIAlign: rois has shape \(2, 4\), \(k, 5\) is expected'):
        SimpleRoIAlign(7, 1.0)(torch.zeros(1, 1, 4, 4), torch.zeros(2, 4))


class PointsInMap(torch.nn.Module):
    def forward(self, points, image):
        return abs_img_point_to_rel_img_point(points, image)


def test_a_program_of_points_takes_maps_of_all_sizes(rng):
    points = torch.rand(1, 3, 2, generator=rng)
    sides = {2: torch.export.Dim('height'), 3: torch.export.Dim('width')}
    example = (points, torch.zeros(1, 1, 4, 5))
    program = torch.export.export(PointsInMap(), example, dynamic_shapes=(None, sides)).module()
    other = torch.zeros(1, 1, 6, 9)
    torch.testing.assert_close(program(points, other), points / torch.tensor([9, 6]))


@pytest.mark.gpu
def test_on_cuda(cuda, rng):
    features = torch.randn(2, 3, 8, 10, generator=rng)
    rois = torch.tensor([[1, 0.0, 2, 40, 30], [0, 5, 5, 25, 31], [1, 8, 0, 16, 20]])
    pool = SimpleRoIAlign(3, 0.25)
    torch.testing.assert_close(pool(features.to(cuda), rois.to(cuda)).cpu(), pool(features, rois))
    points = torch.rand(2, 9, 2, generator=rng)
    torch.testing.assert_close(point_sample(features.to(cuda), points.to(cuda)).cpu(), point_sample(features, points))
