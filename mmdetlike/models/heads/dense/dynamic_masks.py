"""Masks made by a small network of each object from features that all objects share: CondInst, arXiv 2003.05664."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


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

    def mask_logits(self, feat: Tensor, pixels: Tensor, params: Tensor, points: Tensor, strides: Tensor) -> Tensor:
        """Mask logits (n, h, w) of n objects from the features ``feat`` (C, h, w) of one image.

        ``pixels`` (h * w, 2) are x and y of the features' pixels in the image, ``params`` (n, num_params) those of the
        networks, ``points`` and ``strides`` (n, 2) those of the priors that predicted the objects, also x and y.
        """
        weights, biases = self.split(params)
        # A convolution of a pixel's distance from the object's point is one of the pixel's own x and y with another
        # bias: so the features are the same for all objects, and one product serves them.
        per_pixel = weights[0][..., :2] / (self.reach * strides[:, None])
        offset = biases[0] + (per_pixel * points[:, None]).sum(-1)
        features = torch.cat([pixels.T, feat.flatten(1)])
        x = torch.cat([-per_pixel, weights[0][..., 2:]], dim=-1).flatten(0, 1) @ features
        x = x.view(*offset.shape, features.shape[1]) + offset[..., None]
        for weight, bias in zip(weights[1:], biases[1:]):
            x = torch.baddbmm(bias[..., None], weight, x.relu())
        return x.view(len(params), *feat.shape[-2:])
