"""Packages that only some parts need: what brings those that are missing."""

import importlib.util

from mmdetlike.errors import ConfigError

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
