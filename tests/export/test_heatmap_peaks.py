"""Best pixels of heatmaps, in the form for ONNX, against those of the heatmaps resized."""

import pytest
import torch
import torch.nn.functional as F

from mmdetlike.export.heatmap_peaks import peaks_on_pixels


def random_heatmaps(count: int, side: int, seed: int = 0) -> torch.Tensor:
    """Heatmaps (count, 5, side, side) of noise about as smooth as what a keypoint head predicts, with many peaks."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 5, side // 2, side // 2, generator=generator)
    return F.interpolate(coarse, scale_factor=2.0, mode='bilinear', align_corners=False)


@pytest.mark.parametrize(
    'size',
    [(1, 1), (1, 90), (7, 5), (56, 56), (160, 161), (161, 30), (30, 161), (138, 203), (321, 900), (1440, 1300)],
)
@pytest.mark.parametrize('side', [16, 56])
def test_they_are_those_of_the_resized_heatmap(size, side):
    maps = random_heatmaps(3, side)
    resized = F.interpolate(maps, size=size, mode='bicubic', align_corners=False).flatten(2)
    expected, indices = resized.max(2)
    pixels, values = peaks_on_pixels(maps, torch.tensor([size] * 3))
    torch.testing.assert_close(values, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(pixels, torch.stack([indices // size[1], indices % size[1]], dim=-1))


def test_each_region_has_its_own_size():
    maps = random_heatmaps(2, 16)
    sizes = torch.tensor([[40, 300], [500, 20]])
    pixels, values = peaks_on_pixels(maps, sizes)
    for i in range(2):
        alone, value = peaks_on_pixels(maps[i : i + 1], sizes[i : i + 1])
        assert torch.equal(alone[0], pixels[i])
        torch.testing.assert_close(value[0], values[i])


def test_on_very_large_regions_pixels_are_passed_over():
    maps = random_heatmaps(1, 16)
    pixels, values = peaks_on_pixels(maps, torch.tensor([[2000, 3000]]))
    resized = F.interpolate(maps, size=(2000, 3000), mode='bicubic').flatten(2)
    expected, indices = resized.max(2)
    assert (pixels - torch.stack([indices // 3000, indices % 3000], dim=-1)).abs().max() <= 2
    torch.testing.assert_close(values, expected, atol=1e-2, rtol=0)


def test_equal_cells_have_a_peak_inside():
    pixels, values = peaks_on_pixels(torch.full((1, 2, 16, 16), 3.0), torch.tensor([[5, 200]]))
    assert (pixels[..., 0] < 5).all() and (pixels[..., 1] < 200).all() and (pixels >= 0).all()
    torch.testing.assert_close(values, torch.full((1, 2), 3.0))
