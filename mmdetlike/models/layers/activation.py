"""Activations that an ``act_cfg`` chooses from."""

import inspect

import torch.nn.functional as F
from torch import Tensor, nn

from .family import LayerFamily


class Clamp(nn.Module):
    """Clamp to ``[min, max]``.

    Args:
        min, max: Bounds of the output.
    """

    def __init__(self, min: float = -1.0, max: float = 1.0) -> None:
        super().__init__()
        self.min, self.max = min, max

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(self.min, self.max)

    def extra_repr(self) -> str:
        return f'min={self.min}, max={self.max}'


class HSigmoid(nn.Module):
    """Hard sigmoid ``clamp((x + bias) / divisor, min_value, max_value)`` (MobileNetV3, arXiv 1905.02244).

    Args:
        bias: Added to the input.
        divisor: The sum is divided by it; not zero.
        min_value, max_value: Bounds of the output.
    """

    def __init__(self, bias: float = 3.0, divisor: float = 6.0, min_value: float = 0.0, max_value: float = 1.0) -> None:
        super().__init__()
        if divisor == 0:
            raise ValueError('HSigmoid divides by divisor, which must not be 0.')
        self.bias, self.divisor = bias, divisor
        self.min_value, self.max_value = min_value, max_value

    def forward(self, x: Tensor) -> Tensor:
        # these settings are those of torch's own function, which is one kernel instead of three
        if (self.bias, self.divisor, self.min_value, self.max_value) == (3.0, 6.0, 0.0, 1.0):
            return F.hardsigmoid(x)
        return ((x + self.bias) / self.divisor).clamp(self.min_value, self.max_value)

    def extra_repr(self) -> str:
        return f'bias={self.bias}, divisor={self.divisor}'


class Swish(nn.Module):
    """``x * sigmoid(x)`` (Searching for Activation Functions, arXiv 1710.05941)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x)


_TORCH_ACTIVATIONS = (
    (nn.CELU, nn.ELU, nn.GELU, nn.GLU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Identity)
    + (nn.LeakyReLU, nn.LogSigmoid, nn.LogSoftmax, nn.Mish, nn.PReLU, nn.RReLU, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU)
    + (nn.Sigmoid, nn.Softmax, nn.Softmin, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink)
)

ACTIVATION_LAYERS = LayerFamily(
    'activation layer',
    {
        **{cls.__name__: cls for cls in _TORCH_ACTIVATIONS},
        'Clamp': Clamp,
        'Clip': Clamp,
        'HSigmoid': HSigmoid,
        'HSwish': nn.Hardswish,
        'Swish': Swish,
    },
)


def build_activation_layer(cfg: dict) -> nn.Module:
    """Build an activation from ``dict(type='ReLU', inplace=True)`` or any other of torch's, by class name.

    Raises:
        ConfigError: The type or an argument is unknown.
    """
    return ACTIVATION_LAYERS.build(cfg)


def takes_inplace(cfg: dict) -> bool:
    """Whether the activation that ``cfg`` names can work in place, hence takes the argument ``inplace``."""
    return 'inplace' in inspect.signature(ACTIVATION_LAYERS.resolve(cfg)[0]).parameters
