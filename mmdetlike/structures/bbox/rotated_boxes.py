"""Rotated boxes."""

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from mmdetlike.structures.bbox import geometry
from mmdetlike.structures.bbox.base_boxes import BaseBoxes
from mmdetlike.structures.bbox.box_type import register_box
from mmdetlike.structures.bbox.transforms import check_direction


@register_box('rbox')
class RotatedBoxes(BaseBoxes):
    """Rotated boxes (x, y, width, height, angle): center and sides in pixels, angle in radians.

    A positive angle turns a box clockwise as seen in the image, whose y axis points down. The same rectangle can be
    written in several ways; `regularize_boxes` chooses one. Boxes are not cut to the image.

    Args:
        data: (..., n, 5) tensor, array or nested list.
        dtype: Of the result; that of ``data`` by default, float32 for a list.
        device: Of the result; that of ``data`` by default.
        clone: Whether to copy ``data``.

    Raises:
        ValueError: The last dimension of ``data`` isn't 5.
    """

    box_dim = geometry.ROTATED

    @classmethod
    def from_plain(cls, boxes: Tensor) -> 'RotatedBoxes':
        """Rotated boxes from boxes of any kind (..., 4, 5 or 8); quadrilaterals become rectangles around them."""
        return cls(geometry.to_rotated(boxes))

    @property
    def angles(self) -> Tensor:
        """(..., n) in radians, clockwise."""
        return self.tensor[..., 4]

    @property
    def corners(self) -> Tensor:
        """(..., n, 4, 2) x and y of the corners, clockwise from the one that is top left before the box is turned."""
        return geometry.corners(self.tensor)

    def regularize_boxes(self, angle_version: str) -> Tensor:
        """The same rectangles (..., n, 5) as an angle version writes them; see `geometry.regularize`."""
        return geometry.regularize(self.tensor, angle_version)

    def clip_upright_(self, img_shape: tuple[int, int], clip_angle_threshold: float = 1.0) -> None:
        """Clip boxes that are almost axis-aligned to an image of (h, w); others stay whole.

        Args:
            img_shape: (h, w).
            clip_angle_threshold: Largest angle, in degrees either way, of a box that is clipped. Its angle stays.
        """
        angles = geometry.wrap(self.angles, -math.pi, 2 * math.pi)
        is_upright = angles.abs() <= math.radians(clip_angle_threshold)
        upright = torch.cat([self.tensor[..., :4], torch.zeros_like(self.tensor[..., 4:])], dim=-1)
        clipped = geometry.to_rotated(geometry.clip(geometry.to_horizontal(upright), img_shape))
        clipped = torch.cat([clipped[..., :4], self.tensor[..., 4:]], dim=-1)
        self.tensor.copy_(torch.where(is_upright[..., None], clipped, self.tensor))

    def flip_(self, img_shape: tuple[int, int], direction: str = 'horizontal') -> None:
        """Mirror with an image of (h, w): 'horizontal' (left becomes right), 'vertical' or 'diagonal' (both)."""
        check_direction(direction)
        height, width = img_shape[:2]
        if direction != 'vertical':
            self.tensor[..., 0] = width - self.tensor[..., 0]
        if direction != 'horizontal':
            self.tensor[..., 1] = height - self.tensor[..., 1]
        if direction != 'diagonal':  # mirrored twice, a box is turned by half a circle
            self.tensor[..., 4].neg_()

    def resize_(self, scale_factor: tuple[float, float]) -> None:
        self.tensor[..., 2:4] *= self.tensor.new_tensor(scale_factor)

    def is_inside(self, img_shape: tuple[int, int], all_inside: bool = False, allowed_border: int = 0) -> Tensor:
        """Whether boxes' centers, or whole boxes, lie in an image of (h, w), widened by ``allowed_border`` pixels.

        Args:
            img_shape: (h, w).
            all_inside: Ask for the whole box instead of its center.
            allowed_border: In pixels.

        Returns:
            (..., n) bool.
        """
        points = self.corners if all_inside else self.centers.unsqueeze(-2)
        return geometry.are_inside(points, img_shape, allowed_border)

    @staticmethod
    def overlaps(
        boxes1: BaseBoxes, boxes2: BaseBoxes, mode: str = 'iou', is_aligned: bool = False, eps: float = 1e-6
    ) -> Tensor:
        """Exact overlaps (n, m) of two sets of boxes, or (n,) of their pairs; see `geometry.overlaps`."""
        return geometry.overlaps(boxes1.tensor, boxes2.tensor, mode, is_aligned)

    @staticmethod
    def from_instance_masks(masks) -> 'RotatedBoxes':
        """The smallest boxes around the instances of `BitmapMasks` or `PolygonMasks`; zeros for an empty mask."""
        boxes = [rectangle_around_mask(mask) for mask in masks.to_ndarray()]
        return RotatedBoxes(torch.tensor(np.array(boxes, dtype=np.float32).reshape(-1, geometry.ROTATED)))


def rectangle_around_mask(mask: np.ndarray) -> np.ndarray:
    """The smallest rotated box (5,) around the pixels of ``mask`` (h, w), with their whole area; zeros for none."""
    pixels = cv2.findNonZero((mask > 0).astype(np.uint8))
    if pixels is None:
        return np.zeros(geometry.ROTATED)
    unit_square = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    points = (pixels.reshape(-1, 1, 2) + unit_square).reshape(-1, 2)
    # By way of the corners, since OpenCV's angles are others than ours and have changed between its versions.
    rectangle = cv2.boxPoints(cv2.minAreaRect(points.astype(np.float32)))
    return geometry.enclosing_rectangles(torch.from_numpy(rectangle)).numpy()
