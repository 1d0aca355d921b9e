"""Changes of brightness, contrast, saturation and light by blending, as Detectron2 has them.

Images are in the order of channels that `LoadImageFromFile` gives, BGR, and stay in their range of 0 to 255.
"""

import numpy as np

from mmdetlike.datasets.transforms.base import BaseTransform, check_range
from mmdetlike.registry import TRANSFORMS

# weights of blue, green and red in the gray of a pixel (ITU-R BT.601)
GRAY_WEIGHTS = np.array([0.114, 0.587, 0.299])
# principal components of ImageNet's colors, RGB in [0, 1] (ImageNet Classification with Deep CNNs, section 4.1)
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])


def blend(image: np.ndarray, other: np.ndarray | float, weight_of_image: float) -> np.ndarray:
    """``weight_of_image`` of the image and the rest of the other, of the dtype of the image; bytes are rounded."""
    mixed = weight_of_image * image.astype(np.float32) + (1 - weight_of_image) * np.asarray(other, np.float32)
    if image.dtype == np.uint8:
        return mixed.round().clip(0, 255).astype(np.uint8)
    return mixed.astype(image.dtype)


class RandomBlend(BaseTransform):
    """Blend the image with a plainer one; a subclass says which.

    Args:
        intensity_min: Least weight of the image.
        intensity_max: Largest weight of the image: 1 is no change, more goes away from the plainer one.
    """

    needs = ('img',)

    def __init__(self, intensity_min: float, intensity_max: float) -> None:
        check_range('(intensity_min, intensity_max)', (intensity_min, intensity_max))
        self.intensity_min = intensity_min
        self.intensity_max = intensity_max

    def plainer(self, image: np.ndarray) -> np.ndarray | float:
        """What the image (h, w, 3) is blended with: of a shape that broadcasts with it."""
        raise NotImplementedError(f'{type(self).__name__} must define plainer().')

    def transform(self, results: dict) -> dict:
        weight = np.random.uniform(self.intensity_min, self.intensity_max)
        results['img'] = blend(results['img'], self.plainer(results['img']), weight)
        return results


@TRANSFORMS.register_module()
class RandomBrightness(RandomBlend):
    """Multiply all levels by a random factor: blends with black.

    Args:
        intensity_min: Least factor.
        intensity_max: Largest factor.
    """

    def plainer(self, image: np.ndarray) -> float:
        return 0.0


@TRANSFORMS.register_module()
class RandomContrast(RandomBlend):
    """Move all levels from or to their mean: 0 is all of one gray, 1 no change.

    Args:
        intensity_min: Least factor.
        intensity_max: Largest factor.
    """

    def plainer(self, image: np.ndarray) -> float:
        return float(image.mean())


@TRANSFORMS.register_module()
class RandomSaturation(RandomBlend):
    """Move all pixels from or to their gray: 0 is gray, 1 no change. The image is BGR.

    Args:
        intensity_min: Least factor.
        intensity_max: Largest factor.
    """

    def plainer(self, image: np.ndarray) -> np.ndarray:
        return image.dot(GRAY_WEIGHTS)[..., None]


@TRANSFORMS.register_module()
class RandomLighting(BaseTransform):
    """Add a random color along the principal components of ImageNet's colors, as AlexNet was trained. The image is BGR.

    Args:
        scale: Standard deviation of the normal distribution of the components' weights.
    """

    needs = ('img',)

    def __init__(self, scale: float) -> None:
        check_range('(0, scale)', (0, scale))
        self.scale = scale

    def transform(self, results: dict) -> dict:
        weights = np.random.normal(scale=self.scale, size=3)
        color = EIGENVECTORS @ (weights * EIGENVALUES) * 255
        changed = results['img'].astype(np.float32) + color[::-1].astype(np.float32)
        dtype = results['img'].dtype
        results['img'] = (changed.round().clip(0, 255) if dtype == np.uint8 else changed).astype(dtype)
        return results
