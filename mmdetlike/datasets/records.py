"""Reading records of annotation files: a table lists the fields and the forms they may have; errors name the record.

Exporters write the same thing in several ways (``1``, ``"1"``, ``1.0``, ``true``), which do no harm and are read.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .annotations import shortened
from .errors import DataError

LARGEST_SIDE = 1_000_000  # pixels
_LARGEST_AREA = LARGEST_SIDE**2


@dataclass(frozen=True)
class Field:
    """A field of a record.

    Args:
        key: Its name in the file.
        read: Gives the value in our form, or raises ValueError, TypeError or OverflowError. It gets None where the
            field is absent and not required.
        expected: What ``read`` accepts, as the end of a sentence.
        required: Whether the field has to be there; it may still be null if ``read`` takes that.
    """

    key: str
    read: Callable
    expected: str
    required: bool = False


@dataclass(frozen=True)
class Table:
    """A list of records of one kind.

    Args:
        singular: What one is called, with its article: 'an annotation'.
        fields: Its fields.
        name: Gives the name of a record in messages: 'annotation 3 of image 1'.
    """

    singular: str
    fields: Sequence[Field]
    name: Callable[[dict], str]

    def read(self, row: object, source: str) -> dict:
        """The fields of a record in our form; others are left out.

        Raises:
            DataError: It is no object, lacks a field or has one that can't be read.
        """
        if not isinstance(row, dict):
            raise DataError(f'{source}: expected {self.singular} to be a JSON object, got {shortened(row)}.')
        record = {}
        for field in self.fields:
            value = row.get(field.key)
            if value is None and field.required and field.key not in row:
                raise DataError(f'{source}: {self.singular} lacks {field.key!r}: {shortened(row, 200)}.')
            try:
                record[field.key] = field.read(value)
            except (ValueError, TypeError, OverflowError):
                raise DataError(
                    f'{source}: {self.name(row)} has {field.key}={shortened(value)}; expected {field.expected}.'
                ) from None
        return record


def identifier(value: object) -> int | str:
    """A whole number or text that isn't empty."""
    if type(value) is int or (type(value) is str and value):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ValueError


def optional_identifier(value: object) -> int | str | None:
    """An identifier, or None."""
    return None if value is None else identifier(value)


def same_id(value: int | str) -> str:
    """The key by which identifiers are compared and looked up: 1 and "1" are the same."""
    return str(value)


def whole_number(value: object) -> int:
    """A whole number, maybe as text."""
    number = real_number(value)
    if not number.is_integer():
        raise ValueError
    return int(number)


def score(value: object) -> float:
    """A finite number, maybe as text."""
    number = real_number(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def finite_box(value: object) -> tuple[float, float, float, float] | None:
    """A box of finite numbers, or None as ``box`` says."""
    numbers = box(value)
    if numbers is not None and not math.isfinite(sum(numbers)):
        raise ValueError
    return numbers


def optional_whole_number(value: object) -> int | None:
    """A whole number, maybe as text, or None."""
    return None if value is None else whole_number(value)


def side(value: object) -> int | None:
    """A side of an image in pixels; None where the file doesn't know it (null or 0)."""
    number = 0 if value is None else whole_number(value)
    if not 0 <= number <= LARGEST_SIDE:
        raise ValueError
    return number or None


def text(value: object) -> str:
    """Text that isn't empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value


def name(value: object) -> str:
    """A name; a number is one, too."""
    return str(value) if type(value) is int else text(value)


def optional_text(value: object) -> str | None:
    """Text, or None."""
    return None if value is None or value == '' else text(value)


_TRUTH = {'0': False, '1': True, 'false': False, 'true': True, '0.0': False, '1.0': True}


def truth(value: object) -> bool:
    """A truth value: 0, 1, false or true, also as text; null is false."""
    if value is None:
        return False
    if isinstance(value, (bool, int, float, str)) and str(value).strip().lower() in _TRUTH:
        return _TRUTH[str(value).strip().lower()]
    raise ValueError


def box(value: object) -> tuple[float, float, float, float] | None:
    """Four numbers; None for null, an empty list and four zeros, by which exporters say that there is no object."""
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or len(value) not in (0, 4):
        raise ValueError
    numbers = tuple(map(real_number, value))
    return numbers if any(numbers) else None


def area(value: object) -> float:
    """A positive number of square pixels; NaN for anything else, which is no error, as areas can be measured."""
    known = type(value) in (int, float) and 0 < value < _LARGEST_AREA
    return float(value) if known else math.nan


def keypoints(value: object) -> list[float] | None:
    """A flat list of x, y, visibility; None if there are none."""
    if value is None or value == []:
        return None
    points = np.asarray(value)
    if (
        not isinstance(value, list)
        or points.dtype.kind not in 'iuf'
        or points.size % 3
        or not np.isfinite(points).all()
    ):
        raise ValueError
    return points.ravel().tolist()


def point_coords(value: object) -> list[list[float]] | None:
    """A list of x, y of each point; None if there are none."""
    if value is None or value == []:
        return None
    points = np.asarray(value)
    if points.dtype.kind not in 'iuf' or points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError
    return points.tolist()


def point_labels(value: object) -> list[int] | None:
    """A list of 0 and 1; None if there are none."""
    if value is None or value == []:
        return None
    return [int(truth(label)) for label in records(value)]


def records(value: object) -> list:
    """A list."""
    if not isinstance(value, list):
        raise ValueError
    return value


def anything(value: object) -> object:
    """The value as it is."""
    return value


def real_number(value: object) -> float:
    """A number, maybe as text; it may be infinite or NaN, which is for the caller to judge."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    return float(value)
