"""The base of all steps of a data pipeline, and checks of their arguments."""

import inspect
from abc import ABC, abstractmethod

from mmdetlike.datasets.transforms.instances import SOURCES
from mmdetlike.errors import ConfigError


class BaseTransform(ABC):
    """One step of a data pipeline: takes the dict of what is known about a sample, returns it changed.

    A step that finds a sample unusable returns None; the dataset then draws another. All random draws use numpy's
    global generator.

    ``role`` tells inference which steps to replace or to leave out: ``'image'`` for one that reads the picture at
    ``img_path``, ``'annotations'`` for one that needs what only an annotated dataset knows; None for all others.

    ``needs`` lists the keys that a sample must have for this step; set it in the class or in the constructor.

    ``keeps_images`` declares, for the very class that sets it, that it never writes into the pixels of the images that
    it is given, and that it calls no other transforms: `MultiImageMixDataset` then spares copies of them.

    Raises:
        ConfigError: A sample lacks one of them.
    """

    needs: tuple[str, ...] = ()
    role: str | None = None
    keeps_images: bool = False

    def __call__(self, results: dict) -> dict | None:
        missing = [key for key in self.needs if results.get(key) is None]
        if missing:
            raise ConfigError(_lacking(type(self).__name__, missing, results))
        return self.transform(results)

    @abstractmethod
    def transform(self, results: dict) -> dict | None:
        """Change ``results`` and return it, or None to give the sample up."""

    def __repr__(self) -> str:
        names = [name for name in inspect.signature(type(self)).parameters if hasattr(self, name)]
        return f'{type(self).__name__}({", ".join(f"{name}={getattr(self, name)!r}" for name in names)})'


def _lacking(step: str, missing: list[str], results: dict) -> str:
    sources = [f'{key} comes from {SOURCES[key]}' for key in missing if key in SOURCES]
    present = sorted(key for key, value in results.items() if value is not None)
    path = results.get('img_path')
    sample = f'sample {path}' if path else 'sample'
    return (
        f'{step} needs {", ".join(missing)}, but the {sample} has only {", ".join(present) or "nothing"}'
        + (f'; {", ".join(sources)}' if sources else '')
        + '.'
    )


def image_size(results: dict) -> tuple[int, int]:
    """(h, w) of the sample's image as it is now.

    Raises:
        ConfigError: The sample has no image yet.
    """
    if 'img' in results:
        return tuple(results['img'].shape[:2])
    if 'img_shape' not in results:
        raise ConfigError(_lacking('The size of an image', ['img'], results))
    return tuple(results['img_shape'][:2])


def check_probability(prob: float, name: str = 'prob') -> float:
    """Return ``prob``.

    Raises:
        ValueError: It isn't between 0 and 1.
    """
    if not 0 <= prob <= 1:
        raise ValueError(f'{name} must lie between 0 and 1, got {prob}.')
    return prob


def check_range(name: str, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return ``bounds``.

    Raises:
        ValueError: They aren't two numbers, the lower first, of 0 at least.
    """
    if len(bounds) != 2 or not 0 <= bounds[0] <= bounds[1]:
        raise ValueError(f'{name} must be two numbers, 0 <= lower <= upper, got {bounds}.')
    return bounds
