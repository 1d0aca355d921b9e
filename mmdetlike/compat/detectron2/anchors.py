"""Anchors of a Detectron2 config."""

import math
from collections.abc import Mapping, Sequence

from mmdetlike.errors import ConfigError

from .common import feature_stride


def anchor_generator(model: Mapping, features: Sequence[str]) -> dict:
    """The anchors on feature maps called ``features``.

    Raises:
        ConfigError: They are no axis-aligned ones, or shapes differ between levels.
    """
    settings = model['ANCHOR_GENERATOR']
    if settings['NAME'] != 'DefaultAnchorGenerator':
        raise ConfigError(
            f"MODEL.ANCHOR_GENERATOR.NAME is {settings['NAME']!r}: only 'DefaultAnchorGenerator' has a counterpart here"
        )
    strides = [feature_stride(feature, model['RESNETS']) for feature in features]
    sizes = _of_levels(settings['SIZES'], len(strides), 'SIZES')
    ratios = _of_levels(settings['ASPECT_RATIOS'], len(strides), 'ASPECT_RATIOS')
    if any(list(level) != list(ratios[0]) for level in ratios):
        raise ConfigError(
            f'MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS differ between levels, which has no counterpart here: {ratios}'
        )
    offset = settings['OFFSET']
    return dict(
        type='AnchorGenerator',
        strides=strides,
        ratios=list(ratios[0]),
        scales=_relative_sizes(sizes),
        base_sizes=[level[0] for level in sizes],
        # of one size, all ratios come before the next size
        scale_major=False,
        centers=[(offset * stride, offset * stride) for stride in strides],
    )


def _of_levels(values: Sequence[Sequence[float]], number: int, key: str) -> list[Sequence[float]]:
    """One list a level; a single one stands for all levels."""
    values = list(values) * number if len(values) == 1 else list(values)
    if len(values) != number:
        raise ConfigError(
            f'MODEL.ANCHOR_GENERATOR.{key} has {len(values)} lists: expected one, or one for each of the '
            f'{number} feature maps'
        )
    return values


def _relative_sizes(sizes: Sequence[Sequence[float]]) -> list[float]:
    """Sizes of each level in multiples of its first one, which must be the same on all levels."""
    relative = [[size / level[0] for size in level] for level in sizes]
    first = relative[0]
    for level in relative:
        # written down with rounded digits
        same = len(level) == len(first) and all(math.isclose(a, b, rel_tol=1e-4) for a, b in zip(level, first))
        if not same:
            raise ConfigError(
                'MODEL.ANCHOR_GENERATOR.SIZES grow differently from level to level, which has no counterpart here: '
                f'{sizes}'
            )
    return first
