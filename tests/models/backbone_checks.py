"""What every backbone has to keep: sizes, frozen stages, batch norms."""

import torch
from torch import Tensor, nn


def run(model: nn.Module, height: int = 64, width: int = 96) -> list[Tensor]:
    """Maps of a random image in evaluation mode, with their gradients."""
    torch.manual_seed(0)
    return list(model.eval()(torch.rand(1, 3, height, width)))


def shapes(maps: list[Tensor]) -> list[tuple[int, ...]]:
    """Channels, height and width of each map."""
    return [tuple(m.shape[1:]) for m in maps]


def count(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())


def trainable(model: nn.Module) -> set[str]:
    """Names of the direct children, one level into lists, that have a parameter with a gradient."""
    return {name for name, child in model.named_children() if any(p.requires_grad for p in child.parameters())}


def in_training(model: nn.Module) -> set[str]:
    """Names of the direct children in which some batch norm is in training mode."""
    return {
        name
        for name, child in model.named_children()
        if any(m.training for m in child.modules() if isinstance(m, nn.BatchNorm2d))
    }


def dead_parameters(model: nn.Module) -> list[str]:
    """Names of the parameters that get no gradient from the outputs."""
    sum(m.square().sum() for m in model.train()(torch.rand(2, 3, 64, 64))).backward()
    return [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
