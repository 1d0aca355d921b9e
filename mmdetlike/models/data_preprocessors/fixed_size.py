"""A data preprocessor that brings every picture to one size, as torchvision's SSD does in its model."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample
from mmdetlike.structures.resize_sample import resize_sample
from mmdetlike.structures.warp import Warp

from .data_preprocessor import DetDataPreprocessor


@MODELS.register_module()
class FixedSizeDataPreprocessor(DetDataPreprocessor):
    """Normalize pictures and stretch each of them to ``size``, with its annotations.

    Args:
        size: Height and width in pixels.
        mean, std, bgr_to_rgb: See ``DetDataPreprocessor``.
    """

    def __init__(
        self,
        size: tuple[int, int],
        mean: list[float] | None = None,
        std: list[float] | None = None,
        bgr_to_rgb: bool = False,
    ) -> None:
        super().__init__(mean=mean, std=std, bgr_to_rgb=bgr_to_rgb)
        self.size = tuple(size)

    def forward(self, data: dict, training: bool = False) -> dict:
        """As of ``DetDataPreprocessor``; samples know the new size, and by ``scale_factor`` the way back."""
        samples = data.get('data_samples')
        images = []
        prepared = []
        # one by one: they are of different sizes before
        for i, image in enumerate(data['inputs']):
            own = None if samples is None else samples[i : i + 1]
            batch = super().forward(dict(inputs=[image], data_samples=own), training)
            images.append(self._stretch(batch['inputs'], batch['data_samples']))
            prepared += batch['data_samples'] or ()
        return dict(inputs=torch.cat(images), data_samples=None if samples is None else prepared)

    def _stretch(self, image: Tensor, samples: list[DetDataSample] | None) -> Tensor:
        """An image (1, 3, h, w) at ``size``; its sample follows."""
        warp = Warp.resize(tuple(image.shape[-2:]), self.size)
        for sample in samples or ():
            resize_sample(sample, warp)
            before = sample.get('scale_factor', (1.0, 1.0))
            sample.set_metainfo(dict(scale_factor=tuple(a * b for a, b in zip(before, warp.scale))))
        return F.interpolate(image, size=self.size, mode='bilinear', align_corners=False)
