import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike_ops import heatmap_peaks, mask_iou, mask_matrix_nms, paste_masks

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def every_pixel(masks, boxes, height, width):
    """Probabilities of all pixels, by grid_sample in float64."""
    masks, boxes = masks.double(), boxes.double()
    x1, y1, x2, y2 = boxes.split(1, dim=1)
    y = (torch.arange(height) + 0.5 - y1) / (y2 - y1) * 2 - 1
    x = (torch.arange(width) + 0.5 - x1) / (x2 - x1) * 2 - 1
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), dim=-1)
    return F.grid_sample(masks[:, None], grid, align_corners=False)[:, 0]


def assert_pasted(masks, boxes, height, width, threshold, tolerance=1e-5):
    expected = every_pixel(masks, boxes, height, width)
    pasted = paste_masks(masks, boxes, height, width, threshold)
    assert pasted.dtype == torch.bool
    wrong = pasted != (expected >= threshold)
    assert ((expected - threshold).abs()[wrong] < tolerance).all()
    steps = paste_masks(masks, boxes, height, width, -1).double() - 255 * expected
    assert steps.min() > -1 - 255 * tolerance and steps.max() < 255 * tolerance


@pytest.fixture
def random_masks(rng):
    return lambda n, height=28, width=28: torch.rand(n, height, width, generator=rng)


# Pasting


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0.1, 60), st.floats(0.05, 1), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_pasting_is_sampling_every_pixel(rows, columns, size, threshold, seed):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(6, rows, columns, generator=generator)
    corners = torch.rand(6, 2, generator=generator) * 60 - 15
    boxes = torch.cat([corners, corners + size * (0.05 + torch.rand(6, 2, generator=generator))], dim=1)
    assert_pasted(masks, boxes, 31, 40, threshold)


def test_pasting_detections(random_boxes, random_masks):
    assert_pasted(random_masks(20), random_boxes(20), 300, 400, 0.5)


def test_masks_reach_half_their_pixel_beyond_the_box():
    pasted = paste_masks(torch.ones(1, 2, 2), torch.tensor([[8.0, 8.0, 16.0, 16.0]]), 24, 24, 0.5)[0]
    # the mask pixels are 4 wide; blended into 0, probabilities fall to 0.5 at the border, so the corners go first
    assert pasted[8:16, 8:16].sum() == pasted.sum()
    assert paste_masks(torch.ones(1, 2, 2), torch.tensor([[8.0, 8.0, 16.0, 16.0]]), 24, 24, 0.1)[0, 7, 10]


def test_constant_masks_keep_their_value():
    masks, boxes = torch.full((1, 7, 7), 0.3), torch.tensor([[1.3, 2.7, 41.9, 33.1]])
    assert paste_masks(masks, boxes, 40, 50, masks[0, 0, 0].item())[0, 10:25, 10:30].all()
    assert (paste_masks(masks, boxes, 40, 50, -1)[0, 10:25, 10:30] == 76).all()


@pytest.mark.parametrize('box', [
    [5.0, 5, 5, 9], [5, 9, 8, 4], [float('nan'), 0, 5, 5], [0, 0, float('inf'), 5], [float('-inf'), 0, float('inf'), 9],
    [1e30, 1e30, 2e30, 2e30], [-50, -50, -20, -20], [100, 0, 120, 10], [3, 3, 3 + 1e-38, 9],
], ids=str)  # fmt: skip
def test_useless_boxes_give_empty_masks(box):
    masks = torch.ones(2, 4, 4)
    pasted = paste_masks(masks, torch.tensor([box, [2.0, 2, 10, 10]]), 12, 14)
    assert pasted[0].sum() == 0
    assert pasted[1].sum() > 50


def test_a_huge_box_shows_the_middle_of_its_mask():
    masks = torch.zeros(1, 3, 3)
    masks[0, 1, 1] = 1
    assert paste_masks(masks, torch.tensor([[-1e20, -1e20, 1e20, 1e20]]), 5, 6).all()


def test_odd_probabilities_are_cut_off():
    masks = torch.tensor([-3.0, 7.0, float('nan')]).view(3, 1, 1).expand(3, 5, 5)
    boxes = torch.tensor([[0.0, 0, 10, 10]]).expand(3, 4)
    assert paste_masks(masks, boxes, 10, 10, -1)[:, 5, 5].tolist() == [0, 255, 0]
    assert paste_masks(masks, boxes, 10, 10)[:, 5, 5].tolist() == [False, True, False]


@pytest.mark.parametrize('dtype', DTYPES)
def test_dtypes_and_layouts(random_boxes, random_masks, dtype):
    masks, boxes = random_masks(5, 14, 10).to(dtype), random_boxes(5)
    assert_pasted(masks, boxes, 60, 80, 0.5)
    assert torch.equal(paste_masks(masks, boxes, 60, 80), paste_masks(masks, boxes.double(), 60, 80))
    strided = masks.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert torch.equal(paste_masks(strided, boxes.T.contiguous().T, 60, 80), paste_masks(masks, boxes, 60, 80))


@pytest.mark.parametrize(
    'shape, size', [((0, 28, 28), (9, 7)), ((3, 28, 28), (0, 7)), ((3, 28, 28), (9, 0)), ((3, 0, 0), (9, 7))]
)
def test_empty(shape, size):
    for threshold, dtype in ((0.5, torch.bool), (-1, torch.uint8)):
        boxes = torch.tensor([[0.0, 0, 9, 9]]).expand(shape[0], 4)
        pasted = paste_masks(torch.ones(shape), boxes, *size, threshold)
        assert pasted.shape == (shape[0], *size)
        assert pasted.dtype == dtype
        assert pasted.sum() == (0 if 0 in shape or 0 in size else pasted.numel())


@pytest.mark.parametrize('change, error, words', [
    ({'masks': torch.ones(3, 1, 4, 4)}, ValueError, r'masks has shape \(3, 1, 4, 4\), \(n, h, w\) is expected'),
    ({'masks': torch.ones(3, 4, 4).bool()}, TypeError, 'masks has dtype torch.bool, a floating dtype is expected'),
    ({'boxes': torch.ones(2, 4)}, ValueError, r'boxes has shape \(2, 4\), \(3, 4\) is expected'),
    ({'boxes': torch.ones(3, 4, device='meta')}, ValueError, 'boxes is on meta, the other tensors are on cpu'),
    ({'img_h': -1}, ValueError, 'img_h is -1, a number from 0 to'),
])  # fmt: skip
def test_bad_pasting(change, error, words):
    good = {'masks': torch.ones(3, 4, 4), 'boxes': torch.ones(3, 4), 'img_h': 9, 'img_w': 9}
    with pytest.raises(error, match=words):
        paste_masks(**{**good, **change})


# Overlaps


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 40), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_mask_overlaps_by_definition(n, m, pixels, seed):
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(n, 3, pixels, generator=generator) > 0.6
    b = torch.rand(m, 3, pixels, generator=generator) > 0.6
    for mode in ('iou', 'iof'):
        out = mask_iou(a, b, mode)
        assert out.shape == (n, m) and out.dtype == torch.float32
        for i in range(n):
            for j in range(m):
                inner, whole = (a[i] & b[j]).sum(), (a[i] | b[j]).sum() if mode == 'iou' else a[i].sum()
                assert out[i, j] == (inner / whole if whole else 0)


def test_mask_overlaps_in_parts_and_under_autocast(rng, monkeypatch):
    a, b = torch.rand(4, 60, 70, generator=rng) > 0.4, torch.rand(3, 60, 70, generator=rng) > 0.4
    expected = mask_iou(a, b)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(mask_iou(a, b), expected)
    monkeypatch.setattr(sys.modules['mmdetlike_ops.mask_iou'], '_CHUNK_BYTES', 1000)
    assert torch.equal(mask_iou(a.to(torch.uint8), b.float()), expected)


def test_bad_overlaps():
    with pytest.raises(ValueError, match=r'b has shape \(2, 4, 5\), \(m, 4, 4\) is expected'):
        mask_iou(torch.ones(2, 4, 4), torch.ones(2, 4, 5))
    with pytest.raises(ValueError, match="mode is 'giou'"):
        mask_iou(torch.ones(2, 4, 4), torch.ones(2, 4, 4), 'giou')


# Matrix NMS


def decay_by_definition(masks, labels, scores, kernel, sigma):
    """Scores by falling score; of each mask, over its betters of the same class."""
    order = scores.argsort(descending=True).tolist()

    def overlap(i, j):
        return mask_iou(masks[i, None], masks[j, None]).item() if labels[i] == labels[j] else 0.0

    def f(iou):
        return 1 - iou if kernel == 'linear' else torch.exp(torch.tensor(-sigma * iou * iou)).item()

    decayed = {}
    for rank, j in enumerate(order):
        factors = []
        for place, i in enumerate(order[:rank]):
            largest = max((overlap(k, i) for k in order[:place]), default=0.0)
            factors.append(f(overlap(i, j)) / max(f(largest), 1e-6))
        decayed[j] = scores[j].item() * min(factors, default=1.0)
    return decayed


@given(st.integers(1, 8), st.sampled_from(['gaussian', 'linear']), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_matrix_nms_by_definition(n, kernel, seed):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(n, 5, 6, generator=generator) > 0.5
    labels, scores = torch.randint(0, 2, (n,), generator=generator), torch.rand(n, generator=generator)
    out, kinds, kept_masks, kept = mask_matrix_nms(masks, labels, scores, kernel=kernel, sigma=1.5)
    expected = decay_by_definition(masks, labels, scores, kernel, 1.5)
    torch.testing.assert_close(out, torch.tensor([expected[i] for i in kept.tolist()]), rtol=1e-4, atol=1e-6)
    assert sorted(kept.tolist()) == list(range(n))
    assert (out[:-1] >= out[1:]).all()
    assert torch.equal(kinds, labels[kept])
    assert torch.equal(kept_masks, masks[kept])


@pytest.fixture
def nested():
    """Three masks of one class, one a copy of the first, and one of another class."""
    masks = torch.zeros(4, 10, 10, dtype=torch.bool)
    masks[0, :, :5] = masks[1, :, :5] = masks[2, :, 5:] = masks[3, :, :5] = True
    return masks, torch.tensor([1, 1, 1, 2]), torch.tensor([0.9, 0.8, 0.7, 0.6])


def test_matrix_nms_of_copies(nested):
    scores, labels, _, kept = mask_matrix_nms(*nested, filter_thr=0.3)
    assert kept.tolist() == [0, 2, 3]
    torch.testing.assert_close(scores, torch.tensor([0.9, 0.7, 0.6]))
    assert labels.tolist() == [1, 1, 2]
    scores = mask_matrix_nms(*nested, kernel='linear')[0]
    torch.testing.assert_close(scores, torch.tensor([0.9, 0.7, 0.6, 0]))


def test_matrix_nms_limits(nested):
    assert mask_matrix_nms(*nested, nms_pre=2)[3].tolist() == [0, 1]
    assert mask_matrix_nms(*nested, max_num=2)[3].tolist() == [0, 2]
    assert [len(part) for part in mask_matrix_nms(*nested, filter_thr=0.95)] == [0, 0, 0, 0]
    area = nested[0].sum((1, 2))
    assert torch.equal(mask_matrix_nms(*nested, mask_area=area)[0], mask_matrix_nms(*nested)[0])
    larger = mask_matrix_nms(*nested, mask_area=2 * area)[0]
    torch.testing.assert_close(larger, torch.tensor([0.9, 0.8 * 2.718281828 ** (-2 / 9), 0.7, 0.6]).sort()[0].flip(0))


def test_matrix_nms_of_nothing_and_of_empty_masks():
    empty = mask_matrix_nms(torch.zeros(0, 5, 6).bool(), torch.zeros(0).long(), torch.zeros(0))
    assert [tuple(part.shape) for part in empty] == [(0,), (0,), (0, 5, 6), (0,)]
    scores = mask_matrix_nms(torch.zeros(3, 5, 6).bool(), torch.zeros(3).long(), torch.tensor([0.2, 0.5, 0.3]))[0]
    assert scores.tolist() == pytest.approx([0.5, 0.3, 0.2])


@pytest.mark.parametrize('change, error, words', [
    ({'labels': torch.zeros(3)}, ValueError, r'labels has shape \(3,\), \(4,\) is expected'),
    ({'scores': torch.zeros(4).long()}, TypeError, 'scores has dtype torch.int64, a floating dtype is expected'),
    ({'mask_area': torch.zeros(5)}, ValueError, r'mask_area has shape \(5,\), \(4,\) is expected'),
    ({'masks': torch.zeros(4, 9)}, ValueError, r'masks has shape \(4, 9\), \(n, h, w\) is expected'),
    ({'kernel': 'naive'}, ValueError, r"kernel is 'naive', one of \('gaussian', 'linear'\) is expected"),
])  # fmt: skip
def test_bad_matrix_nms(nested, change, error, words):
    good = dict(zip(('masks', 'labels', 'scores'), nested))
    with pytest.raises(error, match=words):
        mask_matrix_nms(**{**good, **change})


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', DTYPES)
def test_on_cuda(cuda, rng, random_boxes, random_masks, dtype):
    masks, boxes = random_masks(20).to(dtype), random_boxes(20)
    for threshold in (0.5, -1):
        pasted = paste_masks(masks.to(cuda), boxes.to(cuda), 300, 400, threshold)
        assert torch.equal(pasted.cpu(), paste_masks(masks, boxes, 300, 400, threshold))
    shapes, labels = masks > 0.5, torch.arange(20) % 2
    scores = torch.rand(20, generator=rng)
    torch.testing.assert_close(mask_iou(shapes.to(cuda), shapes.to(cuda)).cpu(), mask_iou(shapes, shapes))
    ours = mask_matrix_nms(shapes.to(cuda), labels.to(cuda), scores.to(cuda))
    for actual, expected in zip(ours, mask_matrix_nms(shapes, labels, scores)):
        torch.testing.assert_close(actual.cpu(), expected)


# Peaks of heatmaps


@pytest.mark.parametrize('size', [(1, 1), (7, 5), (16, 16), (90, 200)])
def test_peaks_are_those_of_the_resized_heatmaps(rng, size):
    maps = torch.randn(2, 3, 16, 16, generator=rng)
    other = (30, 9)
    pixels, values = heatmap_peaks(maps, torch.tensor([size, other]))
    assert (pixels.dtype, values.shape) == (torch.int64, (2, 3))
    for i, (height, width) in enumerate((size, other)):
        resized = F.interpolate(maps[i : i + 1], size=(height, width), mode='bicubic')[0]
        assert torch.equal(values[i], resized.amax((1, 2)))
        for k, (row, column) in enumerate(pixels[i].tolist()):
            assert resized[k, row, column] == values[i, k]


@pytest.mark.parametrize(
    'maps, sizes, error, message',
    [
        (torch.zeros(2, 3, 4), torch.ones(2, 2).long(), ValueError, r'maps has shape \(2, 3, 4\)'),
        (torch.zeros(2, 1, 3, 4), torch.ones(1, 2).long(), ValueError, r'sizes has shape \(1, 2\), \(2, 2\) is'),
        (torch.zeros(1, 1, 3, 4), torch.ones(1, 2), TypeError, 'sizes has dtype torch.float32, an integer dtype'),
    ],
)
def test_heatmaps_of_a_wrong_form_are_refused(maps, sizes, error, message):
    with pytest.raises(error, match=f'heatmap_peaks: {message}'):
        heatmap_peaks(maps, sizes)
