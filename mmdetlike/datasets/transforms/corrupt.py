"""Corruptions of images, as bad cameras, weather and transmission cause them."""

import numpy as np

from mmdetlike.datasets.transforms.base import BaseTransform
from mmdetlike.datasets.transforms.color import as_bytes
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS
from mmdetlike.utils.packages import import_package


@TRANSFORMS.register_module()
class Corrupt(BaseTransform):
    """Corrupt the image, to test how robust a detector is (arXiv 1907.07484).

    The package imagecorruptions does the work. Floating point images are rounded to 8 bits on the way.

    Args:
        corruption: Which one: 'gaussian_noise', 'motion_blur', 'snow' ..., see ``imagecorruptions``.
        severity: 1 (slight) to 5 (severe); 0 changes nothing.

    Raises:
        ConfigError: The package is missing, or a value is unknown.
    """

    needs = ('img',)

    def __init__(self, corruption: str, severity: int = 1) -> None:
        package = import_package('imagecorruptions', 'Corrupt')
        names = package.get_corruption_names('all')
        if corruption not in names:
            raise ConfigError(f'corruption={corruption!r} is unknown; expected one of {", ".join(names)}')
        if severity not in range(6):
            raise ConfigError(f'severity must be a whole number from 0 to 5, got {severity!r}')
        self.corruption = corruption
        self.severity = severity
        self._corrupt = package.corrupt

    def transform(self, results: dict) -> dict:
        if self.severity == 0:
            return results
        img = as_bytes(results, self)
        try:
            # the package takes RGB; the order matters to snow, frost and spatter, which have colors of their own
            corrupted = self._corrupt(img[..., ::-1], corruption_name=self.corruption, severity=self.severity)
        except Exception as error:
            raise ConfigError(
                f'the package imagecorruptions cannot apply {self.corruption!r} to {results.get("img_path")} of shape '
                f'{img.shape}: {type(error).__name__}: {error}'
            ) from error
        results['img'] = np.ascontiguousarray(corrupted[..., ::-1]).astype(results['img'].dtype)
        return results
