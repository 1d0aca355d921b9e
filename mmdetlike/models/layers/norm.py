"""Normalisation layers that a ``norm_cfg`` chooses from."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from mmdetlike.errors import ConfigError

from .family import LayerFamily


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation whose statistics and affine parameters are constants.

    ``weight``, ``bias``, ``running_mean`` and ``running_var``, each (C,), are buffers: no optimizer and no training
    step changes them. They have the names of ``nn.BatchNorm2d``, so its checkpoints load.

    Args:
        num_features: Number of channels C.
        eps: Added to the variance.
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.register_buffer('weight', torch.ones(num_features))
        self.register_buffer('bias', torch.zeros(num_features))
        self.register_buffer('running_mean', torch.zeros(num_features))
        self.register_buffer('running_var', torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (N, C, H, W)."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        state_dict.pop(f'{prefix}num_batches_tracked', None)  # saved by nn.BatchNorm2d, of no use to constants
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f'{self.num_features}, eps={self.eps}'


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


class SyncBatchNorm(nn.SyncBatchNorm):
    """Batch normalisation with statistics over all processes, on CPU (gloo) as well as on GPU.

    Without a process group, or with one process, it is ordinary batch normalisation. Parameters and buffers are those
    of ``nn.BatchNorm2d``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (N, C, ...)."""
        if x.device.type != 'cpu' or not self.training or not _process_group_exists():
            return super().forward(x)
        if dist.get_world_size(self.process_group) == 1:
            return _BatchNorm.forward(self, x)
        shape = (1, -1) + (1,) * (x.dim() - 2)
        mean, var, count = self._global_statistics(x, shape)
        if self.track_running_stats:
            self._update_running_statistics(mean.detach(), var.detach() * count / (count - 1))
        normalised = (x - mean.view(shape)) * (var + self.eps).rsqrt().view(shape)
        if not self.affine:
            return normalised
        return normalised * self.weight.view(shape) + self.bias.view(shape)

    def _global_statistics(self, x: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        from torch.distributed.nn.functional import all_reduce

        dims = [d for d in range(x.dim()) if d != 1]
        group = self.process_group if self.process_group is not None else dist.group.WORLD
        count = x.new_full((1,), x.numel() / x.shape[1])
        totals = all_reduce(torch.cat([x.sum(dims), count]), group=group)
        mean, count = totals[:-1] / totals[-1], totals[-1].detach()
        var = all_reduce((x - mean.view(shape)).square().sum(dims), group=group) / count
        return mean, var, count

    def _update_running_statistics(self, mean: Tensor, var: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        rate = self.momentum if self.momentum is not None else 1.0 / self.num_batches_tracked.item()
        self.running_mean.lerp_(mean, rate)
        self.running_var.lerp_(var, rate)


def _process_group_exists() -> bool:
    return dist.is_available() and dist.is_initialized()


NORM_LAYERS = LayerFamily(
    'norm layer',
    {
        'BN': nn.BatchNorm2d,
        'BN1d': nn.BatchNorm1d,
        'BN2d': nn.BatchNorm2d,
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
