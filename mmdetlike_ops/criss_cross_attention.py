"""Criss-cross attention: each pixel attends to its row and column."""

import torch
from torch import Tensor, nn

from ._checks import check_float


class _Factor(nn.Module):
    """A learned factor that starts at 0."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class CrissCrossAttention(nn.Module):
    """Attention of each pixel to those of its row and its column (CCNet, arXiv 1811.11721).

    Applied twice, every pixel receives from all others. The output starts as the input: the factor `gamma` of what the
    attention gathers is 0.

    Args:
        in_channels: Channels of input and output, at least 8: queries and keys have an eighth of them.
    """

    def __init__(self, in_channels: int):
        super().__init__()
        if in_channels < 8:
            raise ValueError(f'CrissCrossAttention: in_channels is {in_channels}, at least 8 is expected')
        self.in_channels = in_channels
        self.query_conv = nn.Conv2d(in_channels, in_channels // 8, 1)
        self.key_conv = nn.Conv2d(in_channels, in_channels // 8, 1)
        self.value_conv = nn.Conv2d(in_channels, in_channels, 1)
        self.gamma = _Factor()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to the same shape.

        Raises:
            TypeError, ValueError: `x` is no floating tensor of that shape.
        """
        check_float('CrissCrossAttention', 'x', x)
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f'CrissCrossAttention: x has shape {tuple(x.shape)}, (n, {self.in_channels}, h, w) is expected'
            )
        query = self.query_conv(x)
        key = self.key_conv(x)
        value = self.value_conv(x)
        height = x.shape[2]
        columns = torch.einsum('nchw,nciw->nhwi', query, key)
        # a pixel lies in its column and in its row: it counts in the row
        itself = torch.eye(height, dtype=torch.bool, device=x.device)[:, None]
        columns = columns.masked_fill(itself, -torch.inf)
        rows = torch.einsum('nchw,nchj->nhwj', query, key)
        attention = torch.cat([columns, rows], dim=-1).softmax(-1).to(value.dtype)
        gathered = torch.einsum('nciw,nhwi->nchw', value, attention[..., :height])
        gathered = gathered + torch.einsum('nchj,nhwj->nchw', value, attention[..., height:])
        return self.gamma(gathered) + x

    def extra_repr(self) -> str:
        return f'in_channels={self.in_channels}'
