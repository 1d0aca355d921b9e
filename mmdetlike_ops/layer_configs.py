"""Building convolutions and norm layers from configs such as `dict(type='BN', ...)`."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from .batch_norm import FrozenBatchNorm2d, SyncBatchNorm

CONV_LAYERS = {'Conv1d': nn.Conv1d, 'Conv2d': nn.Conv2d, 'Conv3d': nn.Conv3d, 'Conv': nn.Conv2d}
NORM_LAYERS = {
    'BN': nn.BatchNorm2d,
    'BN1d': nn.BatchNorm1d,
    'BN2d': nn.BatchNorm2d,
    'BN3d': nn.BatchNorm3d,
    'SyncBN': SyncBatchNorm,
    'FrozenBN': FrozenBatchNorm2d,
    'GN': nn.GroupNorm,
    'IN': nn.InstanceNorm2d,
    'IN1d': nn.InstanceNorm1d,
    'IN2d': nn.InstanceNorm2d,
    'IN3d': nn.InstanceNorm3d,
}

_ABBREVIATION_OF_BASE = {_InstanceNorm: 'in', _BatchNorm: 'bn', nn.GroupNorm: 'gn', nn.LayerNorm: 'ln'}
_ABBREVIATION_OF_WORD = {'batch': 'bn', 'group': 'gn', 'layer': 'ln', 'instance': 'in'}


def norm_abbreviation(cls: type[nn.Module]) -> str:
    """Return the name that a norm layer of class `cls` has in its parent module.

    It is `cls._abbr_` if there is one, else `bn`, `gn`, `ln` or `in` by base class or by a word in the class name,
    else `norm_layer`.
    """
    if hasattr(cls, '_abbr_'):
        return cls._abbr_
    by_base = [short for base, short in _ABBREVIATION_OF_BASE.items() if issubclass(cls, base)]
    by_word = [short for word, short in _ABBREVIATION_OF_WORD.items() if word in cls.__name__.lower()]
    return (by_base + by_word + ['norm_layer'])[0]


class ConvNorm(nn.Module):
    """A 1x1 convolution, `conv`, and a norm layer under its abbreviation (`bn`, `gn`, ...), if there is one.

    Args:
        op: The module that this is a part of, for messages.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        conv_cfg: `type`, a key of `CONV_LAYERS` or a class, and further arguments of the convolution.
        norm_cfg: `type`, a key of `NORM_LAYERS` or a class, `requires_grad` of its parameters, and further arguments
            of the norm layer; None for none.
        bias: Whether the convolution has a bias; with a norm layer it has none.

    Raises:
        TypeError, ValueError: A config is no dict with `type`, its `type` is unknown, or an argument is.
    """

    def __init__(
        self,
        op: str,
        in_channels: int,
        out_channels: int,
        conv_cfg: Mapping,
        norm_cfg: Mapping | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        cls, arguments = _resolve(op, 'conv_cfg', conv_cfg, CONV_LAYERS)
        arguments = {'bias': bias and norm_cfg is None, **arguments}
        self.conv = _construct(op, 'conv_cfg', cls, in_channels, out_channels, 1, **arguments)
        self.norm_name = None
        if norm_cfg is not None:
            self._add_norm(op, norm_cfg, out_channels)
        self.init_weights()

    def _add_norm(self, op: str, norm_cfg: Mapping, channels: int) -> None:
        cls, arguments = _resolve(op, 'norm_cfg', norm_cfg, NORM_LAYERS)
        requires_grad = arguments.pop('requires_grad', True)
        if issubclass(cls, nn.GroupNorm):
            norm = _construct(op, 'norm_cfg', cls, num_channels=channels, **arguments)
        else:
            norm = _construct(op, 'norm_cfg', cls, channels, **arguments)
        self.norm_name = norm_abbreviation(cls)
        self.add_module(self.norm_name, norm.requires_grad_(requires_grad))

    @property
    def norm(self) -> nn.Module | None:
        """The norm layer, or None."""
        return getattr(self, self.norm_name) if self.norm_name else None

    def init_weights(self) -> None:
        """Kaiming initialization of the convolution, unless it has one of its own; 1 and 0 for the norm layer."""
        if not hasattr(self.conv, 'init_weights'):
            nn.init.kaiming_normal_(self.conv.weight, mode='fan_out', nonlinearity='relu')
            fill_bias(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, ...) to (n, out_channels, ...)."""
        x = self.conv(x)
        return x if self.norm_name is None else self.norm(x)


def fill_bias(layer: nn.Module) -> None:
    """Set the bias of `layer`, if it has one, to 0."""
    if getattr(layer, 'bias', None) is not None:
        nn.init.zeros_(layer.bias)


def _resolve(op: str, argument: str, cfg: Mapping, table: Mapping[str, type]) -> tuple[type[nn.Module], dict]:
    """The class that `cfg['type']` names, and the other items of `cfg`."""
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise TypeError(f"{op}: {argument} is {cfg!r}, a dict with the key 'type' is expected")
    arguments = {key: value for key, value in cfg.items() if key != 'type'}
    kind = cfg['type']
    if isinstance(kind, type):
        return kind, arguments
    if not isinstance(kind, str) or kind not in table:
        raise ValueError(f'{op}: type of {argument} is {kind!r}, a class or one of {", ".join(table)} is expected')
    return table[kind], arguments


def _construct(op: str, argument: str, cls: type[nn.Module], *args, **kwargs) -> nn.Module:
    try:
        return cls(*args, **kwargs)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{op}: {argument} has not the arguments of {cls.__name__}: {error}') from error
