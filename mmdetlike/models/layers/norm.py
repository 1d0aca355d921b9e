"""Normalisation layers that a ``norm_cfg`` chooses from."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from mmdetlike.errors import ConfigError
from mmdetlike_ops import FrozenBatchNorm2d, SyncBatchNorm

from .family import LayerFamily


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel of (N, C, H, W).

    Args:
        num_channels: Number of channels C.
        eps: Added to the variance.
        elementwise_affine: Whether there is a weight and a bias per channel.
    """

    def __init__(self, num_channels: int, eps: float = 1e-5, elementwise_affine: bool = True) -> None:
        super().__init__(num_channels, eps=eps, elementwise_affine=elementwise_affine)
        self.num_channels = num_channels

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (N, C, H, W) along C."""
        if x.dim() != 4:
            raise ValueError(f'LayerNorm2d expects a tensor of shape (N, C, H, W), but got {tuple(x.shape)}.')
        normalised = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return normalised.permute(0, 3, 1, 2)


# the second base, a base of the first, is what ``init_cfg=dict(layer='_BatchNorm')`` looks for
class BatchNorm2d(nn.BatchNorm2d, _BatchNorm):
    """Batch normalisation that also trains where a channel has a single value.

    Such a value, of one image on a map of one pixel, has no variance, and PyTorch refuses it. It is normalised by the
    running statistics, which it leaves as they are. The arguments are those of ``torch.nn.BatchNorm2d``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (N, C, H, W) over N, H and W."""
        alone = self.training and self.track_running_stats and x.dim() == 4 and x.numel() == x.shape[1]
        if not alone:
            return super().forward(x)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


NORM_LAYERS = LayerFamily(
    'norm layer',
    {
        'BN': BatchNorm2d,
        'BN1d': nn.BatchNorm1d,
        'BN2d': BatchNorm2d,
        'BN3d': nn.BatchNorm3d,
        'SyncBN': SyncBatchNorm,
        'MMSyncBN': SyncBatchNorm,
        'FrozenBN': FrozenBatchNorm2d,
        'GN': nn.GroupNorm,
        'LN': nn.LayerNorm,
        'LN2d': LayerNorm2d,
        'IN': nn.InstanceNorm2d,
        'IN1d': nn.InstanceNorm1d,
        'IN2d': nn.InstanceNorm2d,
        'IN3d': nn.InstanceNorm3d,
    },
)

_ABBREVIATION_OF_BASE = {_InstanceNorm: 'in', _BatchNorm: 'bn', nn.GroupNorm: 'gn', nn.LayerNorm: 'ln'}
_ABBREVIATION_OF_WORD = {'batch': 'bn', 'group': 'gn', 'layer': 'ln', 'instance': 'in'}


def norm_abbreviation(cls: type[nn.Module]) -> str:
    """Return the name that a norm layer of class ``cls`` has in its parent module, without postfix.

    It is ``cls._abbr_`` if there is one, else ``bn``, ``gn``, ``ln`` or ``in`` by base class or by a word in the class
    name, else ``norm_layer``.
    """
    if hasattr(cls, '_abbr_'):
        return cls._abbr_
    by_base = [short for base, short in _ABBREVIATION_OF_BASE.items() if issubclass(cls, base)]
    by_word = [short for word, short in _ABBREVIATION_OF_WORD.items() if word in cls.__name__.lower()]
    return (by_base + by_word + ['norm_layer'])[0]


def build_norm_layer(cfg: dict, num_features: int, postfix: int | str = '') -> tuple[str, nn.Module]:
    """Build a normalisation layer and the name under which its parent keeps it.

    Args:
        cfg: ``dict(type='BN', requires_grad=True, eps=1e-5, ...)``; ``GN`` needs ``num_groups``. ``requires_grad``
            is set on the parameters, the other keys are arguments of the layer.
        num_features: Number of channels.
        postfix: Appended to the name: ``bn`` and 1 make ``bn1``.

    Returns:
        ``(name, layer)``.

    Raises:
        ConfigError: The type or an argument is unknown, or ``num_features`` does not divide into ``num_groups``.
    """
    cls, arguments = NORM_LAYERS.resolve(cfg)
    requires_grad = arguments.pop('requires_grad', True)
    arguments.setdefault('eps', 1e-5)
    if issubclass(cls, nn.GroupNorm):
        _check_groups(arguments, num_features, cfg)
        layer = NORM_LAYERS.construct(cls, num_channels=num_features, **arguments)
    else:
        layer = NORM_LAYERS.construct(cls, num_features, **arguments)
    for parameter in layer.parameters():
        parameter.requires_grad = requires_grad
    return f'{norm_abbreviation(cls)}{postfix}', layer


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
    """Whether ``layer`` is a batch, instance, group or layer normalisation and none of the classes in ``exclude``."""
    if exclude is not None and isinstance(layer, exclude):
        return False
    return isinstance(layer, (*_ABBREVIATION_OF_BASE, FrozenBatchNorm2d))
