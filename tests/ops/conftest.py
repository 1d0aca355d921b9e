"""What tests of operators share: the recorded cases, boxes and regions to test on, and the CUDA device."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

REFERENCE = Path(__file__).parents[1] / 'data' / 'reference'


class Recording:
    """Cases of `ops.json`: settings with their input and output tensors."""

    def __init__(self, name='ops'):
        self.cases = json.loads((REFERENCE / f'{name}.json').read_text())
        self.arrays = np.load(REFERENCE / f'{name}.npz')

    def tensor(self, index, key):
        return torch.from_numpy(self.arrays[f'{index}/{key}'])

    def select(self, op):
        """(settings, inputs, tensor getter) of each case of one operator."""
        for index, case in enumerate(self.cases):
            if case['op'] == op:
                inputs = {name: self.tensor(index, f'in/{name}') for name in case['inputs']}
                yield case, inputs, lambda key, index=index: self.tensor(index, key)


@pytest.fixture(scope='session')
def recording():
    return Recording()


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def random_boxes(rng):
    """Makes n boxes, xyxy, with centres in an image of 300 x 400 pixels."""

    def make(n, smallest=8.0, largest=120.0):
        centres = torch.rand(n, 2, generator=rng) * torch.tensor([400.0, 300.0])
        sizes = smallest + torch.rand(n, 2, generator=rng) * (largest - smallest)
        return torch.cat([centres - sizes / 2, centres + sizes / 2], dim=1)

    return make


@pytest.fixture
def random_rois(random_boxes, rng):
    """Makes k regions (k, 5) of a batch of `images` images."""

    def make(k, images=2):
        return torch.cat([torch.randint(0, images, (k, 1), generator=rng).float(), random_boxes(k)], dim=1)

    return make


@pytest.fixture
def cuda():
    """The CUDA device; skips the test where there is none."""
    if not torch.cuda.is_available():
        pytest.skip('needs a CUDA device')
    return torch.device('cuda')
