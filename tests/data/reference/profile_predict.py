"""Where the time of ``predict`` goes: CPU time of one thread by kind of operator, in convolutions of the same run.

    python tests/data/reference/profile_predict.py tests/data/reference/models/FILE ...  [--optimize fp32]

On one 800x1088 image, with the recorded settings and weights. The last column is the limit of the first three: what all
convolutions and matrix products would take at the speed of the convolution that is the unit.
"""

import argparse
import gzip
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))
import compare
import fill
import speed

from mmdetlike.apis import optimize_model
from mmdetlike.utils.command import OPTIMIZATIONS

# names of operators, or parts of them -> kind; the first that fits
KINDS = {
    'convolution': ('conv',),
    'matrix product': ('addmm', 'mm', 'linear_pointwise', 'attention'),
    'norm': ('batch_norm', 'group_norm', 'layer_norm'),
    'activation, sum': ('relu', 'clamp', 'silu', 'aten::add', 'aten::mul', 'aten::exp', 'masked_fill'),
    'sigmoid': ('sigmoid', 'softmax'),
    'NMS': ('mmdetlike_ops::nms',),
    'regions, masks': ('roi_align', 'paste_masks', 'upsample', 'deform'),
    'layout': ('copy_', 'cat', 'empty', 'resize_', 'fill_'),
    'selection': ('sort', 'topk', 'nonzero', 'index', 'aten::gt', 'aten::lt', 'amax', 'aten::max', 'arange'),
}
WHERE = ('backbone', 'neck', 'heads')
COLUMNS = [*(f'convolution: {part}' for part in WHERE), *list(KINDS)[1:], 'other']


def kind_of(event: FunctionEvent) -> str:
    """The column of an operator."""
    for kind, names in KINDS.items():
        if any(name in event.name for name in names):
            return f'convolution: {part_of(event)}' if kind == 'convolution' else kind
    return 'other'


def part_of(event: FunctionEvent | None) -> str:
    """The part of the detector that has called an operator."""
    while event is not None and event.name not in WHERE:
        event = event.cpu_parent
    return 'heads' if event is None else event.name


def name_parts(model: torch.nn.Module) -> None:
    """Let the profiler know backbone and neck."""
    for name in WHERE[:2]:
        part = getattr(model, name, None)
        if part is not None:
            part.forward = record_function(name)(part.forward)


def predict(model: torch.nn.Module, recording: dict) -> None:
    """Predict one image."""
    samples = compare.make_samples(recording, 'mmdetlike')[:1]
    images = list(fill.images(1, *recording['image_size']))
    with torch.no_grad():
        data = model.data_preprocessor(dict(inputs=images, data_samples=samples), False)
        model(data['inputs'], data['data_samples'], mode='predict')


def flops_of(model: torch.nn.Module, recording: dict) -> float:
    """Floating point operations of convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        predict(model, recording)
    return counter.get_total_flops()


def measure(recording: dict, optimize: str | None) -> dict[str, float]:
    """Time by column, in convolutions."""
    recording = dict(recording, image_size=[speed.HEIGHT, speed.WIDTH])
    # the counter of flops asks for the gradients of whatever needs one
    model = compare.build(recording, 'mmdetlike').eval().requires_grad_(False)
    flops = flops_of(model, recording)
    if optimize:
        optimize_model(model, optimize)
    name_parts(model)
    predict(model, recording)  # priors, and oneDNN's kernels, are made in the first call
    start = time.process_time()
    predict(model, recording)
    seconds = time.process_time() - start
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        predict(model, recording)
    columns = dict.fromkeys(COLUMNS, 0.0)
    for event in profiler.events():
        columns[kind_of(event)] += event.self_cpu_time_total
    # the profiler's clock also runs while other processes do, so it tells shares
    unit_of_time = sum(columns.values()) / seconds * speed.conv_seconds()
    columns = {name: value / unit_of_time for name, value in columns.items()}
    x, weight = torch.empty(2, 256, 50, 68), torch.empty(256, 256, 3, 3)
    with FlopCounterMode(display=False) as unit:
        F.conv2d(x, weight, padding=1)
    return dict(columns, all=sum(columns.values()), limit=flops / unit.get_total_flops())


def main() -> None:
    """Print a table: a row for what is computed, a column for each recording."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('files', nargs='+', type=Path, help='recordings')
    parser.add_argument('--optimize', choices=OPTIMIZATIONS, help='of a model made fast by optimize_model')
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = defaultdict(list)
    for path in args.files:
        with gzip.open(path, 'rt') as file:
            recording = json.load(file)
        for name, value in measure(recording, args.optimize).items():
            table[name].append(f'{value:.1f}')
    print('| | ' + ' | '.join(path.name.split('.')[0] for path in args.files) + ' |')
    print('|---' * (len(args.files) + 1) + '|')
    for name, values in table.items():
        print(f'| {name} | {" | ".join(values)} |')


if __name__ == '__main__':
    main()
