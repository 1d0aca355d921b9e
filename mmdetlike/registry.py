"""Every registry of the toolbox, each a child of mmengine's, and the scopes under which configs may name them.

Our scope is ``mmdetlike``. Configs written for OpenMMLab's detection toolbox say ``default_scope = 'mmdet'`` or
``type='mmcv.LoadImageFromFile'``, those for its toolbox of rotated boxes ``default_scope = 'mmrotate'``; those scopes
are aliases of ours, so that such configs build unmodified. Of the toolboxes of classifiers, ``mmpretrain.ConvNeXt``
and what else ``OF_CLASSIFIERS`` has are ours, too.
"""

import difflib
import importlib.util
import sys

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry as MMEngineRegistry
from mmengine.utils import get_object_from_string
from torch.nn import Module

from mmdetlike.arguments import show_all_arguments
from mmdetlike.build_errors import explained
from mmdetlike.errors import ConfigError
from mmdetlike.scopes import ALIASES, CLASSIFIERS, OF_CLASSIFIERS, SCOPE


class Registry(MMEngineRegistry):
    """An mmengine registry that answers to the scopes of ``ALIASES`` too and suggests names for an unknown one."""

    def __init__(self, name: str, parent: MMEngineRegistry, locations: tuple[str, ...] = ()) -> None:
        super().__init__(name, parent=parent, scope=SCOPE, locations=list(locations))
        self.build_func = explained(self.build_func)
        for alias in ALIASES:
            parent.children.setdefault(alias, self)

    def build(self, cfg, *args, **kwargs):
        """Build what a config describes; a module of torch, made already, is given back as it is."""
        return cfg if isinstance(cfg, Module) else super().build(cfg, *args, **kwargs)

    def _register_module(self, module: type, *args, **kwargs) -> None:
        super()._register_module(module, *args, **kwargs)
        if isinstance(module, type) and module.__module__.startswith((f'{SCOPE}.', f'{SCOPE}_ops.')):
            show_all_arguments(module)

    def _search_child(self, scope: str) -> MMEngineRegistry | None:
        return self if scope in ALIASES else super()._search_child(scope)

    def get(self, key: str) -> type:
        """Return what is registered as ``key`` here or in mmengine, or the object a dotted path ``key`` names.

        Raises:
            ConfigError: ``key`` is unknown; the message lists the closest registered names.
        """
        scope, name = self.split_scope_key(key)
        of_ours = scope in (None, SCOPE, *ALIASES) or (scope in CLASSIFIERS and name in OF_CLASSIFIERS)
        if not of_ours:
            return self._of_another_toolbox(key)
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

    def _of_another_toolbox(self, key: str) -> type | None:
        scope, _ = self.split_scope_key(key)
        found = super().get(key)
        if found is None and scope in CLASSIFIERS and importlib.util.find_spec(scope) is None:
            raise ConfigError(
                f'type={key!r} is of {scope}, which is not installed; '
                f'of its types {SCOPE} has {", ".join(OF_CLASSIFIERS)}',
                unknown_type=key,
            )
        return found

    def _unknown(self, key: str, name: str) -> str:
        names = sorted({*self.module_dict, *self.parent.module_dict})
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f'Closest names: {", ".join(close)}.' if close else f'Registered: {", ".join(names)}.'
        return f'type={key!r} is not in the {self.name!r} registry. {hint}'


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
INFERENCERS = _child('inferencer', 'INFERENCERS', 'apis.inferencer')


def all_registries() -> list[Registry]:
    """Every registry of the toolbox."""
    return [value for value in globals().values() if isinstance(value, Registry)]


def explain_root_builds() -> None:
    """Explain what goes wrong in mmengine's own registries, too: its Runner builds hooks, loops and models by them."""
    for root in [registry.parent for registry in all_registries()]:
        if not hasattr(root.build_func, '__wrapped__'):
            root.build_func = explained(root.build_func)


def stand_in_for_aliases() -> None:
    """Be the module ``mmdet.registry`` and so on, which mmengine imports for each scope that a config names."""
    for alias in ALIASES:
        sys.modules.setdefault(f'{alias}.registry', sys.modules[__name__])


def registered_name(item) -> str | None:
    """The name by which configs reach a class or function: as it is registered, else its import path, or None."""
    for registry in all_registries():
        for name, registered in (*registry.module_dict.items(), *registry.parent.module_dict.items()):
            if registered is item and registry.get(name) is item:  # not hidden by one of ours
                return name
    path = f'{getattr(item, "__module__", "")}.{getattr(item, "__qualname__", "")}'
    try:
        return path if get_object_from_string(path) is item else None
    except Exception:  # an import on the way may raise anything
        return None
