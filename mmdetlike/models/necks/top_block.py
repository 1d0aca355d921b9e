"""A module of the user's own that makes the coarsest levels of a pyramid."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmdetlike.registry import MODELS


def build_top_block(top_block: nn.Module | dict, num_extra: int) -> nn.Module:
    """The module that makes the ``num_extra`` levels which the backbone has no map for, or the one of that config.

    Raises:
        ValueError: Its ``num_levels`` tells no number of levels, or another one.
    """
    block = MODELS.build(top_block)
    num_levels = getattr(block, 'num_levels', None)
    if num_levels != num_extra:
        name = type(block).__name__
        told = f'{name} has no num_levels' if num_levels is None else f'{name}.num_levels is {num_levels}'
        raise ValueError(f'top_block must make the {num_extra} levels that num_outs leaves to it, but {told}')
    return block


def top_levels(block: nn.Module, last_input: Tensor, last_output: Tensor) -> Sequence[Tensor]:
    """The levels that a top block makes of the backbone's last map (B, C, H, W) or of the last one put out.

    Its ``in_feature`` tells of which: the one put out where that is absent or begins with ``p`` (``p5``), else that of
    the backbone (``res5``).

    Raises:
        ValueError: The block returns more or fewer maps than its ``num_levels`` says.
    """
    in_feature = getattr(block, 'in_feature', 'p')
    levels = block(last_output if in_feature.startswith('p') else last_input)
    if isinstance(levels, Tensor) or len(levels) != block.num_levels:
        given = 'a tensor' if isinstance(levels, Tensor) else f'{len(levels)} maps'
        raise ValueError(f'top_block {type(block).__name__} must return a list of {block.num_levels} maps, got {given}')
    return levels
