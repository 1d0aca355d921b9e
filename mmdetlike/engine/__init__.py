from . import hooks, loops, optim, schedulers
from .runner import Runner, launch

__all__ = ['Runner', 'hooks', 'launch', 'loops', 'optim', 'schedulers']
