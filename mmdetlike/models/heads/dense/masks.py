"""Masks of dense heads: made by a small network of each object (CondInst, arXiv 2003.05664), and drawn in images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.utils import masks_in_image
from mmdetlike.structures import SampleList


@dataclass(frozen=True)
class MaskNetwork:
    """1x1 convolutions with ReLU between them, whose parameters are predicted for each object.

    A pixel has, before its features, its distance x and y from the prior that predicted the object.

    Attributes:
        widths: Channels put in, between the layers, and put out: 1.
        reach: Unit of the distances, in strides of the prior.
    """

    widths: Sequence[int]
    reach: int = 8

    @property
    def num_params(self) -> int:
        """Weights and biases of one network."""
        return sum(a * b + b for a, b in zip(self.widths, self.widths[1:]))

    def split(self, params: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Weights (n, out, in) and biases (n, out) of each layer, from (n, num_params): all weights come first."""
        shapes = list(zip(self.widths[1:], self.widths))
        parts = params.split([b * a for b, a in shapes] + [b for b, _ in shapes], dim=1)
        weights = [part.unflatten(1, shape) for part, shape in zip(parts, shapes)]
        return weights, list(parts[len(shapes) :])

    def mask_logits(self, feat: Tensor, pixels: Tensor, objects: InstanceData) -> Tensor:
        """Mask logits (n, h, w) of n objects from the features ``feat`` (C, h, w) of one image.

        ``pixels`` (h * w, 2) are x and y of the features' pixels in the image. The objects have ``params``
        (n, num_params), those of the networks, and ``points`` and ``strides`` (n, 2) of the priors that predicted them.
        """
        weights, biases = self.split(objects.params)
        # A convolution of a pixel's distance from the object's point is one of the pixel's own x and y with another
        # bias: so the features are the same for all objects, and one product serves them.
        per_pixel = weights[0][..., :2] / (self.reach * objects.strides[:, None])
        offset = biases[0] + (per_pixel * objects.points[:, None]).sum(-1)
        features = torch.cat([pixels.T, feat.flatten(1)])
        x = torch.cat([-per_pixel, weights[0][..., 2:]], dim=-1).flatten(0, 1) @ features
        x = x.view(*offset.shape, features.shape[1]) + offset[..., None]
        for weight, bias in zip(weights[1:], biases[1:]):
            x = torch.baddbmm(bias[..., None], weight, x.relu())
        return x.view(len(objects.params), *feat.shape[-2:])


def with_masks(found: InstanceData, masks: Tensor) -> InstanceData:
    """The boxes of an image with their ``masks`` (n, h, w), without the fields from which these were made."""
    fields = {name: found[name] for name in ('bboxes', 'scores', 'labels', 'all_scores') if name in found}
    return InstanceData(**fields, masks=masks)


def draw_masks(
    results: Sequence[InstanceData],
    probabilities: Sequence[Tensor],
    upsample: Callable[[Tensor], Tensor],
    samples: SampleList,
    rescale: bool,
    threshold: float,
) -> list[InstanceData]:
    """The boxes of each image with ``masks`` of its size, or to ``rescale`` of that of the original image.

    ``probabilities`` (n, h, w), ``upsample`` and ``threshold`` are those of ``masks_in_image``.
    """
    drawn = []
    for found, of_image, sample in zip(results, probabilities, samples):
        shape = tuple(sample.img_shape[:2])
        out_shape = tuple(sample.ori_shape[:2]) if rescale else shape
        drawn.append(with_masks(found, masks_in_image(of_image, upsample, shape, out_shape, threshold)))
    return drawn
