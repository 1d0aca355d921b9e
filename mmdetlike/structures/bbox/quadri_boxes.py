"""Quadrilaterals, as files of rotated objects have them."""

from torch import Tensor

from mmdetlike.structures.bbox import geometry
from mmdetlike.structures.bbox.base_boxes import BaseBoxes
from mmdetlike.structures.bbox.box_type import register_box
from mmdetlike.structures.bbox.rotated_boxes import RotatedBoxes
from mmdetlike.structures.bbox.transforms import check_direction


@register_box('qbox')
class QuadriBoxes(BaseBoxes):
    """Quadrilaterals (x1, y1, ..., x4, y4) in pixels, from which ``ConvertBoxType`` makes boxes that can be learned.

    Centers, widths, heights and areas are those of the smallest rectangles around them.

    Args:
        data: (..., n, 8) tensor, array or nested list.
        dtype: Of the result; that of ``data`` by default, float32 for a list.
        device: Of the result; that of ``data`` by default.
        clone: Whether to copy ``data``.

    Raises:
        ValueError: The last dimension of ``data`` isn't 8.
    """

    box_dim = geometry.QUADRILATERAL

    @classmethod
    def from_plain(cls, boxes: Tensor) -> 'QuadriBoxes':
        """The corners of boxes of any kind (..., 4, 5 or 8)."""
        return cls(geometry.corners(boxes).flatten(-2))

    @property
    def corners(self) -> Tensor:
        """(..., n, 4, 2) x and y of the corners."""
        return geometry.corners(self.tensor)

    def flip_(self, img_shape: tuple[int, int], direction: str = 'horizontal') -> None:
        """Mirror with an image of (h, w): 'horizontal' (left becomes right), 'vertical' or 'diagonal' (both)."""
        check_direction(direction)
        height, width = img_shape[:2]
        if direction != 'vertical':
            self.tensor[..., 0::2] = width - self.tensor[..., 0::2]
        if direction != 'horizontal':
            self.tensor[..., 1::2] = height - self.tensor[..., 1::2]

    def resize_(self, scale_factor: tuple[float, float]) -> None:
        center = self.centers.unsqueeze(-2)
        scaled = center + (self.corners - center) * self.tensor.new_tensor(scale_factor)
        self.tensor.copy_(scaled.flatten(-2))

    def is_inside(self, img_shape: tuple[int, int], all_inside: bool = False, allowed_border: int = 0) -> Tensor:
        """As `RotatedBoxes.is_inside`: the center, or all corners, in an image of (h, w)."""
        points = self.corners if all_inside else self.centers.unsqueeze(-2)
        return geometry.are_inside(points, img_shape, allowed_border)

    def find_inside_points(self, points: Tensor, is_aligned: bool = False, eps: float = 0.01) -> Tensor:
        """Whether points lie inside the smallest rectangles around quadrilaterals, by more than ``eps`` pixels."""
        points = points if is_aligned else points[:, None]
        return (geometry.side_distances(points, geometry.to_rotated(self.tensor)) > eps).all(-1)

    @staticmethod
    def overlaps(
        boxes1: BaseBoxes, boxes2: BaseBoxes, mode: str = 'iou', is_aligned: bool = False, eps: float = 1e-6
    ) -> Tensor:
        """Overlaps of the smallest rectangles around two sets of quadrilaterals."""
        rotated = [geometry.to_rotated(boxes.tensor) for boxes in (boxes1, boxes2)]
        return geometry.overlaps(*rotated, mode, is_aligned)

    @staticmethod
    def from_instance_masks(masks) -> 'QuadriBoxes':
        """The corners of the smallest rotated boxes around the instances of masks; zeros for an empty mask."""
        return QuadriBoxes.from_plain(RotatedBoxes.from_instance_masks(masks).tensor)
