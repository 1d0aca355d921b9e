"""Anchors of a Detectron2 config."""

from collections.abc import Mapping, Sequence

from mmdetlike.errors import ConfigError

from .common import feature_stride


def anchor_generator(model: Mapping, features: Sequence[str]) -> dict:
    """The anchors on feature maps called ``features``.

    Raises:
        ConfigError: They are no axis-aligned ones, or there is not one list of sizes and ratios for each map.
    """
    settings = model['ANCHOR_GENERATOR']
    if settings['NAME'] != 'DefaultAnchorGenerator':
        raise ConfigError(
            f"MODEL.ANCHOR_GENERATOR.NAME is {settings['NAME']!r}: only 'DefaultAnchorGenerator' has a counterpart here"
        )
    return dict(
        type='SizedAnchorGenerator',
        strides=[feature_stride(feature, model['RESNETS']) for feature in features],
        sizes=_of_levels(settings['SIZES'], len(features), 'SIZES'),
        ratios=_of_levels(settings['ASPECT_RATIOS'], len(features), 'ASPECT_RATIOS'),
        center_offset=settings['OFFSET'],
        # of one size, all ratios come before the next size
        scale_major=False,
    )


def _of_levels(values: Sequence[Sequence[float]], number: int, key: str) -> list[list[float]]:
    """One list a level; a single one stands for all levels."""
    lists = [list(level) for level in values] * (number if len(values) == 1 else 1)
    if len(lists) != number:
        raise ConfigError(
            f'MODEL.ANCHOR_GENERATOR.{key} has {len(lists)} lists: expected one, or one for each of the '
            f'{number} feature maps'
        )
    return lists
