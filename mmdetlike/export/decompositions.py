"""Operators that ONNX or its exporter lacks, as plain tensor arithmetic: what stands for them in the graph."""

import torch
from torch import Tensor
from torch.export import ExportedProgram

import mmdetlike_ops  # noqa: F401  registers the kernels
from mmdetlike.export.heatmap_peaks import peaks_on_pixels


def ms_deform_attn(value: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, attention: Tensor) -> Tensor:
    """``mmdetlike_ops.ms_deform_attn``; see there."""
    batch, _, heads, channels = value.shape
    queries = locations.shape[1]
    pixels = locations * shapes.flip(1)[:, None].to(locations) - 0.5  # a level's width and height
    maps = value.transpose(1, 2).flatten(0, 1)
    per_head = (batch * heads, queries, *locations.shape[3:5])
    pixels = pixels.transpose(1, 2).reshape(*per_head, 2)
    weights = attention.transpose(1, 2).reshape(*per_head, 1)
    samples = bilinear_samples(maps, pixels, shapes[:, 1:], shapes[:, :1], starts[:, None])
    output = (samples * weights).sum((2, 3))
    return output.view(batch, heads, queries, channels).transpose(1, 2).flatten(2)


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    deform_groups: int,
    im2col_step: int,
) -> Tensor:
    """``mmdetlike_ops.deform_conv2d`` and, with a mask, ``modulated_deform_conv2d``; see there."""
    batch, channels, height, width = x.shape
    kernel = weight.shape[2:]
    out_size = offset.shape[2:]
    taps = kernel[0] * kernel[1]
    grid = _tap_positions(kernel, out_size, stride, padding, dilation, offset)
    offset = offset.view(batch * deform_groups, taps, 2, *out_size).movedim(2, -1)
    pixels = (grid + offset).flip(-1)  # x before y
    maps = x.reshape(batch * deform_groups, channels // deform_groups, -1).transpose(1, 2)
    samples = bilinear_samples(maps, pixels, width, height)
    if mask is not None:
        samples = samples * mask.view(batch * deform_groups, taps, *out_size, 1)
    # (batch, channels, taps, pixels): the columns that the weights multiply, group by group
    columns = samples.movedim(-1, 1).reshape(batch, groups, -1, out_size[0] * out_size[1])
    output = weight.view(groups, weight.shape[0] // groups, -1) @ columns
    output = output.reshape(batch, -1, *out_size)
    return output if bias is None else output + bias[:, None, None]


def _tap_positions(kernel, out_size, stride, padding, dilation, like: Tensor) -> Tensor:
    """Where the taps of a plain convolution look: y and x, (taps, out height, out width, 2)."""
    axes = []
    for axis in (0, 1):
        outputs = torch.arange(out_size[axis], device=like.device, dtype=like.dtype) * stride[axis] - padding[axis]
        steps = torch.arange(kernel[axis], device=like.device, dtype=like.dtype) * dilation[axis]
        axes.append(steps[:, None] + outputs)
    shape = (*kernel, *out_size)
    rows = axes[0][:, None, :, None].expand(shape)
    columns = axes[1][None, :, None, :].expand(shape)
    return torch.stack([rows, columns], dim=-1).flatten(0, 1)


def bilinear_samples(
    maps: Tensor, pixels: Tensor, width: Tensor | int, height: Tensor | int, start: Tensor | int = 0
) -> Tensor:
    """Samples of maps between their pixels; pixels outside a map count as 0.

    Args:
        maps: (n, s, c), the pixels of a map, or of several maps one after the other, row by row.
        pixels: (n, ..., 2), x and y of each sample, 0 at the center of the first pixel.
        width: Of the map of each sample; broadcast, as the next two, against ``pixels`` without its last axis.
        height: Likewise.
        start: Index of the first pixel of that map.

    Returns:
        (n, ..., c).
    """
    x, y = pixels.unbind(-1)
    total = 0
    for right in (0, 1):
        for below in (0, 1):
            column = x.floor() + right
            row = y.floor() + below
            is_inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            weight = (1 - (x - column).abs()) * (1 - (y - row).abs()) * is_inside
            index = start + row.long() * width + column.long()
            index = torch.where(is_inside, index, 0).flatten(1)
            values = maps.gather(1, index[..., None].expand(-1, -1, maps.shape[2]))
            total = total + values.view(*weight.shape, -1) * weight[..., None]
    return total


def paste_masks(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Tensor:
    """``mmdetlike_ops.paste_masks``, as its kernel returns it: (n, height, width) uint8."""
    x1, y1, x2, y2 = boxes.unbind(1)
    rows = _stretched(y1, y2, masks.shape[1], height).to(masks)
    columns = _stretched(x1, x2, masks.shape[2], width).to(masks)
    pasted = rows @ masks @ columns.transpose(1, 2)
    has_area = ((x2 > x1) & (y2 > y1))[:, None, None]
    values = (pasted >= threshold) & has_area if threshold >= 0 else pasted * 255 * has_area
    return values.to(torch.uint8)


def _stretched(low: Tensor, high: Tensor, cells: int, pixels: int) -> Tensor:
    """Weights (n, pixels, cells) of an axis of masks at the centers of pixels, between ``low`` and ``high`` (n,)."""
    length = torch.where(high > low, high - low, 1)
    centers = torch.arange(pixels, device=low.device, dtype=low.dtype) + 0.5
    positions = (centers - low[:, None]) / length[:, None] * cells - 0.5
    indices = torch.arange(cells, device=low.device, dtype=low.dtype)
    return (1 - (positions[..., None] - indices).abs()).clamp(min=0)


def view_as_type(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Bytes of 0 and 1 as bool; other views of memory have no form in ONNX."""
    return x.to(dtype) if (x.dtype, dtype) == (torch.uint8, torch.bool) else NotImplemented


def decomposed(program: ExportedProgram) -> ExportedProgram:
    """A program of torch's core operators and those kernels of ours that ONNX has, too."""
    table = torch.export.default_decompositions()
    table.update(REPLACED)
    return program.run_decompositions(table)


def repeat_interleave(repeats: Tensor, *, output_size: int | None = None) -> Tensor:
    """Index i as often as ``repeats[i]`` (n,) says, one after the other."""
    ends = repeats.cumsum(0)
    size = ends[-1].item() if output_size is None else output_size
    positions = torch.arange(size, device=repeats.device)
    return (positions[:, None] >= ends).sum(1)


# operators of ours, and of torch where its exporter cannot translate them
REPLACED = {
    torch.ops.mmdetlike_ops.ms_deform_attn.default: ms_deform_attn,
    torch.ops.mmdetlike_ops.deform_conv2d.default: deform_conv2d,
    torch.ops.mmdetlike_ops.paste_masks.default: paste_masks,
    torch.ops.mmdetlike_ops.heatmap_peaks.default: peaks_on_pixels,
    torch.ops.aten.view.dtype: view_as_type,
    torch.ops.aten.repeat_interleave.Tensor: repeat_interleave,
}
