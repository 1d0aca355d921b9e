"""A config-driven object detection toolbox for today's PyTorch.

Importing this package costs nothing: registries and the modules behind them are imported when they are first used.
"""

from .version import __version__

__all__ = ['__version__']
