"""The check of a neck's inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmdetlike.errors import ConfigError


def check_number(neck: nn.Module, inputs: Sequence[Tensor], wanted: int) -> None:
    """Raise ``ValueError`` unless ``neck`` gets as many backbone maps as it was built for."""
    if len(inputs) != wanted:
        raise ValueError(f'{type(neck).__name__} was built for {wanted} maps, got {len(inputs)}')


def join(neck: nn.Module, upsampled: Tensor, finer: Tensor) -> Tensor:
    """Concatenate the channels of a coarse map (B, C, H, W), upsampled, and the map (B, D, H, W) of the level below.

    Raises:
        ConfigError: They differ in size, since the sides of the images aren't multiples of the largest stride.
    """
    sizes = [tuple(x.shape[-2:]) for x in (upsampled, finer)]
    # a graph takes sizes as they are
    if not torch.compiler.is_compiling() and sizes[0] != sizes[1]:
        raise ConfigError(
            f'{type(neck).__name__} joins each feature map, upsampled, with the next finer one, but one of {sizes[0]} '
            f'does not fit one of {sizes[1]}: the sides of a batch must be multiples of the largest stride, to which '
            f'pad_size_divisor of the data_preprocessor brings them (32 for most backbones)'
        )
    return torch.cat([upsampled, finer], dim=1)
