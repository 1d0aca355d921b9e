"""Peak of the memory of a training step on the CPU: Mask R-CNN on 2 images of 800x1088, plain and with checkpoints.

Example:
    python tests/models/benchmark_memory.py
"""

import argparse
import json
import resource
import subprocess
import sys

KINDS = {
    'plain': {},
    'with_cp': {'model.backbone.with_cp': True},
    'nothing frozen': {'model.backbone.frozen_stages': -1},
}


def measure(kind: str, height: int, width: int) -> dict[str, float]:
    """MiB of this process before and at the peak of a training step."""
    import torch

    from mmdetlike.apis.detector import build_model
    from mmdetlike.utils.config import load_config
    from tests.gpu.measure import ROOT, TRAINED, Sizes, make_batch

    model = build_model(load_config(ROOT / 'configs' / TRAINED, KINDS[kind])).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
    data = model.data_preprocessor(make_batch(Sizes(image=(height, width)), 2, classes=80), True)
    before = _peak()
    total, _ = model.parse_losses(model(data['inputs'], data['data_samples'], mode='loss'))
    total.backward()
    optimizer.step()
    return {'before': before, 'peak': _peak()}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure each kind in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--image', type=int, nargs=2, default=(800, 1088), help='height and width')
    parser.add_argument('--kind', choices=KINDS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.kind is not None:
        print(json.dumps(measure(args.kind, *args.image)))
        return
    for kind in KINDS:
        command = [sys.executable, __file__, '--kind', kind, '--image', *map(str, args.image)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = json.loads(output.splitlines()[-1])
        print(f'{kind}: {found["before"]:.0f} MiB before the step, {found["peak"]:.0f} MiB at its peak', flush=True)


if __name__ == '__main__':
    main()
