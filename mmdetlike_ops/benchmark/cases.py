"""The cases of the benchmark.

Each function yields `Case`s, or tuples (name, run) where no limit is stated. A comment says what a case must move or
compute: `bytes` counts each tensor it reads or writes once, `flops` the arithmetic of its definition.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike_ops import (
    batched_nms,
    box_iou_rotated,
    carafe,
    deform_conv2d,
    deform_roi_pool,
    masked_conv2d,
    modulated_deform_conv2d,
    ms_deform_attn,
    nms,
    nms_rotated,
    prroi_pool,
    roi_align,
    roi_align_rotated,
    roi_pool,
    sigmoid_focal_loss,
    soft_nms,
    softmax_focal_loss,
)

from .measure import Case

IOU_FLOPS = 13  # of the overlap of two boxes: 4 comparisons, 9 operations


def random_boxes(n: int, smallest: float, largest: float) -> Tensor:
    """(n, 4) xyxy boxes in an image of 800 x 1088 pixels, their sides log-uniform."""
    centers = torch.rand(n, 2) * torch.tensor([1088.0, 800.0])
    sizes = smallest * (largest / smallest) ** torch.rand(n, 2)
    return torch.cat([centers - sizes / 2, centers + sizes / 2], dim=1)


def numel(*tensors: Tensor) -> int:
    """Elements of all tensors."""
    return sum(tensor.numel() for tensor in tensors)


def gradient(run: Callable[[], Tensor], *leaves: Tensor) -> Callable[[], tuple[Tensor, ...]]:
    """Makes a forward and backward pass of `run`, the gradient of whose sum reaches `leaves`."""
    return lambda: torch.autograd.grad(run().sum(), leaves)


def convolution_cases(device: torch.device) -> Iterator[Case]:
    x = torch.randn(2, 256, 50, 68, device=device)
    weight = torch.randn(256, 256, 3, 3, device=device)
    # a product and a sum for each weight at each of 2 x 50 x 68 positions
    flops = 2 * weight.numel() * 2 * 50 * 68
    yield Case('conv2d, 2x256x50x68, 3x3, 256 out', lambda: F.conv2d(x, weight, padding=1), 4 * numel(x, x), flops)
    mask = torch.rand(1, 200, 272, device=device) < 0.05
    features = torch.randn(1, 256, 200, 272, device=device)
    # the features read, the output written; a product and a sum for each weight at each position that is set
    yield Case(
        'masked_conv2d, 1x256x200x272, 3x3, 256 out, 5 % set',
        lambda: masked_conv2d(features, mask, weight, padding=1),
        4 * 2 * features.numel(),
        2 * weight.numel() * int(mask.sum()),
    )


def suppression_cases(device: torch.device) -> Iterator[Case]:
    n = 10000
    classes = 80
    boxes = random_boxes(n, 8, 200).to(device)
    scores = torch.rand(n, device=device)
    labels = torch.randint(0, classes, (n,), device=device)
    config = {'type': 'nms', 'iou_threshold': 0.5}
    # the overlap of every two boxes kept (of a class), and of one with each box suppressed; boxes and scores read
    kept = nms(boxes, scores, 0.5)[1].numel()
    flops = IOU_FLOPS * (kept * (kept - 1) / 2 + n - kept)
    yield Case('nms, 10000 boxes', lambda: nms(boxes, scores, 0.5), 4 * 5 * n, flops, 1.0)
    kept = batched_nms(boxes, scores, labels, config)[1].numel()
    flops = IOU_FLOPS * (kept * (kept / classes - 1) / 2 + n - kept)
    yield Case(
        'batched_nms, 10000 boxes, 80 classes',
        lambda: batched_nms(boxes, scores, labels, config),
        4 * 5 * n + 8 * n,
        flops,
        0.15,
    )
    # the overlap of every two boxes kept
    few = boxes[:1000]
    some = scores[:1000]
    kept = soft_nms(few, some)[1].numel()
    yield Case('soft_nms, 1000 boxes', lambda: soft_nms(few, some), 4 * 5 * 1000, IOU_FLOPS * kept * (kept - 1) / 2)


def pooling_cases(device: torch.device) -> Iterator[Case]:
    rois = torch.cat([torch.randint(0, 2, (1000, 1)).float(), random_boxes(1000, 16, 400)], dim=1).to(device)
    features = torch.randn(2, 256, 200, 272, device=device)
    for layout in (torch.contiguous_format, torch.channels_last):
        x = features.contiguous(memory_format=layout)
        name = str(layout).removeprefix('torch.')
        yield from _pooling_cases('roi_align', name, x, lambda x: roi_align(x, rois, 7, 0.25, 2), 4, (5.0, 12.0))
        yield from _pooling_cases('roi_pool', name, x, lambda x: roi_pool(x, rois, 7, 0.25))
    offset = torch.randn(1000, 2, 7, 7, device=device)
    yield from _pooling_cases(
        'deform_roi_pool', 'contiguous', features, lambda x: deform_roi_pool(x, rois, offset, 7, 0.25, 2), 4
    )
    yield from _pooling_cases('prroi_pool', 'contiguous', features, lambda x: prroi_pool(x, rois, 7, 0.25))


def _pooling_cases(
    op: str,
    layout: str,
    x: Tensor,
    pool: Callable[[Tensor], Tensor],
    samples: int = 0,
    targets: tuple[float | None, float | None] = (None, None),
) -> Iterator[Case]:
    """Forward, and forward with backward: 1000 regions of 2 x 256 x 200 x 272 features, 7 x 7 bins."""
    out = pool(x)
    leaf = x.detach().clone().requires_grad_()
    # features read, bins written; 8 operations a bilinear sample
    flops = 8 * samples * out.numel()
    yield Case(f'{op} forward, {layout}', lambda: pool(x), 4 * numel(x, out), flops, targets[0])
    # and back: gradients of bins read, of features written
    run = gradient(lambda: pool(leaf), leaf)
    yield Case(f'{op} forward + backward, {layout}', run, 2 * 4 * numel(x, out), 2 * flops, targets[1])


def rotated_cases(device: torch.device) -> Iterator[Case]:
    unit = torch.rand(20000, 5, device=device)
    boxes = unit * unit.new_tensor([1088, 800, 100, 50, 3.2]) + unit.new_tensor([0, 0, 8, 8, 0])
    # boxes read, overlaps written
    size = 4 * (5 * 20050 + 20000 * 50)
    yield Case('box_iou_rotated, 20000 x 50', lambda: box_iou_rotated(boxes, boxes[:50]), size)
    # boxes and scores read
    yield Case('nms_rotated, 2000 boxes', lambda: nms_rotated(boxes[:2000], unit[:2000, 0], 0.1), 4 * 6 * 2000)
    x = torch.randn(2, 256, 200, 272, device=device)
    images = torch.randint(0, 2, (1000, 1), device=device)
    rois = torch.cat([images, boxes[:1000]], dim=1)
    yield from _pooling_cases('roi_align_rotated', 'contiguous', x, lambda x: roi_align_rotated(x, rois, 7, 0.25, 2), 4)


def deform_cases(device: torch.device) -> Iterator[Case]:
    """Deformable 3 x 3 convolution of 2 x 256 x 50 x 68 features with 256 filters."""
    x = torch.randn(2, 256, 50, 68, device=device)
    weight = torch.randn(256, 256, 3, 3, device=device)
    offset = torch.randn(2, 18, 50, 68, device=device)
    mask = torch.rand(2, 9, 50, 68, device=device)
    plain = (x, offset, mask, weight)
    leaves = [t.clone().requires_grad_() for t in (x, offset, mask, weight)]
    # a product and a sum for each weight at each position, 8 operations a bilinear sample
    flops = 2 * weight.numel() * 2 * 50 * 68 + 8 * 9 * x.numel()
    # features, offsets, masks and weights read, the output written
    size = 4 * (numel(*plain) + x.numel())

    def modulated(x, offset, mask, weight):
        return modulated_deform_conv2d(x, offset, mask, weight, None, 1, 1)

    yield Case('modulated_deform_conv2d forward', lambda: modulated(*plain), size, flops, 2.5)
    # and twice the arithmetic for the gradients of what was read
    backward = gradient(lambda: modulated(*leaves), *leaves)
    yield Case('modulated_deform_conv2d forward + backward', backward, 2 * size, 3 * flops, 12.0)
    yield Case(
        'deform_conv2d forward, im2col_step 2',
        lambda: deform_conv2d(x, offset, weight, 1, 1, im2col_step=2),
        size - 4 * mask.numel(),
        flops,
        2.5,
    )


def attention_cases(device: torch.device) -> Iterator[Case]:
    """An encoder layer of Deformable DETR: the 18071 pixels of 4 levels attend to 4 points a level in 8 heads."""
    shapes = torch.tensor([[100, 136], [50, 68], [25, 34], [13, 17]], device=device)
    sizes = shapes.prod(1)
    starts = sizes.cumsum(0) - sizes
    pixels = int(sizes.sum())
    value = torch.randn(1, pixels, 8, 32, device=device)
    weights = torch.rand(1, pixels, 8, 4, 4, device=device)
    locations = torch.rand(1, pixels, 8, 4, 4, 2, device=device)
    leaves = [t.clone().requires_grad_() for t in (value, locations, weights)]
    # values, locations and weights read, the output written; 10 operations a channel of a sample
    size = 4 * numel(value, value, locations, weights)
    flops = 10 * 32 * weights.numel()
    yield Case('ms_deform_attn forward', lambda: ms_deform_attn(value, shapes, starts, locations, weights), size, flops)
    backward = gradient(lambda: ms_deform_attn(leaves[0], shapes, starts, *leaves[1:]), *leaves)
    # and twice the arithmetic for the gradients of what was read
    yield Case('ms_deform_attn forward + backward', backward, 2 * size, 3 * flops)
    features = torch.randn(2, 256, 50, 68, device=device)
    masks = torch.rand(2, 25, 100, 136, device=device)
    # features and masks read, the output written; 25 products and sums an output
    out = 4 * features.numel()
    yield Case(
        'carafe forward, 2x256x50x68, kernel 5, scale 2',
        lambda: carafe(features, masks, 5, 1, 2),
        4 * (numel(features, masks) + out),
        2 * 25 * out,
    )


def loss_cases(device: torch.device) -> Iterator[Case]:
    logits = torch.randn(50000, 80, device=device, requires_grad=True)
    target = torch.randint(0, 81, (50000,), device=device)
    # logits read twice, losses and gradients written
    yield Case(
        'sigmoid_focal_loss forward + backward, 50000x80',
        gradient(lambda: sigmoid_focal_loss(logits, target), logits),
        4 * 4 * logits.numel(),
    )
    # logits read twice, gradients written
    yield Case(
        'softmax_focal_loss forward + backward, 50000x80',
        gradient(lambda: softmax_focal_loss(logits, target), logits),
        4 * 3 * logits.numel(),
    )


CASES = (
    convolution_cases,
    suppression_cases,
    pooling_cases,
    rotated_cases,
    deform_cases,
    attention_cases,
    loss_cases,
)
