"""Every registry of the toolbox, each a child of mmengine's, and the scopes under which configs may name them.

Our scope is ``mmdetlike``. Configs written for OpenMMLab's detection toolbox say ``default_scope = 'mmdet'`` or
``type='mmcv.LoadImageFromFile'``; those scopes are aliases of ours, so that such configs build unmodified.
"""

import difflib
import functools
import inspect
import sys

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry as MMEngineRegistry
from mmengine.utils import get_object_from_string

from mmdetlike.errors import ConfigError, UserError

SCOPE = 'mmdetlike'
ALIASES = ('mmdet', 'mmcv')


class Registry(MMEngineRegistry):
    """An mmengine registry that answers to the scopes of ``ALIASES`` too and suggests names for an unknown one."""

    def __init__(self, name: str, parent: MMEngineRegistry, locations: tuple[str, ...] = ()) -> None:
        super().__init__(name, parent=parent, scope=SCOPE, locations=list(locations))
        for alias in ALIASES:
            parent.children.setdefault(alias, self)

    def _search_child(self, scope: str) -> MMEngineRegistry | None:
        return self if scope in ALIASES else super()._search_child(scope)

    def get(self, key: str) -> type:
        """Return what is registered as ``key`` here or in mmengine, or the object a dotted path ``key`` names.

        Raises:
            ConfigError: ``key`` is unknown; the message lists the closest registered names.
        """
        scope, name = self.split_scope_key(key)
        if scope is not None and scope not in (SCOPE, *ALIASES):
            return super().get(key)
        self.import_from_location()
        registry = self
        while registry is not None:
            if name in registry.module_dict:
                return registry.module_dict[name]
            registry = registry.parent
        try:
            found = get_object_from_string(key)
        except Exception:  # an import on the way may raise anything
            found = None
        if found is None:
            raise ConfigError(self._unknown(key, name), unknown_type=key)
        return found

    def _unknown(self, key: str, name: str) -> str:
        names = sorted({*self.module_dict, *self.parent.module_dict})
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f'Closest names: {", ".join(close)}.' if close else f'Registered: {", ".join(names)}.'
        return f'type={key!r} is not in the {self.name!r} registry. {hint}'


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


def _explain(build_func):
    """Wrap an mmengine build function so that whatever a constructor raises becomes a ``ConfigError`` with its type.

    A bad argument names the closest one that the class accepts. Builds within builds leave the message to the innermost
    and add the dicts around it.
    """

    @functools.wraps(build_func)
    def build(cfg, *args, registry, **kwargs):
        try:
            return build_func(cfg, *args, registry=registry, **kwargs)
        except ConfigError as error:
            _add_place(error, cfg)
            raise
        except UserError:
            raise
        except CONSTRUCTION_ERRORS as error:
            message = _bad_argument(error, cfg, registry) or _failure(error, cfg, registry)
            raise ConfigError(message, cfg if isinstance(cfg, dict) else None) from error

    return build


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
    if isinstance(error, ValueError):
        return f'type={name!r}: {error}'
    return f'type={name!r} could not be built: {type(error).__name__}: {error}'


def type_name(given) -> str:
    """What a config's ``type``, a name or a class, is called in messages."""
    return given if isinstance(given, str) else getattr(given, '__name__', repr(given))


def _bad_argument(error: Exception, cfg, registry: MMEngineRegistry) -> str | None:
    """What to say about a ``TypeError`` that an unexpected or missing argument of ``cfg['type']`` caused."""
    if not isinstance(error, TypeError) or not isinstance(cfg, dict) or 'type' not in cfg:
        return None
    if not ('unexpected keyword' in str(error) or 'required' in str(error)):
        return None
    with registry.switch_scope_and_registry(cfg.get('_scope_')) as scoped:
        cls = scoped.get(cfg['type']) if isinstance(cfg.get('type'), str) else cfg.get('type')
    if not callable(cls):
        return None
    accepted = [name for name in _accepted_arguments(cls) if name != 'self']
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
    if not inspect.isclass(cls):
        return list(inspect.signature(cls).parameters)
    names: list[str] = []
    for base in cls.__mro__:
        if '__init__' not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters.values()
        names += [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return list(dict.fromkeys(names))


def _child(name: str, parent: str, *modules: str) -> Registry:
    return Registry(name, getattr(mmengine_registry, parent), tuple(f'{SCOPE}.{m}' for m in modules))


RUNNERS = _child('runner', 'RUNNERS', 'engine')
LOOPS = _child('loop', 'LOOPS', 'engine')
HOOKS = _child('hook', 'HOOKS', 'engine')
LOG_PROCESSORS = _child('log_processor', 'LOG_PROCESSORS', 'engine')
OPTIMIZERS = _child('optimizer', 'OPTIMIZERS', 'engine')
OPTIM_WRAPPERS = _child('optim_wrapper', 'OPTIM_WRAPPERS', 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('optim_wrapper_constructor', 'OPTIM_WRAPPER_CONSTRUCTORS', 'engine')
PARAM_SCHEDULERS = _child('parameter scheduler', 'PARAM_SCHEDULERS', 'engine')
DATASETS = _child('dataset', 'DATASETS', 'datasets')
DATA_SAMPLERS = _child('data sampler', 'DATA_SAMPLERS', 'datasets')
TRANSFORMS = _child('transform', 'TRANSFORMS', 'datasets.transforms')
MODELS = _child('model', 'MODELS', 'models')
MODEL_WRAPPERS = _child('model_wrapper', 'MODEL_WRAPPERS', 'models')
WEIGHT_INITIALIZERS = _child('weight initializer', 'WEIGHT_INITIALIZERS', 'models')
TASK_UTILS = _child('task util', 'TASK_UTILS', 'models')
FUNCTIONS = _child('function', 'FUNCTIONS', 'datasets')
METRICS = _child('metric', 'METRICS', 'evaluation')
EVALUATOR = _child('evaluator', 'EVALUATOR', 'evaluation')
VISUALIZERS = _child('visualizer', 'VISUALIZERS', 'visualization')
VISBACKENDS = _child('vis_backend', 'VISBACKENDS', 'visualization')
INFERENCERS = _child('inferencer', 'INFERENCERS', 'apis')

for _registry in [r for r in list(vars().values()) if isinstance(r, Registry)]:
    # The Runner builds through mmengine's root registries: explain there too.
    _registry.build_func = _explain(_registry.build_func)
    if not hasattr(_registry.parent.build_func, '__wrapped__'):
        _registry.parent.build_func = _explain(_registry.parent.build_func)


def registered_name(item) -> str | None:
    """The name by which configs reach a class or function: as it is registered, else its import path, or None."""
    for registry in (r for r in globals().values() if isinstance(r, Registry)):
        for name, registered in (*registry.module_dict.items(), *registry.parent.module_dict.items()):
            if registered is item:
                return name
    path = f'{getattr(item, "__module__", "")}.{getattr(item, "__qualname__", "")}'
    try:
        return path if get_object_from_string(path) is item else None
    except Exception:  # an import on the way may raise anything
        return None


# mmengine imports `SCOPE.registry` whenever a config names SCOPE and warns when it can't. An alias has no package.
for _alias in ALIASES:
    sys.modules.setdefault(f'{_alias}.registry', sys.modules[__name__])
