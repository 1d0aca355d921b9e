"""Drawing on images: pure functions that return a new image and leave the given one as it is.

Images are uint8 arrays (h, w, 3). Colors are given in the channel order of the image, so RGB and BGR both work. Line
widths and font sizes follow the image size where they are not given.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mmdetlike.structures.bbox import geometry

from .color_mode import ColorMode, gray_outside
from .instances import Instances, mask_extents, to_instances, upright
from .palette import Color, get_palette, readable_text_color
from .tags import place_tags
from .text import MIN_FONT_SIZE, Typeface, font_size_for, legible_names, line_width_for, shorten, tidy
from .tilted import draw_tilted_boxes

_RIM = 0.55  # how much of the picture remains in the dark rim around lines
_CROWDED = 0.12  # tags that would cover a larger share of the image get a smaller font
# objects of a video are more and more; after so many, colors are used again
NUM_OBJECT_COLORS = 32
_MAX_COVER = 0.4  # share of the image that tags may hide; the last ones are left out


@dataclass(frozen=True)
class Style:
    """How instances look.

    Args:
        line_width: Width of box lines in pixels on an image of 1333 x 800; it follows the image size.
        mask_alpha: Opacity of the filling of masks.
        text_color: Color of the text on tags where it is legible; black or white elsewhere.
        mask_palette: Colors of masks, one a class; None for the colors of the boxes.
        keypoint_links: Pairs of keypoints that are connected by a line.
        keypoint_link_colors: Colors of these lines; None for the color of the instance.
        color_mode: Whether colors tell classes or instances apart, and whether the picture is gray outside of masks.
        min_mask_area: Masks of fewer pixels are left out, with all that belongs to them.
        font: File of the font of tags; None for DejaVu Sans.
        font_size: Of tags, in pixels; None for one that follows the image size and the number of tags.
    """

    line_width: float = 3
    mask_alpha: float = 0.4
    text_color: Color | None = None
    mask_palette: Sequence[Color] | None = None
    keypoint_links: Sequence[tuple[int, int]] = ()
    keypoint_link_colors: Sequence[Color] | None = None
    color_mode: ColorMode = ColorMode.SEGMENTATION
    min_mask_area: float = 0
    font: str | None = None
    font_size: int | None = None


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    colors: Sequence[Color],
    line_width: int | None = None,
    dashed: bool = False,
) -> np.ndarray:
    """Draw the outlines of boxes, with a dark rim that keeps them visible on a bright picture.

    Args:
        image: Image (h, w, 3), uint8.
        boxes: Boxes (n, 4), xyxy, in pixels. Lines of boxes that leave the image run along its border; boxes wholly
            outside or not finite are left out. Rotated boxes (n, 5) x, y, width, height, angle are cut by the border.
        colors: One color a box.
        line_width: In pixels; by default it follows the image size.
        dashed: Draw dashes of the color on a dark line.

    Returns:
        A new image.
    """
    canvas = as_canvas(image)
    line_width = line_width or line_width_for(canvas.shape)
    boxes = np.asarray(boxes, dtype=float)
    if boxes.size and boxes.shape[-1] == geometry.ROTATED:
        draw_tilted_boxes(canvas, boxes, colors, line_width, dashed)
        return canvas
    frames = [_frame(box, canvas.shape, line_width) for box in boxes.reshape(-1, 4)]
    shown = [(frame, color) for frame, color in zip(frames, colors) if frame is not None]
    rim = (line_width + 1) // 3
    # all rims before all lines: a rim would darken the line of a box drawn before
    for frame, _ in shown if rim else ():
        for side in _sides(_grow(frame, rim, canvas.shape), line_width + 2 * rim):
            canvas[side] = (canvas[side] * _RIM).astype(np.uint8)
    for frame, color in shown:
        for side in _sides(frame, line_width):
            canvas[side] = _dashes(canvas[side].shape, color, 4 * line_width) if dashed else color
    return canvas


def draw_masks(
    image: np.ndarray,
    masks: Sequence[np.ndarray],
    colors: Sequence[Color],
    alpha: float = 0.4,
    line_width: int | None = None,
) -> np.ndarray:
    """Fill masks translucently and trace their contours.

    Args:
        image: Image (h, w, 3), uint8.
        masks: Masks, each (h, w), bool, of the size of the image. Large ones are drawn first.
        colors: One color a mask.
        alpha: Opacity of the filling, 0 to 1.
        line_width: Of the contours, in pixels; by default it follows the image size.

    Returns:
        A new image.

    Raises:
        ValueError: masks and image differ in size.
    """
    canvas = as_canvas(image)
    masks = [np.asarray(mask, dtype=bool) for mask in masks]
    for mask in masks:
        if mask.shape != canvas.shape[:2]:
            raise ValueError(f'masks of the size {mask.shape} do not fit an image of the size {canvas.shape[:2]}')
    line_width = line_width or max(1, line_width_for(canvas.shape) // 2)
    crops = [_crop(box) for box in mask_extents(masks)]
    order = np.argsort([-np.count_nonzero(mask[crop]) for mask, crop in zip(masks, crops)], kind='stable')
    for i in order:
        region = canvas[crops[i]]
        inside = masks[i][crops[i]]
        tinted = region * np.float32(1 - alpha) + np.array(colors[i], np.float32) * np.float32(alpha)
        np.copyto(region, tinted.astype(np.uint8), where=inside[..., None])
    for i in order:
        _trace(canvas, masks[i], crops[i], colors[i], line_width)
    return canvas


def draw_labels(
    image: np.ndarray,
    boxes: np.ndarray,
    texts: Sequence[str],
    colors: Sequence[Color],
    font_size: int | None = None,
    text_color: Color | None = None,
    font_file: str | None = None,
) -> np.ndarray:
    """Draw a filled tag with text at each box.

    Tags lie inside the image and apart from each other where there is room; those of the first boxes are placed first
    and are on top. Text wider than the image is shortened. Tags that would hide more than two fifths of it are left
    out.

    Args:
        image: Image (h, w, 3), uint8.
        boxes: Boxes (n, 4), xyxy, in pixels, or rotated ones (n, 5).
        texts: One text a box; a box with '' gets no tag.
        colors: The color of the tag, one a box.
        font_size: In pixels; by default it follows the image size and the number of tags.
        text_color: Used where it is legible on the tag; otherwise the text is black or white.
        font_file: Of the font; letters that it lacks are in other installed ones.

    Returns:
        A new image.
    """
    canvas = as_canvas(image)
    boxes = np.asarray(boxes, dtype=float)
    boxes = upright(boxes) if boxes.size else boxes.reshape(-1, 4)
    height, width = canvas.shape[:2]
    font_size = font_size or _font_size_for_tags(canvas.shape, texts)
    font = Typeface(font_size, font_file)
    tag_height = round(1.3 * font_size)
    pad = round(0.3 * font_size)
    if tag_height > height:
        return canvas
    texts = [shorten(tidy(text), font, width - 2 * pad, tail=5) for text in texts]
    shown = [i for i, text in enumerate(texts) if text and _is_visible(boxes[i], canvas.shape)]
    sizes = np.array([(min(width, round(font.getlength(texts[i])) + 2 * pad), tag_height) for i in shown])
    sizes = sizes.reshape(-1, 2)
    shown = shown[: np.count_nonzero(sizes.prod(1).cumsum() <= _MAX_COVER * width * height)]
    sizes = sizes[: len(shown)]
    corners = place_tags(boxes[shown], sizes, width, height)
    for (x, y), (w, h), i in reversed(list(zip(corners, sizes, shown))):  # the first tag last, hence on top
        ink = readable_text_color(colors[i], text_color)
        canvas[y : y + h, x : x + w] = _paint_tag(w, h, texts[i], (colors[i], ink), font)
    return canvas


def draw_keypoints(
    image: np.ndarray,
    keypoints: np.ndarray,
    colors: Sequence[Color],
    links: Sequence[tuple[int, int]] = (),
    radius: int | None = None,
    link_colors: Sequence[Color] | None = None,
) -> np.ndarray:
    """Draw keypoints as dots with a white rim, connected by ``links``.

    Args:
        image: Image (h, w, 3), uint8.
        keypoints: Keypoints (n, k, 3): x, y in pixels and visibility; those not above 0 are left out.
        colors: One color an instance.
        links: Pairs of indices of keypoints to connect.
        radius: Of the dots, in pixels; by default it follows the image size.
        link_colors: One color a link; by default that of the instance.

    Returns:
        A new image.

    Raises:
        ValueError: links and their colors differ in number.
    """
    import cv2

    canvas = as_canvas(image)
    radius = radius or line_width_for(canvas.shape, base=4)
    if link_colors is not None and len(link_colors) != len(links):
        raise ValueError(f'there are {len(links)} links of keypoints to draw but {len(link_colors)} colors of them')
    for points, color in zip(np.asarray(keypoints, dtype=float), colors):
        visible = (points[:, 2] > 0) & np.isfinite(points).all(1)
        pixels = np.where(visible[:, None], points[:, :2], 0).round().astype(int).tolist()
        colors_of_links = [color] * len(links) if link_colors is None else link_colors
        for (start, end), link_color in zip(links, colors_of_links):
            if visible[start] and visible[end]:
                cv2.line(canvas, pixels[start], pixels[end], link_color, max(1, radius // 2), cv2.LINE_AA)
        for point in np.array(pixels)[visible].tolist():
            cv2.circle(canvas, point, radius + max(1, radius // 3), (255, 255, 255), -1, cv2.LINE_AA)
            cv2.circle(canvas, point, radius, color, -1, cv2.LINE_AA)
    return canvas


def draw_instances(
    image: np.ndarray,
    instances: Instances | Any,
    classes: Sequence[str] | None = None,
    palette: Sequence[Color] | str | None = None,
    score_thr: float = 0.0,
    min_side: int = 0,
    style: Style = Style(),
) -> np.ndarray:
    """Draw objects: masks below, boxes above them, then keypoints, and tags with class and score on top.

    Args:
        image: Image (h, w, 3), uint8.
        instances: :class:`Instances`, or anything that :func:`to_instances` takes (``InstanceData``, a dict of arrays).
        classes: Names of the classes; indices are shown without them, and 'class 3' for a name whose letters no
            installed font has.
        palette: What :func:`get_palette` takes, in the channel order of the image.
        score_thr: Instances that score less are left out.
        min_side: Enlarge the image before drawing until its shorter side has this many pixels.
        style: Line width, opacity and the like.

    Returns:
        A new image, enlarged if ``min_side`` asks for it.
    """
    shown = to_instances(instances).by_importance(score_thr).with_area(style.min_mask_area)
    canvas, instances = _enlarge(as_canvas(image), shown, min_side)
    if style.color_mode is ColorMode.IMAGE_BW:
        canvas = gray_outside(canvas, instances.masks)
    num_classes = max([0 if classes is None else len(classes), *(instances.labels + 1)])
    colors = _colors_of(instances, palette, num_classes)
    if not style.color_mode.is_by_class:
        colors = _colors_of_objects(instances)
    width = line_width_for(canvas.shape, style.line_width)
    anchors = upright(instances.boxes)
    if instances.masks is not None:
        mask_colors = colors if style.mask_palette is None else _colors_of(instances, style.mask_palette, num_classes)
        canvas = draw_masks(canvas, instances.masks, mask_colors, style.mask_alpha, max(1, width // 2))
        anchors = _anchors(instances)
    # reversed: the most important box last, hence on top; masks without boxes have boxes of zeros, which aren't drawn
    outlined = np.flatnonzero(_has_area(instances.boxes) | (instances.masks is None))[::-1]
    canvas = draw_boxes(canvas, instances.boxes[outlined], [colors[i] for i in outlined], width)
    if instances.keypoints is not None:
        canvas = draw_keypoints(
            canvas, instances.keypoints, colors, style.keypoint_links, link_colors=style.keypoint_link_colors
        )
    anchors = anchors + width // 2 * np.array([-1, -1, 1, 1])  # flush with the outer side of the lines
    texts = _texts(instances, classes, style.font)
    return draw_labels(canvas, anchors, texts, colors, style.font_size, style.text_color, style.font)


def as_canvas(image: np.ndarray) -> np.ndarray:
    """Return a copy of an image to draw on: uint8, (h, w, 3), contiguous; gray images get three equal channels.

    Raises:
        ValueError: the array is not a uint8 image.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise ValueError(f'expected a uint8 image of the shape (h, w, 3), got {image.dtype} {image.shape}')
    return image.copy() if image.shape[2] == 3 else np.repeat(image, 3, axis=2)


def resize_image(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize an image smoothly in either direction."""
    import cv2

    shrinks = width * height < image.shape[0] * image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _enlarge(image: np.ndarray, instances: Instances, min_side: int) -> tuple[np.ndarray, Instances]:
    height, width = image.shape[:2]
    factor = min_side / min(height, width)
    if factor <= 1:
        return image, instances
    new_width = round(width * factor)
    new_height = round(height * factor)
    scale = (new_width / width, new_height / height)
    return resize_image(image, new_width, new_height), instances.rescale(new_width, new_height, scale)


def _colors_of(instances: Instances, palette: Any, num_classes: int) -> list[Color]:
    colors = get_palette(palette, num_classes)
    return [colors[label] for label in instances.labels]


def _colors_of_objects(instances: Instances) -> list[Color]:
    """A color for each object; one that is known from the last frame keeps its own."""
    if instances.ids is None:
        return [tuple(color) for color in get_palette(None, len(instances))]
    colors = get_palette(None, NUM_OBJECT_COLORS)
    return [tuple(colors[number % NUM_OBJECT_COLORS]) for number in instances.ids]


def _texts(instances: Instances, classes: Sequence[str] | None, font: str | None) -> list[str]:
    names = legible_names(() if classes is None else classes, font)
    names = [names[i] if i < len(names) else str(i) for i in instances.labels]
    if instances.scores is None:
        return names
    return [f'{name} {score:.2f}' for name, score in zip(names, instances.scores)]


def _has_area(boxes: np.ndarray) -> np.ndarray:
    return geometry.is_larger(torch.from_numpy(boxes), 0).numpy()


def _anchors(instances: Instances) -> np.ndarray:
    """Boxes (n, 4) at which tags are placed; of predictions without boxes, those around their masks."""
    boxes = upright(instances.boxes).copy()
    flat = ~_has_area(boxes)
    boxes[flat] = mask_extents(instances.masks[i] for i in np.flatnonzero(flat))
    return boxes


def _is_visible(box: np.ndarray, shape: tuple[int, ...]) -> bool:
    height, width = shape[:2]
    x1, y1, x2, y2 = box
    return bool(np.isfinite(box).all() and x2 >= 0 and y2 >= 0 and x1 <= width and y1 <= height)


def _frame(box: np.ndarray, shape: tuple[int, ...], line_width: int) -> tuple[int, int, int, int] | None:
    """Pixels [x1, x2) x [y1, y2) that the outline of a box encloses, lines centered on the edges of the box."""
    if not _is_visible(box, shape):
        return None
    x1, y1, x2, y2 = np.round(box).astype(int)
    return _grow((x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)), line_width // 2, shape)


def _grow(frame: tuple[int, int, int, int], by: int, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = frame
    height, width = shape[:2]
    x1 = min(max(x1 - by, 0), width - 1)
    y1 = min(max(y1 - by, 0), height - 1)
    return x1, y1, max(min(x2 + by, width), x1 + 1), max(min(y2 + by, height), y1 + 1)


def _sides(frame: tuple[int, int, int, int], line_width: int) -> Iterator[tuple[slice, slice]]:
    """Slices of the four lines inside a frame, without a pixel twice."""
    x1, y1, x2, y2 = frame
    top = min(y1 + line_width, y2)
    bottom = max(y2 - line_width, y1)
    left = min(x1 + line_width, x2)
    right = max(x2 - line_width, x1)
    bottom = max(bottom, top)
    right = max(right, left)
    yield slice(y1, top), slice(x1, x2)
    yield slice(bottom, y2), slice(x1, x2)
    yield slice(top, bottom), slice(x1, left)
    yield slice(top, bottom), slice(right, x2)


def _dashes(shape: tuple[int, ...], color: Color, period: int) -> np.ndarray:
    """Pattern of a dashed line, horizontal or vertical, of ``shape`` (h, w, 3)."""
    along = np.add.outer(np.arange(shape[0]), np.arange(shape[1]))
    return np.where((along // period % 2 == 0)[..., None], np.array(color), 40).astype(np.uint8)


def _crop(box: np.ndarray) -> tuple[slice, slice]:
    x1, y1, x2, y2 = box.astype(int)
    return slice(y1, y2), slice(x1, x2)


def _trace(canvas: np.ndarray, mask: np.ndarray, crop: tuple[slice, slice], color: Color, line_width: int) -> None:
    import cv2

    rows, columns = crop
    inside = np.ascontiguousarray(mask[crop], dtype=np.uint8)
    if inside.size == 0:
        return
    # RETR_CCOMP: holes have contours, too
    contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(columns.start, rows.start))
    cv2.drawContours(canvas, contours, -1, color, line_width, cv2.LINE_AA)


def _font_size_for_tags(shape: tuple[int, ...], texts: Sequence[str]) -> int:
    """The usual font size of an image, smaller where so many tags would hide the picture."""
    usual = font_size_for(shape)
    characters = sum(len(text) + 1 for text in texts)
    # a character is about 0.6 of the font size wide, a tag 1.3 of it high
    share = 0.6 * 1.3 * usual**2 * characters / (shape[0] * shape[1])
    if share <= _CROWDED:
        return usual
    return max(MIN_FONT_SIZE, round(usual * max(0.6, (_CROWDED / share) ** 0.5)))


def _paint_tag(width: int, height: int, text: str, colors: tuple[Color, Color], font: Typeface) -> np.ndarray:
    from PIL import Image, ImageDraw

    background, ink = colors
    tag = Image.new('RGB', (int(width), int(height)), background)
    font.paint(ImageDraw.Draw(tag), text, (width - font.getlength(text)) / 2, height / 2, ink)
    return np.asarray(tag)
