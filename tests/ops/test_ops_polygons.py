import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPoint, Point, Polygon

from mmdetlike_ops import box_iou_quadri, convex_giou, convex_iou, min_area_polygons, points_in_polygons

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9, torch.float16: 4e-3, torch.bfloat16: 4e-2}
SQUARE = [2.0, 2, 8, 2, 8, 8, 2, 8]


@pytest.fixture
def random_pointsets(rng):
    """Makes n sets of nine points in a square of 10 x 10, at 10 x (0 .. 3) from the origin."""

    def make(n):
        return 10 * torch.rand(n, 9, 2, generator=rng).flatten(1) + 10 * torch.randint(0, 4, (n, 1), generator=rng)

    return make


@pytest.fixture
def random_quads(rng):
    """Makes n convex quadrilaterals, corners on circles, either way round, about where the pointsets are."""

    def make(n):
        angles = 2 * np.pi * torch.rand(n, 4, generator=rng).sort(dim=1).values
        radii = 2 + 5 * torch.rand(n, 1, generator=rng)
        quads = 5 + torch.stack([angles.cos() * radii, angles.sin() * radii], dim=2)
        quads[::2] = quads[::2].flip(1)
        return quads.flatten(1) + 10 * torch.randint(0, 4, (n, 1), generator=rng)

    return make


def hull_of(points):
    return MultiPoint(points.detach().double().reshape(-1, 2).numpy()).convex_hull


def shapely_giou(points, quad):
    first, second = hull_of(points), hull_of(quad)
    inner = first.intersection(second).area
    outer = first.area + second.area - inner
    whole = hull_of(torch.cat([points, quad])).area
    return inner / outer + outer / whole - 1


def test_smallest_rectangle_by_hand():
    """Corners in the order that users of the OpenMMLab ops library know."""
    grid = [1, 1, 2, 2, 1, 2, 2, 1, 1, 3, 3, 1, 2, 3, 3, 2, 1.5, 1.5]
    spread = [1, 1, 8, 8, *grid[4:]]
    expected = [[3, 1, 1, 1, 1, 3, 3, 3], [8, 8, 2.3243, 0.0541, 0.0541, 1.6757, 5.7297, 9.6216]]
    out = min_area_polygons(torch.tensor([grid, spread]))
    torch.testing.assert_close(out, torch.tensor(expected), rtol=0, atol=1e-4)


def test_smallest_rectangle_of_opencv(random_pointsets):
    points = random_pointsets(60)
    for corners, cloud in zip(min_area_polygons(points), points):
        (_, size, _) = cv2.minAreaRect(cloud.reshape(9, 2).numpy())
        rectangle = Polygon(corners.reshape(4, 2).double().numpy())
        assert rectangle.area == pytest.approx(size[0] * size[1], rel=1e-4)
        assert rectangle.buffer(1e-3).contains(hull_of(cloud))


@given(st.integers(0, 10**6), st.floats(-4, 4), st.floats(-100, 100))
@settings(max_examples=25, deadline=None)
def test_smallest_rectangle_turns_with_the_points(seed, angle, shift):
    points = torch.rand(5, 9, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 10
    turn = points.new_tensor([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    here = min_area_polygons(points.flatten(1)).reshape(5, 4, 2)
    there = min_area_polygons((points @ turn + shift).flatten(1)).reshape(5, 4, 2)
    for first, second, cloud in zip(here @ turn + shift, there, points @ turn + shift):
        assert Polygon(second.numpy()).area == pytest.approx(Polygon(first.numpy()).area)
        assert Polygon(second.numpy()).buffer(1e-9).contains(hull_of(cloud))


def test_smallest_rectangle_of_points_on_a_line_or_spot():
    line = torch.arange(9.0).repeat_interleave(2) * torch.tensor([3.0, 4.0]).repeat(9)
    out = min_area_polygons(torch.stack([line, torch.full((18,), 7.0)]))
    torch.testing.assert_close(out[0].reshape(4, 2).amin(dim=0), torch.tensor([0.0, 0]), rtol=0, atol=1e-5)
    torch.testing.assert_close(out[0].reshape(4, 2).amax(dim=0), torch.tensor([24.0, 32]), rtol=0, atol=1e-4)
    assert (out[1] == 7).all()


def test_points_in_polygons_by_hand():
    """Points on a side or corner are outside, as users of the OpenMMLab ops library know it."""
    points = torch.tensor([[300.0, 300], [400, 400], [100, 100], [300, 250], [100, 0]])
    polygons = torch.tensor([
        [200.0, 200, 400, 400, 500, 200, 400, 100],
        [400, 400, 500, 500, 600, 300, 500, 200],
        [300, 300, 600, 700, 700, 700, 700, 100],
    ])  # fmt: skip
    out = points_in_polygons(points, polygons)
    assert out.tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_points_in_polygons_of_shapely(random_quads, rng):
    quads, points = random_quads(30), 40 * torch.rand(80, 2, generator=rng)
    quads[0] = torch.tensor([0.0, 0, 40, 0, 10, 10, 0, 40])  # concave
    expected = [[Polygon(q.reshape(4, 2).numpy()).contains(Point(*p)) for q in quads] for p in points.tolist()]
    out = points_in_polygons(points, quads)
    assert torch.equal(out, torch.tensor(expected).float())
    assert out.sum() > 20
    assert torch.equal(points_in_polygons(points, quads[:, [2, 3, 4, 5, 6, 7, 0, 1]]), out)


def test_convex_iou_of_shapely(random_pointsets, random_quads):
    points, quads = random_pointsets(30), random_quads(20)
    hulls, polygons = [hull_of(p) for p in points], [hull_of(q) for q in quads]
    expected = [[h.intersection(p).area / h.union(p).area for p in polygons] for h in hulls]
    out = convex_iou(points, quads)
    torch.testing.assert_close(out, torch.tensor(expected), rtol=1e-4, atol=1e-5)
    assert (out > 0.1).float().mean() > 0.05


def test_convex_iou_of_corners_is_the_iou_of_quadrilaterals(random_quads):
    first, second = random_quads(20), random_quads(20)
    nine = torch.cat([first, first, first[:, :2]], dim=1)
    torch.testing.assert_close(convex_iou(nine, second), box_iou_quadri(first, second), rtol=1e-4, atol=1e-6)


def test_convex_giou_of_shapely(random_pointsets, random_quads):
    points, quads = random_pointsets(60), random_quads(60)
    expected = torch.tensor([shapely_giou(p, q) for p, q in zip(points, quads)])
    giou, grad = convex_giou(points, quads)
    torch.testing.assert_close(giou, expected, rtol=1e-4, atol=1e-5)
    assert not grad.requires_grad
    assert giou.min() < -0.5 and giou.max() > 0.25


def test_convex_giou_gradient(random_pointsets, random_quads):
    points, quads = random_pointsets(40).double().requires_grad_(), random_quads(40).double()
    assert torch.autograd.gradcheck(lambda points: convex_giou(points, quads)[0], points)
    giou, grad = convex_giou(points, quads)
    weights = torch.arange(40.0, dtype=torch.float64)
    (total,) = torch.autograd.grad((giou * weights).sum(), points)
    torch.testing.assert_close(total, grad * weights[:, None])


def test_convex_giou_leads_points_to_the_polygon(rng):
    points = (10 * torch.rand(1, 18, generator=rng) + 6).requires_grad_()
    quad = torch.tensor([SQUARE])
    optimizer = torch.optim.Adam([points], lr=0.1)
    for _ in range(250):
        optimizer.zero_grad()
        loss = 1 - convex_giou(points, quad)[0].mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_overlaps_do_not_depend_on_order_scale_or_place(seed):
    generator = torch.Generator().manual_seed(seed)
    points = 10 * torch.rand(4, 9, 2, generator=generator, dtype=torch.float64)
    quad = torch.tensor([SQUARE], dtype=torch.float64)
    shuffled = points[:, torch.randperm(9, generator=generator)]
    iou, giou = convex_iou(points.flatten(1), quad), convex_giou(points.flatten(1), quad.repeat(4, 1))[0]
    for other in (shuffled, shuffled * 1e3, shuffled + 1e6):
        polygon = quad * 1e3 if other.amax() > 1e2 and other.amin() < 1e5 else quad
        polygon = polygon + 1e6 if other.amin() > 1e5 else polygon
        torch.testing.assert_close(convex_iou(other.flatten(1), polygon), iou, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(convex_giou(other.flatten(1), polygon.repeat(4, 1))[0], giou, rtol=1e-6, atol=1e-9)
    assert (giou <= iou[:, 0] + 1e-12).all()


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('place', [0, 7, 17])
def test_points_that_are_not_finite(bad, place):
    points, quad = torch.tensor([[1.0, 1, 8, 2, 9, 9, 2, 8, 4, 4, 5, 5, 6, 6, 5, 6, 6, 5]] * 2), torch.tensor([SQUARE])
    points[0, place] = bad
    assert min_area_polygons(points).isnan().any(dim=1).tolist() == [True, False]
    iou = convex_iou(points, quad)[:, 0]
    assert iou[0] == 0 and iou[1] > 0.5
    giou, grad = convex_giou(points, quad.repeat(2, 1))
    assert giou.isnan().tolist() == [True, False]
    assert grad.isnan().all(dim=1).tolist() == [True, False]
    assert points_in_polygons(torch.tensor([[bad, 5.0]]), quad).item() == 0


def test_shapes_without_area():
    spot, line = torch.full((1, 18), 5.0), torch.arange(9.0).repeat_interleave(2)[None]
    inside = torch.tensor([SQUARE])
    for points in (spot, line):
        assert convex_iou(points, inside).item() == 0
    assert convex_giou(spot, inside)[0].item() == 0  # nothing shared, nothing around that is empty
    assert convex_giou(line, torch.full((1, 8), 3.0))[0].item() == 0
    giou, grad = convex_giou(line, torch.tensor([[20.0, 0, 30, 0, 30, 1, 20, 1]]))
    assert giou.item() < -0.5
    assert grad.isfinite().all()


@pytest.mark.parametrize('dtype', DTYPES)
def test_dtypes_and_strides(random_pointsets, random_quads, rng, dtype):
    points, quads = random_pointsets(20).to(dtype), random_quads(20).to(dtype)
    spots = (40 * torch.rand(20, 2, generator=rng)).to(dtype)
    strided = points.T.contiguous().T
    for actual, expected in (
        (convex_iou(strided, quads), convex_iou(points.double(), quads.double())),
        (convex_giou(strided, quads)[0], convex_giou(points.double(), quads.double())[0]),
        (points_in_polygons(spots, quads), points_in_polygons(spots.double(), quads.double())),
    ):
        assert actual.dtype == dtype
        torch.testing.assert_close(actual.double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    area = min_area_polygons(strided)
    assert area.dtype == dtype
    bound = 40 * TOLERANCE[dtype]
    near = torch.cdist(area.double().reshape(20, 4, 2), min_area_polygons(points.double()).reshape(20, 4, 2))
    assert (near.amin(dim=2) < bound).float().mean() > 0.9


def test_mixed_dtypes_promote(random_pointsets, random_quads):
    points, quads = random_pointsets(5).requires_grad_(), random_quads(5)
    assert convex_iou(points, quads.double()).dtype == torch.float64
    giou, grad = convex_giou(points.half(), quads)
    assert giou.dtype == grad.dtype == torch.float32
    giou.sum().backward()
    assert points.grad.dtype == torch.float32


@pytest.mark.parametrize('dtype', DTYPES)
def test_empty(dtype):
    points, quads = torch.zeros(0, 18, dtype=dtype), torch.zeros(0, 8, dtype=dtype)
    assert min_area_polygons(points).shape == (0, 8)
    assert convex_iou(points, torch.zeros(3, 8, dtype=dtype)).shape == (0, 3)
    assert convex_iou(torch.zeros(3, 18, dtype=dtype), quads).shape == (3, 0)
    assert points_in_polygons(torch.zeros(3, 2, dtype=dtype), quads).shape == (3, 0)
    giou, grad = convex_giou(points.requires_grad_(), quads)
    assert giou.shape == (0,) and grad.shape == (0, 18)
    giou.sum().backward()
    assert points.grad.shape == (0, 18)


@pytest.mark.parametrize('call, error, words', [
    (lambda p, q: min_area_polygons(q), ValueError, r'pointsets has shape \(3, 8\), \(n, 18\) is expected'),
    (lambda p, q: min_area_polygons(p.int()), TypeError, 'pointsets has dtype torch.int32, a floating dtype'),
    (lambda p, q: points_in_polygons(p, q), ValueError, r'points has shape \(3, 18\), \(n, 2\) is expected'),
    (lambda p, q: points_in_polygons(p[:, :2], q.to('meta')), ValueError, 'polygons is on meta, the other tensors'),
    (lambda p, q: convex_iou(p, p), ValueError, r'polygons has shape \(3, 18\), \(n, 8\) is expected'),
    (lambda p, q: convex_iou(p, q.to('meta')), ValueError, 'polygons is on meta, the other tensors are on cpu'),
    (lambda p, q: convex_giou(p, q[:2]), ValueError, 'pointsets has 3 and polygons 2'),
    (lambda p, q: convex_giou([0], q), TypeError, 'pointsets is a list, a tensor is expected'),
])  # fmt: skip
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(torch.zeros(3, 18), torch.zeros(3, 8))


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', DTYPES)
def test_polygons_on_cuda(cuda, random_pointsets, random_quads, rng, dtype):
    points, quads = random_pointsets(70).to(dtype), random_quads(70).to(dtype)
    spots = (40 * torch.rand(50, 2, generator=rng)).to(dtype)
    tolerance = TOLERANCE[dtype]
    for actual, expected in (
        (convex_iou(points.to(cuda), quads.to(cuda)), convex_iou(points, quads)),
        (points_in_polygons(spots.to(cuda), quads.to(cuda)), points_in_polygons(spots, quads)),
        (min_area_polygons(points.to(cuda)), min_area_polygons(points)),
        *zip(convex_giou(points.to(cuda), quads.to(cuda)), convex_giou(points, quads)),
    ):
        torch.testing.assert_close(actual.cpu(), expected, rtol=tolerance, atol=tolerance)
