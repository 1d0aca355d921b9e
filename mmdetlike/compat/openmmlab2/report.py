"""What a translation has to tell, and the ways to take a config apart without losing any of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Report:
    """What a translation could not translate, and what it left out, each with its key path.

    Attributes:
        refused: What has no counterpart and would change what is computed.
        notes: What has no counterpart and changes nothing that is computed, or has become another command.
    """

    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def refuse(self, path: str, value, reason: str) -> None:
        """Remember that the ``value`` at ``path`` can't be translated."""
        self.refused.append(f'{path}={value!r:.80}: {reason}')

    def note(self, path: str, text: str) -> None:
        """Remember a sentence about ``path``."""
        self.notes.append(f'{path}: {text}')

    def refuse_rest(self, rest: dict, path: str, reader: str) -> None:
        """Refuse the keys that are left of a dict once all that ``reader`` knows has been taken out."""
        for key, value in rest.items():
            self.refuse(f'{path}.{key}', value, f'{reader} of 2.x has no such argument that could be translated')


def is_pair(value) -> bool:
    """Whether a value is two numbers, such as a scale; not two scales."""
    return is_sequence(value) and len(value) == 2 and all(isinstance(side, (int, float)) for side in value)


def is_sequence(value) -> bool:
    """Whether a value is a list or a tuple."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def swapped(pair):
    """A pair the other way round, in the container that it came in; anything else as it is."""
    return type(pair)(reversed(pair)) if is_pair(pair) else pair


def without_none(values: dict) -> dict:
    """The entries of a dict that are not None."""
    return {key: value for key, value in values.items() if value is not None}
