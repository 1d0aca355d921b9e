"""Anchors of a Detectron2 config."""

import math
from collections.abc import Mapping, Sequence

from mmdetlike.errors import ConfigError

from .common import choose, feature_stride


def anchor_generator(model: Mapping, features: Sequence[str]) -> dict:
    """The anchors on feature maps called ``features``.

    Raises:
        ConfigError: Their generator is unknown, or there is not one list of sizes and ratios for each map.
    """
    settings = model['ANCHOR_GENERATOR']
    of_generator = choose(settings['NAME'], GENERATORS, 'MODEL.ANCHOR_GENERATOR.NAME')
    return dict(
        **of_generator(settings, len(features)),
        strides=[feature_stride(feature, model['RESNETS']) for feature in features],
        sizes=_of_levels(settings['SIZES'], len(features), 'SIZES'),
        ratios=_of_levels(settings['ASPECT_RATIOS'], len(features), 'ASPECT_RATIOS'),
        center_offset=settings['OFFSET'],
    )


def _upright(settings: Mapping, num_levels: int) -> dict:
    # of one size, all ratios come before the next size
    return dict(type='SizedAnchorGenerator', scale_major=False)


def _turned(settings: Mapping, num_levels: int) -> dict:
    degrees = _of_levels(settings['ANGLES'], num_levels, 'ANGLES')
    # theirs turn counter-clockwise
    return dict(type='TurnedAnchorGenerator', angles=[[-math.radians(angle) for angle in level] for level in degrees])


GENERATORS = {'DefaultAnchorGenerator': _upright, 'RotatedAnchorGenerator': _turned}


def _of_levels(values: Sequence[Sequence[float]], number: int, key: str) -> list[list[float]]:
    """One list a level; a single one stands for all levels."""
    lists = [list(level) for level in values] * (number if len(values) == 1 else 1)
    if len(lists) != number:
        raise ConfigError(
            f'MODEL.ANCHOR_GENERATOR.{key} has {len(lists)} lists: expected one, or one for each of the '
            f'{number} feature maps'
        )
    return lists
