"""Channel numbers that hardware likes."""


def make_divisible(value: float, divisor: int, min_value: int | None = None, min_ratio: float = 0.9) -> int:
    """Round a number of channels to a multiple of ``divisor``.

    Args:
        value: Number of channels, not necessarily whole.
        divisor: What the result is a multiple of.
        min_value: Smallest result; ``divisor`` where None.
        min_ratio: The result is at least this share of ``value``.

    Examples:
        >>> make_divisible(38.4, 8), make_divisible(17, 8), make_divisible(3, 8)
        (40, 16, 8)
        >>> make_divisible(11, 8)
        16
    """
    rounded = max(divisor if min_value is None else min_value, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < min_ratio * value else rounded
