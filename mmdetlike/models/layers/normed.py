"""Predictors that compare directions: input and weight are normalised to unit length."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.registry import MODELS


@MODELS.register_module()
class NormedLinear(nn.Linear):
    """Linear layer of the cosine of input and weight (Seesaw Loss, arXiv 2008.10032).

    Args:
        in_features: Channels of the input.
        out_features: Channels of the output.
        bias: Whether there is a bias.
        tempearture: Factor of the normalised input, spelled as configs spell it.
        power: Exponent of the lengths that are divided by.
        eps: Added to them.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        tempearture: float = 20,
        power: float = 1.0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.tempearture, self.power, self.eps = tempearture, power, eps
        self.init_weights()

    def init_weights(self) -> None:
        """Draw the weight from a normal distribution of deviation 0.01; zero the bias."""
        nn.init.normal_(self.weight, mean=0, std=0.01)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        weight = self.weight / (self.weight.norm(dim=1, keepdim=True).pow(self.power) + self.eps)
        x = x / (x.norm(dim=-1, keepdim=True).pow(self.power) + self.eps) * self.tempearture
        return F.linear(x, weight, self.bias)


@MODELS.register_module()
class NormedConv2d(nn.Conv2d):
    """Convolution of normalised input and weight (Seesaw Loss, arXiv 2008.10032).

    Args:
        in_channels: As of ``nn.Conv2d``, like the arguments up to ``padding_mode``.
        tempearture: Factor of the normalised input, spelled as configs spell it.
        power: Exponent of the lengths that are divided by.
        eps: Added to them.
        norm_over_kernel: Whether the length of a weight is that of the whole kernel, not of each of its positions.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = 'zeros',
        tempearture: float = 20,
        power: float = 1.0,
        eps: float = 1e-6,
        norm_over_kernel: bool = False,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode=padding_mode
        )
        self.tempearture, self.power, self.eps, self.norm_over_kernel = tempearture, power, eps, norm_over_kernel

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        dims = (1, 2, 3) if self.norm_over_kernel else 1
        length = torch.linalg.vector_norm(self.weight, dim=dims, keepdim=True)
        weight = self.weight / (length.pow(self.power) + self.eps)
        x = x / (x.norm(dim=1, keepdim=True).pow(self.power) + self.eps) * self.tempearture
        return self._conv_forward(x, weight, self.bias)
