"""Names of parameters of another toolbox -> ours."""

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

Rule = tuple[str, str | Callable[[re.Match], str]]


def rename(name: str, rules: Sequence[Rule]) -> str:
    """Apply the replacements of regular expressions ``rules`` one after the other."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def rename_all(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> dict[str, Tensor]:
    """A state dict with every name replaced."""
    return {rename(name, rules): value for name, value in state.items()}


def add_batch_counters(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Add the counters of batches that batch norms keep beside their statistics, where a checkpoint leaves them out."""
    # they matter only to norms with momentum=None, which neither toolbox uses
    for name in model.state_dict():
        if name.endswith('.num_batches_tracked'):
            state.setdefault(name, torch.tensor(0))
    return state
