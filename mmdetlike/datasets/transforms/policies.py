"""Automatic augmentation by policies: AutoAugment and RandAugment."""

from collections.abc import Sequence

from mmdetlike.datasets.transforms.base import BaseTransform
from mmdetlike.datasets.transforms.wrappers import RandomChoice, Step
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS

# Found for ImageNet, arXiv 1805.09501, as (type, probability, level) of two steps each.
_IMAGENET_POLICIES = (
    (('Equalize', 0.8, 1), ('ShearY', 0.8, 4)),
    (('Color', 0.4, 9), ('Equalize', 0.6, 3)),
    (('Color', 0.4, 1), ('Rotate', 0.6, 8)),
    (('Solarize', 0.8, 3), ('Equalize', 0.4, 7)),
    (('Solarize', 0.4, 2), ('Solarize', 0.6, 2)),
    (('Color', 0.2, 0), ('Equalize', 0.8, 8)),
    (('Equalize', 0.4, 8), ('SolarizeAdd', 0.8, 3)),
    (('ShearX', 0.2, 9), ('Rotate', 0.6, 8)),
    (('Color', 0.6, 1), ('Equalize', 1.0, 2)),
    (('Invert', 0.4, 9), ('Rotate', 0.6, 0)),
    (('Equalize', 1.0, 9), ('ShearY', 0.6, 3)),
    (('Color', 0.4, 7), ('Equalize', 0.6, 0)),
    (('Posterize', 0.4, 6), ('AutoContrast', 0.4, 7)),
    (('Solarize', 0.6, 8), ('Color', 0.6, 9)),
    (('Solarize', 0.2, 4), ('Rotate', 0.8, 9)),
    (('Rotate', 1.0, 7), ('TranslateY', 0.8, 9)),
    (('ShearX', 0.0, 0), ('Solarize', 0.8, 4)),
    (('ShearY', 0.8, 0), ('Color', 0.6, 4)),
    (('Color', 1.0, 0), ('Rotate', 0.6, 2)),
    (('Equalize', 0.8, 4), ('Equalize', 0.0, 8)),
    (('Equalize', 1.0, 4), ('AutoContrast', 0.6, 2)),
    (('ShearY', 0.4, 7), ('SolarizeAdd', 0.6, 7)),
    (('Posterize', 0.8, 2), ('Solarize', 0.6, 10)),
    (('Solarize', 0.6, 8), ('Equalize', 0.6, 1)),
    (('Color', 0.8, 6), ('Rotate', 0.4, 5)),
)
AUTOAUG_POLICIES_V0 = tuple(
    tuple(dict(type=name, prob=prob, level=level) for name, prob, level in policy) for policy in _IMAGENET_POLICIES
)
# What arXiv 1909.13719 chooses from, with magnitudes drawn anew each time.
RANDAUG_SPACE = tuple(
    (dict(type=name),)
    for name in (
        'AutoContrast',
        'Equalize',
        'Invert',
        'Rotate',
        'Posterize',
        'Solarize',
        'SolarizeAdd',
        'Color',
        'Contrast',
        'Brightness',
        'Sharpness',
        'ShearX',
        'ShearY',
        'TranslateX',
        'TranslateY',
    )
)


@TRANSFORMS.register_module()
class AutoAugment(RandomChoice):
    """Apply one of several policies, each a pipeline (AutoAugment, arXiv 1805.09501).

    Args:
        policies: The policies; those found for ImageNet by default.
        prob: The probability of each; equal if None.

    Raises:
        ValueError: The probabilities don't fit the policies or don't sum to 1.
    """

    def __init__(
        self,
        policies: Sequence[Step | Sequence[Step]] = AUTOAUG_POLICIES_V0,
        prob: Sequence[float] | None = None,
    ) -> None:
        super().__init__(policies, prob)
        self.policies = policies


@TRANSFORMS.register_module()
class RandAugment(BaseTransform):
    """Apply some of several pipelines, one after the other (RandAugment, arXiv 1909.13719).

    Args:
        aug_space: The pipelines, each a transform or a list of them; those of the paper by default.
        aug_num: How many are chosen each time; the same one may be chosen again.
        prob: The probability of each pipeline; equal if None.
        aug_prob: What ``prob`` was called in earlier versions.

    Raises:
        ConfigError: There is nothing to choose from, or both ``prob`` and ``aug_prob`` are given.
        ValueError: The probabilities don't fit the pipelines or don't sum to 1.
    """

    def __init__(
        self,
        aug_space: Sequence[Step | Sequence[Step]] = RANDAUG_SPACE,
        aug_num: int = 2,
        prob: Sequence[float] | None = None,
        aug_prob: Sequence[float] | None = None,
    ) -> None:
        if aug_num < 1:
            raise ConfigError(f'aug_num must be 1 at least, got {aug_num}')
        if prob is not None and aug_prob is not None:
            raise ConfigError(f'RandAugment takes prob or its older name aug_prob, got both: {prob} and {aug_prob}')
        self.aug_space = aug_space
        self.aug_num = aug_num
        self.prob = aug_prob if prob is None else prob
        self._choice = RandomChoice(aug_space, self.prob)

    def transform(self, results: dict) -> dict | None:
        for _ in range(self.aug_num):
            results = self._choice(results)
            if results is None:
                return None
        return results
