"""Times the operators against a dense convolution of the same process: `python -m mmdetlike_ops.benchmark`.

The unit is one `F.conv2d` of 2 x 256 x 50 x 68 with 256 filters of 3 x 3, float32, so that figures of different
machines compare. Threads are PyTorch's: set OMP_NUM_THREADS.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike_ops import (
    batched_nms,
    box_iou_rotated,
    deform_conv2d,
    modulated_deform_conv2d,
    nms,
    nms_rotated,
    roi_align,
    roi_align_rotated,
    roi_pool,
    sigmoid_focal_loss,
    soft_nms,
)


def best_time(run: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of `repeats` runs, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def random_boxes(n: int, smallest: float, largest: float) -> Tensor:
    """(n, 4) xyxy boxes in an image of 800 x 1088 pixels, their sides log-uniform."""
    centres = torch.rand(n, 2) * torch.tensor([1088.0, 800.0])
    sizes = smallest * (largest / smallest) ** torch.rand(n, 2)
    return torch.cat([centres - sizes / 2, centres + sizes / 2], dim=1)


def suppression_cases(device: torch.device) -> Iterator[tuple[str, Callable]]:
    boxes, scores = random_boxes(10000, 8, 200).to(device), torch.rand(10000, device=device)
    classes = torch.randint(0, 80, (10000,), device=device)
    config = {'type': 'nms', 'iou_threshold': 0.5}
    yield 'nms, 10000 boxes', lambda: nms(boxes, scores, 0.5)
    yield 'batched_nms, 10000 boxes, 80 classes', lambda: batched_nms(boxes, scores, classes, config)
    yield 'soft_nms, 1000 boxes', lambda: soft_nms(boxes[:1000], scores[:1000])


def pooling_cases(device: torch.device) -> Iterator[tuple[str, Callable]]:
    rois = torch.cat([torch.randint(0, 2, (1000, 1)).float(), random_boxes(1000, 16, 400)], dim=1).to(device)
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, 256, 200, 272, device=device).contiguous(memory_format=layout)
        name = str(layout).removeprefix('torch.')
        leaf = x.detach().clone().requires_grad_()
        yield f'roi_align, {name}', lambda x=x: roi_align(x, rois, 7, 0.25, 2)
        yield (
            f'roi_align forward + backward, {name}',
            lambda leaf=leaf: torch.autograd.grad(roi_align(leaf, rois, 7, 0.25, 2).sum(), leaf),
        )
        yield f'roi_pool, {name}', lambda x=x: roi_pool(x, rois, 7, 0.25)


def rotated_cases(device: torch.device) -> Iterator[tuple[str, Callable]]:
    unit = torch.rand(20000, 5, device=device)
    boxes = unit * unit.new_tensor([1088, 800, 100, 50, 3.2]) + unit.new_tensor([0, 0, 8, 8, 0])
    x, images = torch.randn(2, 256, 200, 272, device=device), torch.randint(0, 2, (1000, 1), device=device)
    rois = torch.cat([images, boxes[:1000]], dim=1)
    leaf = x.detach().clone().requires_grad_()
    yield 'box_iou_rotated, 20000 x 50', lambda: box_iou_rotated(boxes, boxes[:50])
    yield 'nms_rotated, 2000 boxes', lambda: nms_rotated(boxes[:2000], unit[:2000, 0], 0.1)
    yield 'roi_align_rotated', lambda: roi_align_rotated(x, rois, 7, 0.25, 2)
    yield (
        'roi_align_rotated forward + backward',
        lambda: torch.autograd.grad(roi_align_rotated(leaf, rois, 7, 0.25, 2).sum(), leaf),
    )


def loss_cases(device: torch.device) -> Iterator[tuple[str, Callable]]:
    logits = torch.randn(50000, 80, device=device, requires_grad=True)
    target = torch.randint(0, 81, (50000,), device=device)
    yield (
        'sigmoid_focal_loss forward + backward, 50000 x 80',
        lambda: torch.autograd.grad(sigmoid_focal_loss(logits, target), logits),
    )


def deform_cases(device: torch.device) -> Iterator[tuple[str, Callable]]:
    x, weight = torch.randn(2, 256, 50, 68, device=device), torch.randn(256, 256, 3, 3, device=device)
    offset, mask = torch.randn(2, 18, 50, 68, device=device), torch.rand(2, 9, 50, 68, device=device)
    leaves = [tensor.clone().requires_grad_() for tensor in (x, offset, mask, weight)]
    yield 'deform_conv2d', lambda: deform_conv2d(x, offset, weight, padding=1, im2col_step=2)
    yield 'modulated_deform_conv2d', lambda: modulated_deform_conv2d(x, offset, mask, weight, padding=1)
    yield (
        'modulated_deform_conv2d forward + backward',
        lambda: torch.autograd.grad(modulated_deform_conv2d(*leaves, padding=1).sum(), leaves),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument('--repeats', type=int, default=5, help='runs of which the fastest counts')
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.manual_seed(0)
    x, weight = torch.randn(2, 256, 50, 68, device=device), torch.randn(256, 256, 3, 3, device=device)
    unit = best_time(lambda: F.conv2d(x, weight, padding=1), 4 * args.repeats)
    print(
        f'torch {torch.__version__}, {args.device}, {torch.get_num_threads()} threads: convolution {unit * 1e3:.2f} ms'
    )
    for cases in (suppression_cases, pooling_cases, rotated_cases, loss_cases, deform_cases):
        for name, run in cases(device):
            seconds = best_time(run, args.repeats)
            print(f'{name:52} {seconds * 1e3:9.2f} ms {seconds / unit:8.3f} convolutions')


if __name__ == '__main__':
    main()
