from . import hooks, loops, optim
from .runner import Runner

__all__ = ['Runner', 'hooks', 'loops', 'optim']
