"""What necks do with the maps of a backbone before anything else: choose some of them and check their number."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError


class PyramidNeck(BaseModule):
    """Base of necks that make a pyramid of a range of the backbone's maps.

    Args:
        in_channels: Channels of each backbone map, fine to coarse.
        start_level: First backbone map used.
        end_level: Last backbone map used, inclusive; -1 for all.
    """

    def __init__(
        self, in_channels: Sequence[int], start_level: int, end_level: int, init_cfg: dict | list[dict] | None
    ) -> None:
        super().__init__(init_cfg)
        self.num_ins = len(in_channels)
        self.start_level = start_level
        self.end_level = self.num_ins if end_level == -1 else end_level + 1
        self.used_channels = in_channels[start_level : self.end_level]

    def used_maps(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """The backbone maps of ``start_level`` to ``end_level``; ``ValueError`` if their number is wrong."""
        check_number(self, inputs, self.num_ins)
        return inputs[self.start_level : self.end_level]


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
