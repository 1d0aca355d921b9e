"""Time our models against the times recorded of the original implementation, as ratios to one convolution.

    python tests/data/reference/speed.py tests/data/reference/models/*r50_fpn_1x*.json.gz

Both are measured on an idle machine with 2 threads: ``predict`` on one 800x1088 image, and a training step (forward,
backward, SGD) on two, from the recorded settings and weights, so with every sample kept in two-stage heads.
"""

import argparse
import gzip
import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent))
import compare
import fill

HEIGHT, WIDTH = 800, 1088
# seconds for predict and for a training step, where the convolution took 16.9 ms
RECORDED_CONV = 0.0169
RECORDED = {
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py': (2.03, 9.9),
    'retinanet/retinanet_r50_fpn_1x_coco.py': (2.91, 8.6),
}


def best(function, repeats: int) -> float:
    """Seconds of the fastest of ``repeats`` calls, after one to warm up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def conv_seconds() -> float:
    """Seconds of the convolution that is the unit."""
    x, weight = torch.randn(2, 256, 50, 68), torch.randn(256, 256, 3, 3)
    with torch.no_grad():
        return best(lambda: F.conv2d(x, weight, padding=1), 20)


def time_model(recording: dict, repeats: int) -> tuple[float, float]:
    """Seconds for predict and for a training step."""
    recording = dict(recording, image_size=[HEIGHT, WIDTH])
    model = compare.build(recording, 'mmdetlike')
    images = list(fill.images(2, HEIGHT, WIDTH))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)

    def predict() -> None:
        model.eval()
        samples = compare.make_samples(recording, 'mmdetlike')[:1]
        with torch.no_grad():
            data = model.data_preprocessor(dict(inputs=images[:1], data_samples=samples), False)
            model(data['inputs'], data['data_samples'], mode='predict')

    def train() -> None:
        model.train()
        data = model.data_preprocessor(
            dict(inputs=images, data_samples=compare.make_samples(recording, 'mmdetlike')), True
        )
        total, _ = model.parse_losses(model(data['inputs'], data['data_samples'], mode='loss'))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    return best(predict, repeats), best(train, repeats)


def main() -> None:
    """Print a line a recording."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('files', nargs='+')
    parser.add_argument('--repeats', type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(2)
    for path in args.files:
        with gzip.open(path, 'rt') as file:
            recording = json.load(file)
        conv = conv_seconds()
        seconds = time_model(recording, args.repeats)
        conv = min(conv, conv_seconds())
        line = f'{recording["config"]}: conv {1000 * conv:.1f} ms'
        for what, ours, theirs in zip(
            ('predict', 'train step'), seconds, RECORDED.get(recording['config'], (None, None))
        ):
            line += f' | {what} {ours:.2f} s = {ours / conv:.0f} conv'
            if theirs is not None:
                line += f' (original {theirs / RECORDED_CONV:.0f}: x{theirs / RECORDED_CONV / (ours / conv):.2f})'
        print(line, flush=True)


if __name__ == '__main__':
    main()
