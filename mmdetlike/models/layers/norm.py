"""Normalization layers that a ``norm_cfg`` chooses from."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from mmdetlike.errors import ConfigError
from mmdetlike_ops import FrozenBatchNorm2d, SyncBatchNorm
from mmdetlike_ops.layer_configs import NORM_LAYERS as OPS_NORM_LAYERS
from mmdetlike_ops.layer_configs import norm_abbreviation

from .family import LayerFamily


class LayerNorm2d(nn.LayerNorm):
    """Layer normalization over the channels of each pixel of (N, C, H, W).

    Args:
        num_channels: Number of channels C.
        eps, elementwise_affine: As of ``nn.LayerNorm``.
    """

    def __init__(self, num_channels: int, eps: float = 1e-5, elementwise_affine: bool = True) -> None:
        super().__init__(num_channels, eps=eps, elementwise_affine=elementwise_affine)
        self.num_channels = num_channels

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``x`` (N, C, H, W) along C."""
        if x.dim() != 4:
            raise ValueError(f'LayerNorm2d expects a tensor of shape (N, C, H, W), but got {tuple(x.shape)}.')
        normalized = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return normalized.permute(0, 3, 1, 2)


# the second base, a base of the first, is what ``init_cfg=dict(layer='_BatchNorm')`` looks for
class BatchNorm2d(nn.BatchNorm2d, _BatchNorm):
    """Batch normalization that also trains where a channel has a single value.

    Such a value, of one image on a map of one pixel, has no variance, and PyTorch refuses it. It is normalized by the
    running statistics, which it leaves as they are. The arguments are those of ``torch.nn.BatchNorm2d``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``x`` (N, C, H, W) over N, H and W."""
        # without running statistics there is nothing to normalize by, and torch's error is the right answer
        alone = self.training and self.track_running_stats and x.dim() == 4 and x.numel() == x.shape[1]
        if not alone:
            return super().forward(x)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


NORM_LAYERS = LayerFamily(
    'norm layer',
    {
        **OPS_NORM_LAYERS,
        'BN': BatchNorm2d,
        'BN2d': BatchNorm2d,
        'MMSyncBN': SyncBatchNorm,
        'LN': nn.LayerNorm,
        'LN2d': LayerNorm2d,
    },
)


def build_norm_layer(cfg: dict, num_features: int, postfix: int | str = '') -> tuple[str, nn.Module]:
    """Build ``(name, layer)``: a normalization layer and the name under which its parent keeps it.

    Args:
        cfg: ``dict(type='BN', requires_grad=True, eps=1e-5, ...)``; ``GN`` needs ``num_groups``. ``requires_grad``
            is set on the parameters, the other keys are arguments of the layer.
        num_features: Number of channels.
        postfix: Appended to the name: ``bn`` and 1 make ``bn1``.

    Raises:
        ConfigError: The type or an argument is unknown, or ``num_features`` does not divide into ``num_groups``.
    """
    arguments = with_norm_class(cfg)
    cls = arguments.pop('type')
    requires_grad = arguments.pop('requires_grad', True)
    # the only one whose first argument is not the number of channels
    if issubclass(cls, nn.GroupNorm):
        _check_groups(arguments, num_features, cfg)
        layer = NORM_LAYERS.construct(cls, cfg, num_channels=num_features, **arguments)
    else:
        layer = NORM_LAYERS.construct(cls, cfg, num_features, **arguments)
    return f'{norm_abbreviation(cls)}{postfix}', layer.requires_grad_(requires_grad)


def with_norm_class(cfg: dict) -> dict:
    """Return ``cfg`` with ``eps`` and the class that ``type`` names (else ``ConfigError``), for ``mmdetlike_ops``."""
    cls, arguments = NORM_LAYERS.resolve(cfg)
    # also for layers whose own default is another one, e.g. those of a user
    return {'type': cls, 'eps': 1e-5, **arguments}


def _check_groups(arguments: dict, num_features: int, cfg: dict) -> None:
    groups = arguments.get('num_groups')
    if groups is None:
        raise ConfigError(f"GroupNorm needs 'num_groups', but got {cfg!r}.", cfg)
    if num_features % groups:
        raise ConfigError(
            f'GroupNorm needs a number of channels divisible by num_groups, but got {num_features} channels and '
            f'num_groups={groups}.',
            cfg,
        )


def is_norm(layer: nn.Module, exclude: type | tuple[type, ...] | None = None) -> bool:
    """Whether ``layer`` is a batch, instance, group or layer normalization and none of the classes in ``exclude``."""
    if exclude is not None and isinstance(layer, exclude):
        return False
    return isinstance(layer, (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm, FrozenBatchNorm2d))
