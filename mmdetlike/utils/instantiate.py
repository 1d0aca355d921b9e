"""Objects made of nested plain data: any callable by its import path, with references between values.

For those who come from lazy configs of Detectron2 or from Hydra; configs of the toolbox build by ``type``.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from mmengine.config import ConfigDict
from mmengine.utils import get_object_from_string

from mmdetlike.errors import ConfigError

TARGET = '_target_'
REFERENCE = re.compile(r'\$\{([^${}]+)\}')


class LazyCall:
    """Record a call in place of making it: ``LazyCall(nn.Conv2d)(3, out_channels=8)`` is data for `instantiate`.

    Args:
        target: What to call, or its import path.

    Raises:
        ConfigError: It is neither.
    """

    def __init__(self, target: Callable | str) -> None:
        if not callable(target) and not isinstance(target, str):
            raise ConfigError(f'LazyCall takes a callable or its import path, got {target!r}')
        self.target = target

    def __call__(self, **kwargs) -> ConfigDict:
        """The call as data; arguments by name, so that each can be overridden: ``model.head.num_classes = 5``."""
        return ConfigDict({TARGET: self.target, **kwargs})


def instantiate(config: object) -> object:
    """Make the objects that ``config`` describes, inner ones first.

    A dict with ``_target_``, a callable or its import path, becomes what that returns for the other entries; a text
    ``${a.b}`` stands for the value at ``a.b`` of the whole, ``${.b}`` for a neighbor and ``${..b}`` for an entry of the
    dict around it, as OmegaConf writes it. What a reference points at is made once for each place that uses it. A dict
    with ``_recursive_: False`` hands its entries on as data.

    Raises:
        ConfigError: A target can't be found or called, or a reference leads nowhere or in a circle; the message names
            the place.
    """
    return _made(_resolved(config, config, (), ()), ())


def _made(node: object, path: tuple) -> object:
    if isinstance(node, Mapping):
        entries = dict(node)
        target = entries.pop(TARGET, None)
        recursive = entries.pop('_recursive_', True)
        made = {key: _made(value, (*path, key)) for key, value in entries.items()} if recursive else entries
        return made if target is None else _called(target, made, path)
    if isinstance(node, (list, tuple)):
        return type(node)(_made(value, (*path, index)) for index, value in enumerate(node))
    return node


def _called(target: Callable | str, arguments: dict, path: tuple) -> object:
    place = _text(path)
    if isinstance(target, str):
        try:
            found = get_object_from_string(target)
        except Exception as error:  # an import on the way may raise anything
            raise ConfigError(f'{place}: {TARGET}={target!r} can not be imported: {error}') from error
    else:
        found = target
    if not callable(found):
        raise ConfigError(f'{place}: {TARGET}={target!r} is nothing that can be called; expected an import path')
    try:
        return found(**arguments)
    except TypeError as error:
        raise ConfigError(f'{place}: {TARGET}={target!r} does not take {sorted(arguments)}: {error}') from error


def _resolved(node: object, root: object, path: tuple, followed: tuple[str, ...]) -> object:
    """``node``, which is at ``path``, with references replaced by what they point at."""
    if isinstance(node, Mapping):
        return {key: _resolved(value, root, (*path, key), followed) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(_resolved(value, root, (*path, index), followed) for index, value in enumerate(node))
    if not isinstance(node, str):
        return node
    whole = REFERENCE.fullmatch(node)
    if whole:
        return _followed(whole[1], root, path, followed)
    return REFERENCE.sub(lambda match: str(_followed(match[1], root, path, followed)), node)


def _followed(reference: str, root: object, path: tuple, followed: tuple[str, ...]) -> object:
    """The value that ``reference`` at ``path`` points at."""
    levels = len(reference) - len(reference.lstrip('.'))
    if levels > len(path):
        raise ConfigError(f'{_text(path)}: ${{{reference}}} leads out of the config')
    # one dot is the dict that holds the reference
    start = path[: len(path) - levels] if levels else ()
    target = (*start, *filter(None, reference.lstrip('.').split('.')))
    name = _text(target)
    if name in followed or name == _text(path[: len(target)]):
        raise ConfigError(f'{_text(path)}: ${{{reference}}} leads in a circle')
    value = root
    for key in target:
        try:
            value = value[int(key)] if isinstance(value, Sequence) else value[key]
        except (LookupError, TypeError, ValueError):
            raise ConfigError(f'{_text(path)}: ${{{reference}}} points at {name}, which is not there') from None
    return _resolved(value, root, target, (*followed, name))


def _text(path: tuple) -> str:
    return '.'.join(map(str, path)) or 'the config'
