"""Measure how large deployed programs are and how fast they run against their models, and write it to docs/deploy.md.

Detectors of shipped configs with random weights are deployed; model and program run in turns in this process on the
same image, and the least seconds of all cores together are compared: what else the machine does lengthens waiting, and
little else. What is known is kept in docs/deploy_measured.json, so that a few may be measured at a time. ONNX needs the
packages of `pip install .[deploy]`.
"""

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from mmdetlike.apis import init_detector
from mmdetlike.export.artifact import READERS
from mmdetlike.export.deploy import WRITERS, output_names, trace
from mmdetlike.export.manifest import PROGRAMS
from mmdetlike.export.program import Sizes

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs/deploy.md'
MEASURED = ROOT / 'docs/deploy_measured.json'
BLOCK = re.compile(r'(?<=<!-- measured: speed -->\n).*?(?=<!-- end of measured -->)', re.DOTALL)
KINDS = ('torch', 'aoti', 'onnx')
SIDE = 320
TURNS = 7
# four detectors as they are used, and a small one of each of the families
CONFIGS = (
    *('retinanet_r18_fpn_1x_coco', 'yolox_s_8xb8-300e_coco', 'faster-rcnn_r50_fpn_1x_coco'),
    *('rtdetr_r18vd_8xb2-72e_coco', 'retinanet_r18_fpn_shapes', 'fcos_r18_fpn_shapes', 'atss_r18_fpn_shapes'),
    *('rtmdet_tiny_shapes', 'yolox_tiny_shapes', 'faster-rcnn_r18_fpn_shapes', 'mask-rcnn_r18_fpn_shapes'),
    *('gfl_r18_fpn_shapes', 'tood_r18_fpn_shapes', 'yolov3_r18_shapes', 'ssd_r18_shapes', 'centernet_r18_shapes'),
    *('cascade-rcnn_r18_fpn_shapes', 'detr_r18_shapes', 'deformable-detr_r18_shapes', 'dino_r18_shapes'),
    *('rtdetr_r18vd_shapes', 'rtmdet-ins_tiny_shapes', 'keypoint-rcnn_r18_fpn_shapes'),
    *('point-rend_r18_fpn_shapes', 'mask2former_r50_8xb2-lsj-50e_coco'),
)


def measurements(config: str, kinds: Sequence[str]) -> Iterator[tuple[str, dict[str, float]]]:
    """For each kind of program its size in MB, its least seconds of cores for an image, and those of the model."""
    model = init_detector(config, device='cpu')
    image = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    sizes = Sizes.fixed(SIDE, SIDE)
    for kind in kinds:
        program = trace(model.eval(), sizes)  # writing may leave a program that can't be written once more
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            path = Path(folder) / PROGRAMS[kind]
            WRITERS[kind](program, path, output_names(program), sizes, {})
            seconds = in_turns(dict(model=model.detect, program=READERS[kind](path).run), image)
            yield kind, dict(megabytes=path.stat().st_size / 1e6, **seconds)


def in_turns(functions: dict[str, Callable], image: torch.Tensor) -> dict[str, float]:
    """The least seconds of cores of each function for an image, which run one after the other, `TURNS` times."""
    seconds = {name: [] for name in functions}
    for _ in range(TURNS):
        for name, function in functions.items():
            start = time.process_time()
            function(image)
            seconds[name].append(time.process_time() - start)
    return {name: min(values) for name, values in seconds.items()}


def table(results: dict[str, dict]) -> str:
    """The table of the page: a row for each config."""
    lines = ['', f'| config | the model, {SIDE} x {SIDE} | {" | ".join(f"`{kind}`" for kind in KINDS)} |']
    lines.append('|---|---|' + '---|' * len(KINDS))
    for config in CONFIGS:
        if kinds := results.get(config):
            model = min(entry['model'] for entry in kinds.values())
            cells = [cell(kinds.get(kind)) for kind in KINDS]
            lines.append(f'| `{config}` | {1000 * model:.0f} ms | {" | ".join(cells)} |')
    return '\n'.join([*lines, '', ''])


def cell(entry: dict[str, float] | None) -> str:
    """What one program needs: time as a share of the model's in the same run, and size."""
    if entry is None:
        return 'not measured'
    return f'{entry["program"] / entry["model"]:.2f} of its time, {entry["megabytes"]:.0f} MB'


def main() -> None:
    """Measure, keep the results, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--configs', nargs='*', choices=CONFIGS, default=CONFIGS, help='what to measure')
    parser.add_argument('--kinds', nargs='*', choices=KINDS, default=KINDS, help='kinds of programs')
    args = parser.parse_args()
    for config in args.configs:
        for kind, result in measurements(config, args.kinds):
            # read again: others may have been tried at the same time
            measured = json.loads(MEASURED.read_text())
            measured.setdefault('speed', {}).setdefault(config, {})[kind] = result
            MEASURED.write_text(json.dumps(measured, indent=1, sort_keys=True) + '\n')
            print(config, kind, result, flush=True)
            text = table(measured['speed'])
            PAGE.write_text(BLOCK.sub(lambda _, text=text: text, PAGE.read_text()))


if __name__ == '__main__':
    main()
