"""Checks of a run's config, made before anything is built or written."""

from collections.abc import Iterator

from mmengine.config import Config as MMEngineConfig

from mmdetlike.errors import ConfigError
from mmdetlike.utils.config import located

from .loaders import check_loader
from .names import NESTED, SETTINGS, did_you_mean
from .prediction import check_test_cfg
from .rules import KINDS, RULES, SCHEDULE_RULES, Rule
from .unread import refuse_old_settings

PLAIN = (str, bytes, bool, int, float, list, tuple, dict)
MISSING = object()

# what a Runner has all of or nothing of
TOGETHER = (
    ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    ('val_dataloader', 'val_cfg', 'val_evaluator'),
    ('test_dataloader', 'test_cfg', 'test_evaluator'),
)
WITHOUT = ('training', 'validation', 'testing')


def check_settings(config: MMEngineConfig) -> None:
    """Check a config for settings that would break a run, or make it do something else than they say.

    Kinds and values of settings, parts that need one another, arguments of dataloaders, thresholds of prediction, and
    settings of OpenMMLab's generation 2.

    Raises:
        ConfigError: Something is wrong; the message names file, key, value and what was expected.
    """
    with located(config):
        refuse_old_settings(config)
        check_values(config)  # before kinds, as its rules say more
        check_kinds(config)
        for names, aim in zip(TOGETHER, WITHOUT):
            _check_complete(config, names, aim)
        for kind in KINDS:
            loader = config.get(f'{kind}_dataloader')
            if isinstance(loader, dict):
                check_loader(loader)
        _check_randomness(config.get('randomness') or {})
        check_test_cfg(config.get('model'))  # a validation would find out after the first epoch


def check_kinds(config: MMEngineConfig) -> None:
    """Check that top-level settings are of a kind that their readers take; objects may stand in place of configs.

    Raises:
        ConfigError: One isn't.
    """
    for name, kinds in SETTINGS.items():
        value = config.get(name)
        if isinstance(value, PLAIN) and not isinstance(value, kinds):
            expected = ' or '.join(kind.__name__ for kind in kinds)
            raise ConfigError(f'{name} must be {expected}, got {value!r:.80}')
    for path, part in _parts_to_build(config):
        if isinstance(part, PLAIN) and not isinstance(part, dict):
            raise ConfigError(f"{path} must be a dict with the key 'type', got {part!r:.80}")


def _parts_to_build(config: MMEngineConfig) -> Iterator[tuple[str, object]]:
    """Key path and config of each part that has to be built: hooks, schedules, metrics and samplers."""
    for name in ('custom_hooks', 'param_scheduler', 'val_evaluator', 'test_evaluator'):
        value = config.get(name)
        for i, part in enumerate(value if isinstance(value, (list, tuple)) else ()):
            yield f'{name}[{i}]', part
    for name, hook in (config.get('default_hooks') or {}).items():
        if hook is not None:
            yield f'default_hooks.{name}', hook
    for kind in KINDS:
        for part in ('sampler', 'batch_sampler'):
            value = _value_at(config, f'{kind}_dataloader.{part}')
            if value is not MISSING and value is not None:
                yield f'{kind}_dataloader.{part}', value


def check_values(config: MMEngineConfig) -> None:
    """Check single values by the table of rules.

    Raises:
        ConfigError: One breaks its rule.
    """
    for key, rule in RULES.items():
        _check(key, _value_at(config, key), rule)
    for prefix, schedule in _schedules('param_scheduler', config.get('param_scheduler') or []):
        for name, rule in SCHEDULE_RULES.items():
            value = schedule.get(name)
            _check(f'{prefix}.{name}', MISSING if value is None else value, rule)


def _value_at(config, key: str):
    value = config
    for name in key.split('.'):
        if not isinstance(value, dict) and value is not config:
            return MISSING
        value = value.get(name, MISSING)
        if value is MISSING:
            return MISSING
    return value


def _schedules(key: str, schedules) -> list[tuple[str, dict]]:
    """The schedules of one optimizer or several, by key."""
    if isinstance(schedules, dict) and 'type' not in schedules:
        return [pair for name, part in schedules.items() for pair in _schedules(f'{key}.{name}', part)]
    if isinstance(schedules, dict):
        return [(key, schedules)]
    return [(f'{key}.{i}', part) for i, part in enumerate(schedules) if isinstance(part, dict)]


def _check(key: str, value, rule: Rule) -> None:
    if value is not MISSING and not rule.holds(value):
        raise ConfigError(f'{key}={value!r}: it should be {rule.expected}')


def _check_complete(config: MMEngineConfig, names: tuple[str, ...], aim: str) -> None:
    given = [name for name in names if config.get(name) is not None]
    if 0 < len(given) < len(names):
        absent = [name for name in names if name not in given]
        raise ConfigError(
            f'{" and ".join(given)} without {" and ".join(absent)}: give all of {", ".join(names)}, or none to go '
            f'without {aim}'
        )


def _check_randomness(settings: dict) -> None:
    """The Runner hands these on by name, so an unknown one would end in a ``TypeError`` of its own."""
    names = NESTED['randomness']
    for name in settings:
        if name not in names:
            raise ConfigError(f'randomness.{name} is no setting; {did_you_mean(name, names)}')
