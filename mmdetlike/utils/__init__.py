"""What every layer above uses: configs, checkpoints, command lines, messages.

Its one name is imported when it is asked for: command lines use the light modules here without mmengine.
"""

__all__ = ['register_all_modules']


def __getattr__(name: str):
    if name == 'register_all_modules':
        from .setup_env import register_all_modules

        return register_all_modules
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
