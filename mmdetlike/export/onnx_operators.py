"""Our kernels as ONNX's own operators, so that a model needs no library of ours where it runs.

Imported only by what writes ONNX, as it needs ``onnxscript``.
"""

import torch
from onnx import TensorProto
from onnxscript import opset20 as op

import mmdetlike_ops  # noqa: F401  registers the kernels
from mmdetlike.errors import ConfigError


def nms(boxes, scores, order, groups, iou_threshold, score_threshold=0.0, offset=0, max_num=-1):
    """Which of the boxes, in ``order``, are kept: bool (n,); see ``mmdetlike_ops.nms``."""
    if offset:  # the right and bottom pixels belong to a box: the same as a box whose corner lies one further
        boxes = op.Add(boxes, op.Constant(value_floats=[0.0, 0.0, 1.0, 1.0]))
    number = op.Shape(order)
    positions = op.Range(_integer(0), op.Squeeze(number), _integer(1))
    # ranks stand for scores: none are equal, so that boxes of equal score keep their order
    ranks = op.Cast(op.Sub(number, op.ScatterElements(order, order, positions)), to=TensorProto.FLOAT)
    if score_threshold > 0:
        ranks = op.Where(op.Greater(scores, op.Constant(value_float=score_threshold)), ranks, _zero())
    groups = op.Mul(order, _integer(0)) if groups is None else groups
    # a class of NonMaxSuppression for each group, in which boxes of the others score nothing
    last = op.ReduceMax(op.Concat(groups, _integers(0), axis=0), keepdims=0)
    numbers = op.Range(_integer(0), op.Add(last, _integer(1)), _integer(1))
    is_member = op.Equal(op.Unsqueeze(groups, _integers(0)), op.Unsqueeze(numbers, _integers(1)))
    class_scores = op.Where(is_member, op.Unsqueeze(ranks, _integers(0)), _zero())
    selected = op.NonMaxSuppression(
        op.Unsqueeze(boxes, _integers(0)),
        op.Unsqueeze(class_scores, _integers(0)),
        number,
        op.Constant(value_floats=[iou_threshold]),
        op.Constant(value_floats=[0.5]),  # below the lowest rank of a member, 1
    )
    indices = op.Gather(selected, _integer(2), axis=1)
    kept = op.ScatterElements(op.Mul(order, _integer(0)), indices, op.Add(op.Mul(indices, _integer(0)), _integer(1)))
    return op.Cast(op.Gather(kept, order), to=TensorProto.BOOL)


def roi_align(x, rois, bins_y, bins_x, scale, sampling_ratio, max, aligned):
    """Features of regions (k, c, bins_y, bins_x), and the argmax that only its gradient needs, empty."""
    if max:
        raise ConfigError("RoIAlign with pool_mode='max' can't be written to ONNX: runtimes compute another maximum")
    images = op.Cast(op.Gather(rois, _integer(0), axis=1), to=TensorProto.INT64)
    pooled = op.RoiAlign(
        x,
        op.Gather(rois, _integers(1, 2, 3, 4), axis=1),
        images,
        coordinate_transformation_mode='half_pixel' if aligned else 'output_half_pixel',
        mode='avg',
        output_height=bins_y,
        output_width=bins_x,
        sampling_ratio=sampling_ratio,
        spatial_scale=scale,
    )
    return pooled, op.Cast(pooled, to=TensorProto.INT32)


def stable_sort(x, stable=True, dim=-1, descending=False):
    """Values and indices along an axis: TopK takes equal values in their order."""
    length = op.Gather(op.Shape(x), _integers(dim))
    return op.TopK(x, length, axis=dim, largest=int(descending), sorted=1)


def remainder(x, divisor):
    """x modulo a divisor, with the divisor's sign; the exporter's own takes no divisor that follows from open sizes."""
    divisor = op.CastLike(divisor, x)
    if x.dtype.is_integer():
        return op.Mod(x, divisor)
    return op.Sub(x, op.Mul(op.Floor(op.Div(x, divisor)), divisor))


def _integer(value: int):
    return op.Constant(value_int=value)


def _integers(*values: int):
    return op.Constant(value_ints=list(values))


def _zero():
    return op.Constant(value_float=0.0)


TRANSLATIONS = {
    torch.ops.mmdetlike_ops.nms.default: nms,
    torch.ops.aten.sort.stable: stable_sort,
    torch.ops.aten.remainder.Scalar: remainder,
    torch.ops.mmdetlike_ops.roi_align.default: roi_align,
}
