"""Packages that only some parts need: what brings those that are missing."""

import importlib.util
from importlib import import_module
from types import ModuleType

from mmdetlike.errors import ConfigError, UserError

# names of distributions that differ from those of their modules
DISTRIBUTIONS = {
    'cv2': 'opencv-python',
    'PIL': 'pillow',
    'faster_coco_eval': 'faster-coco-eval',
    'multipart': 'python-multipart',
}


def require_packages(purpose: str, extra: str, *modules: str) -> None:
    """Refuse to go on where packages are missing.

    Args:
        purpose: What needs them, as the subject of a sentence.
        extra: The name under which ``pip install mmdetlike[NAME]`` brings them.
        modules: Names by which they are imported.

    Raises:
        ConfigError: Some aren't installed.
    """
    missing = [DISTRIBUTIONS.get(name, name) for name in modules if not is_installed(name)]
    if missing:
        raise ConfigError(f'{purpose} needs {" and ".join(missing)}, not installed here: {install_command(extra)}')


def is_installed(module: str) -> bool:
    """Whether a package is there; a mere folder of that name in the working folder, which Python also finds, is not."""
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None


def install_command(extra: str) -> str:
    """The command that installs an extra; quoted, for some shells take brackets for a pattern of file names."""
    return f"pip install 'mmdetlike[{extra}]'"


def import_package(
    package: str, purpose: str, install: str = '', error: type[UserError] = ConfigError, if_broken: str = ''
) -> ModuleType:
    """Import a package where it is first needed.

    Args:
        package: Its name.
        purpose: What needs it, as the subject of a sentence.
        install: The argument of ``pip install``; by default the name.
        error: What is raised where it isn't installed, or where it is and importing it fails.
        if_broken: Ends the message in the second case.
    """
    try:
        return import_module(package)
    except Exception as reason:  # a broken dependency raises anything
        if isinstance(reason, ModuleNotFoundError) and reason.name == package:
            message = f'{purpose} needs {package}, which is not installed: pip install {install or package}.'
        else:
            told = f'{type(reason).__name__}: {reason}.'
            message = f'{purpose} needs {package}, and importing it fails: {told}{if_broken}'
        raise error(message) from reason
