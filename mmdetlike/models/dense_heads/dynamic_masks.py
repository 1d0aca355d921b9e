"""Masks that a small network of each object draws over features that all share: CondInst, arXiv 2003.05664."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.utils import annotated_masks, fit_size
from mmdetlike.structures import DetDataSample


@dataclass(frozen=True)
class MaskNetwork:
    """1x1 convolutions with ReLU between them, whose parameters are predicted for each object.

    A pixel has, before its features, its distance x and y from the prior that predicted the object.

    Attributes:
        widths: Channels put in, between the layers, and put out: 1.
        reach: Distances are divided by so many strides of the prior.
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

    def draw(self, feat: Tensor, pixels: Tensor, params: Tensor, priors: Tensor) -> Tensor:
        """Run the networks of n objects.

        Args:
            feat: (C, h, w) features of one image.
            pixels: (h * w, 2) x and y of their pixels in the image.
            params: (n, num_params).
            priors: (n, 4) x, y and strides.

        Returns:
            Mask logits (n, h, w).
        """
        weights, biases = self.split(params)
        # A convolution of the place relative to the object's point is one of the place itself with another bias.
        per_pixel = weights[0][..., :2] / (self.reach * priors[:, None, 2:])
        offset = biases[0] + (per_pixel * priors[:, None, :2]).sum(-1)
        features = torch.cat([pixels.T, feat.flatten(1)])
        x = torch.cat([-per_pixel, weights[0][..., 2:]], dim=-1).flatten(0, 1) @ features
        x = x.view(*offset.shape, features.shape[1]) + offset[..., None]
        for weight, bias in zip(weights[1:], biases[1:]):
            x = torch.baddbmm(bias[..., None], weight, x.relu())
        return x.view(len(params), *feat.shape[-2:])


def masks_at_stride(sample: DetDataSample, stride: int, size: tuple[int, int], part: str) -> Tensor:
    """(m, *size) the masks of a sample's objects: one pixel of each square of ``stride``, near its middle.

    They are cut or filled at the right and the bottom, as images of a batch may be padded; ``part`` needs them.
    """
    masks = annotated_masks(sample, part).to_ndarray()[:, stride // 2 :: stride, stride // 2 :: stride]
    return fit_size(torch.from_numpy(masks), size)


class MaskFeatures(BaseModule):
    """Base of the modules that bring pyramid maps to one size, add them up and mix their channels.

    A subclass supplies ``level_convs``, and mixes the sum that ``forward`` returns.

    Args:
        in_channels: Channels of the maps.
        feat_channels: Channels of hidden layers.
        start_level: First level used.
        end_level: Last level used.
        out_channels: Channels put out.
        mask_stride: Stride of the result in pixels.
        conv_cfg: Convolution layer.
        norm_cfg: Norm layer.
        init_cfg: Weight initialisation.

    Raises:
        ValueError: The levels are out of order.
    """

    def __init__(
        self,
        in_channels: int,
        feat_channels: int,
        start_level: int,
        end_level: int,
        out_channels: int,
        mask_stride: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or [dict(type='Normal', layer='Conv2d', std=0.01)])
        if not 0 <= start_level <= end_level:
            raise ValueError(f'start_level must be in [0, end_level], got {start_level} and end_level={end_level}')
        self.start_level, self.end_level, self.mask_stride = start_level, end_level, mask_stride
        self.in_channels, self.feat_channels, self.out_channels = in_channels, feat_channels, out_channels
        self.layer = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, inplace=False)
        self.convs_all_levels = nn.ModuleList(self.level_convs(i) for i in range(start_level, end_level + 1))

    def level_convs(self, level: int) -> nn.Sequential:
        """The layers of one level."""
        raise NotImplementedError

    def run_levels(self, x: Sequence[Tensor]) -> list[Tensor]:
        """What the layers make of the levels used, of pyramid maps (B, C, H_i, W_i)."""
        return [conv(level) for conv, level in zip(self.convs_all_levels, x[self.start_level : self.end_level + 1])]
