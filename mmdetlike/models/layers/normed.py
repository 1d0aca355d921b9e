"""Layers of vectors of unit length: classifiers by cosines (Seesaw Loss, arXiv 2008.10032) and the norm of SSD."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.registry import MODELS


def to_unit_length(x: Tensor, dim: int | tuple[int, ...], power: float, eps: float) -> Tensor:
    """``x`` divided by its length along ``dim``, to the ``power``, plus ``eps``."""
    return x / (torch.linalg.vector_norm(x, dim=dim, keepdim=True).pow(power) + eps)


@MODELS.register_module()
class NormedLinear(nn.Linear):
    """Linear layer of the cosine of input and weight.

    Args:
        in_features, out_features, bias: As of ``nn.Linear``.
        tempearture: Factor of the input of unit length, spelled as configs spell it.
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
        nn.init.normal_(self.weight, mean=0, std=0.01)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        x = to_unit_length(x, -1, self.power, self.eps)
        weight = to_unit_length(self.weight, 1, self.power, self.eps)
        # cosines lie in [-1, 1]: without the factor no softmax of them could be sure
        return F.linear(x * self.tempearture, weight, self.bias)


@MODELS.register_module()
class NormedConv2d(nn.Conv2d):
    """Convolution of input and weight of unit length.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias: As of ``nn.Conv2d``.
        padding_mode: As of ``nn.Conv2d``.
        tempearture, power, eps: As of ``NormedLinear``.
        norm_over_kernel: The length of a weight is that of the whole kernel, not of each of its positions.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = 'zeros',
        *,
        tempearture: float = 20,
        power: float = 1.0,
        eps: float = 1e-6,
        norm_over_kernel: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        self.tempearture, self.power, self.eps = tempearture, power, eps
        self.norm_over_kernel = norm_over_kernel

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        weight = to_unit_length(self.weight, (1, 2, 3) if self.norm_over_kernel else 1, self.power, self.eps)
        x = to_unit_length(x, 1, self.power, self.eps)
        return self._conv_forward(x * self.tempearture, weight, self.bias)


class L2Norm(nn.Module):
    """Scale each pixel's feature vector to length 1, then each of ``n_dims`` channels by a learnable factor.

    ParseNet, arXiv 1506.04579, as used in SSD, arXiv 1512.02325. ``scale`` is the initial factor, ``eps`` is added to
    the length.
    """

    def __init__(self, n_dims: int, scale: float = 20.0, eps: float = 1e-10) -> None:
        super().__init__()
        self.n_dims, self.scale, self.eps = n_dims, scale, eps
        self.weight = nn.Parameter(torch.full((n_dims,), float(scale)))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``x`` (N, C, H, W) along C, in float32 where it comes in half precision."""
        # a sum of squares of hundreds of channels exceeds the range of float16
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        length = torch.linalg.vector_norm(wide, dim=1, keepdim=True) + self.eps
        return (self.weight[:, None, None] * wide / length).to(x.dtype)

    def extra_repr(self) -> str:
        return f'{self.n_dims}, scale={self.scale}, eps={self.eps}'
