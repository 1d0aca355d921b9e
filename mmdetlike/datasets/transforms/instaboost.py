"""InstaBoost (arXiv 1908.07801): objects are cut out and pasted again nearby."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageEnhance
from pycocotools import mask as coco_mask

from mmdetlike.datasets.transforms.base import BaseTransform, check_probability, check_range, image_size
from mmdetlike.datasets.transforms.color import as_bytes
from mmdetlike.datasets.transforms.similar_places import draw_similar_shift
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.mask import mask_to_bitmap, polygons_to_bitmap, read_segmentation
from mmdetlike.structures.mask.polygon import clip_polygon
from mmdetlike.structures.warp import Warp

ACTIONS = ('normal', 'horizontal', 'vertical', 'skip')
_MARGIN = 8  # pixels around a hole from which it is filled
_COLOR_RANGE = (0.8, 1.2)
_ENHANCERS = (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast)


@TRANSFORMS.register_module()
class InstaBoost(BaseTransform):
    """Cut objects out, inpaint the holes, and paste the objects shifted, rotated and scaled a little.

    It comes after the image is loaded and before `LoadAnnotations`: it changes ``instances``, their ``bbox``, ``mask``
    and ``keypoints``. Objects without a mask, and those that would lose half of it at the edge, stay. Where an object
    comes to lie over others, their masks stay as they are.

    Args:
        action_candidate: What may happen to an object: 'normal' moves it, 'horizontal' and 'vertical' mirror it, too,
            'skip' leaves it.
        action_prob: The probability of each.
        scale: (lower, upper) of the factor of its size.
        dx: An object is shifted along x by up to its width divided by this,
        dy: and along y by up to its height divided by this.
        theta: (lower, upper) of the angle in degrees, clockwise.
        color_prob: Probability that the colors of a pasted object change.
        hflag: Draw places whose surroundings look alike, anywhere in the image (the paper's heatmap); ``dx`` and ``dy``
            count from there.
        aug_ratio: Probability of doing anything with an image.

    Raises:
        ConfigError: A value is unknown or out of range.
    """

    needs = ('img', 'instances')

    def __init__(
        self,
        action_candidate: Sequence[str] = ('normal', 'horizontal', 'skip'),
        action_prob: Sequence[float] = (1, 0, 0),
        scale: tuple[float, float] = (0.8, 1.2),
        dx: float = 15,
        dy: float = 15,
        theta: tuple[float, float] = (-1, 1),
        color_prob: float = 0.5,
        hflag: bool = False,
        aug_ratio: float = 0.5,
    ) -> None:
        if not set(action_candidate) <= set(ACTIONS):
            raise ConfigError(f'action_candidate must be some of {", ".join(ACTIONS)}, got {action_candidate}')
        if len(action_prob) != len(action_candidate) or min(action_prob) < 0 or abs(sum(action_prob) - 1) > 1e-6:
            raise ConfigError(f'action_prob must be {len(action_candidate)} numbers that sum to 1, got {action_prob}')
        if dx <= 0 or dy <= 0 or len(theta) != 2 or theta[0] > theta[1] or min(scale) <= 0:
            raise ConfigError(f'dx, dy and scale must be positive, theta a range; got {dx}, {dy}, {scale} and {theta}')
        self.action_candidate = tuple(action_candidate)
        self.action_prob = tuple(action_prob)
        self.scale = check_range('scale', scale)
        self.dx = dx
        self.dy = dy
        self.theta = tuple(theta)
        self.color_prob = check_probability(color_prob, 'color_prob')
        self.hflag = hflag
        self.aug_ratio = check_probability(aug_ratio, 'aug_ratio')

    def transform(self, results: dict) -> dict:
        if np.random.uniform() >= self.aug_ratio:
            return results
        img = as_bytes(results, self)
        size = image_size(results)
        instances = list(results['instances'])
        moves = {}  # by index: the bitmap of an object and its warp
        for index, instance in enumerate(instances):
            mask = read_segmentation(instance.get('mask'), *size)[0]
            action = self.action_candidate[np.random.choice(len(self.action_prob), p=self.action_prob)]
            if mask is None or action == 'skip':
                continue
            bitmap = mask_to_bitmap(mask, *size)
            place = draw_similar_shift(_filled_hole(img, bitmap), bitmap) if self.hflag and bitmap.any() else (0, 0)
            warp = self._draw_warp(bitmap, action, place)
            if warp is None:
                continue
            moved = _moved_instance({**instance, 'mask': mask}, warp, bitmap, results.get('flip_indices'))
            if moved is not None:
                instances[index] = moved
                moves[index] = bitmap, warp
        results['img'] = self._paint(img, list(moves.values())).astype(results['img'].dtype, copy=False)
        results['instances'] = instances
        return results

    def _draw_warp(self, bitmap: np.ndarray, action: str, place: tuple[float, float]) -> Warp | None:
        """The map of one object: about the center of its box, then away from it by ``place`` and a little more."""
        if not bitmap.any():
            return None
        x1, y1, x2, y2 = _extent(bitmap)
        factor = np.random.uniform(*self.scale)
        angle = math.radians(np.random.uniform(*self.theta))
        shift_x = np.random.uniform(-1, 1) * (x2 - x1) / self.dx
        shift_y = np.random.uniform(-1, 1) * (y2 - y1) / self.dy
        mirror = np.diag([-1.0 if action == 'horizontal' else 1.0, -1.0 if action == 'vertical' else 1.0])
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        center = np.array([x1 + x2, y1 + y2]) / 2
        matrix = np.eye(3)
        matrix[:2, :2] = factor * turn @ mirror
        matrix[:2, 2] = center + place + (shift_x, shift_y) - matrix[:2, :2] @ center
        return Warp.affine(matrix, bitmap.shape, bitmap.shape)

    def _paint(self, img: np.ndarray, moves: list[tuple[np.ndarray, Warp]]) -> np.ndarray:
        """The image with the objects at their new positions."""
        painted = img
        # all holes first: filling one must not erase an object that was pasted nearby
        for bitmap, _ in moves:
            painted = _filled_hole(painted, bitmap)
        for bitmap, warp in moves:
            alpha = warp.image(bitmap.astype(np.float32))[..., None]
            looks = _recolored(img) if np.random.uniform() < self.color_prob else img
            painted = np.rint(alpha * warp.image(looks) + (1 - alpha) * painted).astype(np.uint8)
        return painted


def _extent(bitmap: np.ndarray) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 of the box around the pixels of a bitmap (h, w), not empty."""
    xs = np.flatnonzero(bitmap.any(axis=0))
    ys = np.flatnonzero(bitmap.any(axis=1))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


def _filled_hole(img: np.ndarray, bitmap: np.ndarray) -> np.ndarray:
    """The image with the pixels of a bitmap inpainted from those around; only a crop is worked on, as that is slow."""
    x1, y1, x2, y2 = _extent(bitmap)
    rows = slice(max(y1 - _MARGIN, 0), y2 + _MARGIN)
    columns = slice(max(x1 - _MARGIN, 0), x2 + _MARGIN)
    hole = cv2.dilate(bitmap[rows, columns], np.ones((3, 3), np.uint8))  # the outline still shows the object
    img = img.copy()
    img[rows, columns] = cv2.inpaint(np.ascontiguousarray(img[rows, columns]), hole, 3, cv2.INPAINT_TELEA)
    return img


def _recolored(img: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(np.ascontiguousarray(img[..., ::-1]))
    for enhancer in _ENHANCERS:
        picture = enhancer(picture).enhance(np.random.uniform(*_COLOR_RANGE))
    return np.asarray(picture)[..., ::-1]


def _moved_instance(instance: dict, warp: Warp, bitmap: np.ndarray, flip_indices: Sequence[int] | None) -> dict | None:
    """An instance with its mask at the new position; None if half of it would leave the image."""
    mask = instance['mask']
    if isinstance(mask, dict):
        moved = warp.label_map(bitmap, 0)
        encoded = coco_mask.encode(np.asfortranarray(moved))
        mask = dict(encoded, counts=encoded['counts'].decode('ascii'))  # text, as in files
    else:
        polygons = [clip_polygon(warp.points(_pairs(polygon)), warp.size) for polygon in mask]
        mask = [polygon.reshape(-1).tolist() for polygon in polygons if len(polygon) >= 3]
        moved = polygons_to_bitmap([np.array(polygon) for polygon in mask], *warp.size)
    growth = abs(np.linalg.det(warp.matrix[:2, :2]))
    if moved.sum() <= 0.5 * growth * bitmap.sum():
        return None
    result = {**instance, 'mask': mask, 'bbox': [float(side) for side in _extent(moved)]}
    if 'keypoints' in instance:
        result['keypoints'] = _moved_keypoints(instance['keypoints'], warp, flip_indices)
    if 'point_coords' in instance:
        result['point_coords'] = warp.points(_pairs(instance['point_coords'])).tolist()
    return result


def _pairs(polygon: Sequence[float]) -> np.ndarray:
    return np.asarray(polygon, dtype=np.float64).reshape(-1, 2)


def _moved_keypoints(keypoints: Sequence, warp: Warp, flip_indices: Sequence[int] | None) -> list:
    points = np.array(keypoints, dtype=np.float64).reshape(-1, 3)
    seen = points[:, 2] > 0
    points[seen, :2] = warp.points(points[seen, :2])
    height, width = warp.size
    outside = (points[:, 0] < 0) | (points[:, 1] < 0) | (points[:, 0] > width) | (points[:, 1] > height)
    points[outside] = 0
    if flip_indices is not None and np.linalg.det(warp.matrix[:2, :2]) < 0:
        points = points[list(flip_indices)]
    return points.reshape(np.shape(keypoints)).tolist()
