"""Batch norms and 1x1 convolutions of channels-last maps on a CPU: exact, and with oneDNN in one thread."""

import copy

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmdetlike.models.layers.norm import BatchNorm2d
from mmdetlike_ops import SyncBatchNorm
from mmdetlike_ops.channels_last import Conv2d, exact_statistics


def channels_last(*shape, mean=0.0, seed=0):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + mean
    return x.to(memory_format=torch.channels_last)


def train(layer, x, grad):
    """Output, gradients and state after one step in training mode."""
    layer = copy.deepcopy(layer).train()
    x = x.clone().requires_grad_()
    out = layer(x)
    out.backward(grad.to(out))
    grads = {f'gradient of {name}': parameter.grad for name, parameter in layer.named_parameters()}
    return {'out': out.detach(), 'gradient of x': x.grad, **grads, **layer.state_dict()}


@pytest.mark.parametrize('momentum', [0.1, None])
@pytest.mark.parametrize('affine', [True, False])
@pytest.mark.parametrize('cls', [BatchNorm2d, SyncBatchNorm])
@pytest.mark.parametrize('shape', [(2, 3, 5, 7), (1, 4, 1, 3), (3, 2, 4, 1), (2, 8, 1, 1)])
def test_batch_norm_of_channels_last_is_that_of_float64(shape, cls, affine, momentum):
    layer = cls(shape[1], affine=affine, momentum=momentum)
    x = channels_last(*shape, mean=3.0)
    grad = channels_last(*shape, seed=1)
    got = train(layer, x, grad)
    wanted = train(nn.BatchNorm2d(shape[1], affine=affine, momentum=momentum).double(), x.double(), grad.double())
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(got[name], value.to(got[name].dtype), rtol=2e-5, atol=2e-5, msg=name)


def test_running_statistics_that_are_not_tracked():
    x = channels_last(2, 3, 4, 5)
    layer = BatchNorm2d(3, track_running_stats=False)
    torch.testing.assert_close(layer(x), layer.eval()(x))


def test_statistics_of_many_pixels_are_as_exact_as_those_of_channels_first():
    x = channels_last(2, 16, 200, 272, mean=3.0)
    mean, var = exact_statistics(x)
    exact = x.double()
    ours = ((mean - exact.mean((0, 2, 3))) / mean).abs().max()
    assert ours < 3e-7
    assert ((var - exact.var((0, 2, 3), unbiased=False)) / var).abs().max() < 3e-7
    _, of_torch, _ = torch.native_batch_norm(x, None, None, None, None, True, 0.0, 1e-5)
    # the reason why this exists: once torch does better, it can go
    assert ((of_torch - mean) / mean).abs().max() > 3 * ours


def second_gradient(layer, x):
    x = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad((layer(x) ** 3).sum(), x, create_graph=True)
    return torch.autograd.grad(grad.square().sum(), x)[0]


def test_batch_norm_keeps_the_layout_and_has_second_derivatives():
    x = channels_last(2, 2, 3, 3)
    assert BatchNorm2d(2)(x).is_contiguous(memory_format=torch.channels_last)
    wanted = second_gradient(nn.BatchNorm2d(2).double(), x.double())
    torch.testing.assert_close(second_gradient(BatchNorm2d(2), x), wanted.float(), rtol=1e-3, atol=1e-3)


class Dilations(TorchDispatchMode):
    """Collects the dilations of convolutions."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution.default:
            self.seen.append(args[5])
        return func(*args, **(kwargs or {}))


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize('groups', [1, 2])
def test_pointwise_convolution_goes_to_onednn_in_one_thread_with_the_same_result(one_thread, groups):
    conv = Conv2d(64, 32, 1, groups=groups)
    x = channels_last(2, 64, 40, 40)
    grad = channels_last(2, 32, 40, 40, seed=1)
    with Dilations() as dilations:
        got = train(conv, x, grad)
    assert dilations.seen == [[2, 2]]
    plain = nn.Conv2d(64, 32, 1, groups=groups)
    plain.load_state_dict(conv.state_dict())
    for name, value in train(plain, x, grad).items():
        torch.testing.assert_close(got[name], value, rtol=1e-4, atol=1e-3, msg=name)


@pytest.mark.parametrize(
    ('conv', 'x'),
    [
        (Conv2d(64, 8, 3, padding=1), channels_last(1, 64, 40, 40)),
        (Conv2d(64, 8, 1, stride=2), channels_last(1, 64, 40, 40)),
        (Conv2d(64, 8, 1, padding=1), channels_last(1, 64, 40, 40)),
        (Conv2d(64, 8, 1), channels_last(1, 64, 40, 40).contiguous()),
        (Conv2d(64, 8, 1), channels_last(1, 64, 4, 4)),
        (Conv2d(64, 8, 1).double(), channels_last(1, 64, 40, 40).double()),
    ],
    ids=['3x3', 'strided', 'padded', 'channels first', 'small', 'float64'],
)
def test_other_convolutions_are_torch_s(one_thread, conv, x):
    with Dilations() as dilations, torch.no_grad():
        out = conv(x)
    assert dilations.seen == [[1, 1]]
    assert torch.equal(out, nn.functional.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding))


def test_a_traced_convolution_is_a_plain_one(one_thread):
    program = torch.export.export(Conv2d(64, 8, 1), (channels_last(1, 64, 40, 40),))
    node = next(node for node in program.graph.nodes if 'conv' in str(node.target))
    assert [2, 2] not in node.args
