"""What all kinds of programs are once they are read."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Program(NamedTuple):
    """A program of whatever kind.

    Args:
        run: Image (1, 3, H, W) float32 -> outputs by name.
        size: Height and width in pixels of the images that it takes.
    """

    run: Callable[[Tensor], dict[str, Tensor]]
    size: tuple[int, int]
