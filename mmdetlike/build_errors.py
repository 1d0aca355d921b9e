"""What is said when a class can't be built from its config."""

import collections.abc
import difflib
import functools
import inspect
import types
import typing
from collections.abc import Iterator

from mmengine.registry import Registry as MMEngineRegistry

from mmdetlike.arguments import parameters_of
from mmdetlike.errors import ConfigError, UserError

# What the constructor of a class raises about its arguments. Errors of the operating system speak for themselves.
CONSTRUCTION_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)
TRUTH_AS_TEXT = ('true', 'false', 'yes', 'no', 'on', 'off', 'none', '0', '1', '')


def explained(build_func):
    """Wrap an mmengine build function so that whatever a constructor raises becomes a ``ConfigError`` with its type.

    A bad argument names the closest one that the class accepts. Builds within builds leave the message to the innermost
    and add the dicts around it.
    """

    @functools.wraps(build_func)
    def build(cfg, *args, registry, **kwargs):
        _refuse_text_for_truth(cfg, registry)
        try:
            return build_func(cfg, *args, registry=registry, **kwargs)
        except ConfigError as error:
            _add_place(error, cfg)
            raise
        except UserError:
            raise
        except ImportError as error:
            if not isinstance(cfg, dict) or 'type' not in cfg:
                raise
            raise ConfigError(f'type={type_name(cfg["type"])!r} needs a package: {error}', cfg) from error
        except CONSTRUCTION_ERRORS as error:
            message = _bad_argument(error, cfg, registry) or _failure(error, cfg, registry)
            raise ConfigError(message, cfg if isinstance(cfg, dict) else None) from error

    return build


def _refuse_text_for_truth(cfg, registry: MMEngineRegistry) -> None:
    """Text in place of True and False would be taken as True, whatever it says.

    Raises:
        ConfigError: An argument that is one of these two is given as text.
    """
    if not isinstance(cfg, dict) or 'type' not in cfg:
        return
    words = [name for name, value in cfg.items() if isinstance(value, str) and value.lower() in TRUTH_AS_TEXT]
    parameters = _parameters(_resolve(cfg, registry)) if words else ()
    for parameter in parameters:
        if parameter.name in words and parameter.annotation is bool:
            value = cfg[parameter.name]
            expected = f'type={type_name(cfg["type"])!r}: {parameter.name} must be True or False'
            raise ConfigError(f'{expected}, got the text {value!r}', cfg)


def _add_place(error: ConfigError, cfg) -> None:
    if not isinstance(cfg, dict):
        return
    if error.cfg is None:
        error.cfg = cfg
    elif error.cfg is not cfg:
        error.enclosing.append(cfg)


def _failure(error: Exception, cfg, registry: MMEngineRegistry) -> str:
    """What to say about an error that the constructor of ``cfg['type']`` raised."""
    kind = f'a {registry.name}'
    if not isinstance(cfg, dict):
        return f"{kind} is configured by a dict with the key 'type', got {cfg!r:.80}"
    if 'type' not in cfg:
        return (
            f"{kind} is configured by a dict with the key 'type', got one with {', '.join(map(str, cfg)) or 'no keys'}"
        )
    name = type_name(cfg['type'])
    is_sentence = isinstance(error, ValueError) or (isinstance(error, KeyError) and ' ' in str(error.args[:1]))
    # str() of a KeyError puts its message into quotes
    reason = str(error.args[0] if is_sentence and error.args else f'{type(error).__name__}: {error}')
    mistyped = '; '.join(_mistyped(_resolve(cfg, registry), cfg))
    if mistyped:
        return f'type={name!r}: {mistyped} ({reason})'
    return f'type={name!r}: {reason}' if is_sentence else f'type={name!r} could not be built: {reason}'


def _resolve(cfg: dict, registry: MMEngineRegistry):
    with registry.switch_scope_and_registry(cfg.get('_scope_')) as scoped:
        return scoped.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']


def _mistyped(cls, cfg: dict) -> Iterator[str]:
    """A sentence for each argument in ``cfg`` that is not of the type that the constructors of ``cls`` declare."""
    told = set()
    for parameter in _parameters(cls):
        annotation = parameter.annotation
        if parameter.name not in cfg or parameter.name in told or annotation is parameter.empty:
            continue
        told.add(parameter.name)
        value = cfg[parameter.name]
        if not _is_instance(value, annotation):
            expected = inspect.formatannotation(annotation).replace('typing.', '')
            yield f'{parameter.name} must be {expected}, got {value!r:.60} of type {type(value).__name__}'


def _is_instance(value, annotation) -> bool:
    """Whether a value from a config fits an annotation; where that can't be told, it does."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_is_instance(value, option) for option in typing.get_args(annotation))
    if origin is typing.Literal:
        return value in typing.get_args(annotation)
    kind = types.NoneType if annotation is None else origin or annotation
    if not inspect.isclass(kind):
        return True
    if kind in (list, tuple, collections.abc.Sequence, collections.abc.Iterable):
        return isinstance(value, (list, tuple, collections.abc.Iterable)) and not isinstance(value, (str, dict))
    if isinstance(value, (dict, list, tuple)) and kind not in (dict, int, float, str, bool, types.NoneType):
        return True  # the config of what the constructor takes
    return isinstance(value, (int, float) if kind is float else kind)


def type_name(given) -> str:
    """What a config's ``type``, a name or a class, is called in messages."""
    return given if isinstance(given, str) else getattr(given, '__name__', repr(given))


def _bad_argument(error: Exception, cfg, registry: MMEngineRegistry) -> str | None:
    """What to say about a ``TypeError`` that an unexpected or missing argument of ``cfg['type']`` caused."""
    if not isinstance(error, TypeError) or not isinstance(cfg, dict) or 'type' not in cfg:
        return None
    if not ('unexpected keyword' in str(error) or 'required' in str(error)):
        return None
    cls = _resolve(cfg, registry)
    if not callable(cls):
        return None
    accepted = _accepted_arguments(cls)
    wrong = [name for name in cfg if name not in accepted and name not in ('type', '_scope_')]
    if 'unexpected keyword' in str(error) and not any(f"'{name}'" in str(error) for name in wrong):
        return None  # raised by something that the class itself called, not by this dict
    parts = [f'type={type_name(cls)!r}: {error}.']
    for name in wrong:
        close = difflib.get_close_matches(name, accepted, n=1, cutoff=0.4)
        parts.append(f'{name!r} is not an argument' + (f'; did you mean {close[0]!r}?' if close else '.'))
    parts.append(f'Arguments: {", ".join(accepted)}.')
    return ' '.join(parts)


def _accepted_arguments(cls) -> list[str]:
    """Names that ``cls`` accepts, following ``**kwargs`` into its base classes."""
    return list(dict.fromkeys(parameter.name for parameter in _parameters(cls)))


def _parameters(cls) -> list[inspect.Parameter]:
    """What ``cls`` takes by name, its own constructor's first, then of its bases' as far as ``**kwargs`` leads."""
    if cls is None:  # a name that no registry has; building says so
        return []
    if not inspect.isclass(cls):
        try:
            return list(inspect.signature(cls).parameters.values())
        except (TypeError, ValueError):  # not callable, or a builtin
            return []
    return list(parameters_of(cls).values())
