"""A schedule for another number of processes than it was written for (Accurate, Large Minibatch SGD, 1706.02677)."""

import copy

from mmdetlike.errors import ConfigError

# of a scheduler or hook that counts iterations
LENGTHS_OF_SCHEDULERS = ('begin', 'end', 'T_max', 'total_iters', 'step_size')


def scale_schedule(cfg: dict, world_size: int, reference: int) -> dict:
    """The config of a run for ``world_size`` processes that sees as many images as one for ``reference`` of them.

    With k = world_size / reference the learning rate grows by k, and everything that is counted in iterations shrinks
    by it: length, milestones, warm-up, intervals of checkpoints and validation. What is counted in epochs stays, as an
    epoch has as many images for any number of processes. ``train_dataloader.batch_size`` counts one process and stays.

    Args:
        cfg: The config, as a dict; it isn't changed.
        world_size: Processes that will run.
        reference: Processes for which the config was written.

    Returns:
        A copy, changed.

    Raises:
        ConfigError: A number of processes isn't positive, or the config has no learning rate.
    """
    if world_size < 1 or reference < 1:
        raise ConfigError(f'scale_schedule: processes have to be positive, got {world_size} and {reference}.')
    scaled = copy.deepcopy(cfg)
    if world_size == reference:
        return scaled
    factor = world_size / reference
    optimizer = scaled.get('optim_wrapper', {}).get('optimizer', {})
    if 'lr' not in optimizer:
        raise ConfigError('scale_schedule: the config has no optim_wrapper.optimizer.lr that could be scaled.')
    optimizer['lr'] *= factor
    schedulers = scaled.get('param_scheduler') or []
    for scheduler in [schedulers] if isinstance(schedulers, dict) else schedulers:
        if not scheduler.get('by_epoch', True):
            _shrink(scheduler, LENGTHS_OF_SCHEDULERS, factor)
            if 'milestones' in scheduler:
                scheduler['milestones'] = [_shorter(each, factor) for each in scheduler['milestones']]
    _scale_loop(scaled, factor)
    return scaled


def _scale_loop(cfg: dict, factor: float) -> None:
    train = cfg.get('train_cfg') or {}
    if not train.get('by_epoch', 'max_epochs' in train):
        _shrink(train, ('max_iters', 'val_interval', 'val_begin'), factor)
        if 'dynamic_intervals' in train:
            train['dynamic_intervals'] = [
                tuple(_shorter(number, factor) for number in pair) for pair in train['dynamic_intervals']
            ]
    for hook in (cfg.get('default_hooks') or {}).values():
        if isinstance(hook, dict) and hook.get('by_epoch', True) is False:
            _shrink(hook, ('interval', 'save_begin'), factor)


def _shrink(settings: dict, keys: tuple[str, ...], factor: float) -> None:
    for key in keys:
        if isinstance(settings.get(key), (int, float)):
            settings[key] = _shorter(settings[key], factor)


def _shorter(iterations: float, factor: float) -> int:
    """At least one, and nothing of what is nothing or without end (-1)."""
    return max(round(iterations / factor), 1) if iterations > 0 else iterations
