"""Reading and writing checkpoints so that neither a stranger's pickle nor a killed process does harm.

Checkpoints are read with ``weights_only=True`` and an allow-list of the harmless classes that mmengine stores; anything
else is refused by name unless the caller says that the file is trusted. Files are written to a temporary name, synced
and renamed, so that a checkpoint under its final name is always whole.
"""

import _compat_pickle
import contextlib
import functools
import io
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import mmengine
import torch
from mmengine.dist import barrier, get_dist_info
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import _load_checkpoint

from mmdetlike.errors import CheckpointError
from mmdetlike.utils.checkpoint_files import check_is_file
from mmdetlike.utils.download import download
from mmdetlike.utils.foreign_weights import DETECTRON2, START, foreign_names, foreign_pickle
from mmdetlike.utils.plain import harmless_globals, plain_state
from mmdetlike.utils.whole_files import whole_file

TRUST_VARIABLE = 'MMDETLIKE_TRUST_CHECKPOINT'
ZIP_MAGIC = b'PK\x03\x04'
LFS_MAGIC = b'version https://git-lfs'
ZIP_HEADER = 256  # bytes within which the archive's first entry has its name

# whether checkpoints may hold any object; ``trust_checkpoints`` sets it for what it encloses
_TRUST: ContextVar[bool] = ContextVar('trust', default=False)


@contextlib.contextmanager
def trust_checkpoints(trust: bool = True) -> Iterator[None]:
    """Within this context checkpoints may hold any object; reading one then runs whatever code it names."""
    token = _TRUST.set(trust or _TRUST.get())
    try:
        yield
    finally:
        _TRUST.reset(token)


def _trusted() -> bool:
    return _TRUST.get() or os.environ.get(TRUST_VARIABLE, '0') not in ('', '0')


def read_checkpoint(path: str | Path, map_location=None) -> dict:
    """Read a checkpoint file.

    Args:
        path: File written by ``torch.save``.
        map_location: Where its tensors go, as for ``torch.load``.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is not a whole checkpoint, or holds objects other than tensors and plain data.
    """
    path = os.path.expanduser(path)
    check_is_file(path)
    try:
        _refuse_foreign_pickle(path)
        content = _load(path, map_location)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f'checkpoint {path} cannot be opened: {error.strerror or error}') from error
    except Exception as error:
        found = '' if _trusted() else _refused_objects(path, error)
        if not found:
            raise CheckpointError(f'{path} is not a readable checkpoint: {_reason(path, error)}') from error
        raise CheckpointError(
            f'{path} holds {found}, which is more than tensors and plain data: unpickling it could run code of its '
            f'author. If you trust the file, pass --trust-checkpoint (trust_checkpoint=True in Python, or set '
            f'{TRUST_VARIABLE}=1).'
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f'{path} holds a {type(content).__name__}, not a dict of tensors by name')
    if not isinstance(content.get('state_dict', {}), dict):
        raise CheckpointError(
            f"{path}: 'state_dict' must be a dict of tensors by name, got {content['state_dict']!r:.60}"
        )
    return content


def _refuse_foreign_pickle(path: str) -> None:
    with open(path, 'rb') as file:
        sentence = foreign_pickle(path, file.read(START))
    if sentence is not None:
        raise CheckpointError(sentence)


def _load(file, map_location=None) -> dict:
    with torch.serialization.safe_globals(harmless_globals()):
        return torch.load(file, map_location=map_location, weights_only=not _trusted())


def _reason(path: str, error: Exception) -> str:
    """The reason why torch couldn't load a file, by its content; torch's own advises to switch the safety off."""
    with open(path, 'rb') as file:
        start = file.read(512)
    if not start:
        return 'the file is empty'
    if start.startswith(LFS_MAGIC):
        return 'it is a pointer of Git LFS, not the checkpoint: fetch that by "git lfs pull"'
    if start.startswith(ZIP_MAGIC):
        return f'the archive is damaged or cut short ({_reason_of_torch(error)})'
    if start.lstrip().lower().startswith((b'<!doctype', b'<html', b'<?xml')):
        return 'it is a web page; a download has saved the page in place of the file'
    if all(byte in b'\t\n\r' or byte >= 32 for byte in start):
        text = start.decode('utf-8', errors='replace').strip()
        return f'it is a text file that begins with {text[:40]!r}'
    return f'torch.save did not write it, or it is cut short ({_reason_of_torch(error)})'


def _reason_of_torch(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    useful = [line for line in lines if line and 'weights_only' not in line]
    return useful[0] if useful else type(error).__name__


def _refused_objects(path: str, error: Exception) -> str:
    named = re.findall(r'(?:GLOBAL|Unsupported (?:global|class|type)[: ]+(?:GLOBAL )?)\s*([\w.]+\.[\w.]+)', str(error))
    with contextlib.suppress(Exception), torch.serialization.safe_globals(harmless_globals()):
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path) or named
    return ', '.join(sorted({_today(name) for name in named}))


def _today(name: str) -> str:
    """The name in Python 3 of an object that torch's pickles call by its name in Python 2."""
    module, _, attribute = name.rpartition('.')
    module, attribute = _compat_pickle.NAME_MAPPING.get((module, attribute), (module, attribute))
    return f'{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{attribute}'


# -- what is written ---------------------------------------------------------------------------------------------------


def plain_checkpoint(checkpoint: dict) -> dict:
    """A checkpoint that ``read_checkpoint`` will read, with the tensors of the given one.

    Numpy scalars, subclasses of builtin types, paths and containers of other types become builtins. The state of
    parameter schedulers loses its functions, which a scheduler makes anew before its state is loaded.

    Raises:
        CheckpointError: A part is neither plain nor harmless; the message names it.
    """
    plain = {}
    for key, value in checkpoint.items():
        if key.endswith('state_dict'):
            plain[key] = value  # an OrderedDict of tensors whose attribute _metadata must stay
        else:
            plain[key] = plain_state(value, key, _refuse_unreadable, drop_functions=key == 'param_schedulers')
    return plain


def _refuse_unreadable(name: str, value) -> None:
    if _trusted():
        return
    kind = f'{type(value).__module__}.{type(value).__qualname__}'
    try:
        stored = io.BytesIO()
        torch.save(value, stored)
        stored.seek(0)
        _load(stored, map_location='meta')
    except Exception as error:
        raise CheckpointError(
            f'the checkpoint would hold {name}, a {kind}, which is more than tensors and plain data and could not be '
            'read again. Keep numbers, text, lists, dicts, arrays or tensors there.'
        ) from error


class AtomicLocalBackend(LocalBackend):
    """mmengine's local files, written so that a reader sees the old content or the new, never a part of it."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj`` to ``filepath``: to a temporary file beside it, synced, then renamed.

        Raises:
            CheckpointError: The write failed, e.g. because the disk is full, or ``obj`` is a checkpoint that
                ``read_checkpoint`` refuses; what stood there before is untouched.
        """
        path = Path(filepath)
        try:
            with whole_file(path) as file:
                file.write(obj)
                if obj.startswith(ZIP_MAGIC) and b'/data.pkl' in obj[:ZIP_HEADER]:
                    file.flush()
                    _check_written(file.name, path)
        except OSError as error:
            raise CheckpointError(
                f'could not write {len(obj)} bytes to {path}: {error.strerror or error}. Nothing that was there '
                'before has been touched; free some space and start again with --resume.'
            ) from error

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text as ``put`` writes bytes."""
        self.put(obj.encode(encoding), filepath)


def _check_written(temporary: str, path: Path) -> None:
    try:
        read_checkpoint(temporary, map_location='meta')  # skips the data of tensors: some milliseconds
    except CheckpointError as error:
        reason = str(error).replace(temporary, str(path))
        raise CheckpointError(f'{path} was not written, as it could not be read again: {reason}') from error


def checkpoint_files(work_dir: str | Path) -> list[Path]:
    """The checkpoints that a training left in its work folder, the newest first."""
    found = sorted(Path(work_dir).glob('*_*.pth'), key=lambda path: path.stat().st_mtime, reverse=True)
    return [path for path in found if re.fullmatch(r'(epoch|iter)_\d+', path.stem)]


def find_latest_checkpoint(work_dir: str | Path) -> str | None:
    """The newest readable checkpoint of a run: the one ``last_checkpoint`` names, or the newest file after it.

    A run can be killed between writing a checkpoint and naming it, or have its folder moved.

    Returns:
        Its path, or None if there are no checkpoints.

    Raises:
        CheckpointError: There are some, but none can be read; the message says why of each.
    """
    work_dir = Path(work_dir)
    named = work_dir / 'last_checkpoint'
    candidates = checkpoint_files(work_dir)
    if named.is_file():
        path = Path(named.read_text().strip() or '/nonexistent')
        local = work_dir / path.name
        candidates = [p for p in (local, path) if p.is_file()][:1] + candidates
    reasons = []
    for path in dict.fromkeys(candidates):
        try:
            read_checkpoint(path, map_location='meta')
        except CheckpointError as error:
            print_log(f'passing over {error}', 'current', logging.WARNING)
            reasons.append(str(error))
        else:
            return str(path)
    if reasons:
        raise CheckpointError(
            f'none of the {len(reasons)} checkpoints in {work_dir} can be read, so there is nothing to resume from: '
            f'{"; ".join(reasons)}. To train from the start, choose another work folder'
        )
    return None


# -- where checkpoints come from ---------------------------------------------------------------------------------------


def fetched_file(url: str) -> Path:
    """The file of an http(s) URL in torch's cache folder; in distributed runs rank 0 downloads it.

    Raises:
        CheckpointError: It can't be downloaded, or isn't what the hash in its name says; the message names the file to
            put into the cache by hand.
    """
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    path = folder / url.split('?')[0].rsplit('/', 1)[-1]
    if not path.is_file():
        if get_dist_info()[0] == 0:
            download(url, path)
        barrier()
    return path


def fetch(url: str, map_location=None) -> dict:
    """Read a checkpoint from an http(s) URL, through torch's cache folder.

    Raises:
        CheckpointError: As of ``fetched_file``, or it can't be read.
    """
    return read_checkpoint(fetched_file(url), map_location)


def _zoo_loader(scheme: str, table: str):
    """A loader of ``scheme://name`` URLs by one of the tables that mmengine ships."""

    def load(filename: str, map_location=None) -> dict:
        urls = json.loads((Path(mmengine.__file__).parent / 'hub' / table).read_text())
        name = filename.split('://', 1)[1]
        url = urls.get(name) or urls.get(f'{name}.imagenet1k_v1')
        if url is None:
            raise CheckpointError(f'{filename}: {scheme} has no {name!r}; it has {", ".join(sorted(urls)[:200])}')
        return fetch(url, map_location)

    load.__name__ = f'load_from_{scheme}'
    return load


def load_from_local(filename: str, map_location=None) -> dict:
    """``read_checkpoint`` under the name by which mmengine logs it."""
    return read_checkpoint(filename, map_location)


def load_from_http(filename: str, map_location=None) -> dict:
    """``fetch`` under the name by which mmengine logs it."""
    return fetch(filename, map_location)


def refuse_cloud(filename: str, map_location=None) -> dict:
    """Say what to do about a scheme whose client library isn't part of this toolbox."""
    scheme = filename.split('://')[0]
    raise CheckpointError(
        f'{filename}: checkpoints are not read from {scheme}://; download the file and name the local one'
    )


def refuse_detectron2(filename: str, map_location=None) -> dict:
    """Say what to do about weights of Detectron2's zoo where those of a model or backbone of ours are expected."""
    backbones = 'configs here start from open-mmlab://detectron2/resnet50_caffe and its like'
    raise CheckpointError(f'{filename} is of Detectron2: {DETECTRON2.advice(filename)}. Of backbones, {backbones}.')


@functools.cache
def install_readers() -> None:
    """Make mmengine read and write through this module."""
    register_backend('local', AtomicLocalBackend, force=True, prefixes='')
    register = CheckpointLoader.register_scheme
    register('', load_from_local, force=True)
    register(['http://', 'https://'], load_from_http, force=True)
    register([r'(\S+\:)?s3://', r'(\S+\:)?petrel://', 'pavi://', 'mmcls://'], refuse_cloud, force=True)
    register('detectron2://', refuse_detectron2, force=True)
    register(['modelzoo://', 'torchvision://'], _zoo_loader('torchvision', 'torchvision_0.12.json'), force=True)
    register(['open-mmlab://', 'openmmlab://'], _zoo_loader('openmmlab', 'openmmlab.json'), force=True)


# -- does it fit? ------------------------------------------------------------------------------------------------------


def check_fit(model: torch.nn.Module, state_dict: dict, source: str, strict: bool) -> str | None:
    """Compare a state dict with a model.

    Args:
        model: The model to be loaded.
        state_dict: Parameters by name.
        source: Where they come from, for the message.
        strict: Every parameter of the model must be there in its shape; else one is enough, as for fine-tuning.

    Returns:
        What differs, or None.

    Raises:
        CheckpointError: It doesn't fit; the message lists the keys.
    """
    _check_state_dict(state_dict, source)
    own = model.state_dict()
    given = _renamed(model, {re.sub(r'^module\.', '', key): value for key, value in state_dict.items()})
    missing = [key for key in own if key not in given and not key.endswith('num_batches_tracked')]
    extra = [key for key in given if key not in own]
    shapes = [
        f'{key} {tuple(given[key].shape)} for {tuple(value.shape)}'
        for key, value in own.items()
        if key in given and given[key].shape != value.shape
    ]
    if not (missing or extra or shapes):
        return None
    parts = [_listing('missing', missing), _listing('unknown', extra), _listing('of another shape', shapes)]
    report = f'{source} does not fit {type(model).__name__}: {"; ".join(filter(None, parts))}'
    usable = [key for key, value in own.items() if key in given and given[key].shape == value.shape]
    if (strict and (missing or shapes)) or not usable:
        reason = foreign_names(extra, source) or f'{report}. It was made by another model or config.'
        raise CheckpointError(reason)
    return report


def _check_state_dict(state_dict, source: str) -> None:
    others = [key for key, value in state_dict.items() if not isinstance(value, torch.Tensor)]
    if others:
        nested = state_dict.get('model')  # where Detectron2 and scripts of torchvision put the weights
        sentence = foreign_names(nested, source) if isinstance(nested, dict) else None
        if sentence is not None:
            raise CheckpointError(sentence)
        kinds = ', '.join(f'{key} ({type(state_dict[key]).__name__})' for key in others[:5])
        raise CheckpointError(
            f'{source} has no state_dict of tensors: {kinds} {"is" if len(others) == 1 else "are"} none. Expected '
            "a dict of tensors by name, or one under the key 'state_dict'."
        )


def _renamed(model: torch.nn.Module, state_dict: dict) -> dict:
    """A state dict as the modules' own hooks, which know the names of relatives, will make it when it is loaded."""
    for prefix, module in model.named_modules():
        for hook in module._load_state_dict_pre_hooks.values():
            hook(state_dict, f'{prefix}.' if prefix else '', {}, True, [], [], [])
    return state_dict


def _listing(what: str, keys: list[str], limit: int = 8) -> str:
    if not keys:
        return ''
    more = f' and {len(keys) - limit} more' if len(keys) > limit else ''
    return f'{len(keys)} keys {what} ({", ".join(keys[:limit])}{more})'


def read_weights(checkpoint: str | Path, trust: bool = False) -> dict:
    """Read a checkpoint from a file or URL, its tensors on the CPU.

    With ``trust`` it may hold any object (see ``trust_checkpoints``).

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It can't be read.
    """
    install_readers()
    with trust_checkpoints(trust):
        loaded = _load_checkpoint(str(checkpoint), map_location='cpu', logger='silent')
    if not isinstance(loaded, dict):
        raise CheckpointError(f'{checkpoint} holds a {type(loaded).__name__}, not a dict with the weights of a model')
    return loaded


def load_weights(model: torch.nn.Module, checkpoint: dict, source: str) -> None:
    """Load all weights of a model.

    Raises:
        CheckpointError: One is missing or of another shape.
    """
    state_dict = checkpoint.get('state_dict', checkpoint)
    state_dict = {key.removeprefix('module.'): value for key, value in state_dict.items()}
    surplus = check_fit(model, state_dict, source, strict=True)
    if surplus is not None:
        warnings.warn(surplus, stacklevel=3)
    model.load_state_dict(state_dict, strict=False)
