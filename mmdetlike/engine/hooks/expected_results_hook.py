"""Checking scores at the end of a run."""

import math
from collections.abc import Sequence

from mmengine.hooks import Hook

from mmdetlike.errors import ConfigError, UserError
from mmdetlike.registry import HOOKS


@HOOKS.register_module()
class ExpectedResultsHook(Hook):
    """Fail at the end of a run whose last scores aren't the expected ones.

    Args:
        expected: (score, value, tolerance) each: ``('coco/bbox_mAP', 0.375, 0.005)``.

    Raises:
        ConfigError: ``expected`` isn't such a list.
        UserError: At the end, a score is missing, not finite, or farther from its value than the tolerance.
    """

    priority = 'VERY_LOW'  # after all scores are there

    def __init__(self, expected: Sequence[tuple[str, float, float]]) -> None:
        for row in expected:
            if len(row) != 3 or not isinstance(row[0], str) or row[2] < 0:
                raise ConfigError(f'ExpectedResultsHook: expected (score, value, tolerance), got {row!r}.')
        self.expected = list(expected)
        self.scores: dict[str, float] = {}

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """Keep the scores of a validation."""
        self.scores.update(metrics or {})

    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        """Check the scores of a test."""
        self.scores.update(metrics or {})
        self.check()

    def after_train(self, runner) -> None:
        """Check the scores of the last validation."""
        self.check()

    def check(self) -> None:
        """Raise for all scores that aren't as expected."""
        wrong = []
        for name, value, tolerance in self.expected:
            score = self.scores.get(name)
            if score is None:
                wrong.append(f'{name} is missing among {sorted(self.scores)}')
            elif not math.isfinite(score) or abs(score - value) > tolerance:
                wrong.append(f'{name} is {score:.4f}, expected {value} ± {tolerance}')
        if wrong:
            raise UserError(f'Results are not as expected: {"; ".join(wrong)}.')
