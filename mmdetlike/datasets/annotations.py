"""Reading annotations: files with errors that say where, class lists matched to names, boxes checked."""

import difflib
import json
import reprlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import yaml
from mmengine import fileio

from ..utils.data_root import rooted
from .errors import DataError, SkipReport, warn

GZIP = b'\x1f\x8b'
_YAML_LOADER = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)  # in C where PyYAML was built with it, ten times as fast


def read_bytes(path: str, backend_args: dict | None = None, what: str = 'annotation file') -> bytes:
    """The content of a file.

    Raises:
        FileNotFoundError: There is no such file; the message names it.
        DataError: It can't be read.
    """
    if not path:
        raise DataError(f'No {what} given: set ann_file.')
    path = rooted(path)
    try:
        return fileio.get(path, backend_args=backend_args)
    except IsADirectoryError as error:
        raise FileNotFoundError(f'The {what} {path!r} is a folder (data_root and ann_file joined).') from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f'The {what} {path!r} does not exist (data_root and ann_file joined).') from error
    except (OSError, ValueError) as error:  # not permitted, too long a name, or one that no file can have
        raise DataError(f'The {what} {shortened(path)} cannot be read: {shortened(str(error))}.') from error


def read_text(path: str, backend_args: dict | None = None, what: str = 'annotation file') -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        FileNotFoundError: There is no such file; the message names it.
        DataError: It is in another encoding.
    """
    try:
        return read_bytes(path, backend_args, what).decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise DataError(f'The {what} {path!r} is not text in UTF-8: {error}.') from error


def read_json(path: str, backend_args: dict | None = None, object_hook: Callable[[dict], dict] | None = None) -> object:
    """Parse a JSON file in UTF-8, UTF-16 or UTF-32, which its first bytes tell apart.

    Args:
        path: The file.
        backend_args: Where it is read from, as for ``mmengine.fileio.get``.
        object_hook: Called with each object once it is read; what it returns takes the object's place.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It is not JSON; the message names line and column.
    """
    content = read_bytes(path, backend_args)
    if content.startswith(GZIP):
        raise DataError(f'{path}: expected a JSON file, it is one compressed by gzip: unpack it.')
    if not content.strip():
        raise DataError(f'{path}: expected a JSON file, it is empty.')
    try:
        content = content.decode(json.detect_encoding(content))  # in place of the bytes, which may be hundreds of MB
        return json.loads(content, object_hook=object_hook)
    except UnicodeDecodeError as error:
        raise DataError(f'{path}: not text in UTF-8, UTF-16 or UTF-32: {error}.') from error
    except json.JSONDecodeError as error:
        raise DataError(f'{path}: not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}.') from error
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f'{path}: not a usable JSON file: {error}.') from error
    except RecursionError:
        raise DataError(f'{path}: not a usable JSON file, its lists are nested too deeply.') from None


def read_yaml(path: str, backend_args: dict | None = None, what: str = 'annotation file') -> object:
    """Parse a YAML file in UTF-8, as plain data.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It is not YAML; the message says where.
    """
    content = read_text(path, backend_args, what)
    try:
        return yaml.load(content, Loader=_YAML_LOADER)
    except yaml.YAMLError as error:
        raise DataError(f'{path}: not valid YAML: {" ".join(str(error).split())}.') from error
    except ValueError as error:  # a date that no calendar has
        raise DataError(f'{path}: not a usable YAML file: {error}.') from error
    except RecursionError:
        raise DataError(f'{path}: not a usable YAML file, it is nested too deeply.') from None


def read_lines(path: str, backend_args: dict | None = None, what: str = 'annotation file') -> list[str]:
    """The lines of a text file without blanks around them; blank lines are left out."""
    lines = (line.strip() for line in read_text(path, backend_args, what).splitlines())
    return [line for line in lines if line]


def match_classes(
    classes: Sequence[str], names: Sequence[str], source: str, ids: Sequence[int | str] | None = None
) -> dict[str, int]:
    """The label of each of ``classes`` that ``source`` has, which is the index of its name in ``classes``.

    Args:
        classes: What the config asks for.
        names: What ``source`` has.
        source: The annotation file, for messages.
        ids: What ``source`` calls each of ``names`` besides, for messages.

    Raises:
        DataError: None of the classes is there, or a name is asked for or there twice.
    """
    twice = sorted(name for name, count in Counter(classes).items() if count > 1)
    if twice:
        raise DataError(f'The classes list {twice} more than once.')
    wanted = Counter(name for name in names if name in set(classes))
    twice = sorted(name for name, count in wanted.items() if count > 1)
    if twice:
        owners = f': {_ids_by_name(twice, names, ids)}' if ids is not None else ''
        raise DataError(f'The categories of {source} list {twice} more than once{owners}.')
    absent = [name for name in classes if name not in set(names)]
    if len(absent) == len(classes):
        raise DataError(
            f'None of the classes is in {source}.\n  classes ({len(classes)}): {_listed(classes)}\n'
            f'  categories in the file ({len(names)}): {_listed(names)}\n'
            f'Set metainfo=dict(classes=(...)) of the dataset to names from the file.'
        )
    if absent:
        shown = '; '.join(_absent(name, names) for name in absent[:5])
        warn(f'{source}: {len(absent)} of {len(classes)} classes are absent: {shown}{"; ..." * (len(absent) > 5)}.')
    return {name: label for label, name in enumerate(classes) if name not in absent}


def _ids_by_name(wanted: Sequence[str], names: Sequence[str], ids: Sequence[int | str]) -> str:
    parts = []
    for name in wanted:
        same = [repr(number) for number, other in zip(ids, names) if other == name]
        parts.append(f'{name!r} is the name of the ids {" and ".join(same)}')
    return '; '.join(parts)


def _listed(names: Sequence[str], limit: int = 100) -> str:
    shown = ', '.join(map(str, names[:limit]))
    return shown + (', ...' if len(names) > limit else '')


def _absent(name: str, names: Sequence[str]) -> str:
    lowered = {str(n).lower(): n for n in names}
    close = difflib.get_close_matches(str(name).lower(), list(lowered), n=1, cutoff=0.5)
    return f'{name!r} (closest: {lowered[close[0]]!r})' if close else repr(name)


def check_boxes(
    boxes: np.ndarray,
    sizes: np.ndarray,
    describe: Sequence,
    report: SkipReport,
    min_side: float = 1.0,
    clip: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Clip boxes to their images, and find those that are unusable: not finite, without area, outside or too thin.

    Args:
        boxes: (N, 4) xyxy in pixels.
        sizes: (N, 2) width and height of the image of each box.
        describe: N names, or a function from a row to one, for the report.
        report: Counts what is skipped and what is clipped by more than a pixel.
        min_side: Boxes thinner than this many pixels are skipped.
        clip: Whether boxes end at the border of their image; those of whole objects, seen or not, do not.

    Returns:
        The clipped boxes (N, 4) and a mask (N,) of those to keep.
    """
    finite = np.isfinite(boxes).all(1)
    # Each mask leaves out what those before it hold, so that a box is reported for one reason, the most basic one.
    flat = finite & (boxes[:, 2:] <= boxes[:, :2]).any(1)
    limits = np.concatenate([sizes, sizes], axis=1)
    clipped = np.clip(boxes, 0, limits)
    left = (clipped[:, 2:] - clipped[:, :2]).min(1) if len(boxes) else np.zeros(0)
    if not clip:
        clipped = boxes
    outside = finite & ~flat & (left <= 0)
    thin = finite & ~flat & ~outside & (left < min_side)
    keep = finite & ~flat & ~outside & ~thin
    moved = keep & (np.abs(clipped - boxes) > 1).any(1)
    reasons = (
        (~finite, 'not finite'),
        (flat, 'zero area'),
        (outside, 'outside the image'),
        (thin, f'thinner than {min_side:g} px'),
    )
    name = describe if callable(describe) else describe.__getitem__
    for mask, reason in reasons:
        for row in np.flatnonzero(mask):
            report.skip(reason, f'{name(row)} box xyxy {_rounded(boxes[row])}')
    for row in np.flatnonzero(moved):
        report.correct('clipped to the image', f'{name(row)} box xyxy {_rounded(boxes[row])}')
    return clipped, keep


def tell_of_mask(problem: str, is_lost: bool, segmentation: object, name: str, report: SkipReport) -> None:
    """Count a mask of which ``read_segmentation`` tells a problem, and of which nothing or only a part can be used."""
    verdict = 'without its mask' if is_lost else 'with part of its mask'
    report.correct(f'{verdict}: {problem}', f'{name} segmentation {shortened(segmentation)}')


def _rounded(box: np.ndarray) -> list[float]:
    return [round(float(value), 2) for value in box]


def shortened(value: object, limit: int = 100) -> str:
    """``value`` as text of at most about ``limit`` characters, however long or deep it is."""
    text = _SHORT.repr(_with_lists(value))
    return text if len(text) <= limit else f'{text[:limit]}...'


def _with_lists(value: object, levels: int = 8) -> object:
    """``value`` as the file has it, without the arrays that take the place of long lists, a few ``levels`` deep."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if levels == 0:  # deeper than is shown; a file may be nested so deeply that a call a level is too many
        return value
    if isinstance(value, dict):
        return {key: _with_lists(part, levels - 1) for key, part in value.items()}
    return [_with_lists(part, levels - 1) for part in value] if isinstance(value, list) else value


_SHORT = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxarray = 12
_SHORT.maxdict = 12
_SHORT.maxstring = _SHORT.maxother = 80
