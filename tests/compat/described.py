"""What a built model is, as plain data, so that two can be compared."""

import torch
from torch import nn

IDLE = ('init_cfg', 'training')


def described(value, above: tuple[int, ...] = ()):
    """Types, settings and shapes of a module, or of anything that it holds; no values of parameters."""
    if isinstance(value, (int, float, str, type(None), torch.dtype)):
        return value
    if isinstance(value, torch.Tensor):
        return ['tensor', *value.shape]
    if id(value) in above:
        return 'an outer object'
    above = (*above, id(value))
    if isinstance(value, dict):
        return {str(key): described(part, above) for key, part in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [described(part, above) for part in value]
    if isinstance(value, nn.Module):
        return _module(value, above)
    if type(value).__module__.startswith('mmdetlike') and hasattr(value, '__dict__'):
        return {'type': type(value).__name__, **described(vars(value), above)}
    return type(value).__name__


def _module(module: nn.Module, above: tuple[int, ...]) -> dict:
    own = {key: part for key, part in vars(module).items() if not key.startswith('_') and key not in IDLE}
    parameters = {f'parameter {key}': part for key, part in module._parameters.items()}
    parts = {f'part {key}': part for key, part in module._modules.items()}
    return {'type': type(module).__name__, **described({**own, **parameters, **parts}, above)}


def differences(one, other, path: str = '') -> list[str]:
    """Paths at which two descriptions differ, with what stands there."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [*one, *(key for key in other if key not in one)]
        return [text for key in keys for text in differences(one.get(key), other.get(key), f'{path}/{key}')]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [text for i, pair in enumerate(zip(one, other)) for text in differences(*pair, f'{path}/{i}')]
    return [] if one == other else [f'{path}: {one!r:.60} for {other!r:.60}']
