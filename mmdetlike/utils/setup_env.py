"""Getting a process ready: registries, default scope, and an environment report that torchvision can't stop."""

import importlib
import sys

from mmengine.registry import DefaultScope, init_default_scope

from mmdetlike.registry import SCOPE

PACKAGES = ('datasets', 'datasets.transforms', 'engine', 'evaluation', 'models', 'visualization')


def register_all_modules(init_default_scope_: bool = True) -> None:
    """Import every package whose classes configs name, and make ours the scope of unqualified names.

    Args:
        init_default_scope_: Set the default scope; an existing one of ours or an alias is kept.
    """
    for package in PACKAGES:
        importlib.import_module(f'{SCOPE}.{package}')
    if init_default_scope_ and DefaultScope.get_current_instance() is None:
        init_default_scope(SCOPE)


def shield_from_broken_torchvision() -> None:
    """Make a torchvision that raises while it is imported look absent.

    Its binary raises RuntimeError beside a torch it was not built for; mmengine, which reports its version, only
    expects it to be missing.
    """
    try:
        import torchvision  # noqa: F401
    except ImportError:
        pass
    except Exception:
        for name in [name for name in sys.modules if name.split('.')[0] == 'torchvision']:
            del sys.modules[name]
        sys.modules['torchvision'] = None
