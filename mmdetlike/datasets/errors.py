"""Errors of data on disk, which name the file, and the one counted warning about annotations that are skipped."""

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
        # By default an exception is rebuilt from its message alone: crossing from a worker process would lose both.
        return type(self), (self.path, self.reason)


class ImageSizeError(ImageError):
    """An image that isn't of the size which its annotations give.

    Args:
        path: The file.
        reason: Both sizes and what may be done, as the end of a sentence.
    """


class PipelineError(UserError, RuntimeError):
    """A pipeline that returns None for a sample which must be there, or for too many samples in a row."""


def tells_at(count: int) -> bool:
    """Whether the ``count``-th fault of a kind is named: the first five are, then the 10th, 100th, 1000th ..."""
    return count <= 5 or str(count).rstrip('0') == '1'


def warn(message: str) -> None:
    """Log ``message`` as a warning of the running experiment."""
    print_log(message, logger='current', level=logging.WARNING)


_warned: set[str] = set()


def warn_once(message: str, key: str) -> None:
    """Log ``message`` as a warning unless this process has already logged one under ``key``."""
    if key not in _warned:
        _warned.add(key)
        warn(f'{message} (Said once.)')


class SkipReport:
    """Counts what a dataset skipped or corrected, by reason, and keeps a few examples to show.

    Args:
        source: What was read, usually the annotation file.
        max_examples: Examples to keep in all; each reason has one, though, if they are more reasons.
    """

    def __init__(self, source: str, max_examples: int = 5) -> None:
        self.source = source
        self.max_examples = max_examples
        self.skipped: Counter[str] = Counter()
        self.corrected: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self._examples: list[tuple[str, str]] = []

    @property
    def num_skipped(self) -> int:
        """The number of annotations that were skipped."""
        return sum(self.skipped.values())

    def skip(self, reason: str, example: str) -> None:
        """Count an annotation that is left out because of ``reason``."""
        self.skipped[reason] += 1
        self._keep(reason, example)

    def correct(self, reason: str, example: str) -> None:
        """Count an annotation that is kept after a correction."""
        self.corrected[reason] += 1
        self._keep(reason, example)

    def leave_out(self, reason: str, number: int) -> None:
        """Count annotations that are valid but not wanted, as those of other classes; the summary leaves them out."""
        if number:
            self.left_out[reason] += number

    def _keep(self, reason: str, example: str) -> None:
        shown = Counter(known for known, _ in self._examples)
        if len(self._examples) >= self.max_examples:
            if reason in shown:
                return
            # A reason without an example replaces the second example of another reason, if one has two.
            repeated = [i for i, (known, _) in enumerate(self._examples) if shown[known] > 1]
            if repeated:
                del self._examples[repeated[-1]]
        self._examples.append((reason, f'{example} ({reason})'))

    @property
    def examples(self) -> list[str]:
        """A few examples, for each reason, of annotations that were skipped or corrected."""
        return [text for _, text in self._examples]

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
        if self._examples:
            warn(self.summary())
