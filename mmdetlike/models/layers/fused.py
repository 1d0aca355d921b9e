"""Layers for prediction on a CPU: what follows a convolution or a matrix product is computed in the same kernel.

oneDNN applies a bias, the sum with another map and an activation while its result is still in the cache; each of them
alone would read and write the whole map once more. Its matrix products are also fast on CPUs of every maker, where MKL,
which torch calls for linear layers and in one thread for 1x1 convolutions, reaches half of that on some.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .activation import Swish

# oneDNN's names of activations
_ACTIVATIONS = {nn.ReLU: 'relu', nn.SiLU: 'swish', Swish: 'swish', nn.Identity: 'none'}
_PLAIN = {'relu': F.relu, 'swish': F.silu, 'none': nn.Identity()}
_DTYPES = (torch.float32, torch.bfloat16)


def activation_name(layer: nn.Module | None) -> str | None:
    """What ``FusedConv2d`` calls the activation ``layer``, ``'none'`` for None; None where it can't compute it."""
    if layer is None:
        return 'none'
    return None if has_hooks(layer) else _ACTIVATIONS.get(type(layer))


def has_hooks(layer: nn.Module) -> bool:
    """Whether somebody watches or changes what ``layer`` is given or puts out, as spectral norm does."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def can_fuse(layer: nn.Module) -> bool:
    """Whether ``FusedConv2d`` or ``FusedLinear`` can take the place of ``layer``."""
    # of subclasses nobody knows what else they compute
    if type(layer) not in (nn.Conv2d, nn.Linear, FusedConv2d) or has_hooks(layer):
        return False
    weight = layer._parameters.get('weight')  # not a parameter where it is computed anew in each call
    if weight is None or weight.device.type != 'cpu' or weight.dtype not in _DTYPES:
        return False
    return type(layer) is nn.Linear or (layer.padding_mode == 'zeros' and not isinstance(layer.padding, str))


def _fits(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN's kernels can be called: they know neither graphs nor gradients, nor maps without elements."""
    is_traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    needs_grad = torch.is_grad_enabled() and x.requires_grad
    return not (is_traced or needs_grad) and x.device == weight.device and weight.device.type == 'cpu' and x.numel() > 0


class FusedConv2d(nn.Conv2d):
    """A convolution, perhaps the sum with another map, and an activation, as one kernel.

    ``conv``, which ``can_fuse``, shares its parameters; ``activation`` is what ``activation_name`` says.
    """

    def __init__(self, conv: nn.Conv2d, activation: str = 'none') -> None:
        nn.Module.__init__(self)
        # all that a convolution is, without drawing weights that would be thrown away
        self.__dict__.update({name: value for name, value in vars(conv).items() if not name.startswith('_')})
        self._reversed_padding_repeated_twice = conv._reversed_padding_repeated_twice
        self.register_parameter('weight', conv.weight)
        self.register_parameter('bias', conv.bias)
        self.activation = activation

    def forward(self, x: Tensor, other: Tensor | None = None, into_other: bool = False) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W').

        ``other``, of that shape, is added before the activation; ``into_other`` lets the result take its memory.
        """
        # after a sum oneDNN computes no other activation
        if not _fits(x, self.weight) or (other is not None and self.activation not in ('relu', 'none')):
            out = super().forward(x)
            return _PLAIN[self.activation](out if other is None else out + other)
        x = x.to(self.weight.dtype)
        settings = (self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups)
        if other is None:
            return torch.ops.mkldnn._convolution_pointwise(x, *settings, self.activation, [], '')
        other = other.to(x.dtype)
        then = ('add', None, None if self.activation == 'none' else self.activation, [], '')
        if into_other:
            return torch.ops.mkldnn._convolution_pointwise_.binary(other, x, *settings, *then)
        return torch.ops.mkldnn._convolution_pointwise.binary(x, other, *settings, *then)


class FusedLinear(nn.Linear):
    """A linear layer by oneDNN's matrix product; parameters as ``linear`` has them."""

    def __init__(self, linear: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.register_parameter('weight', linear.weight)
        self.register_parameter('bias', linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        if not _fits(x, self.weight):
            return super().forward(x)
        return torch.ops.mkldnn._linear_pointwise(x.to(self.weight.dtype), self.weight, self.bias, 'none', [], '')
