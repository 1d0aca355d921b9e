"""Where the time of a training step on a CPU goes: shares by kind of operator, one thread.

    python tests/data/reference/profile_train.py tests/data/reference/models/FILE ...

Forward, backward and SGD on two 800x1088 images, with the recorded settings and weights, after one step to warm up.
"""

import argparse
import gzip
import json
import sys
from collections import defaultdict
from pathlib import Path

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

sys.path.insert(0, str(Path(__file__).parent))
import compare
import fill
import profile_predict
import speed

from mmdetlike.utils.memory import keep_freed_memory

# names of operators, or parts of them -> kind; the first that fits
KINDS = {
    'convolution, backward': ('convolution_backward', '_slow_conv2d_backward'),
    'convolution, forward': ('conv',),
    'norms': ('batch_norm', 'group_norm', 'var_mean'),
    'activations': ('relu', 'silu', 'threshold', 'clamp', 'hardtanh'),
    'optimizer': ('_foreach', 'Optimizer'),
    'copies, fresh memory': ('copy_', 'cat', 'empty', 'resize_', 'fill_', 'zero_'),
}
LAYERS = ('backbone', 'neck', 'layers of the head')
TARGETS = 'targets and losses, forward'
OTHER = 'sums, upsampling, losses backward'


def is_within(event: FunctionEvent | None, names: tuple[str, ...]) -> bool:
    """Whether an operator was called within one of the named parts."""
    while event is not None and event.name not in names:
        event = event.cpu_parent
    return event is not None


def kind_of(event: FunctionEvent) -> str:
    """The row of an operator."""
    if is_within(event, ('loss',)) and not is_within(event, LAYERS):
        return TARGETS
    return next((kind for kind, names in KINDS.items() if any(name in event.name for name in names)), OTHER)


def name_parts(model: torch.nn.Module) -> None:
    """Let the profiler know the layers, and all that computes losses."""
    profile_predict.name_parts(model)
    model.bbox_head.forward = record_function(LAYERS[-1])(model.bbox_head.forward)
    model.loss = record_function('loss')(model.loss)


def shares(recording: dict) -> dict[str, float]:
    """Percent of a step's time by row."""
    recording = dict(recording, image_size=[speed.HEIGHT, speed.WIDTH])
    model = compare.build(recording, 'mmdetlike').train()
    name_parts(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    images = list(fill.images(2, speed.HEIGHT, speed.WIDTH))

    speed.training_step(model, optimizer, recording, images)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        speed.training_step(model, optimizer, recording, images)
    times = defaultdict(float)
    for event in profiler.events():
        times[kind_of(event)] += event.self_cpu_time_total
    return {kind: 100 * time / sum(times.values()) for kind, time in times.items()}


def main() -> None:
    """Print a table: a row for what is computed, a column for each recording."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('files', nargs='+', type=Path, help='recordings of detectors with one head')
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as tools/train.py does
    columns = []
    for path in args.files:
        with gzip.open(path, 'rt') as file:
            columns.append(shares(json.load(file)))
    print('| % | ' + ' | '.join(path.name.split('.')[0] for path in args.files) + ' |')
    print('|---' * (len(args.files) + 1) + '|')
    for kind in (*KINDS, TARGETS, OTHER):
        print(f'| {kind} | {" | ".join(f"{column.get(kind, 0):.1f}" for column in columns)} |')


if __name__ == '__main__':
    main()
