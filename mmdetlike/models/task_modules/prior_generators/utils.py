"""Which anchors lie on the image."""

from torch import Tensor

from mmdetlike.structures.bbox import geometry


def anchor_inside_flags(flat_anchors: Tensor, valid_flags: Tensor, img_shape, allowed_border: int = 0) -> Tensor:
    """Mark the anchors that are valid and leave the image by at most ``allowed_border`` pixels.

    Args:
        flat_anchors: (N, 4) xyxy in pixels, or rotated ones (N, 5), which count as their enclosing boxes.
        valid_flags: (N,) bool, False for anchors on padding.
        img_shape: Height and width of the image in pixels.
        allowed_border: Pixels by which an anchor may leave the image; negative for any number.

    Returns:
        (N,) bool.
    """
    if allowed_border < 0:
        return valid_flags
    height, width = img_shape[:2]
    x1, y1, x2, y2 = geometry.to_horizontal(flat_anchors).unbind(-1)
    inside = (x1 >= -allowed_border) & (y1 >= -allowed_border)
    return valid_flags & inside & (x2 < width + allowed_border) & (y2 < height + allowed_border)
