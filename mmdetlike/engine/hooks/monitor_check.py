"""A check, before training, that validation will give the scores by which checkpoints are chosen or training stops."""

import difflib
from collections.abc import Iterator

from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.optim.scheduler.param_scheduler import ReduceOnPlateauParamScheduler

from mmdetlike.engine.dataloaders import refuse_endless
from mmdetlike.errors import ConfigError
from mmdetlike.evaluation import score_names
from mmdetlike.registry import HOOKS

SCORED_ONCE = "each sample is scored once: use dict(type='DefaultSampler', shuffle=False)"


@HOOKS.register_module()
class MonitorCheckHook(Hook):
    """Stop before training if ``save_best`` or the ``monitor`` of a hook names a score that validation won't give.

    A validation or test that would never end gives none at all.
    """

    def before_test(self, runner) -> None:
        """Make sure that the test ends.

        Raises:
            ConfigError: It doesn't.
        """
        refuse_endless(runner.test_dataloader, 'test_dataloader', SCORED_ONCE)

    def before_train(self, runner) -> None:
        """Compare with what the metrics of the validation give.

        Raises:
            ConfigError: A score is unknown, for which the message names the closest; or the validation never ends.
        """
        watched = list(monitored(runner.hooks, runner.param_schedulers))
        if runner.val_loop is None:
            for where, wanted in watched:
                runner.logger.warning(f'{where}={wanted!r} has no effect: this run has no validation to take it from')
            return
        refuse_endless(runner.val_dataloader, 'val_dataloader', SCORED_ONCE)
        metrics = runner.val_loop.evaluator.metrics
        # a loop that validates several models puts a prefix before each one's scores
        prefixes = getattr(runner.val_loop, 'score_prefixes', ('',))
        scores = [name for metric in metrics for name in _score_names(metric)]
        names = [prefix + name for prefix in prefixes for name in scores]
        loss_prefix = getattr(runner.val_loop, 'loss_prefix', None)
        for where, wanted in watched:
            if loss_prefix is not None and wanted.startswith(loss_prefix):
                continue  # only the model knows the names of its losses
            of_metric = [wanted.removeprefix(prefix) for prefix in prefixes if wanted.startswith(prefix)]
            if not any(_gives(metric, name) for metric in metrics for name in of_metric):
                raise ConfigError(_message(where, wanted, names, metrics))


def monitored(hooks, schedules=None) -> Iterator[tuple[str, str]]:
    """The setting that names a score, and the score, for each that hooks and schedules depend on.

    Args:
        hooks: Of a runner.
        schedules: Its schedules: None, a list, or a dict of lists where there are several optimizers.
    """
    for hook in hooks:
        if isinstance(hook, CheckpointHook):
            scores = [name for name in hook.save_best or () if name != 'auto']
            yield from (('default_hooks.checkpoint.save_best', name) for name in scores)
        elif isinstance(hook, EarlyStoppingHook):
            yield 'EarlyStoppingHook.monitor', hook.monitor
    for group in schedules.values() if isinstance(schedules, dict) else [schedules or ()]:
        for schedule in group:
            if isinstance(schedule, ReduceOnPlateauParamScheduler):
                yield f'{type(schedule).__name__}.monitor', schedule.monitor


def _score_names(metric) -> list[str]:
    return score_names(metric, (metric.dataset_meta or {}).get('classes') or ())


def _gives(metric, wanted: str) -> bool:
    names = _score_names(metric)
    prefix = getattr(metric, 'prefix', None)
    return wanted in names if names else prefix is None or wanted.startswith(f'{prefix}/')


def _message(where: str, wanted: str, names: list[str], metrics) -> str:
    # most often the part before the slash is missing
    close = [name for name in names if name.endswith(f'/{wanted}')] or difflib.get_close_matches(wanted, names, n=1)
    hint = f'; did you mean {close[0]!r}?' if close else '.'
    given = ', '.join(names) or ', '.join(f'{metric.prefix}/...' for metric in metrics)
    return f'{where}={wanted!r}: val_evaluator gives no such score{hint} It gives {given}'
