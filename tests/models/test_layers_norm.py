"""Norm layers of our own."""

import socket
import subprocess
import sys

import pytest
import torch
from torch import nn

from mmdetlike.models.layers import FrozenBatchNorm2d, LayerNorm2d, SyncBatchNorm

_TWO_PROCESSES = """
import sys, torch, torch.distributed as dist
from mmdetlike.models.layers import SyncBatchNorm
rank = int(sys.argv[1])
dist.init_process_group('gloo', init_method=sys.argv[2], rank=rank, world_size=2)
x = torch.linspace(-1, 3, 2 * 3 * 4, dtype=torch.double).sin().view(4, 3, 2)
layer, whole = SyncBatchNorm(3).double(), torch.nn.BatchNorm1d(3).double()
part = (x[:1], x[1:])[rank].clone().requires_grad_()
full = x.clone().requires_grad_()
out, expected = layer(part), whole(full)
out.pow(3).sum().backward()
expected.pow(3).sum().backward()
rows = slice(0, 1) if rank == 0 else slice(1, 4)
torch.testing.assert_close(out, expected[rows])
torch.testing.assert_close(part.grad, full.grad[rows])
torch.testing.assert_close(layer.running_mean, whole.running_mean)
torch.testing.assert_close(layer.running_var, whole.running_var)
assert layer.num_batches_tracked == 1
"""


def _randomised(layer):
    for tensor in layer.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 2)
    return layer


def test_frozen_batch_norm_is_batch_norm_in_eval():
    reference = _randomised(nn.BatchNorm2d(3)).eval()
    frozen = FrozenBatchNorm2d(3)
    frozen.load_state_dict(reference.state_dict())
    x = torch.rand(2, 3, 4, 4)
    frozen.train()
    torch.testing.assert_close(frozen(x), reference(x))
    assert list(frozen.parameters()) == []
    assert list(frozen.state_dict()) == ['weight', 'bias', 'running_mean', 'running_var']


def test_frozen_batch_norm_does_not_change_the_checkpoint_of_the_caller():
    state = nn.BatchNorm2d(3).state_dict()
    FrozenBatchNorm2d(3).load_state_dict(state)
    assert 'num_batches_tracked' in state


def test_layer_norm_2d_normalises_channels():
    layer = _randomised(LayerNorm2d(5))
    x = torch.rand(2, 5, 3, 4)
    mean, var = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    expected = (x - mean) / (var + 1e-5).sqrt() * layer.weight.view(-1, 1, 1) + layer.bias.view(-1, 1, 1)
    torch.testing.assert_close(layer(x), expected)
    with pytest.raises(ValueError, match=r'\(N, C, H, W\), but got \(2, 5\)'):
        layer(torch.rand(2, 5))


def test_sync_batch_norm_alone_is_batch_norm():
    reference = _randomised(nn.BatchNorm2d(3))
    layer = SyncBatchNorm(3)
    layer.load_state_dict(reference.state_dict())
    x = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(layer(x), reference(x))
    torch.testing.assert_close(layer.state_dict(), reference.state_dict())
    torch.testing.assert_close(layer.eval()(x), reference.eval()(x))


def test_sync_batch_norm_over_two_cpu_processes():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        address = f'tcp://127.0.0.1:{probe.getsockname()[1]}'
    workers = [
        subprocess.Popen([sys.executable, '-c', _TWO_PROCESSES, str(rank), address], stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    errors = [worker.communicate(timeout=120)[1].decode() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors
