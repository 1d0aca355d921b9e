"""Checks of metrics' arguments, made when a config is built and not after an epoch."""

from collections.abc import Sequence
from numbers import Real

from ...errors import ConfigError


def check_count(name: str, value: object) -> None:
    """Refuse anything but a positive whole number.

    Raises:
        ConfigError: The message names the argument.
    """
    if type(value) is not int or value <= 0:
        raise ConfigError(f'{name}={value!r} should be a positive whole number.')


def check_counts(name: str, values: object) -> None:
    """Refuse anything but positive whole numbers, at least one.

    Raises:
        ConfigError: The message names the argument.
    """
    whole = isinstance(values, Sequence) and all(type(value) is int and value > 0 for value in values)
    if not whole or not values:
        raise ConfigError(f'{name}={values!r} should be positive whole numbers.')


def check_thresholds(name: str, values: object) -> None:
    """Refuse anything but overlaps above 0, up to 1, at least one; None is left to the metric.

    Raises:
        ConfigError: The message names the argument.
    """
    if values is None:
        return
    values = list(values) if hasattr(values, '__iter__') and not isinstance(values, str) else []
    if not values or not all(isinstance(value, Real) and 0 < value <= 1 for value in values):
        raise ConfigError(f'{name}={values!r} should be overlaps above 0, up to 1.')
