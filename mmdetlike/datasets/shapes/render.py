"""Pictures of colored shapes with exact annotations, made on the fly: the same on every machine.

A scene is laid out first (which shapes, where, what is seen of each), then painted. Both draw from
``np.random.RandomState``, whose stream numpy has frozen, and outlines are sampled at pixel centers.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from faster_coco_eval.core import mask as rle

from mmdetlike.structures.bbox import geometry

from ..seeding import stable_hash
from .paint import paint_background, paint_shape, soften, tint_ground

CLASSES = ('circle', 'triangle', 'square', 'star', 'cross')
STUFF_CLASSES = ('sky', 'ground')
KEYPOINT_NAMES = ('top', 'upper_right', 'upper_left', 'lower_right', 'lower_left', 'bottom')
MIN_SIDE = 16  # of an upright shape and of a visible box, in pixels
MIN_VISIBLE = 0.5  # of the area of each shape
MAX_TILT = math.radians(25)
STOUT = (0.8, 0.45)  # least width / height, and how much larger it may be
# of rotated scenes
ANY_TILT = math.radians(90)
SLIM = (0.45, 0.25)
MAX_TRIES = 30  # placements of one shape before the scene does without it

_BOTTOM_LEFT, _BOTTOM_RIGHT = (-0.87, 0.5), (0.87, 0.5)
_ARM = 0.36


def _star() -> list[tuple[float, float]]:
    radii = (1.0, 0.45)
    return [(radii[i % 2] * math.sin(math.pi * i / 5), -radii[i % 2] * math.cos(math.pi * i / 5)) for i in range(10)]


# Outlines and keypoints (slot in KEYPOINT_NAMES -> point), upright, in a circle of radius 1, y downwards.
OUTLINES = {
    'triangle': [(0, -1), _BOTTOM_RIGHT, _BOTTOM_LEFT],
    'square': [(-0.74, -0.74), (0.74, -0.74), (0.74, 0.74), (-0.74, 0.74)],
    'star': _star(),
    'cross': [
        (-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM),
        (_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM),
    ],
}  # fmt: skip
KEYPOINTS = {
    'circle': {0: (0, -1), 1: (1, 0), 2: (-1, 0), 5: (0, 1)},
    'triangle': {0: (0, -1), 3: _BOTTOM_RIGHT, 4: _BOTTOM_LEFT},
    'square': {1: (0.74, -0.74), 2: (-0.74, -0.74), 3: (0.74, 0.74), 4: (-0.74, 0.74)},
    'star': {slot: _star()[i] for slot, i in ((0, 0), (1, 2), (3, 4), (4, 6), (2, 8))},
    'cross': {0: (0, -1), 1: (1, 0), 2: (-1, 0), 5: (0, 1)},
}


@dataclass(frozen=True)
class SceneSpec:
    """The settings that determine a picture completely.

    Args:
        seed: Of the whole data set.
        split: Name of the part, e.g. 'train': the parts differ.
        index: Of the picture.
        height: In pixels.
        width: In pixels.
        max_objects: At most so many shapes, at least one.
        with_stuff: The background is sky above a horizon and ground below it.
        rotated: Shapes are longer than wide and tilted in any direction, and boxes are tilted with them.
    """

    seed: int
    split: str
    index: int
    height: int
    width: int
    max_objects: int
    with_stuff: bool = False
    rotated: bool = False

    def random(self, purpose: str) -> np.random.RandomState:
        """A random generator of its own for each purpose, so that changing one doesn't change the others."""
        return np.random.RandomState(stable_hash('shapes', self.seed, self.split, self.index, purpose))


@dataclass(frozen=True)
class Shape:
    """A shape in a picture: center and radius in pixels, tilt in radians (clockwise), aspect width / height."""

    label: int
    center: tuple[float, float]
    radius: float
    tilt: float
    aspect: float

    def transform(self, points: list[tuple[float, float]]) -> np.ndarray:
        """(N, 2) pixel positions of ``points`` given in the upright unit circle."""
        xy = np.array(points, dtype=np.float64) * (min(self.aspect, 1), min(1 / self.aspect, 1)) * self.radius
        cos = math.cos(self.tilt)
        sin = math.sin(self.tilt)
        return xy @ np.array([[cos, sin], [-sin, cos]]) + self.center

    @cached_property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns that hold the shape."""
        x, y = self.center
        r = self.radius + 1
        return slice(int(y - r), int(y + r) + 1), slice(int(x - r), int(x + r) + 1)

    def mask(self) -> np.ndarray:
        """Boolean (h, w): which pixel centers of ``window`` are in the shape."""
        rows, columns = self.window
        x = np.arange(columns.start, columns.stop) + 0.5
        y = np.arange(rows.start, rows.stop) + 0.5
        if CLASSES[self.label] == 'circle':
            return (x - self.center[0]) ** 2 + (y[:, None] - self.center[1]) ** 2 <= self.radius**2
        return _inside(self.transform(OUTLINES[CLASSES[self.label]]), x, y)


def _inside(outline: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(len(y), len(x)): an odd number of the edges of ``outline`` lie to the right of the point (x, y)."""
    x1, y1 = outline.T
    x2, y2 = np.roll(outline, -1, axis=0).T
    spans = (y1 <= y[:, None]) != (y2 <= y[:, None])
    rise = np.where(y2 == y1, 1, y2 - y1)  # of a level edge, which spans no y, anything but 0 will do
    crossing = x1 + (y[:, None] - y1) * (x2 - x1) / rise
    right = spans[:, None] & (x[None, :, None] < crossing[:, None])
    return right.sum(-1) % 2 == 1


class Scene:
    """The shapes of a picture and what is seen of each.

    ``owner`` (height, width) holds for each pixel the number of the shape seen there, -1 for the background.
    """

    def __init__(self, spec: SceneSpec) -> None:
        self.spec = spec
        self.shapes: list[Shape] = []
        self.owner = np.full((spec.height, spec.width), -1, dtype=np.int8)
        self._areas: list[int] = []
        random = spec.random('layout')
        for _ in range(random.randint(1, spec.max_objects + 1)):
            self._place(random)

    def _place(self, random: np.random.RandomState) -> None:
        label = random.randint(len(CLASSES))
        for _ in range(MAX_TRIES):
            shape = self._draw_shape(label, random)
            mask = shape.mask()
            if self._leaves_visible(shape, mask):
                self.owner[shape.window][mask] = len(self.shapes)
                self.shapes.append(shape)
                self._areas.append(int(mask.sum()))
                return

    def _draw_shape(self, label: int, random: np.random.RandomState) -> Shape:
        side = min(self.spec.height, self.spec.width)
        smallest = max(MIN_SIDE, 0.15 * side) / 2 / 0.74  # 0.74: half the side of the unit square
        radius = smallest + random.random_sample() * max(0.24 * side - smallest, 0)
        margin = radius + 2
        center = (
            margin + random.random_sample() * (self.spec.width - 2 * margin),
            margin + random.random_sample() * (self.spec.height - 2 * margin),
        )
        most = ANY_TILT if self.spec.rotated else MAX_TILT
        narrowest, span = SLIM if self.spec.rotated else STOUT
        tilt = (2 * random.random_sample() - 1) * most
        aspect = narrowest + span * random.random_sample()
        if CLASSES[label] == 'circle':
            # a circle shows no tilt, so its box must have none
            return Shape(label, center, radius, 0.0 if self.spec.rotated else tilt, 1.0)
        return Shape(label, center, radius, tilt, aspect)

    def _leaves_visible(self, shape: Shape, mask: np.ndarray) -> bool:
        owner = self.owner[shape.window]
        covered = owner[mask]
        for number in set(covered[covered >= 0].tolist()):
            before = self.owner == number
            after = before.copy()
            after[shape.window] &= ~mask
            if after.sum() < MIN_VISIBLE * self._areas[number] or min(_sides(after)) < MIN_SIDE / 2:
                return False
        return True

    def instances(self) -> list[dict]:
        """Annotations in the format of ``BaseDetDataset``: visible box, visible mask (RLE), keypoints, area."""
        return [self._instance(number, shape) for number, shape in enumerate(self.shapes)]

    def ground(self) -> np.ndarray:
        """(height, width) bool: what lies below the horizon, a slanted line between 0.3 and 0.7 of the height."""
        height, width = self.spec.height, self.spec.width
        left, right = self.spec.random('horizon').randint(3 * height // 10, 7 * height // 10 + 1, 2)
        y, x = np.ogrid[:height, :width]
        return (y - left) * width >= (right - left) * x

    def panoptic(self) -> tuple[np.ndarray, list[dict]]:
        """Segment of each pixel (height, width) int32 and the segments in the format of ``CocoPanopticDataset``.

        The shapes come first, numbered from 1; then what is seen of sky and ground.
        """
        stuff = len(self.shapes) + 1 + self.ground()
        ids = np.where(self.owner >= 0, self.owner + 1, stuff).astype(np.int32)
        areas = np.bincount(ids.ravel(), minlength=len(self.shapes) + 3)[1:].tolist()
        labels = [shape.label for shape in self.shapes] + [len(CLASSES), len(CLASSES) + 1]
        segments = [
            {'id': number, 'category': label, 'is_thing': number <= len(self.shapes), 'iscrowd': 0, 'area': area}
            for number, (label, area) in enumerate(zip(labels, areas), 1)
        ]
        return ids, [segment for segment in segments if segment['area']]

    def _instance(self, number: int, shape: Shape) -> dict:
        visible = self.owner == number
        encoded = rle.encode(np.asfortranarray(visible, dtype=np.uint8))
        return {
            'ignore_flag': 0,
            'bbox': _tilted_box(visible, shape.tilt) if self.spec.rotated else _upright_box(visible),
            'bbox_label': shape.label,
            'mask': {'size': [int(n) for n in encoded['size']], 'counts': encoded['counts'].decode('ascii')},
            'keypoints': self._keypoints(shape, visible),
            'area': float(visible.sum()),
        }

    def _keypoints(self, shape: Shape, visible: np.ndarray) -> list[float]:
        slots = KEYPOINTS[CLASSES[shape.label]]
        flat = [0.0] * (3 * len(KEYPOINT_NAMES))
        points = shape.transform(list(slots.values()))
        inner = points + (np.array(shape.center) - points) * min(0.5, 2.5 / shape.radius)  # corners are thin
        for slot, (x, y), (column, row) in zip(slots, points, inner.astype(int)):
            flat[3 * slot : 3 * slot + 3] = [round(float(x), 2), round(float(y), 2), 2 if visible[row, column] else 1]
        return flat


def _upright_box(visible: np.ndarray) -> list[float]:
    """x1, y1, x2, y2 around the pixels that are set."""
    columns = np.flatnonzero(visible.any(0))
    rows = np.flatnonzero(visible.any(1))
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]


def _tilted_box(visible: np.ndarray, tilt: float) -> list[float]:
    """The corners x1, y1, ..., x4, y4 of the box around the middles of the pixels that are set, tilted in radians."""
    y, x = np.nonzero(visible)
    middles = torch.from_numpy(np.stack([x, y], axis=-1) + 0.5)
    box = geometry.rectangles_at(middles, middles.new_tensor(tilt))
    return [round(value, 2) for value in geometry.corners(box).flatten().tolist()]


def _sides(mask: np.ndarray) -> tuple[int, int]:
    columns = np.flatnonzero(mask.any(0))
    rows = np.flatnonzero(mask.any(1))
    return (int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1) if len(columns) else (0, 0)


def render(spec: SceneSpec) -> tuple[np.ndarray, list[dict]]:
    """Picture (height, width, 3), BGR uint8, and its annotations."""
    scene = Scene(spec)
    return paint(scene), scene.instances()


def paint(scene: Scene) -> np.ndarray:
    """Picture (height, width, 3), BGR uint8, of a scene."""
    random = scene.spec.random('paint')
    image = paint_background(scene.spec.height, scene.spec.width, random)
    if scene.spec.with_stuff:
        image = tint_ground(image, scene.ground())
    for number, shape in enumerate(scene.shapes):
        seen = scene.owner[shape.window] == number
        paint_shape(image[shape.window], seen, random)
    return soften(image)
