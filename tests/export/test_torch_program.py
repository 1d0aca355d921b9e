"""Programs of torch's own kinds, of a model that is compiled in seconds."""

import pytest
import torch
from torch import nn

from mmdetlike.export.program import Sizes
from mmdetlike.export.torch_program import read_aoti, read_torch, write_aoti, write_torch

KINDS = {'torch': (write_torch, read_torch), 'aoti': (write_aoti, read_aoti)}


class FirstChannel(nn.Module):
    """Returns the first channel of images (N, 3, H, W), twice."""

    def forward(self, images):
        return dict(doubled=images[:, 0] * 2)


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_pixels_are_read_in_whatever_order_they_are_in_memory(kind, tmp_path):
    write, read = KINDS[kind]
    program = torch.export.export(FirstChannel(), (torch.zeros(1, 3, 4, 5),))
    path = tmp_path / 'program.pt2'
    write(program, path, ['doubled'], Sizes.fixed(4, 5), dict(limit=3))
    run, sizes, facts = read(path)
    assert (sizes, facts) == (Sizes.fixed(4, 5), dict(limit=3))
    images = torch.arange(60.0).view(1, 3, 4, 5)
    assert torch.equal(run(images)['doubled'], 2 * images[:, 0])
    assert torch.equal(run(images.to(memory_format=torch.channels_last))['doubled'], 2 * images[:, 0])
