"""Predictors that compare directions, of input and weight of unit length (Seesaw Loss, arXiv 2008.10032)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.registry import MODELS


class _Normed:
    """What normed layers share; ``*args`` and ``**kwargs`` are the arguments of the layer of torch.

    Args:
        tempearture: Factor of the normalised input, spelled as configs spell it.
        power: Exponent of the lengths that are divided by.
        eps: Added to them.
    """

    def __init__(self, *args, tempearture: float = 20, power: float = 1.0, eps: float = 1e-6, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.tempearture, self.power, self.eps = tempearture, power, eps

    def _unit(self, x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
        return x / (torch.linalg.vector_norm(x, dim=dim, keepdim=True).pow(self.power) + self.eps)


@MODELS.register_module()
class NormedLinear(_Normed, nn.Linear):
    """Linear layer of the cosine of input and weight; arguments as of ``nn.Linear`` and ``_Normed``."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, **kwargs) -> None:
        super().__init__(in_features, out_features, bias=bias, **kwargs)
        self.init_weights()

    def init_weights(self) -> None:
        """Draw the weight from a normal distribution of deviation 0.01; zero the bias."""
        nn.init.normal_(self.weight, mean=0, std=0.01)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        return F.linear(self._unit(x, -1) * self.tempearture, self._unit(self.weight, 1), self.bias)


@MODELS.register_module()
class NormedConv2d(_Normed, nn.Conv2d):
    """Convolution of normalised input and weight; arguments as of ``nn.Conv2d`` and ``_Normed``.

    With ``norm_over_kernel`` the length of a weight is that of the whole kernel, not of each of its positions.
    """

    def __init__(self, *args, norm_over_kernel: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.norm_over_kernel = norm_over_kernel

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        weight = self._unit(self.weight, (1, 2, 3) if self.norm_over_kernel else 1)
        return self._conv_forward(self._unit(x, 1) * self.tempearture, weight, self.bias)
