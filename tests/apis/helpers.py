"""A tiny detector with random weights, its checkpoint, and pictures."""

from pathlib import Path

import cv2
import numpy as np
import torch

from mmdetlike.apis import init_detector
from tests.utils import FASTER_RCNN, ROOT

CONFIG = ROOT / 'configs/quickstart/faster-rcnn_r18_fpn_shapes.py'
TINY = {'model': FASTER_RCNN}
CLASSES = ('circle', 'triangle', 'square', 'star', 'cross')


def tiny_detector(**cfg_options):
    """Faster R-CNN with random weights whose predictions depend on the picture."""
    torch.manual_seed(0)
    model = init_detector(CONFIG, device='cpu', cfg_options={**TINY, **cfg_options})
    with torch.no_grad():
        for layer in (model.roi_head.bbox_head.fc_cls, model.roi_head.bbox_head.fc_reg):
            layer.weight.mul_(20)
    return model


def save_checkpoint(model, path: Path, **meta) -> Path:
    """Write a checkpoint as the Runner does."""
    meta = {'cfg': model.cfg.pretty_text, 'dataset_meta': model.dataset_meta, **meta}
    torch.save({'meta': meta, 'state_dict': model.state_dict()}, path)
    return path


def picture(seed: int = 0, height: int = 64, width: int = 96) -> np.ndarray:
    """Colored rectangles, BGR."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), rng.integers(0, 255, 3), np.uint8)
    for _ in range(4):
        x, y = rng.integers(0, width - 24), rng.integers(0, height - 24)
        image[y : y + rng.integers(12, 24), x : x + rng.integers(12, 24)] = rng.integers(0, 255, 3)
    return image


def write_pictures(folder: Path, number: int, suffix: str = '.png') -> list[Path]:
    """Write ``picture(0)``, ``picture(1)``, ... to files."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f'{i}{suffix}' for i in range(number)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), picture(i))
    return paths


def write_video(path: Path, number: int, codec: str) -> list[np.ndarray]:
    """Write a video of pictures; returns its frames as they are read back."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 8, (96, 64))
    for i in range(number):
        writer.write(picture(i))
    writer.release()
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames


def files_below(folder: Path) -> list[str]:
    """Paths of all files in a folder, relative to it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())


def assert_same(sample, other, tolerance: float = 0.0) -> None:
    """Two samples have the same predictions, and some."""
    first, second = sample.pred_instances, other.pred_instances
    assert len(first) == len(second) > 0
    for key in ('labels', 'scores', 'bboxes'):
        torch.testing.assert_close(first[key], second[key], rtol=tolerance, atol=tolerance)


def box_distance(sample, other) -> float:
    """How far the first boxes of two samples are apart, in pixels."""
    return float((sample.pred_instances.bboxes[0] - other.pred_instances.bboxes[0]).abs().max())
