"""Keys of configs that have changed: renamed or deprecated ones, and versions of a project's configs.

A project that changes its configs tells here what became of the old ones, in a module of its ``custom_imports``; from
then on ``load_config`` tells users, or rewrites their configs.
"""

import logging
from collections.abc import Callable

from mmengine.config import Config
from mmengine.logging import print_log

from mmdetlike.errors import ConfigError

VERSION_KEY = 'config_version'
_renamed: dict[str, str] = {}
_deprecated: dict[str, str] = {}
_upgrades: dict[int, Callable[[Config], None]] = {}


def rename_key(old: str, new: str) -> None:
    """From now on a config that has ``old``, a dotted key, is refused, and the message names ``new``."""
    _renamed[old] = new


def deprecate_key(key: str, advice: str = '') -> None:
    """From now on ``key``, dotted, is dropped from configs that have it, with a warning that ends with ``advice``."""
    _deprecated[key] = advice


def register_upgrade(version: int) -> Callable:
    """Decorate a function that rewrites a config of ``version - 1``, in place, to ``version``.

    A config says its version by the key ``config_version``; one without it has the newest.

    Raises:
        ConfigError: There is an upgrade to this version already.
    """
    if version in _upgrades:
        raise ConfigError(f'there is an upgrade to {VERSION_KEY} {version} already: {_upgrades[version]!r}')

    def register(upgrade: Callable[[Config], None]) -> Callable[[Config], None]:
        _upgrades[version] = upgrade
        return upgrade

    return register


def apply_old_keys(config: Config) -> None:
    """Bring a config up to date, in place, as `register_upgrade`, `rename_key` and `deprecate_key` say.

    Raises:
        ConfigError: It has a renamed key, or its version can't be upgraded from.
    """
    if config.get(VERSION_KEY) is not None:
        _upgrade(config)
    for old, new in _renamed.items():
        if _has(config, old):
            raise ConfigError(f'{config.filename or "the config"}: the key {old} has been renamed to {new}')
    for key, advice in _deprecated.items():
        if _has(config, key):
            *parents, last = key.split('.')
            del _node(config, parents)[last]
            print_log(
                f'{config.filename or "the config"}: the key {key} is deprecated and was dropped. {advice}'.rstrip(),
                logger='current',
                level=logging.WARNING,
            )


def _upgrade(config: Config) -> None:
    newest = max(_upgrades, default=config[VERSION_KEY])
    version = config[VERSION_KEY]
    if not isinstance(version, int) or version > newest:
        raise ConfigError(
            f'{config.filename or "the config"}: {VERSION_KEY}={version!r}; expected a whole number up to {newest}'
        )
    for step in range(version + 1, newest + 1):
        if step not in _upgrades:
            raise ConfigError(
                f'{config.filename or "the config"}: {VERSION_KEY}={version} can not be upgraded: nobody says what '
                f'version {step} changes'
            )
        _upgrades[step](config)
        config[VERSION_KEY] = step


def _node(config: Config, keys: list[str]) -> object:
    node = config
    for key in keys:
        node = node.get(key) if hasattr(node, 'get') else None
    return node


def _has(config: Config, key: str) -> bool:
    *parents, last = key.split('.')
    node = _node(config, parents)
    return hasattr(node, 'get') and last in node
