"""Batch norms: frozen, and over two processes."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from mmdetlike_ops import FrozenBatchNorm2d, NaiveSyncBatchNorm, SyncBatchNorm, convert_frozen_batchnorm
from tests.utils import process_settings


def randomised(layer):
    for tensor in layer.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 2)
    return layer


# Frozen


def test_frozen_batch_norm_is_batch_norm_in_eval():
    reference = randomised(nn.BatchNorm2d(3)).eval()
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


def test_conversion_freezes_values_in_place():
    def block(norm):
        return nn.Sequential(nn.Conv2d(3, 3, 1), randomised(norm))

    net = nn.Sequential(block(nn.BatchNorm2d(3, eps=1e-3)), block(nn.SyncBatchNorm(3)), nn.BatchNorm1d(3)).eval()
    x = torch.rand(2, 3, 4, 4)
    expected = net[1](net[0](x))
    assert convert_frozen_batchnorm(net) is net
    torch.testing.assert_close(net[1](net[0](x)), expected)
    assert [type(layer).__name__ for layer in (net[0][1], net[1][1], net[2])] == [
        'FrozenBatchNorm2d', 'FrozenBatchNorm2d', 'BatchNorm1d'
    ]  # fmt: skip
    assert net[0][1].eps == 1e-3 and not net[0][1].training
    assert [name for name, _ in net.named_parameters() if '.1.' in name] == []


def test_conversion_of_a_layer_itself_and_of_shared_layers():
    layer = randomised(nn.BatchNorm2d(3, affine=False).double()).eval()
    frozen = convert_frozen_batchnorm(layer)
    x = torch.rand(2, 3, 4, 4, dtype=torch.double)
    torch.testing.assert_close(frozen(x), layer(x))
    assert isinstance(frozen, FrozenBatchNorm2d)
    shared = nn.BatchNorm2d(3)
    net = convert_frozen_batchnorm(nn.ModuleDict({'a': shared, 'b': nn.Sequential(shared, nn.ReLU())}))
    assert net['a'] is net['b'][0] and isinstance(net['a'], FrozenBatchNorm2d)
    with pytest.raises(ValueError, match='convert_frozen_batchnorm: 1 keeps no running statistics that could freeze'):
        convert_frozen_batchnorm(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3, track_running_stats=False)))


# Over processes


@pytest.mark.parametrize('kind', [SyncBatchNorm, NaiveSyncBatchNorm])
def test_one_process_alone_is_batch_norm(kind):
    reference = randomised(nn.BatchNorm2d(3))
    layer = kind(3)
    layer.load_state_dict(reference.state_dict())
    x = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(layer(x), reference(x))
    torch.testing.assert_close(layer.state_dict(), reference.state_dict())
    torch.testing.assert_close(layer.eval()(x), reference.eval()(x))


def test_over_two_cpu_processes():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        address = f'tcp://127.0.0.1:{probe.getsockname()[1]}'
    command = [sys.executable, str(Path(__file__).with_name('batch_norm_worker.py'))]
    workers = [subprocess.Popen([*command, str(rank), address], **process_settings()) for rank in range(2)]
    errors = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors


def test_naive_sync_batch_norm_settings():
    assert list(NaiveSyncBatchNorm(3).state_dict()) == list(nn.BatchNorm2d(3).state_dict())
    assert "stats_mode='N'" in repr(NaiveSyncBatchNorm(3, stats_mode='N'))
    with pytest.raises(ValueError, match=r"stats_mode is 'n', one of \('', 'N'\) is expected"):
        NaiveSyncBatchNorm(3, stats_mode='n')


def test_a_new_frozen_norm_changes_nothing():
    x = torch.randn(2, 3, 4, 5) * 100
    for eps in (1e-5, 1e-3):
        assert torch.equal(FrozenBatchNorm2d(3, eps)(x), x)


def test_weight_and_bias_alone_load_as_caffe2_saved_them():
    model = nn.Sequential(FrozenBatchNorm2d(2))
    model.load_state_dict({'0.weight': torch.tensor([2.0, 3]), '0.bias': torch.tensor([0.0, 1])})
    x = torch.ones(1, 2, 1, 1)
    assert model(x).flatten().tolist() == [2.0, 4.0]
    damaged = {'0.weight': torch.ones(2), '0.bias': torch.ones(2), '0.running_mean': torch.ones(2)}
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "0.running_var"'):
        model.load_state_dict(damaged)


def test_the_class_converts_as_the_function_does():
    assert isinstance(FrozenBatchNorm2d.convert_frozen_batchnorm(nn.BatchNorm2d(2)), FrozenBatchNorm2d)
