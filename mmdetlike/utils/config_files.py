"""Finding config files: by path, or by the name of one that comes with the package.

Nothing heavy is imported here, so that a tool can say at once that a path is wrong.
"""

import difflib
import functools
from pathlib import Path

import mmdetlike
from mmdetlike.errors import ConfigError
from mmdetlike.scopes import ALIASES, SCOPE

SUFFIXES = ('.py', '.json', '.yml', '.yaml')


def config_folders() -> list[Path]:
    """Folders of the configs that come with the package: inside it when installed, beside it in a checkout."""
    package = Path(mmdetlike.__file__).parent
    return [folder for folder in (package / 'configs', package.parent / 'configs') if folder.is_dir()]


def shipped_configs() -> list[Path]:
    """Every config that comes with the package, bases included."""
    return [file for folder in config_folders() for file in sorted(folder.rglob('*.py'))]


def _shipped(name: str) -> Path | None:
    """The shipped config of a path below their folder, with or without .py, or of a bare name."""
    for file in shipped_configs():
        if name in (file.stem, file.name) or f'{file.as_posix()}\n'.endswith((f'/{name}\n', f'/{name}.py\n')):
            return file
    return None


def shipped_base(name: str) -> Path | None:
    """The file of a base that a config names as ``'mmdetlike::NAME'``; None if the name belongs to another package.

    ``'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'`` is ours, too: where it has no config of that path, the one
    of that file name.

    Raises:
        FileNotFoundError: There is no such config.
    """
    package, colons, path = name.partition('::')
    if not colons or package not in (SCOPE, *ALIASES):
        return None
    found = _shipped(path) or _shipped(path.rpartition('/')[2])
    if found is None:
        stems = [file.stem for file in shipped_configs()]
        raise FileNotFoundError(f'no shipped config is called {path!r}{_similar_names(Path(path), stems)}')
    return found


def read_shipped_bases() -> None:
    """Let mmengine find the bases that ``shipped_base`` knows; it looks beside the config and in other packages."""
    from mmengine.config import Config

    find_elsewhere = Config._get_cfg_path
    if hasattr(find_elsewhere, '__wrapped__'):
        return

    @functools.wraps(find_elsewhere)
    def find(cfg_path: str, filename: str) -> tuple[str, str | None]:
        shipped = shipped_base(cfg_path)
        return find_elsewhere(cfg_path, filename) if shipped is None else (str(shipped), None)

    Config._get_cfg_path = staticmethod(find)


def find_config(name: str | Path) -> Path:
    """The file of a config.

    Args:
        name: Path of a file, path below the shipped configs, or the bare name of one of these, such as
            ``'faster-rcnn_r50_fpn_1x_coco'``; ``~`` is expanded.

    Raises:
        FileNotFoundError: There is none; the message lists close names.
        ConfigError: It is a folder.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = _shipped(str(name))
    if shipped is not None:
        return shipped
    if path.is_dir():
        raise ConfigError(f'config {name} is a folder, not a file{_similar_files(path / "config.py")}')
    stems = [file.stem for file in shipped_configs() if '_base_' not in file.parts]
    if path.suffix in SUFFIXES or path.name != str(name):
        raise FileNotFoundError(f'config {path} does not exist{_similar_files(path) or _similar_names(path, stems)}')
    some = f'there are {len(stems)}, as {", ".join(stems[:3])}'
    hint = _similar_names(path, stems).removeprefix('; ') or some
    raise FileNotFoundError(f'{str(name)!r} is neither a config file nor the name of a shipped config; {hint}')


def _similar_names(path: Path, stems: list[str]) -> str:
    close = difflib.get_close_matches(path.name.removesuffix('.py'), stems, n=4, cutoff=0.4)
    return f'; did you mean {", ".join(close)}?' if close else ''


def similar_shipped(path: Path) -> str | None:
    """The shipped config that 2.x called like ``path``, by the name that bases give it; None if there is none."""
    # 2.x wrote faster_rcnn_r50_fpn_1x_coco.py what is faster-rcnn_r50_fpn_1x_coco.py now
    wanted = path.stem.replace('-', '_')
    for folder in config_folders():
        for file in sorted(folder.rglob('*.py')):
            if file.stem.replace('-', '_') == wanted:
                return file.relative_to(folder).with_suffix('').as_posix() if '_base_' in file.parts else file.stem
    return None


def _similar_files(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f': there is no folder {folder}'
    close = difflib.get_close_matches(path.name, [p.name for p in folder.glob('*')], n=3, cutoff=0.5)
    return f'; did you mean {", ".join(str(folder / name) for name in close)}?' if close else ''
