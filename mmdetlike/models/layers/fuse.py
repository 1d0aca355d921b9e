"""Fusion of batch normalization into the convolution before it, for inference."""

import copy
from itertools import pairwise

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from mmdetlike_ops import ModulatedDeformConv2d, ModulatedDeformConv2dPack

from .conv import Conv2dAdaptivePadding
from .conv_module import ConvModule
from .norm import FrozenBatchNorm2d

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, Conv2dAdaptivePadding, ModulatedDeformConv2d, ModulatedDeformConv2dPack)


def fuse_conv_bn(module: nn.Module) -> nn.Module:
    """Fold each batch norm that follows a convolution into it, in ``module`` and all its children, in place; return it.

    A pair is a convolution and a batch norm registered one after the other in the same parent. A parent that runs them
    in another order has an attribute ``conv_norm_pairs``, the paths of both for each pair. The convolution is replaced
    by one that computes what both did with the running statistics, the batch norm by ``nn.Identity``; a convolution
    shared with other parents is left as it is there. Not fused are other subclasses of torch's convolutions, among
    them deformable ones without a bias, those with hooks (spectral norm), batch norms without running statistics, and
    a ``ConvModule`` whose order does not put the norm layer directly after the convolution.
    """
    neighbors = pairwise([name for name, _ in module.named_children()])
    for conv_name, norm_name in getattr(module, 'conv_norm_pairs', neighbors):
        conv = module.get_submodule(conv_name)
        norm = module.get_submodule(norm_name)
        if _is_foldable(module, conv, norm):
            module.set_submodule(conv_name, _fold(conv, norm))
            module.set_submodule(norm_name, nn.Identity())
    for child in module.children():
        fuse_conv_bn(child)
    return module


def _is_foldable(parent: nn.Module, conv: nn.Module, norm: nn.Module) -> bool:
    in_order = not isinstance(parent, ConvModule) or parent.order.index('norm') == parent.order.index('conv') + 1
    return (
        in_order
        and type(conv) in (*_CONVS, *_TRANSPOSED)
        and not conv._forward_pre_hooks  # spectral norm computes the weight anew before each call
        and isinstance(norm, (_BatchNorm, FrozenBatchNorm2d))
        and norm.running_mean is not None
        and conv.out_channels == norm.num_features
        # the weight of a transposed convolution has its groups along another axis than its output channels
        and not (isinstance(conv, _TRANSPOSED) and conv.groups > 1)
    )


def _fold(conv: nn.Module, norm: nn.Module) -> nn.Module:
    # a copy: heads share convolutions between levels whose batch norms differ
    fused = copy.deepcopy(conv)
    transposed = isinstance(conv, _TRANSPOSED)
    statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    fused.weight, fused.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics, transpose=transposed)
    return fused
