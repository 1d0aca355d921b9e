"""Setting up a process: all that this toolbox changes outside of its own modules, and the imports of its parts."""

import functools
import importlib
import sys

from mmengine.registry import DefaultScope, init_default_scope

from mmdetlike.registry import SCOPE, explain_root_builds, stand_in_for_aliases
from mmdetlike.utils.config_files import read_shipped_bases
from mmdetlike.utils.imports import resting_collector

PACKAGES = ('datasets', 'datasets.transforms', 'engine', 'evaluation', 'models', 'visualization')


@functools.cache
def bootstrap() -> None:
    """Change, once in a process, what has to be changed outside of this package; importing it changes nothing.

    - mmengine reads and writes checkpoints through ``mmdetlike.utils.checkpoint``: without running a stranger's code,
      and without leaving half a file.
    - mmengine finds bases named ``mmdetlike::NAME``.
    - What mmengine's own registries fail to build is explained.
    - Modules named ``mmdet.registry`` and so on exist, so that configs of these scopes load.
    - A torchvision that can't be imported beside this torch looks absent.

    Whatever reads a config, builds a model from one, reads a checkpoint or runs a Runner has called it.
    """
    from mmdetlike.utils.checkpoint import install_readers  # imports torch and mmengine's Runner

    install_readers()
    read_shipped_bases()
    explain_root_builds()
    stand_in_for_aliases()
    shield_from_broken_torchvision()


def register_all_modules(init_default_scope_: bool = True) -> None:
    """Import every package whose classes configs name, and make ours the scope of unqualified names.

    Args:
        init_default_scope_: Set the default scope; an existing one of ours or an alias is kept.
    """
    bootstrap()
    with resting_collector():
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
