"""What all kinds of programs are once they are read, and the sizes of images that they take."""

import json
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

# name, in the metadata of a program, of the sizes of images that it takes
SIZES = 'sizes.json'


class Sizes(NamedTuple):
    """Sizes of images, (height, width) in pixels, that a program takes.

    Args:
        smallest: The least height and the least width.
        largest: The greatest; equal to ``smallest`` where the program takes one size alone.
        divisor: Heights and widths between them are multiples of this.
    """

    smallest: tuple[int, int]
    largest: tuple[int, int]
    divisor: int = 1

    @classmethod
    def fixed(cls, height: int, width: int) -> 'Sizes':
        """One size."""
        return cls((height, width), (height, width))

    @property
    def are_open(self) -> bool:
        """Whether there are several."""
        return self.smallest != self.largest

    def fitting(self, height: int, width: int) -> tuple[int, int] | None:
        """The smallest size that an image can be padded to at the right and the bottom; None if it is too large."""
        sides = []
        for side, least, most in zip((height, width), self.smallest, self.largest):
            side = max(-(-side // self.divisor) * self.divisor, least)
            if side > most:
                return None
            sides.append(side)
        return tuple(sides)

    def __str__(self) -> str:
        smallest, largest = (f'{height} x {width}' for height, width in (self.smallest, self.largest))
        return f'{smallest} to {largest} in steps of {self.divisor}' if self.are_open else largest

    def to_text(self) -> str:
        """JSON that ``from_text`` reads, for the metadata of a program."""
        return json.dumps(self._asdict())

    @classmethod
    def from_text(cls, text: str) -> 'Sizes':
        """The sizes that ``to_text`` wrote."""
        entries = json.loads(text)
        return cls(tuple(entries['smallest']), tuple(entries['largest']), entries['divisor'])


class Program(NamedTuple):
    """A program of whatever kind.

    Args:
        run: Image (1, 3, H, W) float32 -> outputs by name.
        sizes: Of the images that it takes.
    """

    run: Callable[[Tensor], dict[str, Tensor]]
    sizes: Sizes
