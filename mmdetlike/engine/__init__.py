from . import hooks, loops, optim
from .runner import Runner, launch

__all__ = ['Runner', 'hooks', 'launch', 'loops', 'optim']
