"""The check of a neck's inputs."""

from collections.abc import Sequence

from torch import Tensor, nn


def check_number(neck: nn.Module, inputs: Sequence[Tensor], wanted: int) -> None:
    """Raise ``ValueError`` unless ``neck`` gets as many backbone maps as it was built for."""
    if len(inputs) != wanted:
        raise ValueError(f'{type(neck).__name__} was built for {wanted} maps, got {len(inputs)}')
