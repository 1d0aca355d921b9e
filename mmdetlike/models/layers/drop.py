"""Dropout layers that a ``dropout_layer`` config chooses from."""

import torch
from torch import Tensor, nn

from .family import LayerFamily


class DropPath(nn.Module):
    """Drop the residual branch of single samples in training (Stochastic Depth, arXiv 1603.09382).

    Args:
        drop_prob: Probability of dropping, in [0, 1).
    """

    def __init__(self, drop_prob: float = 0.1) -> None:
        super().__init__()
        if not 0 <= drop_prob < 1:
            raise ValueError(f'drop_prob must be in [0, 1), but got {drop_prob}.')
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` (N, ...) with some samples zeroed, and the others scaled to keep the mean."""
        if self.drop_prob == 0.0 or not self.training:
            return x
        keep_prob = 1.0 - self.drop_prob
        # drawn in float32: half precision has too few numbers near 1 for small probabilities
        keep = torch.rand((x.shape[0],) + (1,) * (x.dim() - 1), dtype=torch.float32, device=x.device) < keep_prob
        return x * (keep.to(x.dtype) / keep_prob)

    def extra_repr(self) -> str:
        return f'drop_prob={self.drop_prob}'


class Dropout(nn.Dropout):
    """``nn.Dropout`` whose probability is called ``drop_prob``.

    Args:
        drop_prob: Probability of zeroing an element.
    """

    def __init__(self, drop_prob: float = 0.5, inplace: bool = False) -> None:
        super().__init__(p=drop_prob, inplace=inplace)


DROPOUT_LAYERS = LayerFamily('dropout layer', {'Dropout': Dropout, 'DropPath': DropPath})


def build_dropout(cfg: dict) -> nn.Module:
    """Build ``dict(type='Dropout' or 'DropPath', drop_prob=...)``.

    Raises:
        ConfigError: The type or an argument is unknown.
    """
    return DROPOUT_LAYERS.build(cfg)
