"""The names under which configs know box classes, and helpers that take boxes of any kind."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmdetlike.structures.bbox import geometry
from mmdetlike.structures.bbox.base_boxes import BaseBoxes

box_types: dict[str, type[BaseBoxes]] = {}


def register_box(name: str, force: bool = False) -> Callable[[type[BaseBoxes]], type[BaseBoxes]]:
    """Class decorator that makes a box class known to configs as ``name``.

    Raises:
        KeyError: ``name`` is taken and ``force`` is not set.
    """

    def register(cls: type[BaseBoxes]) -> type[BaseBoxes]:
        if name in box_types and not force:
            raise KeyError(f'The box type {name!r} is already registered as {box_types[name].__name__}.')
        box_types[name] = cls
        return cls

    return register


def get_box_type(box_type: str | type[BaseBoxes]) -> tuple[str, type[BaseBoxes]]:
    """Return name and class of a box type given by either.

    Raises:
        KeyError: It is not registered.
    """
    for name, cls in box_types.items():
        if box_type in (name, cls):
            return name, cls
    raise KeyError(f'The box type {box_type!r} is not registered; there are {", ".join(sorted(box_types))}.')


def get_box_tensor(boxes: Tensor | BaseBoxes) -> Tensor:
    """The plain tensor of ``boxes``, which may be a box object or such a tensor."""
    return boxes.tensor if isinstance(boxes, BaseBoxes) else boxes


def cat_boxes(data_list: Sequence[Tensor | BaseBoxes], dim: int = 0) -> Tensor | BaseBoxes:
    """Concatenate tensors or box objects; the type of the first of them is that of the result."""
    first = data_list[0]
    return type(first).cat(data_list, dim) if isinstance(first, BaseBoxes) else torch.cat(list(data_list), dim)


def stack_boxes(data_list: Sequence[Tensor | BaseBoxes], dim: int = 0) -> Tensor | BaseBoxes:
    """Stack tensors or box objects; the type of the first of them is that of the result."""
    first = data_list[0]
    return type(first).stack(data_list, dim) if isinstance(first, BaseBoxes) else torch.stack(list(data_list), dim)


def scale_boxes(boxes: Tensor | BaseBoxes, scale_factor: tuple[float, float]) -> Tensor | BaseBoxes:
    """Boxes of an image resized by ``scale_factor`` (w, h); box objects are changed in place and returned."""
    if isinstance(boxes, BaseBoxes):
        boxes.rescale_(scale_factor)
        return boxes
    return geometry.scale(boxes, scale_factor)


def get_box_wh(boxes: Tensor | BaseBoxes) -> tuple[Tensor, Tensor]:
    """Widths and heights, each (...), of box objects or of a tensor (..., 4 or 5)."""
    return geometry.sizes(get_box_tensor(boxes)).unbind(-1)


def convert_box_type(boxes: BaseBoxes, *, dst_type: str | type[BaseBoxes]) -> BaseBoxes:
    """Convert boxes to the kind ``dst_type``: axis-aligned ('hbox'), rotated ('rbox') or quadrilaterals ('qbox').

    What the new kind cannot express becomes the smallest box of that kind around it.

    Raises:
        KeyError: ``dst_type`` is not registered.
    """
    _, cls = get_box_type(dst_type)
    return boxes if isinstance(boxes, cls) else cls.from_plain(boxes.tensor)
