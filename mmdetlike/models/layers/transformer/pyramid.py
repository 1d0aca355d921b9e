"""The levels of a feature pyramid in one row, as transformers read them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.utils.sizes import size_tensor


@dataclass
class FlatPyramid:
    """The pixels of all levels of a pyramid in one row, level after level.

    Attributes:
        feats: (B, S, C) features of the pixels.
        pos: (B, S, C) their positional encodings.
        padding_mask: (B, S) True for padding; None where there is none.
        sizes: Height and width of each level.
        spatial_shapes: (L, 2) int64, ``sizes`` as a tensor. Python code reads ``sizes``, so nothing waits for a device.
        level_start_index: (L,) index of the first pixel of each level.
        valid_ratios: (B, L, 2) the share of each level's width and height that is image.
    """

    feats: Tensor
    pos: Tensor
    padding_mask: Tensor | None
    sizes: list[tuple[int, int]]
    spatial_shapes: Tensor
    level_start_index: Tensor
    valid_ratios: Tensor

    def as_maps(self, pixels: Tensor) -> list[Tensor]:
        """Pixels (B, S, C) in a row, as encoded, as the map (B, C, H_i, W_i) of each level."""
        levels = pixels.transpose(1, 2).split([height * width for height, width in self.sizes], dim=2)
        return [level.unflatten(2, size) for level, size in zip(levels, self.sizes)]

    def sampling(self) -> dict[str, Tensor | None]:
        """What deformable attention to this pyramid needs beside queries and reference points."""
        return dict(
            key_padding_mask=self.padding_mask,
            spatial_shapes=self.spatial_shapes,
            level_start_index=self.level_start_index,
        )

    def reference_points(self) -> Tensor:
        """The center of each pixel, (B, S, L, 2), as x and y relative to the width and height of each level."""
        points = []
        for (height, width), ratios in zip(self.sizes, self.valid_ratios.unbind(1)):
            # where a pixel is in the image comes first: levels round their padding differently
            points.append(pixel_centers(height, width, ratios) / ratios[:, None])
        return torch.cat(points, dim=1)[:, :, None] * self.valid_ratios[:, None]

    def in_levels(self, references: Tensor) -> Tensor:
        """Points or boxes of the image (B, Q, 2 or 4) relative to each level with its padding, (B, Q, L, 2 or 4)."""
        ratios = self.valid_ratios.repeat(1, 1, references.shape[-1] // 2)
        return references[:, :, None] * ratios[:, None]


def pixel_centers(height: int, width: int, like: Tensor) -> Tensor:
    """Centers x, y of the pixels of a feature map in [0, 1], (1, height * width, 2), row by row."""
    y = (torch.arange(height, dtype=like.dtype, device=like.device) + 0.5) / height
    x = (torch.arange(width, dtype=like.dtype, device=like.device) + 0.5) / width
    return torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1).reshape(1, -1, 2)


def flatten_pyramid(
    feats: Sequence[Tensor],
    masks: Tensor | None,
    encoding: Callable[..., Tensor],
    level_embed: Tensor | None = None,
) -> FlatPyramid:
    """Put the levels of a pyramid, one or more, into one row.

    Args:
        feats: Feature maps (B, C, H_i, W_i).
        masks: (B, H, W) True for padding of the images; None where there is none.
        encoding: Positional encoding of a mask.
        level_embed: (L, C) added to the encoding of each level, else ``ConfigError``; None for none.
    """
    if level_embed is not None and len(level_embed) != len(feats):
        raise ConfigError(f'the pyramid has {len(feats)} maps, the transformer is built for {len(level_embed)} levels')
    sizes = [tuple(feat.shape[-2:]) for feat in feats]
    level_masks = [padding_at(masks, size) for size in sizes]
    rows = [feat.flatten(2).transpose(1, 2) for feat in feats]
    positions = [encoding(mask, input=feat).flatten(2).transpose(1, 2) for mask, feat in zip(level_masks, feats)]
    if level_embed is not None:
        positions = [pos + embed for pos, embed in zip(positions, level_embed)]
    shapes = size_tensor(sizes, device=feats[0].device)
    # where each level begins in the row
    starts = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]])
    flat_mask = None
    ratios = feats[0].new_ones(len(feats[0]), len(feats), 2)
    if masks is not None:
        flat_mask = torch.cat([mask.flatten(1) for mask in level_masks], dim=1)
        ratios = torch.stack([_valid_ratio(mask) for mask in level_masks], dim=1).to(feats[0].dtype)
    return FlatPyramid(torch.cat(rows, 1), torch.cat(positions, 1), flat_mask, sizes, shapes, starts, ratios)


def padding_at(masks: Tensor | None, size: tuple[int, int]) -> Tensor | None:
    """Padding masks (B, H, W) scaled to the ``size`` of a feature map, (B, h, w); None where there is no padding."""
    if masks is None:
        return None
    # the nearest pixel: torch interpolates no truth values, and takes the batch for channels of one image here
    return nn.functional.interpolate(masks[None].float(), size=size).bool()[0]


def _valid_ratio(mask: Tensor) -> Tensor:
    """The share of width and height that is image, (B, 2), of masks (B, H, W) that are True for padding."""
    # padding is at the right and the bottom, so the first row and the first column say how far the image goes
    image = ~mask
    return torch.stack([image[:, 0].float().mean(1), image[:, :, 0].float().mean(1)], dim=-1)
