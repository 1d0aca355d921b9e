"""What all kinds of programs are once they are read, and the sizes and number of images that they take."""

import json
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

# names, in the metadata of a program, of the sizes of images that it takes, and of what else its manifest has to say
SIZES = 'sizes.json'
FACTS = 'facts.json'


class Sizes(NamedTuple):
    """Sizes of images, (height, width) in pixels, that a program takes, and how many images at once.

    Args:
        smallest: The least height and the least width.
        largest: The greatest; equal to ``smallest`` where the program takes one size alone.
        divisor: Heights and widths between them are multiples of this.
        batch_size: Images of a run, which all have the same size.
    """

    smallest: tuple[int, int]
    largest: tuple[int, int]
    divisor: int = 1
    batch_size: int = 1

    @classmethod
    def fixed(cls, height: int, width: int, batch_size: int = 1) -> 'Sizes':
        """One size."""
        return cls((height, width), (height, width), batch_size=batch_size)

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
        text = f'{smallest} to {largest} in steps of {self.divisor}' if self.are_open else largest
        return text if self.batch_size == 1 else f'{text}, {self.batch_size} at once'

    def to_text(self) -> str:
        """JSON that ``from_text`` reads, for the metadata of a program."""
        return json.dumps(self._asdict())

    @classmethod
    def from_text(cls, text: str) -> 'Sizes':
        """The sizes that ``to_text`` wrote."""
        entries = json.loads(text)
        batch_size = entries.get('batch_size', 1)  # programs of the time before batches don't tell
        return cls(tuple(entries['smallest']), tuple(entries['largest']), entries['divisor'], batch_size)


class Program(NamedTuple):
    """A program of whatever kind.

    Args:
        run: Images (N, 3, H, W) float32 -> outputs by name; with a first dimension of N where N is not 1.
        sizes: Of the images that it takes, and N.
        facts: Entries that its manifest was written with; none of programs of the time before they were kept.
    """

    run: Callable[[Tensor], dict[str, Tensor]]
    sizes: Sizes
    facts: dict = {}
