"""Contact sheets: a grid of images with their predictions, ground truth as dashed white outlines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .draw import Style, as_canvas, draw_boxes, draw_instances, draw_masks, resize_image
from .instances import Instances, to_instances
from .palette import Color
from .text import Typeface, shorten, with_placeholders

_BACKGROUND = (24, 26, 30)
_INK = (225, 228, 232)
_GAP = 8
_STYLE = Style(line_width=4.5)
_GROUND_TRUTH = (255, 255, 255)
_LEGEND = 'solid: prediction    dashed: ground truth'

Item = tuple[np.ndarray, Any] | tuple[np.ndarray, Any, Any]


def contact_sheet(
    images_with_instances: Sequence[Item],
    columns: int = 4,
    cell: int = 320,
    captions: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    palette: Sequence[Color] | str | None = None,
    score_thr: float = 0.3,
) -> np.ndarray:
    """Draw a grid of images, each shrunk or enlarged to its cell before drawing, so that all labels are legible.

    Args:
        images_with_instances: One (image, prediction) or (image, prediction, ground truth) a cell. Images are RGB
            uint8 (h, w, 3); prediction and ground truth are what :func:`to_instances` takes, in pixels of the image, or
            None.
        columns: Number of columns; fewer are used when there are fewer images.
        cell: Longer side of the images in the grid, in pixels.
        captions: One text a cell, shown below it.
        classes: Names of the classes.
        palette: What :func:`get_palette` takes.
        score_thr: Predictions that score less are left out.

    Returns:
        RGB image (height, width, 3), uint8.

    Raises:
        ValueError: there are no images, or not one caption for each.
    """
    if not images_with_instances:
        raise ValueError('a contact sheet needs at least one image')
    if captions is not None and len(captions) != len(images_with_instances):
        raise ValueError(f'there are {len(captions)} captions for {len(images_with_instances)} images')
    columns = min(columns, len(images_with_instances))
    strip = 0 if captions is None else max(20, cell // 13)
    tiles = []
    for i, (image, *samples) in enumerate(images_with_instances):
        prediction, ground_truth = (*samples, None)[:2]  # an item may lack the ground truth
        tile = _cell(image, prediction, ground_truth, cell, (classes, palette, score_thr))
        tiles.append(tile if captions is None else np.concatenate([tile, _strip(captions[i], cell, strip)]))
    sheet = np.concatenate([_row(tiles[i : i + columns], columns) for i in range(0, len(tiles), columns)])
    has_ground_truth = any(len(item) > 2 and item[2] is not None for item in images_with_instances)
    return _with_legend(sheet) if has_ground_truth else sheet


def save_image(image: np.ndarray, path: str | Path) -> None:
    """Write an RGB image (h, w, 3), uint8, in the format of the suffix of ``path``; folders are made as needed."""
    from PIL import Image

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {'quality': 92} if path.suffix.lower() in ('.jpg', '.jpeg') else {}
    Image.fromarray(as_canvas(image)).save(path, **settings)


def _cell(image: np.ndarray, prediction: Any, ground_truth: Any, cell: int, look: tuple) -> np.ndarray:
    """One image with its instances, centered in a strip ``cell`` pixels wide."""
    image = as_canvas(image)
    height, width = image.shape[:2]
    factor = cell / max(height, width)
    new_width = max(1, round(width * factor))
    new_height = max(1, round(height * factor))
    scale = (new_width / width, new_height / height)
    tile = resize_image(image, new_width, new_height)
    if ground_truth is not None:
        tile = _outline(tile, to_instances(ground_truth).rescale(new_width, new_height, scale))
    if prediction is not None:
        tile = draw_instances(tile, to_instances(prediction).rescale(new_width, new_height, scale), *look, style=_STYLE)
    framed = np.full((new_height, cell, 3), _BACKGROUND, np.uint8)
    left = (cell - new_width) // 2
    framed[:, left : left + new_width] = tile
    return framed


def _outline(image: np.ndarray, truth: Instances) -> np.ndarray:
    if truth.masks is not None:
        image = draw_masks(image, truth.masks, [_GROUND_TRUTH] * len(truth), alpha=0.0, line_width=1)
    return draw_boxes(image, truth.boxes, [_GROUND_TRUTH] * len(truth), line_width=1, dashed=True)


def _strip(text: str, width: int, height: int) -> np.ndarray:
    """A line of text on the background color."""
    from PIL import Image, ImageDraw

    font = Typeface(max(9, round(height * 0.55)))
    picture = Image.new('RGB', (width, height), _BACKGROUND)
    font.paint(ImageDraw.Draw(picture), shorten(with_placeholders(text), font, width - 8), 4, height / 2, _INK)
    return np.array(picture)


def _row(tiles: list[np.ndarray], columns: int) -> np.ndarray:
    """Tiles side by side, aligned at their top, with gaps above and beside them."""
    width = tiles[0].shape[1]
    shape = (max(len(tile) for tile in tiles) + _GAP, columns * (width + _GAP) + _GAP, 3)
    row = np.full(shape, _BACKGROUND, np.uint8)
    for i, tile in enumerate(tiles):
        left = _GAP + i * (width + _GAP)
        row[_GAP : _GAP + len(tile), left : left + width] = tile
    return row


def _with_legend(sheet: np.ndarray) -> np.ndarray:
    return np.concatenate([sheet, _strip(_LEGEND, sheet.shape[1], 24)])
