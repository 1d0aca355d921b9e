"""Deformable decoders and what refines references."""

import pytest
import torch

from mmdetlike.models.layers.transformer import refine_references
from tests.models.tiny_queries import DEFORMABLE_DECODER, deformable


def test_refine_references():
    deltas = torch.tensor([[0.5, -0.5, 1.0, 2.0]])
    points = refine_references(torch.tensor([[0.5, 0.8]]), deltas)
    expected = torch.tensor([[0.5, -0.5, 1.0, 2.0]]) + torch.tensor([[0.0, torch.tensor(4.0).log(), 0, 0]])
    torch.testing.assert_close(points, expected.sigmoid())
    torch.testing.assert_close(refine_references(torch.full((1, 4), 0.5), deltas), deltas.sigmoid())


@pytest.mark.parametrize('cfg', [dict(post_norm_cfg=dict(type='LN')), dict(return_intermediate=False)])
def test_deformable_decoder_refuses(cfg):
    with pytest.raises(ValueError, match='a deformable decoder has no post_norm_cfg and returns all layers'):
        deformable(decoder=dict(DEFORMABLE_DECODER, **cfg))
