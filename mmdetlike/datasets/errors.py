"""What can be wrong with data on disk: exceptions that name the file, and one counted warning for what is skipped."""

import logging
from collections import Counter

from mmengine.logging import print_log

from mmdetlike.errors import UserError


class DataError(UserError, ValueError):
    """A dataset that cannot be read: the message names the file and what was expected of it."""


class ImageError(UserError, ValueError):
    """An image that is missing, truncated or not an image.

    Args:
        path: The file.
        reason: What is wrong with it, as the end of a sentence; '' if ``path`` is the whole message, as from a worker
            process.
    """

    def __init__(self, path: str, reason: str = '') -> None:
        super().__init__(f'{path}: {reason}' if reason else path)
        self.path = path
        self.reason = reason

    def __reduce__(self):
        return type(self), (self.path, self.reason)  # crosses from a worker process to the main one


def warn(message: str) -> None:
    """Log ``message`` as a warning of the running experiment."""
    print_log(message, logger='current', level=logging.WARNING)


class SkipReport:
    """Counts what a dataset skipped or corrected, by reason, and keeps a few examples to show.

    Args:
        source: What was read, usually the annotation file.
        max_examples: Examples to keep in all.
    """

    def __init__(self, source: str, max_examples: int = 5) -> None:
        self.source = source
        self.max_examples = max_examples
        self.skipped: Counter[str] = Counter()
        self.corrected: Counter[str] = Counter()
        self.examples: list[str] = []

    @property
    def num_skipped(self) -> int:
        """How many annotations were left out."""
        return sum(self.skipped.values())

    def skip(self, reason: str, example: str) -> None:
        """Count an annotation that is left out because of ``reason``."""
        self.skipped[reason] += 1
        self._keep(f'{example} ({reason})')

    def correct(self, reason: str, example: str) -> None:
        """Count an annotation that is kept after a correction."""
        self.corrected[reason] += 1
        self._keep(f'{example} ({reason})')

    def _keep(self, example: str) -> None:
        if len(self.examples) < self.max_examples:
            self.examples.append(example)

    def summary(self) -> str:
        """One line: the counts by reason and the examples; empty when nothing was skipped or corrected."""
        parts = []
        for verb, counts in (('skipped', self.skipped), ('kept', self.corrected)):
            if counts:
                reasons = ', '.join(f'{n} {reason}' for reason, n in counts.most_common())
                parts.append(f'{verb} {sum(counts.values())} annotations ({reasons})')
        return f'{self.source}: {"; ".join(parts)}. For example: {"; ".join(self.examples)}.' if parts else ''

    def warn(self) -> None:
        """Log the summary as one warning, if there is something to say."""
        if self.examples:
            warn(self.summary())
