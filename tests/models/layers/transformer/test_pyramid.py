"""The levels of a pyramid in one row: padding, positions, reference points."""

import pytest
import torch

from mmdetlike.models.layers.transformer import SinePositionalEncoding, flatten_pyramid, padding_at
from mmdetlike.models.utils import padding_masks


@pytest.mark.parametrize('options', [dict(), dict(normalize=True), dict(normalize=True, offset=-0.5, scale=3.0)])
def test_rows_and_columns_are_encoded_once(options):
    encoding = SinePositionalEncoding(8, **options)
    by_mask = encoding(torch.zeros(2, 5, 7, dtype=torch.bool))
    assert torch.equal(encoding(None, input=torch.zeros(2, 3, 5, 7)), by_mask)


def test_padding_masks():
    assert padding_masks([(4, 6), (4, 6, 3)], (4, 6), 'cpu') is None
    masks = padding_masks([(4, 6), (2, 3)], (4, 6), 'cpu')
    assert not masks[0].any() and (~masks[1]).nonzero().tolist() == [[y, x] for y in range(2) for x in range(3)]
    assert padding_at(masks, (2, 2))[1].tolist() == [[False, True], [True, True]]
    assert padding_at(None, (2, 2)) is None


def test_reference_points_and_valid_ratios():
    masks = padding_masks([(8, 8), (8, 4)], (8, 8), 'cpu')
    feats = [torch.randn(2, 4, 4, 4), torch.randn(2, 4, 2, 2)]
    pyramid = flatten_pyramid(feats, masks, SinePositionalEncoding(2), torch.ones(2, 4))
    assert pyramid.spatial_shapes.tolist() == [[4, 4], [2, 2]] and pyramid.level_start_index.tolist() == [0, 16]
    assert pyramid.valid_ratios.tolist() == [[[1, 1], [1, 1]], [[0.5, 1], [0.5, 1]]]
    points = pyramid.reference_points()
    assert points.shape == (2, 20, 2, 2)
    assert points[0, 5, 0].tolist() == [0.375, 0.375] and points[0, 17, 1].tolist() == [0.75, 0.25]
    # the pixel at 0.375 of a map of which half is image is at 0.75 of the image, and at 0.375 of each level again
    assert points[1, 5, 1].tolist() == [0.375, 0.375]
    torch.testing.assert_close(pyramid.feats[:, 16:], feats[1].flatten(2).transpose(1, 2))
    torch.testing.assert_close(pyramid.pos[0, 0] - 1, SinePositionalEncoding(2)(masks[:1, ::2, ::2])[0, :, 0, 0])
    with pytest.raises(ValueError, match='the pyramid has 2 maps, the transformer is built for 3 levels'):
        flatten_pyramid(feats, masks, SinePositionalEncoding(2), torch.ones(3, 4))
