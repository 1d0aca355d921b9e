"""Fusion of batch normalization into the convolution before it, for inference."""

import copy

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from .conv import Conv2dAdaptivePadding
from .conv_module import ConvModule
from .norm import FrozenBatchNorm2d

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, Conv2dAdaptivePadding)


def fuse_conv_bn(module: nn.Module) -> nn.Module:
    """Fold each batch norm that follows a convolution into it, in ``module`` and all its children, in place.

    A pair is a convolution and a batch norm registered one after the other in the same parent. The convolution is
    replaced by one that computes what both did with the running statistics, the batch norm by ``nn.Identity``; a
    convolution shared with other parents is left as it is there. Not fused are other subclasses of torch's
    convolutions, those with hooks (spectral norm), batch norms without running statistics, and a ``ConvModule`` whose
    order does not put the norm layer directly after the convolution.

    Returns:
        ``module``.
    """
    previous = None
    for name, child in list(module.named_children()):
        if previous and _is_foldable(module, getattr(module, previous), child):
            setattr(module, previous, _fold(getattr(module, previous), child))
            setattr(module, name, nn.Identity())
        else:
            fuse_conv_bn(child)
        # by name: the module of that name may just have been replaced
        previous = name
    return module


def _is_foldable(parent: nn.Module, conv: nn.Module, norm: nn.Module) -> bool:
    in_order = not isinstance(parent, ConvModule) or parent.order.index('norm') == parent.order.index('conv') + 1
    return (
        in_order
        and type(conv) in _CONVS
        and not conv._forward_pre_hooks  # spectral norm computes the weight anew before each call
        and isinstance(norm, (_BatchNorm, FrozenBatchNorm2d))
        and norm.running_mean is not None
        and conv.out_channels == norm.num_features
    )


def _fold(conv: nn.Module, norm: nn.Module) -> nn.Module:
    # a copy: heads share convolutions between levels whose batch norms differ
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    return fused
