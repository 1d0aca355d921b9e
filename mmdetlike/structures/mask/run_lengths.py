"""COCO's run-length encoding of masks: runs of 0 and 1 in turn, the first of 0, down the columns from left to right.

All is checked in numpy, because the C code of the evaluation tools believes what it is told: run lengths that do not
add up to height x width make it read and write beyond the mask.
"""

import numpy as np

LARGEST_MASK = 2**32 - 1  # run lengths are uint32 in C
_CHARS_OF_RUN = 7  # 5 bits each: enough for a run of LARGEST_MASK
# of a character of COCO's text: whether another one of the same run follows, the sign of the last one, the 5 bits
_MORE = 0x20
_SIGN = 0x10
_DIGIT = 0x1F


def run_lengths(counts: object, total: int) -> np.ndarray:
    """The run lengths (n,) int64 of a mask of ``total`` pixels.

    Args:
        counts: Whole numbers, or the text (str or bytes) that COCO packs them into.
        total: Height x width.

    Raises:
        ValueError: They don't describe such a mask; the message is the reason, without what was given.
    """
    lengths = _unpacked(counts) if isinstance(counts, (str, bytes)) else _whole_numbers(counts)
    if not len(lengths):
        raise ValueError('no run lengths')
    if lengths.min() < 0:
        raise ValueError('negative run lengths')
    # The largest first: a sum of numbers that are each too large could wrap around.
    if lengths.max() > total or lengths.sum() != total:
        raise ValueError('run lengths that do not add up to height x width')
    return lengths


def _whole_numbers(counts: object) -> np.ndarray:
    if counts is None:
        raise ValueError('no run lengths')
    try:
        lengths = np.asarray(counts)
    except ValueError:  # lists of different lengths
        lengths = None
    if lengths is None or lengths.ndim != 1 or (lengths.size and lengths.dtype.kind not in 'iuf'):
        raise ValueError('run lengths that are not a list of whole numbers')
    if lengths.dtype.kind == 'f' and not np.array_equal(lengths, np.trunc(lengths)):  # NaN isn't equal to itself
        raise ValueError('run lengths that are not whole numbers')
    # Before the conversion, which would wrap around.
    if lengths.size and np.abs(lengths.astype(np.float64)).max() > LARGEST_MASK:
        raise ValueError('run lengths that do not add up to height x width')
    return lengths.astype(np.int64)


def _unpacked(text: str | bytes) -> np.ndarray:
    """Run lengths of COCO's text: 5 bits a character, lowest first; from the fourth on, differences to two before.

    All characters are decoded at once: a loop over them takes seconds for the masks of a large file.
    """
    try:
        codes = np.frombuffer(text.encode('ascii') if isinstance(text, str) else text, np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        raise ValueError('text that is no run-length encoding') from None
    ends = np.flatnonzero((codes & _MORE) == 0)
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or not len(ends) or ends[-1] != len(codes) - 1:
        raise ValueError('text that is no run-length encoding')
    starts = np.concatenate([[0], ends[:-1] + 1])
    chars = ends - starts + 1
    if chars.max() > _CHARS_OF_RUN:
        raise ValueError('text that is no run-length encoding')
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, chars))
    values = np.add.reduceat((codes & _DIGIT) << shifts, starts)
    # two's complement: where the last character has the sign bit, all higher bits are meant to be 1
    values -= ((codes[ends] & _SIGN) != 0).astype(np.int64) << 5 * chars
    return _summed(values)


def _summed(values: np.ndarray) -> np.ndarray:
    """Undo the differences; the first three values have none, hence the two series start at 1 and 2."""
    lengths = values.copy()
    lengths[1::2] = np.cumsum(values[1::2])
    lengths[2::2] = np.cumsum(values[2::2])
    return lengths


def bitmap_of_runs(lengths: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width) uint8 of 0 and 1 from checked run lengths."""
    pixels = np.repeat((np.arange(len(lengths)) % 2).astype(np.uint8), lengths)
    return np.ascontiguousarray(pixels.reshape(width, height).T)  # COCO counts down the columns
