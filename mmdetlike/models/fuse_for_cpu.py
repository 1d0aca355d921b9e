"""A model whose batch norms are folded, made fast for prediction on a CPU: activations and sums within convolutions.

oneDNN applies a bias, the sum with another map and an activation while its result is still in the cache; each of them
alone would read and write the whole map once more. Its matrix products are also fast on CPUs of every maker, where MKL,
which torch calls for linear layers and in one thread for 1x1 convolutions, reaches half of that on some.
"""

from collections.abc import Iterable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbones.resnet import BasicBlock, Bottleneck
from .backbones.staged import StagedBackbone
from .layers import ConvModule, Swish

# oneDNN's names of activations
_ACTIVATIONS = {nn.ReLU: 'relu', nn.SiLU: 'swish', Swish: 'swish'}
_PLAIN = {'relu': F.relu, 'swish': F.silu, 'none': nn.Identity()}
_DTYPES = (torch.float32, torch.bfloat16)


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

    ``conv``, which ``can_fuse``, shares its parameters; ``activation`` is ``'relu'``, ``'swish'`` or ``'none'``.
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


class FusedResidualBlock(nn.Module):
    """A block that ``_is_bare``: each convolution with its activation, the last one with the sum.

    Sub-modules and parameters keep their names.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.conv_names = [name for name, _ in block.conv_names]
        for name in self.conv_names:
            self.add_module(name, FusedConv2d(getattr(block, name), 'relu'))
        self.downsample = block.downsample

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        out = x
        for name in self.conv_names[:-1]:
            out = getattr(self, name)(out)
        last = getattr(self, self.conv_names[-1])
        # the input of the block is not ours to write to; what the shortcut has computed is
        return last(out, x) if self.downsample is None else last(out, self.downsample(x), into_other=True)


def fuse_for_cpu(model: nn.Module) -> nn.Module:
    """Replace layers of ``model``, in place, by those of this file, wherever their kernels compute the same; return it.

    What has hooks, is of a subclass or of another precision than float32 and bfloat16 stays as it is.
    """
    if not torch.backends.mkldnn.is_available():
        return model
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if _is_bare(child):
                setattr(module, name, FusedResidualBlock(child))
    for module in list(model.modules()):
        _fuse_activations(module)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is not FusedConv2d and can_fuse(child):
                setattr(module, name, FusedLinear(child) if isinstance(child, nn.Linear) else FusedConv2d(child))
    return model


def _is_bare(block: nn.Module) -> bool:
    """Whether nothing but convolutions and ReLU is left of a residual block, neither norms nor plugins."""
    if type(block) not in (BasicBlock, Bottleneck) or has_hooks(block) or not isinstance(block.relu, nn.ReLU):
        return False
    convs, norms = zip(*block.conv_names)
    others = {name for name, _ in block.named_children()} - {*convs, *norms, 'relu', 'downsample'}
    folded = all(type(getattr(block, name)) is nn.Identity for name in norms)
    return not others and folded and all(can_fuse(getattr(block, name)) for name in convs)


def _fuse_activations(module: nn.Module) -> None:
    """Compute the activation after each convolution among the children of ``module`` within the convolution."""
    for parent, conv_name, activation_path in _pairs(module):
        conv = parent.get_submodule(conv_name)
        activation = parent.get_submodule(activation_path)
        name = _ACTIVATIONS.get(type(activation))
        if name and not has_hooks(activation) and can_fuse(conv) and isinstance(conv, nn.Conv2d):
            parent.set_submodule(conv_name, FusedConv2d(conv, name))
            parent.set_submodule(activation_path, nn.Identity())


def _pairs(module: nn.Module) -> Iterable[tuple[nn.Module, str, str]]:
    """Children of ``module`` of which the second is always run directly after the first, by their names."""
    if type(module) is ConvModule:
        # no norm, or a folded one, is between them
        norm_is_gone = not module.with_norm or type(module.norm) is nn.Identity
        in_order = module.order.index('act') > module.order.index('conv')
        if module.with_activation and norm_is_gone and in_order:
            yield module, 'conv', 'activate'
        return
    if type(module) is nn.Sequential:
        names = [name for name, _ in module.named_children()]
    elif isinstance(module, StagedBackbone):
        names = module.stage_names
    else:
        return
    # a folded norm is an identity
    names = [name for name in names if type(module.get_submodule(name)) is not nn.Identity]
    for first, second in pairwise(names):
        yield module, first, second
