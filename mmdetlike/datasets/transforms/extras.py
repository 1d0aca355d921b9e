"""Importing packages that only some transforms need."""

from importlib import import_module
from types import ModuleType

from mmdetlike.errors import ConfigError


def import_extra(package: str, step: str, install: str) -> ModuleType:
    """Import a package where it is first needed.

    Args:
        package: Its name.
        step: The transform that needs it, for the message.
        install: The argument of ``pip install``, for the message.

    Raises:
        ConfigError: It isn't installed, or it is and importing it fails.
    """
    try:
        return import_module(package)
    except Exception as error:  # a broken dependency raises anything
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            message = f'{step} needs {package}, which is not installed: pip install {install}.'
        else:
            message = f'{step} needs {package}, and importing it fails: {type(error).__name__}: {error}.'
        raise ConfigError(message) from error
