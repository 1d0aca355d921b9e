"""A model whose batch norms are folded, made fast for prediction on a CPU: activations and sums within convolutions."""

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn

from .backbones.resnet import BasicBlock, Bottleneck
from .backbones.staged import StagedBackbone
from .layers import ConvModule, FusedConv2d, FusedLinear, activation_name, can_fuse, has_hooks


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
    """Replace layers of ``model``, in place, by those of ``layers.fused``, wherever its kernels compute the same.

    What has hooks, is of a subclass or of another precision than float32 and bfloat16 stays as it is. ``model`` is
    returned.
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
        conv = getattr(parent, conv_name)
        name = activation_name(getattr(parent, activation_path))
        if name not in (None, 'none') and can_fuse(conv) and isinstance(conv, nn.Conv2d):
            setattr(parent, conv_name, FusedConv2d(conv, name))
            setattr(parent, activation_path, nn.Identity())


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
    names = [name for name in names if type(getattr(module, name)) is not nn.Identity]
    for first, second in pairwise(names):
        yield module, first, second
