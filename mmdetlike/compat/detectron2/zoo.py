"""``detectron2://COCO-Detection/retinanet_R_50_FPN_1x.yaml`` -> that config of Detectron2's model zoo."""

import copy
import difflib

from mmdetlike.errors import ConfigError

from .defaults import DEFAULTS
from .zoo_table import BASES, COMMON, PARTS, ZOO

SCHEME = 'detectron2://'
ADDRESS = 'https://dl.fbaipublicfiles.com/detectron2/'
SUFFIXES = ('.yaml', '.py')


def is_zoo_name(name: object) -> bool:
    """Whether a value is ``detectron2://`` and the name of a config, not of weights."""
    return isinstance(name, str) and name.startswith(SCHEME) and not name.endswith(('.pkl', '.pth'))


def zoo_names() -> list[str]:
    """Names of all configs that are known, as ``'COCO-Detection/retinanet_R_50_FPN_1x'``."""
    return [f'{folder}/{name}' for folder, configs in ZOO.items() for name in configs]


def bare_name(name: str) -> str:
    """A name without scheme and suffix."""
    bare = name.removeprefix(SCHEME)
    return next((bare.removesuffix(suffix) for suffix in SUFFIXES if bare.endswith(suffix)), bare)


def zoo_config(name: str) -> dict:
    """A config of the zoo with all keys, as ``read_config`` gives it of a file.

    Args:
        name: Path below Detectron2's ``configs``, with or without ``detectron2://`` and ``.yaml``.

    Raises:
        ConfigError: There is none of that name here; close names are listed.
    """
    folder, _, stem = bare_name(name).partition('/')
    parts = ZOO.get(folder, {}).get(stem)
    if parts is None:
        raise ConfigError(_unknown(bare_name(name)))
    base, *differences = parts
    cfg = copy.deepcopy(DEFAULTS)
    for settings in (COMMON, BASES[base], *(PARTS[part] for part in differences)):
        for key, value in settings.items():
            _set(cfg, key.removeprefix('/') if key.startswith('/') else f'MODEL.{key}', copy.deepcopy(value))
    return cfg


def zoo_address(name: str) -> str:
    """The address of a file of the zoo that ``detectron2://`` names; anything else as it is."""
    return ADDRESS + name.removeprefix(SCHEME) if name.startswith(SCHEME) else name


def _set(cfg: dict, key: str, value) -> None:
    *path, last = key.split('.')
    for name in path:
        cfg = cfg[name]
    cfg[last] = value


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, zoo_names(), n=4, cutoff=0.4)
    hint = f'did you mean {", ".join(close)}?' if close else f'expected a folder of {", ".join(ZOO)} and a name in it'
    return f"Detectron2's model zoo has no config {name!r} that is known here; {hint}"
