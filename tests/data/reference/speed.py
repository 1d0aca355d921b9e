"""Time our models against the times recorded of the original implementation, as ratios to one convolution.

    python tests/data/reference/speed.py                                     # all recordings
    python tests/data/reference/speed.py --predict-only --json docs/zoo_measured.json FILE ...

Both are measured on an idle machine with 2 threads: ``predict`` on one 800x1088 image, and a training step (forward,
backward, SGD) on two, from the recorded settings and weights, so with every sample kept in two-stage heads. ``limit``
is what the flops of ``predict`` would take at the speed of that convolution.
"""

import argparse
import gzip
import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))
import compare
import fill

from mmdetlike.apis import optimize_model
from mmdetlike.utils.command import OPTIMIZATIONS

HEIGHT, WIDTH = 800, 1088
CONV_FLOPS = 2 * 2 * 50 * 68 * 256 * 256 * 9
# seconds for predict and for a training step, where the convolution took 16.9 ms
RECORDED_CONV = 0.0169
RECORDED = {
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py': (2.03, 9.9),
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py': (2.42, 9.9),
    'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py': (4.70, 27.1),
    'dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py': (3.32, 38.9),
    'retinanet/retinanet_r50_fpn_1x_coco.py': (2.91, 8.6),
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py': (1.54, 6.0),
    'yolox/yolox_s_8xb8-300e_coco.py': (0.59, 1.65),
    'rtmdet/rtmdet_s_8xb32-300e_coco.py': (0.88, 1.74),
    'detr/detr_r50_8xb2-150e_coco.py': (1.06, 4.6),
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py': (4.38, 22.8),
    'dino/dino-4scale_r50_8xb2-12e_coco.py': (6.04, 31.4),
    'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py': (5.72, 25.7),
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


def training_step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    recording: dict,
    images: list[torch.Tensor],
    amp: bool = False,
) -> None:
    """Forward, in bfloat16 if ``amp``, backward and the optimizer's step, on images and the samples of a recording."""
    samples = compare.make_samples(recording, 'mmdetlike')
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples), True)
    with torch.autocast('cpu', torch.bfloat16, enabled=amp):
        losses = model(data['inputs'], data['data_samples'], mode='loss')
    total, _ = model.parse_losses(losses)
    optimizer.zero_grad()
    total.backward()
    optimizer.step()


def predict_one(model: torch.nn.Module, recording: dict, image: torch.Tensor) -> None:
    """Predict an image with the first sample of a recording."""
    model.eval()
    samples = compare.make_samples(recording, 'mmdetlike')[:1]
    with torch.no_grad():
        data = model.data_preprocessor(dict(inputs=[image], data_samples=samples), False)
        model(data['inputs'], data['data_samples'], mode='predict')


def count_flops(recording: dict) -> int:
    """Flops of ``predict`` on one image."""
    recording = dict(recording, image_size=[HEIGHT, WIDTH])
    # the counter asks for the gradients of whatever needs one, and ``predict`` computes none
    model = compare.build(recording, 'mmdetlike').requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        predict_one(model, recording, next(iter(fill.images(1, HEIGHT, WIDTH))))
    return counter.get_total_flops()


def time_model(
    recording: dict, repeats: int, predict_only: bool, optimize: str | None = None, amp: bool = False
) -> list[float]:
    """Seconds for predict, and for a training step unless the model is optimized for the former."""
    recording = dict(recording, image_size=[HEIGHT, WIDTH])
    model = compare.build(recording, 'mmdetlike')
    if optimize is not None:
        optimize_model(model, optimize)
    images = list(fill.images(2, HEIGHT, WIDTH))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)

    def predict() -> None:
        predict_one(model, recording, images[0])

    def train() -> None:
        model.train()
        training_step(model, optimizer, recording, images, amp)

    return [best(function, repeats) for function in ((predict,) if predict_only or optimize else (predict, train))]


def measure(
    recording: dict, repeats: int, predict_only: bool, optimize: str | None = None, amp: bool = False
) -> dict[str, float]:
    """Ratios to the convolution of the same run: ours and, where they were recorded, the original's."""
    conv = conv_seconds()
    seconds = time_model(recording, repeats, predict_only, optimize, amp)
    conv = min(conv, conv_seconds())
    recorded = RECORDED.get(recording['config'], ())
    ratios = dict(zip(('predict', 'train'), (round(each / conv) for each in seconds)))
    ratios |= dict(zip(('original', 'original_train'), (round(each / RECORDED_CONV) for each in recorded)))
    return dict(ratios, limit=round(count_flops(recording) / CONV_FLOPS), conv_ms=round(1000 * conv, 1))


def save(path: Path, config: str, ratios: dict[str, float]) -> None:
    """Put the ratios of a config into the ``times`` of a JSON file, beside what it holds."""
    content = json.loads(path.read_text()) if path.exists() else {}
    times = content.setdefault('times', {})
    times[config] = {**times.get(config, {}), **ratios}
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + '\n')


def main() -> None:
    """Print a line a recording, and save it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('files', nargs='*', type=Path, help='recordings; all where there are none')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--predict-only', action='store_true', help='no training steps')
    parser.add_argument('--optimize', choices=OPTIMIZATIONS, help='predict with a model made fast by optimize_model')
    parser.add_argument('--amp', action='store_true', help='training steps in bfloat16, as tools/train.py --amp')
    parser.add_argument('--json', type=Path, help='file to which the ratios are added')
    args = parser.parse_args()
    torch.set_num_threads(2)
    print('| recording | predict | limit | original | train step | original | convolution |')
    print('|---|---|---|---|---|---|---|')
    for path in args.files or sorted((Path(__file__).parent / 'models').glob('*.json.gz')):
        with gzip.open(path, 'rt') as file:
            recording = json.load(file)
        try:
            ratios = measure(recording, args.repeats, args.predict_only, args.optimize, args.amp)
        except Exception as error:  # the others are to be timed nevertheless
            print(f'| {recording["config"]} | {type(error).__name__}: {error} |', flush=True)
            continue
        columns = [ratios.get(name, '') for name in ('predict', 'limit', 'original', 'train', 'original_train')]
        print(f'| {recording["config"]} | {" | ".join(map(str, columns))} | {ratios["conv_ms"]} ms |', flush=True)
        if args.json:
            save(args.json, recording['config'], ratios)


if __name__ == '__main__':
    main()
