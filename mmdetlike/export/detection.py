"""What is exported of a detector: a function from images to a fixed number of rows of objects of each."""

import torch
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.utils.fixed_rows import fixed_rows

# rows of a program whose detector has no bound of its own
DEFAULT_LIMIT = 300
OUTPUTS = ('boxes', 'scores', 'labels', 'masks', 'keypoints', 'keypoint_scores')


class Detection(nn.Module):
    """Images (N, 3, H, W) -> their objects, in tensors whose shapes don't depend on what is found.

    Args:
        model: A detector in eval mode, with ``detect``.
        normalize: What is done to pixels first, in the program; None to take images as the network sees them.
    """

    def __init__(self, model: nn.Module, normalize: nn.Module | None = None) -> None:
        super().__init__()
        self.model, self.normalize = model, normalize
        self.limit = object_limit(model)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Detect objects.

        Args:
            images: (N, 3, H, W), of one size.

        Returns:
            For one image ``boxes`` (k, 4) xyxy in pixels of the image, ``scores`` (k,) falling, ``labels`` (k,), of
            detectors of masks ``masks`` (k, H, W) bool, of keypoints ``keypoints`` (k, points, 2) x and y in pixels of
            the image and ``keypoint_scores`` (k, points), and ``count``, a scalar: how many rows are objects; the
            others are zeros. For several images, tensors of one more dimension, the first, of N.

        Raises:
            ConfigError: The detector predicts more than that.
        """
        images = images if self.normalize is None else self.normalize(images)
        rows = [self._rows(found) for found in self.model.detect(images)]
        if len(rows) == 1:
            return rows[0]
        return {name: torch.stack([of_image[name] for of_image in rows]) for name in rows[0]}

    def _rows(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """Objects of an image, filled up to the limit, and their count."""
        if unknown := sorted(set(found) - set(OUTPUTS)):
            kind = type(self.model).__name__
            raise ConfigError(f'{kind} predicts {", ".join(unknown)}: only {", ".join(OUTPUTS)} can be exported')
        count = torch.ones_like(found['labels']).sum().clamp(max=self.limit)
        return dict(fixed_rows(found, self.limit, 'max_per_img'), count=count)


class Normalization(nn.Module):
    """Pixels (N, 3, H, W) from 0 to 255 -> what a network was trained on, as its data preprocessor makes it.

    Args:
        mean: Of each channel, after ``reverse_channels``; none to leave the range as it is.
        std: Deviation of each channel.
        reverse_channels: Turn BGR to RGB, or the other way.
    """

    def __init__(self, mean: list[float], std: list[float], reverse_channels: bool) -> None:
        super().__init__()
        self.reverse_channels = reverse_channels
        self.register_buffer('mean', torch.tensor(mean or [0.0]).view(-1, 1, 1))
        self.register_buffer('std', torch.tensor(std or [1.0]).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """The images with their channels reversed and normalized."""
        images = images.flip(1) if self.reverse_channels else images
        return (images - self.mean) / self.std


def object_limit(model: nn.Module) -> int:
    """How many objects of an image a program returns at most: what the detector is limited to, or `DEFAULT_LIMIT`."""
    settings = model.test_cfg.get('rcnn', model.test_cfg) or {}
    limit = settings.get('max_per_img', settings.get('max_per_image', -1))
    return limit if limit > 0 else DEFAULT_LIMIT
