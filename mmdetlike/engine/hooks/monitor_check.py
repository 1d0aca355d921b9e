"""Scores by which a run chooses or stops are looked for before it starts, not after its first epoch."""

import difflib
from collections.abc import Iterator

from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook

from mmdetlike.errors import ConfigError
from mmdetlike.evaluation.metrics import CocoMetric
from mmdetlike.registry import HOOKS

PRECISIONS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


@HOOKS.register_module()
class MonitorCheckHook(Hook):
    """Stop before training if ``save_best`` or the ``monitor`` of a hook names a score that validation won't give."""

    def before_train(self, runner) -> None:
        """Compare with what the metrics of the validation give.

        Raises:
            ConfigError: A score is unknown; the message names the closest.
        """
        if runner.val_loop is None:
            return
        classes = (getattr(runner.val_dataloader.dataset, 'metainfo', None) or {}).get('classes') or ()
        metrics = runner.val_loop.evaluator.metrics
        # a loop that validates several models puts a prefix before each one's scores
        prefixes = getattr(runner.val_loop, 'score_prefixes', ('',))
        scores = [name for metric in metrics for name in score_names(metric, classes)]
        names = [prefix + name for prefix in prefixes for name in scores]
        for where, wanted in monitored(runner.hooks):
            of_metric = [wanted.removeprefix(prefix) for prefix in prefixes if wanted.startswith(prefix)]
            if not any(_gives(metric, name, classes) for metric in metrics for name in of_metric):
                raise ConfigError(_message(where, wanted, names, metrics))


def monitored(hooks) -> Iterator[tuple[str, str]]:
    """Setting and name of each score that hooks look at."""
    for hook in hooks:
        if isinstance(hook, CheckpointHook):
            scores = [name for name in hook.save_best or () if name != 'auto']
            yield from (('default_hooks.checkpoint.save_best', name) for name in scores)
        elif isinstance(hook, EarlyStoppingHook):
            yield 'EarlyStoppingHook.monitor', hook.monitor


def score_names(metric, classes) -> list[str]:
    """The scores that a metric of COCO's boxes, masks or keypoints gives; none where only the metric knows."""
    if type(metric) is not CocoMetric or 'proposal' in metric.metrics:
        return []
    names = [f'{kind}_{item}' for kind in metric.metrics for item in metric.metric_items or PRECISIONS]
    if metric.classwise:
        names += [f'{name}_precision' for name in classes]
        names += [f'{kind}_{name}_precision' for kind in metric.metrics[1:] for name in classes]
    return [f'{metric.prefix}/{name}' for name in names]


def _gives(metric, wanted: str, classes) -> bool:
    names = score_names(metric, classes)
    prefix = getattr(metric, 'prefix', None)
    return wanted in names if names else prefix is None or wanted.startswith(f'{prefix}/')


def _message(where: str, wanted: str, names: list[str], metrics) -> str:
    # most often the part before the slash is missing
    close = [name for name in names if name.endswith(f'/{wanted}')] or difflib.get_close_matches(wanted, names, n=1)
    hint = f'; did you mean {close[0]!r}?' if close else '.'
    given = ', '.join(names) or ', '.join(f'{metric.prefix}/...' for metric in metrics)
    return f'{where}={wanted!r}: val_evaluator gives no such score{hint} It gives {given}'
