"""How fast a GPU trains and predicts, in one table: called by ``tests/gpu/measure.sh``, needs no network.

Weights are random and images are noise, which is all the same to a network. The number of objects that are found, on
which the rest depends, is told.
"""

import argparse
import contextlib
import copy
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import nn

from mmdetlike.apis import optimize_model
from mmdetlike.apis.detector import build_model
from mmdetlike.registry import OPTIM_WRAPPERS
from mmdetlike.structures import BitmapMasks, DetDataSample
from mmdetlike.utils.config import load_config
from mmdetlike_ops import batched_nms, modulated_deform_conv2d, nms, roi_align
from tests.data.reference.speed import RECORDED

ROOT = Path(__file__).resolve().parents[2]
TRAINED = 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
TARGET = 100  # images a second in training, compiled, on one H200
OBJECTS = 7  # in an image, as COCO has
COMPILED = ('backbone', 'neck')


class Row(NamedTuple):
    """A line of the table: ``target`` is a sentence about what is aimed at, or what failed."""

    what: str
    value: float | None
    unit: str
    target: str = ''


class Sizes(NamedTuple):
    """What is measured on.

    Attributes:
        image: Height and width in pixels.
        batch: Images of a training step.
        steps: Measured, after ``warmup`` others.
        models: How many of the twelve predict.
        regions: Of RoIAlign, and a tenth of the boxes of suppression.
    """

    image: tuple[int, int] = (800, 1088)
    batch: int = 16
    warmup: int = 5
    steps: int = 20
    models: int = len(RECORDED)
    regions: int = 1000


TINY = Sizes(image=(96, 128), batch=2, warmup=1, steps=2, models=2, regions=20)


class Clock:
    """Times calls on a device, and knows when the time for all of them is over."""

    def __init__(self, device: torch.device, limit: float) -> None:
        self.device = device
        self.end = time.perf_counter() + limit

    def is_over(self) -> bool:
        """Whether nothing more may begin."""
        return time.perf_counter() > self.end

    def median(self, function: Callable[[], object], warmup: int, steps: int) -> float:
        """Seconds of a call."""
        times = []
        for step in range(warmup + steps):
            start = time.perf_counter()
            function()
            if self.device.type == 'cuda':
                torch.cuda.synchronize(self.device)
            if step >= warmup:
                times.append(time.perf_counter() - start)
        return statistics.median(times)


def make_batch(sizes: Sizes, batch: int, classes: int) -> dict:
    """Images (3, h, w) uint8, and samples with boxes and masks, as a loader gives them."""
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.integers(0, 255, (3, *sizes.image), np.uint8)) for _ in range(batch)]
    return dict(inputs=images, data_samples=[_sample(sizes.image, classes, rng) for _ in range(batch)])


def _sample(shape: tuple[int, int], classes: int, rng: np.random.Generator) -> DetDataSample:
    height, width = shape
    meta = dict(img_id=0, img_path='noise', img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
    sample = DetDataSample(metainfo=meta)
    sides = rng.uniform(0.05, 0.5, (OBJECTS, 2)) * (width, height)
    corners = rng.uniform(0, 0.5, (OBJECTS, 2)) * (width, height)
    boxes = torch.from_numpy(np.concatenate([corners, corners + sides], axis=1)).float()
    masks = np.zeros((OBJECTS, height, width), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist()):
        mask[y1 : y2 + 1, x1 : x2 + 1] = 1
    labels = torch.from_numpy(rng.integers(0, classes, OBJECTS))
    sample.gt_instances = InstanceData(bboxes=boxes, labels=labels, masks=BitmapMasks(masks, height, width))
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    return sample


def load(name: str, device: torch.device) -> nn.Module:
    """The model of a config, with random weights."""
    torch.manual_seed(0)
    return build_model(load_config(ROOT / 'configs' / name)).to(device)


def train_rows(clock: Clock, sizes: Sizes) -> Iterator[Row]:
    """Images a second of training in mixed precision with the channels last, as it is and compiled."""
    model = load(TRAINED, clock.device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
    wrapper = OPTIM_WRAPPERS.build(dict(type='AmpOptimWrapper', optimizer=optimizer))
    batch = make_batch(sizes, sizes.batch, classes=80)

    def step() -> None:
        model.train_step(copy.deepcopy(batch), wrapper)

    name = f'train Mask R-CNN R50-FPN, AMP, channels last, {sizes.batch} x {sizes.image[0]}x{sizes.image[1]}'
    copying = clock.median(lambda: copy.deepcopy(batch), 1, sizes.steps)
    seconds = clock.median(step, sizes.warmup, sizes.steps) - copying
    yield Row(name, sizes.batch / seconds, 'images/s')
    if clock.device.type == 'cuda':
        yield Row(f'{name}: peak memory', torch.cuda.max_memory_allocated() / 2**30, 'GiB')
    for part in COMPILED:
        getattr(model, part).compile(dynamic=False)
    seconds = clock.median(step, sizes.warmup, sizes.steps) - copying
    verdict = 'met' if sizes.batch / seconds >= TARGET else 'MISSED'
    yield Row(f'{name}, {" and ".join(COMPILED)} compiled', sizes.batch / seconds, 'images/s', f'>= {TARGET} {verdict}')


def predict_rows(clock: Clock, sizes: Sizes) -> Iterator[Row]:
    """Milliseconds to predict one image, from the loaded image to objects; of each model as it is and optimized."""
    half = 'fp16' if clock.device.type == 'cuda' else 'bf16'
    batch = make_batch(sizes, 1, classes=80)
    for name in list(RECORDED)[: sizes.models]:
        for kind in ('fp32', half):
            what = f'predict {Path(name).stem}, {kind}'
            if clock.is_over():
                yield Row(what, None, 'ms', 'no time was left')
                continue
            with _row_of_failure(what, 'ms') as failed:
                yield _predict_row(what, name, None if kind == 'fp32' else kind, batch, clock, sizes)
            yield from failed


def _predict_row(what: str, name: str, optimize: str | None, batch: dict, clock: Clock, sizes: Sizes) -> Row:
    model = load(name, clock.device).eval()
    if optimize is not None:
        optimize_model(model, optimize)
    found = []
    seconds = clock.median(lambda: found.append(_predicted(model, batch)), sizes.warmup, sizes.steps)
    return Row(what, 1000 * seconds, 'ms', f'{found[-1]} objects found')


@torch.inference_mode()
def _predicted(model: nn.Module, batch: dict) -> int:
    """The number of objects that are found in the first image."""
    data = dict(inputs=list(batch['inputs']), data_samples=[sample.clone() for sample in batch['data_samples']])
    return len(model.test_step(data)[0].get('pred_instances', ()))


def kernel_rows(clock: Clock, sizes: Sizes) -> Iterator[Row]:
    """Milliseconds of kernels, beside those of torchvision."""
    try:
        from torchvision import ops as torchvision
    except (ImportError, RuntimeError) as error:  # RuntimeError: it was compiled for another torch
        torchvision = None
        yield Row('kernels of torchvision', None, 'ms', f'torchvision cannot be used: {error}')
    for name, ours, others in kernel_cases(clock.device, sizes, torchvision):
        if clock.is_over():
            yield Row(name, None, 'ms', 'no time was left')
            continue
        with _row_of_failure(name, 'ms') as failed:
            milliseconds = 1000 * clock.median(ours, sizes.warmup, sizes.steps)
            if others is None:
                yield Row(name, milliseconds, 'ms')
                continue
            ratio = 1000 * clock.median(others, sizes.warmup, sizes.steps) / milliseconds
            yield Row(name, milliseconds, 'ms', f'torchvision takes {ratio:.2f} times as long')
        yield from failed


def kernel_cases(device: torch.device, sizes: Sizes, torchvision) -> Iterator[tuple[str, Callable, Callable | None]]:
    """Name, call of ours and call of torchvision's, None if it isn't there."""
    torch.manual_seed(0)
    height, width = (side // 4 for side in sizes.image)
    count = 10 * sizes.regions
    corners = torch.rand(count, 2, device=device) * torch.tensor([width, height], device=device)
    boxes = torch.cat([corners, corners + 4 + 60 * torch.rand(count, 2, device=device)], dim=1)
    scores = torch.rand(count, device=device)
    labels = torch.randint(80, (count,), device=device)

    def case(name: str, ours: Callable, other: Callable) -> tuple[str, Callable, Callable | None]:
        return name, ours, other if torchvision is not None else None

    yield case(f'nms of {count} boxes', lambda: nms(boxes, scores, 0.5), lambda: torchvision.nms(boxes, scores, 0.5))
    settings = dict(type='nms', iou_threshold=0.5)
    yield case(
        f'batched_nms of {count} boxes of 80 classes',
        lambda: batched_nms(boxes, scores, labels, settings),
        lambda: torchvision.batched_nms(boxes, scores, labels, 0.5),
    )
    features = torch.randn(2, 256, height, width, device=device)
    image_indices = torch.randint(2, (sizes.regions, 1), device=device)
    rois = torch.cat([image_indices, boxes[: sizes.regions]], dim=1)
    trained = features.clone().requires_grad_()
    yield case(
        f'roi_align of {sizes.regions} regions',
        lambda: roi_align(features, rois, 7, 1.0, 2),
        lambda: torchvision.roi_align(features, rois, 7, 1.0, 2, aligned=True),
    )
    yield case(
        f'roi_align of {sizes.regions} regions, and backward',
        lambda: roi_align(trained, rois, 7, 1.0, 2).sum().backward(),
        lambda: torchvision.roi_align(trained, rois, 7, 1.0, 2, aligned=True).sum().backward(),
    )
    small = features[..., ::4, ::4].contiguous()
    weight = torch.randn(256, 256, 3, 3, device=device)
    offsets = torch.randn(2, 18, *small.shape[-2:], device=device)
    mask = torch.rand(2, 9, *small.shape[-2:], device=device)
    yield case(
        'modulated deformable convolution',
        lambda: modulated_deform_conv2d(small, offsets, mask, weight, None, 1, 1),
        lambda: torchvision.deform_conv2d(small, offsets, weight, None, 1, 1, mask=mask),
    )


@contextlib.contextmanager
def _row_of_failure(what: str, unit: str) -> Iterator[list[Row]]:
    """A list that has a row afterwards if something failed, so that the other rows are not lost for it."""
    rows: list[Row] = []
    try:
        yield rows
    except Exception as error:
        told = str(error).strip().splitlines() or ['']
        rows.append(Row(what, None, unit, f'FAILED: {type(error).__name__}: {told[0][:200]}'))


def table(rows: list[Row]) -> str:
    """The rows as lines of Markdown."""
    values = ['' if row.value is None else f'{row.value:.4g}' for row in rows]
    lines = [f'| {row.what} | {value} | {row.unit} | {row.target} |' for row, value in zip(rows, values)]
    return '\n'.join(['| what | value | unit | |', '|---|---|---|---|', *lines])


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, and return 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cuda', choices=('cuda', 'cpu'))
    parser.add_argument('--limit', type=float, default=480, help='seconds after which nothing more begins')
    parser.add_argument('--tiny', action='store_true', help='small sizes, to try the script without a GPU')
    parser.add_argument('--only', nargs='+', choices=('kernels', 'train', 'predict'))
    args = parser.parse_args(arguments)
    sizes = TINY if args.tiny else Sizes()
    clock = Clock(torch.device(args.device), args.limit)
    # the most wanted first, should the time be over early
    parts = {'train': train_rows, 'kernels': kernel_rows, 'predict': predict_rows}
    rows: list[Row] = []
    for name, part in parts.items():
        if args.only and name not in args.only:
            continue
        with _row_of_failure(name, '') as failed:
            for row in part(clock, sizes):
                rows.append(row)
                print(f'{row.what}: {row.value} {row.unit} {row.target}', file=sys.stderr, flush=True)
        rows += failed
        gc.collect()
    device = torch.cuda.get_device_name() if args.device == 'cuda' else 'CPU'
    print(f'{device}, torch {torch.__version__}, {"tiny sizes" if args.tiny else "full sizes"}\n\n{table(rows)}')
    return int(any(row.target.startswith('FAILED') for row in rows))


if __name__ == '__main__':
    sys.exit(main())
