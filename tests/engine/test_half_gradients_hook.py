"""Gradients in half precision between processes."""

from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmdetlike.registry import HOOKS


@pytest.fixture
def one_process(tmp_path):
    """A group of this process alone."""
    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/group', rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def gradient(model: nn.Module) -> torch.Tensor:
    HOOKS.build(dict(type='Fp16CompresssionHook')).before_train(SimpleNamespace(model=model))
    (model(torch.ones(1, 1)) * (1 + 2**-20)).sum().backward()
    return next(model.parameters()).grad


@pytest.mark.skipif(not dist.is_gloo_available(), reason='torch was built without gloo')
def test_gradients_are_rounded_on_their_way(one_process):
    # 1 + 2 ** -20 is no number of 16 bits
    assert gradient(DistributedDataParallel(nn.Linear(1, 1, bias=False))).item() == 1


def test_a_single_process_keeps_its_gradients():
    assert gradient(nn.Linear(1, 1, bias=False)).item() == 1 + 2**-20
