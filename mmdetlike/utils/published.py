"""Where weights of detectors are published, and what they scored: the zoos of OpenMMLab, Detectron2 and torchvision."""

import csv
import difflib
import functools
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from mmdetlike.errors import ConfigError
from mmdetlike.utils.config_files import find_config

TABLE = Path(__file__).with_name('published.csv')
# what addresses in the table begin with
SITES = {
    'openmmlab': 'https://download.openmmlab.com/',
    'detectron2': 'https://dl.fbaipublicfiles.com/detectron2/',
    'torchvision': 'https://download.pytorch.org/models/',
}


@dataclass(frozen=True)
class Published:
    """Weights that are published.

    Attributes:
        name: Of the model in its zoo; of OpenMMLab's the bare name of the config.
        config: Path of the config below ``configs/``; empty for other zoos.
        addresses: Of the files, each as a path after the key of its site, or in full.
        scores: By benchmark and metric, as ``'COCO/box AP'``, in percent.
    """

    name: str
    config: str
    addresses: tuple[str, ...]
    scores: dict[str, float]

    @property
    def url(self) -> str:
        """The address of the file.

        Raises:
            ConfigError: The model has several.
        """
        if len(self.addresses) > 1:
            files = ', '.join(map(_in_full, self.addresses))
            raise ConfigError(f'{self.name} is made of several models, whose weights are files of their own: {files}')
        return _in_full(self.addresses[0])

    @property
    def foreign_name(self) -> str | None:
        """``'detectron2://NAME'`` or ``'torchvision://NAME?weights=...'``, the config of models of these; else None."""
        if self.config:
            return None
        function, _, weights = self.name.partition('.')
        if self.addresses[0].startswith('torchvision:'):
            return f'torchvision://{function}?weights={weights}'
        return f'detectron2://{self.name}'

    @property
    def old_name(self) -> str:
        """The name of the same model in OpenMMLab 2.x, by which its folder is still called."""
        return self.addresses[0].split('/')[-2] if '/v2.0/' in self.addresses[0] else self.name


def _in_full(address: str) -> str:
    site, colon, path = address.partition(':')
    return SITES[site] + path if colon and site in SITES else address


@functools.cache
def published() -> dict[str, Published]:
    """All published weights by the name of the model."""
    with TABLE.open(newline='', encoding='utf-8') as file:
        entries = [_entry(row) for row in csv.DictReader(file)]
    return {entry.name: entry for entry in entries}


def _entry(row: dict[str, str]) -> Published:
    scores = dict(score.rsplit('=', 1) for score in row['scores'].split('; ') if score)
    config = f'{row["config"]}{row["name"]}.py' if row['config'].endswith('/') else row['config']
    numbers = {name: float(value) for name, value in scores.items()}
    return Published(row['name'], config, tuple(row['weights'].split()), numbers)


@functools.cache
def _by_old_name() -> dict[str, Published]:
    # a folder may hold a variant's file, too, which must not stand for the model that the folder is called after
    own = [entry for entry in published().values() if f'/{entry.old_name}/{entry.old_name}_2' in entry.addresses[0]]
    names: dict[str, Published] = {}
    for entry in (*own, *published().values()):
        names.setdefault(entry.old_name, entry)
    return names


def look_up(name: str) -> Published | None:
    """The published weights of a model.

    Args:
        name: Its name, that of its config file with or without folder and suffix, the one that it had in 2.x, or
            ``detectron2://NAME`` or ``torchvision://NAME`` of another toolbox.
    """
    name = _torchvision_name(name) if name.startswith('torchvision://') else name.removeprefix('detectron2://')
    bare = next((name.removesuffix(suffix) for suffix in ('.py', '.yaml') if name.endswith(suffix)), name)
    for key in (name, bare, bare.rpartition('/')[2]):
        entry = published().get(key) or _by_old_name().get(key)
        if entry is not None:
            return entry
    return None


def _torchvision_name(address: str) -> str:
    """``'FUNCTION.WEIGHTS'``, the name of published weights, of ``torchvision://FUNCTION?weights=WEIGHTS``."""
    function, _, query = address.removeprefix('torchvision://').partition('?')
    weights = dict(urllib.parse.parse_qsl(query)).get('weights', 'COCO_V1')
    return f'{function}.{weights.rpartition(".")[2].replace("DEFAULT", "COCO_V1")}'


def find_published(name: str) -> Published:
    """As ``look_up``.

    Raises:
        ConfigError: There are none of that name; the message lists close names.
    """
    entry = look_up(name)
    if entry is None:
        close = difflib.get_close_matches(name, published(), n=4, cutoff=0.4)
        hint = f'did you mean {", ".join(close)}?' if close else 'mmdetlike.model_zoo.list() names all'
        raise ConfigError(f'no weights of {name!r} are published; {hint}')
    return entry


def published_config(name: str | Path) -> Path:
    """The file of a config: what ``find_config`` finds, or the config of the published weights of that name.

    Raises:
        ConfigError: Weights are published, but the config isn't shipped, or ``name`` is a folder.
        FileNotFoundError: There is neither a config nor weights of that name; close names are listed.
    """
    try:
        return find_config(name)
    except FileNotFoundError as error:
        entry = look_up(str(name))
        if entry is None:
            raise
        if not entry.config:
            raise ConfigError(
                f'{name} is a model of another toolbox: expected {entry.foreign_name} as its config, with weights of '
                f'{", ".join(map(_in_full, entry.addresses))}'
            ) from error
        try:
            return find_config(entry.config)
        except FileNotFoundError:
            raise ConfigError(
                f'the config of {entry.name} is not shipped: expected configs/{entry.config}. With a file of your own: '
                f'init_detector(FILE, {_in_full(entry.addresses[0])!r})'
            ) from error
