from . import hooks, layer_decay, loops, optim, schedulers, validation
from .runner import Runner, launch

__all__ = ['Runner', 'hooks', 'launch', 'layer_decay', 'loops', 'optim', 'schedulers', 'validation']
