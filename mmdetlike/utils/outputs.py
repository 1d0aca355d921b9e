"""Naming output files after their inputs, so that none replaces an input or the output of another input."""

import contextlib
import hashlib
import itertools
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from urllib.parse import unquote, urlparse

import numpy as np

from mmdetlike.errors import UserError

RECORD = '.sources.jsonl'


class OutputError(UserError, ValueError):
    """An output can't be written, or would replace what the user handed in."""


def is_url(source) -> bool:
    """Whether it is an http(s) address."""
    return isinstance(source, str) and source.startswith(('http://', 'https://'))


def identity(source: str | Path | np.ndarray) -> str:
    """A text that identifies an input: its address, its absolute path, or a digest of an array."""
    if isinstance(source, np.ndarray):
        digest = hashlib.blake2b(np.ascontiguousarray(source), digest_size=16)
        return f'array {"x".join(map(str, source.shape))} {digest.hexdigest()}'
    return source if is_url(source) else os.path.abspath(source)


def check_folder(folder: Path) -> None:
    """Find out whether files can be written to a folder, which need not be there yet.

    Raises:
        OutputError: They can't.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise OutputError(f'{folder} cannot be a folder for outputs: {existing} is a file')
    try:
        with tempfile.TemporaryFile(dir=existing):  # permissions tell too little: of root's, and of file systems
            pass
    except OSError as error:
        raise OutputError(
            f'{folder} cannot be a folder for outputs: nothing can be written to {existing} ({error.strerror})'
        ) from error


class OutputFolder:
    """Names the files that a program writes for its inputs.

    Below the folder that all inputs share, an output has the relative folder and the stem of its input; where two
    inputs have these in common, such as ``0001.png`` and ``0001.jpg``, the outputs keep the endings, too:
    ``0001.png.json``, ``0001.jpg.json``. A file that is there is replaced only by what comes of the same input, as
    when a command is run again; before anything else the new file steps aside: ``0001_1.png``. Which file came of what
    stands in ``.sources.jsonl`` in the folder, one JSON object a line.

    Args:
        folder: Where outputs go; made when the first is claimed. ``~`` is the home folder.
        inputs: Paths and addresses of the inputs, as far as they are known beforehand.
    """

    def __init__(self, folder: str | Path, inputs: Iterable[str | Path] = ()) -> None:
        self.folder = Path(folder).expanduser()
        inputs = {str(source) for source in inputs}
        self._files = {os.path.realpath(source) for source in inputs if not is_url(source)}
        locations = {source: _location(source) for source in inputs}
        self._roots = {
            kind: _common_folder(locations[s] for s in inputs if is_url(s) == kind) for kind in (True, False)
        }
        stems = Counter(self._stem(source) for source in inputs)
        self._shared_stems = {stem for stem, number in stems.items() if number > 1}
        self._record = self.folder / RECORD
        self._sources: dict[str, str] = {}
        self._record_size = 0

    def name(self, source: str | Path, suffix: str) -> PurePath:
        """The path, below the folder, of the output of an input.

        Args:
            source: Path or address of the input.
            suffix: Ending of the output, ``'.png'``.
        """
        relative = self._relative(str(source))
        if self._stem(str(source)) not in self._shared_stems:
            return relative.with_suffix(suffix)
        return relative if relative.suffix.lower() == suffix else relative.with_name(relative.name + suffix)

    def check(self, names: Iterable[PurePath]) -> None:
        """Find out what would go wrong, before any work is done.

        Args:
            names: Paths below the folder that will be claimed.

        Raises:
            OutputError: One of them is an input, or nothing can be written to the folder.
        """
        for name in names:
            path = self.folder / name
            if os.path.realpath(path) in self._files:
                raise OutputError(
                    f'{path} is one of the inputs and would be replaced by its own output: choose another folder for '
                    f'outputs than {self.folder}'
                )
        check_folder(self.folder)

    def claim(self, name: str | PurePath, source: str) -> Path:
        """Reserve a file for the output of an input.

        Args:
            name: Its path below the folder, from ``name``.
            source: What the output is of, from ``identity``.

        Returns:
            The file, which may be written now: it is empty, or has the older output of the same input. Its name has a
            number where ``name`` belongs to something else.

        Raises:
            OutputError: It can't be written.
        """
        self._read_record()
        for candidate in self._candidates(PurePath(name), source):
            path = self.folder / candidate
            own = self._sources.get(candidate.as_posix()) == source
            if own and path.is_file() and not path.is_symlink():
                return path
            try:
                created = _create(path)
                if created and not own:
                    self._remember(candidate.as_posix(), source)
            except OSError as error:
                raise OutputError(f'{path} cannot be written: {error.strerror}') from error
            if created:
                return path
        raise AssertionError('numbers do not end')

    def _candidates(self, name: PurePath, source: str) -> Iterator[PurePath]:
        """Names to try: the plain one, those that the source had before, then numbers that are likely to be free."""
        yield name
        beginning = name.with_suffix('').as_posix() + '_'
        end = name.suffix
        twins = [file for file in self._sources if file.startswith(beginning) and file.endswith(end)]
        yield from (PurePath(file) for file in twins if self._sources[file] == source)
        for number in itertools.count(len(twins) + 1):
            yield name.with_name(f'{name.stem}_{number}{end}')

    def _relative(self, source: str) -> PurePath:
        location = _location(source)
        root = self._roots[is_url(source)]
        if root is None or location.parts[: len(root.parts)] != root.parts:
            return PurePath(location.name)
        return PurePath(*location.parts[len(root.parts) :])

    def _stem(self, source: str) -> str:
        """The part of an output's name that no two inputs may share, casefolded, as some file systems ignore case."""
        return self._relative(source).with_suffix('').as_posix().casefold()

    def _read_record(self) -> None:
        """Update the record of outputs by what other processes, which may write to the same folder, have added."""
        size = self._record.stat().st_size if self._record.is_file() else 0
        if size != self._record_size:
            self._sources.update(_entries(self._record))
            self._record_size = size

    def _remember(self, name: str, source: str) -> None:
        self._sources[name] = source
        line = json.dumps({'file': name, 'source': source}) + '\n'
        with open(self._record, 'a', encoding='utf-8') as file:
            file.write(line)
        self._record_size += len(line)


def _location(source: str) -> PurePath:
    """The absolute path of an input; that of an address begins with its host."""
    if not is_url(source):
        return PurePath(os.path.abspath(source))
    address = urlparse(source)
    parts = [part for part in unquote(address.path).split('/') if part not in ('', '.', '..')]
    return PurePath('/', address.netloc.replace(':', '_'), *parts)


def _common_folder(locations: Iterable[PurePath]) -> PurePath | None:
    folders = {location.parent for location in locations}
    try:
        return PurePath(os.path.commonpath(folders)) if folders else None
    except ValueError:  # on several drives
        return None


def _create(path: Path) -> bool:
    """Create an empty file unless one of that name exists; in one step, since other processes may do the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.touch(exist_ok=False)
        return True
    return False


def _entries(record: Path) -> Iterator[tuple[str, str]]:
    """File and source of each line; a line that was cut short is left out."""
    for line in record.read_text(encoding='utf-8', errors='replace').splitlines():
        try:
            entry = json.loads(line)
            yield entry['file'], entry['source']
        except (ValueError, KeyError, TypeError):
            continue
