"""A figure of matplotlib that is made when it is first drawn on.

mmengine's visualizer makes one in its constructor, which imports matplotlib: 0.2 s at the start of every training, most
of which never draw with mmengine's own methods.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

DPI = 100


class LateFigure:
    """Canvas, figure and axes, as ``Visualizer`` of mmengine asks for them.

    Args:
        make: Makes the three.
    """

    def __init__(self, make: Callable[[], tuple[Any, Any, Any]]) -> None:
        self.make = make

    @cached_property
    def made(self) -> tuple[Any, Any, Any]:
        """The three, made now if they weren't before."""
        return self.make()

    def parts(self) -> tuple['_Part', '_Part', '_Part']:
        """What stands for the three until they are used."""
        return _Part(self, 0), _Part(self, 1), _Part(self, 2)


class _Part:
    """Has the attributes of one of the three, which are made when the first of them is asked for."""

    def __init__(self, late: LateFigure, index: int) -> None:
        self.late, self.index = late, index

    def get_dpi(self) -> float:
        """Dots per inch of the figure, which the visualizer's constructor reads."""
        return DPI

    def __getattr__(self, name: str) -> Any:
        # copying looks for special methods, and for `late` before it is set
        if name.startswith('__') or name == 'late':
            raise AttributeError(name)
        return getattr(self.late.made[self.index], name)
