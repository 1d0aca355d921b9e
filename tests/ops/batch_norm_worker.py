"""One of two processes that normalise a batch together: `python batch_norm_worker.py RANK ADDRESS`."""

import sys

import torch
import torch.distributed as dist
from torch import nn

from mmdetlike_ops import NaiveSyncBatchNorm, SyncBatchNorm

RANK = int(sys.argv[1])


def check_sync_batch_norm_is_batch_norm_of_the_whole_batch():
    x = torch.linspace(-1, 3, 2 * 3 * 4, dtype=torch.double).sin().view(4, 3, 2)
    layer, whole = SyncBatchNorm(3).double(), nn.BatchNorm1d(3).double()
    rows = (slice(0, 1), slice(1, 4))[RANK]
    part, full = x[rows].clone().requires_grad_(), x.clone().requires_grad_()
    out, expected = layer(part), whole(full)
    out.pow(3).sum().backward()
    expected.pow(3).sum().backward()
    torch.testing.assert_close(out, expected[rows])
    torch.testing.assert_close(part.grad, full.grad[rows])
    torch.testing.assert_close(layer.running_mean, whole.running_mean)
    torch.testing.assert_close(layer.running_var, whole.running_var)
    assert layer.num_batches_tracked == 1
    half = part.detach().bfloat16()
    assert torch.equal(SyncBatchNorm(3)(half), SyncBatchNorm(3)(half.float()).bfloat16())


def naive_by_definition(layer, parts, weights):
    """Outputs, mean and variance from each process's mean and mean square."""
    present = [(weight / sum(weights), part) for weight, part in zip(weights, parts) if weight]
    mean = sum(share * part.mean((0, 2, 3)) for share, part in present)
    square = sum(share * part.square().mean((0, 2, 3)) for share, part in present)
    var = square - mean.square()
    mean_map, scale, bias = (
        values.view(1, 3, 1, 1) for values in (mean, layer.weight / (var + layer.eps).sqrt(), layer.bias)
    )
    return [(part - mean_map) * scale + bias for part in parts], mean, var


def check_naive_sync_batch_norm(mode, count):
    x = torch.linspace(-1, 3, 8 * 3 * 4, dtype=torch.double).sin().view(8, 3, 2, 2).clone()
    x[5:] = x[5:, :, :1, :1] + 1
    parts = x[:count], x[count:]
    layer = NaiveSyncBatchNorm(3, momentum=0.25, stats_mode=mode).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 2.0, 0.5]))
        layer.bias.copy_(torch.tensor([0.1, -0.2, 0.3]))
    part = parts[RANK].clone().requires_grad_()
    out = layer(part)
    out.pow(3).sum().backward()
    assert layer.weight.grad.shape == (3,)

    full = [part.clone().requires_grad_() for part in parts]
    weights = [1, 1] if mode == '' else [len(part) for part in parts]
    expected, mean, var = naive_by_definition(layer, full, weights)
    sum(part.pow(3).sum() for part in expected).backward()
    torch.testing.assert_close(out, expected[RANK])
    torch.testing.assert_close(part.grad, full[RANK].grad)
    torch.testing.assert_close(layer.running_mean, 0.25 * mean.detach())
    torch.testing.assert_close(layer.running_var, 0.75 + 0.25 * var.detach())


def check_naive_sync_batch_norm_without_any_image():
    layer = NaiveSyncBatchNorm(3, stats_mode='N')
    x = torch.zeros(0, 3, 2, 2, requires_grad=True)
    out = layer(x)
    out.sum().backward()
    assert out.shape == x.grad.shape == (0, 3, 2, 2)
    assert layer.running_mean.tolist() == [0, 0, 0] and layer.running_var.tolist() == [1, 1, 1]
    try:
        NaiveSyncBatchNorm(3)(x)
    except ValueError as error:
        assert "x has no images, which takes stats_mode='N'" in str(error)
    else:
        raise AssertionError('an empty batch was taken')


if __name__ == '__main__':
    dist.init_process_group('gloo', init_method=sys.argv[2], rank=RANK, world_size=2)
    check_sync_batch_norm_is_batch_norm_of_the_whole_batch()
    for mode, count in (('', 4), ('', 3), ('N', 3), ('N', 0)):
        check_naive_sync_batch_norm(mode, count)
    check_naive_sync_batch_norm_without_any_image()
    dist.barrier()
    dist.destroy_process_group()
