"""Windows around random centers, which may reach beyond the image: CornerNet, arXiv 1808.01244."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from mmdetlike.datasets.transforms.base import image_size
from mmdetlike.datasets.transforms.geometric import GeometricTransform, visible
from mmdetlike.datasets.transforms.instances import Edge
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.bbox import BaseBoxes
from mmdetlike.structures.warp import Warp

PAD_MODES = ('logical_or', 'size_divisor')


@TRANSFORMS.register_module()
class RandomCenterCropPad(GeometricTransform):
    """Cut a window of random size around a random point of the image; in testing, put the image on a larger canvas.

    In training boxes whose center lies in the window stay, and windows are drawn until there is one. In testing
    ``results['border']`` is set: the first and last row, then column, of the image on its canvas.

    Args:
        crop_size: (width, height) of the window in training, before it is scaled.
        ratios: The factors to choose from.
        border: How far from the image's edges centers are drawn, in pixels; halved until it fits small images.
        mean: What fills the window beyond the image, in the order of the network's channels.
        std: Kept for configs.
        to_rgb: The image is BGR, ``mean`` RGB.
        test_mode: Whether this is for testing.
        test_pad_mode: How a side of the canvas follows from that of the image: ``('size_divisor', divisor)`` rounds it
            up; ``('logical_or', bits)`` sets bits, which with 127 rounds up to one below a multiple of 128, as
            CornerNet's odd input sizes need.
        test_pad_add_pix: Pixels that 'logical_or' adds.
        bbox_clip_border: Cut boxes to the window.

    Raises:
        ValueError: Training lacks ``crop_size`` or ``ratios``, or testing a known ``test_pad_mode``.
    """

    trials = 200  # before the window is put around a box; one is enough nearly always

    def __init__(
        self,
        crop_size: tuple[int, int] | None = None,
        ratios: Sequence[float] | None = (0.9, 1.0, 1.1),
        border: int | None = 128,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        to_rgb: bool | None = None,
        test_mode: bool = False,
        test_pad_mode: tuple[str, int] | None = ('logical_or', 127),
        test_pad_add_pix: int = 0,
        bbox_clip_border: bool = True,
    ) -> None:
        if test_mode and (not test_pad_mode or test_pad_mode[0] not in PAD_MODES):
            raise ValueError(f'test_pad_mode must be (mode, number) with a mode of {PAD_MODES}, got {test_pad_mode}.')
        if not test_mode and (crop_size is None or min(crop_size) <= 0 or not ratios):
            raise ValueError(f'Training needs a positive crop_size and ratios, got {crop_size} and {ratios}.')
        self.crop_size = crop_size
        self.ratios = ratios
        self.border = border
        self.mean = tuple(mean or (0, 0, 0))
        self.std = std
        self.to_rgb = to_rgb
        self.test_mode = test_mode
        self.test_pad_mode = test_pad_mode
        self.test_pad_add_pix = test_pad_add_pix
        self.edge = Edge(img=self.mean[::-1] if to_rgb else self.mean, clip=bbox_clip_border)

    def draw(self, results: dict) -> Warp:
        height, width = image_size(results)
        if self.test_mode:
            return _window_at((height, width), width // 2, height // 2, self._canvas(height), self._canvas(width))
        boxes = results.get('gt_bboxes')
        for _ in range(self.trials):
            x = _draw_center(width, self.border or 0)
            y = _draw_center(height, self.border or 0)
            warp = self._draw_window((height, width), x, y)
            if boxes is None or len(boxes) == 0 or self.keeps(warp.boxes(boxes), warp).any():
                return warp
        x, y = boxes.centers[np.random.randint(len(boxes))].tolist()
        return self._draw_window((height, width), int(x), int(y))

    def _draw_window(self, size: tuple[int, int], x: int, y: int) -> Warp:
        ratio = self.ratios[np.random.randint(len(self.ratios))]
        width, height = (max(int(side * ratio), 1) for side in self.crop_size)
        return _window_at(size, x, y, height, width)

    def _canvas(self, side: int) -> int:
        mode, number = self.test_pad_mode
        if mode == 'logical_or':
            return (side | number) + self.test_pad_add_pix
        return math.ceil(side / number) * number

    def keeps(self, boxes: BaseBoxes, warp: Warp) -> np.ndarray | None:
        if self.test_mode:
            return None
        size = torch.tensor(warp.size[::-1])
        return ((boxes.centers > 0) & (boxes.centers < size)).all(-1).numpy() & visible(boxes, warp)

    def record(self, results: dict, warp: Warp) -> dict:
        if self.test_mode:
            left, top = (-start for start in warp.offset)
            height, width = warp.source
            results['border'] = np.array([top, top + height, left, left + width], dtype=np.float32)
        return results


def _window_at(size: tuple[int, int], x: int, y: int, height: int, width: int) -> Warp:
    return Warp.window(size, x - width // 2, y - height // 2, height, width)


def _draw_center(side: int, border: int) -> int:
    """Draw a pixel at least ``border`` from both ends of ``side`` pixels; a short side halves it until it fits."""
    while border and 2 * border >= side:
        border //= 2
    return np.random.randint(border, max(side - border, border + 1))
