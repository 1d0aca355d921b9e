"""Small steps: normalization, conversion to gray, conversion of arrays to tensors."""

from collections.abc import Sequence

import numpy as np
import torch

from mmdetlike.datasets.transforms.base import BaseTransform, check_probability
from mmdetlike.datasets.transforms.formatting import image_to_tensor
from mmdetlike.datasets.transforms.wrappers import Step, build_pipeline
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS

COLOR_FORMATS = ('bgr', 'rgb')
# ITU-R BT.601, as OpenCV turns colors to gray
_GRAY_WEIGHTS = {'bgr': (0.114, 0.587, 0.299), 'rgb': (0.299, 0.587, 0.114)}


@TRANSFORMS.register_module()
class Compose(BaseTransform):
    """Apply transforms one after the other; where one gives the sample up, the others are left out.

    Args:
        transforms: The transforms.
    """

    def __init__(self, transforms: Step | Sequence[Step]) -> None:
        self.transforms = build_pipeline(transforms)

    def transform(self, results: dict) -> dict | None:
        return self.transforms(results)


@TRANSFORMS.register_module()
class Normalize(BaseTransform):
    """(pixel - mean) / std of each channel, in float32; records ``img_norm_cfg``.

    Detectors normalize by their ``data_preprocessor``: with this step, that must have neither mean nor std.

    Args:
        mean: One number a channel.
        std: One number a channel.
        to_rgb: Exchange the first and the last channel before.

    Raises:
        ConfigError: ``mean`` and ``std`` differ in length, or have another one than the picture has channels.
    """

    needs = ('img',)

    def __init__(self, mean: Sequence[float], std: Sequence[float], to_rgb: bool = True) -> None:
        if len(mean) != len(std) or min(std) <= 0:
            raise ConfigError(f'mean and std must have one number a channel, std above 0; got {mean} and {std}')
        self.mean = np.array(mean, dtype=np.float32)
        self.std = np.array(std, dtype=np.float32)
        self.to_rgb = to_rgb

    def transform(self, results: dict) -> dict:
        img = results['img'][..., None] if results['img'].ndim == 2 else results['img']
        if img.shape[2] != len(self.mean):
            raise ConfigError(
                f'Normalize has {len(self.mean)} numbers in mean and std, but the picture {results.get("img_path")} '
                f'has {img.shape[2]} channels'
            )
        img = img[..., ::-1] if self.to_rgb else img
        results['img'] = (img - self.mean) / self.std
        results['img_norm_cfg'] = dict(mean=self.mean, std=self.std, to_rgb=self.to_rgb)
        return results


@TRANSFORMS.register_module()
class RandomGrayscale(BaseTransform):
    """Turn the image gray with a probability.

    Args:
        prob: The probability.
        keep_channels: Keep the number of channels, all of them the same; otherwise one is left.
        channel_weights: Weights of the channels in the gray, whatever their sum; ones that are all equal stand for
            those by which eyes see, as OpenCV has them.
        color_format: The order of channels, 'bgr' or 'rgb'.

    Raises:
        ConfigError: A value is out of range.
    """

    needs = ('img',)

    def __init__(
        self,
        prob: float = 0.1,
        keep_channels: bool = False,
        channel_weights: Sequence[float] = (1.0, 1.0, 1.0),
        color_format: str = 'bgr',
    ) -> None:
        if color_format not in COLOR_FORMATS:
            raise ConfigError(f'color_format={color_format!r} is unknown; expected one of {", ".join(COLOR_FORMATS)}')
        if len(channel_weights) != 3 or min(channel_weights) < 0 or sum(channel_weights) == 0:
            raise ConfigError(f'channel_weights must be three numbers of 0 or more, got {channel_weights}')
        self.prob = check_probability(prob)
        self.keep_channels = keep_channels
        self.channel_weights = tuple(channel_weights)
        self.color_format = color_format

    def transform(self, results: dict) -> dict:
        if np.random.uniform() >= self.prob:
            return results
        img = results['img']
        if img.ndim != 3 or img.shape[2] != 3:
            raise ConfigError(
                f'RandomGrayscale takes pictures of shape (h, w, 3), but {results.get("img_path")} has {img.shape}'
            )
        weights = np.array(self.channel_weights, dtype=np.float32) * _GRAY_WEIGHTS[self.color_format]
        gray = (img @ (weights / weights.sum()))[..., None]
        if img.dtype.kind in 'iu':
            gray = np.rint(gray)
        results['img'] = np.repeat(gray, 3 if self.keep_channels else 1, axis=2).astype(img.dtype)
        return results


def _check_keys(keys: Sequence[str]) -> tuple[str, ...]:
    if isinstance(keys, str):
        raise ConfigError(f'keys must be a list of names, got the text {keys!r}')
    return tuple(keys)


@TRANSFORMS.register_module()
class ToTensor(BaseTransform):
    """Turn arrays, numbers and lists of them into tensors of the same shape.

    Args:
        keys: Which ones of the sample.

    Raises:
        ConfigError: One is neither of these.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = self.needs = _check_keys(keys)

    def transform(self, results: dict) -> dict:
        for key in self.keys:
            try:
                results[key] = torch.as_tensor(results[key])
            except (TypeError, ValueError, RuntimeError) as error:
                raise ConfigError(
                    f'ToTensor cannot make a tensor of {key}, which is {type(results[key]).__name__}: {error}'
                ) from None
        return results


@TRANSFORMS.register_module()
class ImageToTensor(BaseTransform):
    """Turn images (h, w) or (h, w, c) into tensors (c, h, w).

    Args:
        keys: Which ones of the sample.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = self.needs = _check_keys(keys)

    def transform(self, results: dict) -> dict:
        results.update({key: image_to_tensor(results[key]) for key in self.keys})
        return results


@TRANSFORMS.register_module()
class Transpose(BaseTransform):
    """Reorder the axes of arrays.

    Args:
        keys: Which ones of the sample.
        order: The index of the old axis that each new axis is.

    Raises:
        ConfigError: ``order`` isn't an order of axes, or an array has another number of them.
    """

    def __init__(self, keys: Sequence[str], order: Sequence[int]) -> None:
        self.keys = self.needs = _check_keys(keys)
        self.order = tuple(order)
        if sorted(self.order) != list(range(len(self.order))):
            raise ConfigError(f'order must name each axis from 0 on once, got {order}')

    def transform(self, results: dict) -> dict:
        for key in self.keys:
            if len(self.order) != results[key].ndim:
                raise ConfigError(
                    f'order={self.order} of Transpose has {len(self.order)} axes, but {key} of '
                    f'{results.get("img_path")} is of shape {results[key].shape}'
                )
            results[key] = results[key].transpose(self.order)
        return results
