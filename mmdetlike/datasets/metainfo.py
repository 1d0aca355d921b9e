"""What ``metainfo`` of a dataset says: class names and colors, checked."""

import difflib
import os
from collections.abc import Mapping, Sequence

import numpy as np
from mmengine.config import Config

from ..errors import ConfigError
from ..utils.colors import distinct_colors
from .annotations import read_lines
from .errors import warn_once


def checked_metainfo(metainfo: object) -> dict:
    """``metainfo`` as a dict.

    Raises:
        ConfigError: It is no dict, or has 'classes' or 'palette' misspelled, which would leave the default in silence.
    """
    if not isinstance(metainfo, (Mapping, Config, type(None))):
        raise ConfigError(f'metainfo={metainfo!r} should be a dict: dict(classes=(...)).')
    old_names = {'CLASSES': 'classes', 'PALETTE': 'palette'}
    metainfo = {old_names.get(key, key): value for key, value in dict(metainfo or {}).items()}
    for known in {'classes', 'palette'} - set(metainfo):
        close = difflib.get_close_matches(known, list(map(str, metainfo)), n=1, cutoff=0.8)
        if close:
            raise ConfigError(f'metainfo has the keys {list(metainfo)}: {close[0]!r} should be {known!r}.')
    return metainfo


def full_palette(palette: object, num_classes: int) -> object:
    """A list of colors with one for each class; what is no such list (a name, a single color) is left as it is.

    Raises:
        ConfigError: A color of the list is neither a name nor three numbers.
    """
    if not isinstance(palette, (list, tuple)) or (palette and all(isinstance(part, (int, float)) for part in palette)):
        return palette
    for number, color in enumerate(palette):
        channels = list(color) if isinstance(color, (list, tuple, np.ndarray)) else []
        numbers = all(isinstance(channel, (int, float, np.number)) and 0 <= channel <= 255 for channel in channels)
        if not isinstance(color, str) and not (numbers and len(channels) == 3):
            raise ConfigError(
                f'palette[{number}]={color!r} should be three numbers from 0 to 255, or the name of a color.'
            )
    if len(palette) < num_classes:
        warn_once(
            f'palette has {len(palette)} colors for {num_classes} classes: others get colors of their own.', 'palette'
        )
    return [*palette, *distinct_colors(num_classes)[len(palette) :]]


def checked_class_names(classes: object) -> tuple[str, ...]:
    """The names that ``metainfo['classes']`` gives, or those in the file that it names, one a line.

    Raises:
        ConfigError: It is no sequence of names.
    """
    if isinstance(classes, (str, os.PathLike)):
        if not os.path.isfile(classes):
            raise ConfigError(
                f'classes should be a sequence of names, got a string: write ({str(classes)!r},). It may also be the '
                f'path of a file of names, one a line, but there is no file {str(classes)!r}.'
            )
        return tuple(read_lines(os.fspath(classes), what='file of classes'))
    if isinstance(classes, np.ndarray):
        classes = classes.tolist()
    if not isinstance(classes, Sequence) or not classes or not all(isinstance(name, str) and name for name in classes):
        raise ConfigError(f'classes={classes!r} should be a sequence of names.')
    return tuple(str(name) for name in classes)
