"""The manifest of an artifact: what a deployed program takes and returns, as a JSON file beside it."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdetlike.errors import CheckpointError
from mmdetlike.export.program import Sizes

NAME = 'manifest.json'
CHANNELS = 3
FORMAT = 3
# what manifests of earlier versions lack, by their format: programs took one size alone at first, and one image
ADDED = {
    1: lambda entries: dict(smallest_size=entries.get('size'), size_divisor=1, batch_size=1),
    2: lambda entries: dict(batch_size=1),
}
PROGRAMS = {'torch': 'program.pt2', 'aoti': 'compiled.pt2', 'onnx': 'model.onnx'}


@dataclass(frozen=True)
class Manifest:
    """What has to be known of a program besides itself.

    Args:
        format: Version of the manifest's form.
        kind: ``'torch'``, ``'aoti'`` or ``'onnx'``.
        program: File name of the program.
        sha256: Its checksum.
        detector: Type of the detector.
        classes: Names of the classes, in the order of labels.
        palette: A color (red, green, blue) for each.
        size: Height and width in pixels of the images that it takes, the largest ones.
        smallest_size: Of the smallest images; that of all where the program takes one size alone.
        size_divisor: Of images between them, heights and widths are multiples of this.
        batch_size: How many images it takes at once; of more than one, outputs have a first dimension for them.
        raw_input: Whether it takes pixels from 0 to 255 as they are loaded, and normalizes them itself.
        mean: What is subtracted from each channel, after ``reverse_channels``; none if images aren't normalized.
        std: What each channel is divided by.
        reverse_channels: Whether the network sees the channels in another order than they are loaded in.
        pad_value: What images are padded with at the right and the bottom, after normalization.
        outputs: Names of the outputs.
        limit: How many rows outputs have for an image; ``count`` says how many of them are objects.
        test_cfg: The thresholds that are part of the program, for information.
        pipeline: Transforms from a picture to an image of the network, as in a config.
        versions: Versions of the packages that wrote it.
    """

    format: int
    kind: str
    program: str
    sha256: str
    detector: str
    classes: list
    palette: list
    size: list
    smallest_size: list
    size_divisor: int
    batch_size: int
    raw_input: bool
    mean: list
    std: list
    reverse_channels: bool
    pad_value: float
    outputs: list
    limit: int
    test_cfg: dict
    pipeline: list
    versions: dict

    @property
    def sizes(self) -> Sizes:
        """Sizes of the images that it takes, and how many."""
        return Sizes(tuple(self.smallest_size), tuple(self.size), self.size_divisor, self.batch_size)

    def write(self, folder: Path) -> None:
        """Write it to a folder."""
        text = json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False)
        (folder / NAME).write_text(text + '\n', encoding='utf-8')


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an artifact, checked against what is beside it.

    Raises:
        FileNotFoundError: There is no such folder, or no manifest or program in it.
        CheckpointError: The manifest is damaged, of another version, or doesn't fit the program.
    """
    path = folder / NAME
    if not path.is_file():
        raise FileNotFoundError(f'{folder} is no folder of tools/deploy.py: expected it to contain {NAME}')
    manifest = _parse(path)
    program = folder / manifest.program
    if not program.is_file():
        raise FileNotFoundError(f'{path} names the program {manifest.program}, which is not in {folder}')
    found = checksum(program)
    if found != manifest.sha256:
        raise CheckpointError(
            f'{program} does not fit {path}: its sha256 is {found[:12]}..., expected {manifest.sha256[:12]}...; '
            'one of them was changed or copied in part, so run tools/deploy.py again'
        )
    return manifest


def checksum(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def _parse(path: Path) -> Manifest:
    try:
        entries = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise CheckpointError(f'{path} is not JSON: {error}') from error
    if not isinstance(entries, dict):
        raise CheckpointError(f'{path} must hold a JSON object, got {type(entries).__name__}')
    version = entries.get('format')
    if type(version) is int and version in ADDED:
        entries = dict(entries, format=FORMAT, **ADDED[version](entries))
    elif type(version) is not int or version != FORMAT:
        raise CheckpointError(f'{path}: format is {version!r}, this version of mmdetlike reads 1 to {FORMAT}')
    fields = {field.name: field.type for field in dataclasses.fields(Manifest)}
    if wrong := sorted(set(fields) ^ set(entries)):
        missing = [name for name in wrong if name in fields]
        said = f'lacks {", ".join(missing)}' if missing else f'has unknown entries: {", ".join(wrong)}'
        raise CheckpointError(f'{path} {said}; expected {", ".join(fields)}')
    for name, kind in fields.items():
        _check_type(path, name, entries[name], kind)
    manifest = Manifest(**entries)
    _check_values(path, manifest)
    return manifest


def _check_type(path: Path, name: str, value: Any, kind: type) -> None:
    kinds = (int, float) if kind is float else kind
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
        raise CheckpointError(f'{path}: {name} must be of the type {kind.__name__}, got {value!r}')


def _check_values(path: Path, manifest: Manifest) -> None:
    expected = {
        'kind': (manifest.kind in PROGRAMS, f'one of {", ".join(PROGRAMS)}'),
        'program': (Path(manifest.program).name == manifest.program, 'the name of a file in the same folder'),
        'size': (_is_size(manifest.size), 'height and width in pixels'),
        'smallest_size': (
            _is_size(manifest.smallest_size) and all(map(int.__le__, manifest.smallest_size, manifest.size)),
            'height and width in pixels, at most those of size',
        ),
        'size_divisor': (manifest.size_divisor > 0, 'above 0'),
        'batch_size': (manifest.batch_size > 0, 'above 0'),
        'classes': (_are_texts(manifest.classes) and len(manifest.classes) > 0, 'a list of names'),
        'outputs': (_are_texts(manifest.outputs), 'a list of names'),
        'limit': (manifest.limit > 0, 'above 0'),
        'mean': (_are_numbers(manifest.mean) and len(manifest.mean) == len(manifest.std), 'as many numbers as std'),
        'std': (
            _are_positive(manifest.std, (int, float)) and len(manifest.std) <= CHANNELS,
            'at most 3 numbers above 0',
        ),
        'pad_value': (math.isfinite(manifest.pad_value), 'a finite number'),
        'palette': (
            len(manifest.palette) == len(manifest.classes) and all(map(_is_color, manifest.palette)),
            'a color (red, green, blue from 0 to 255) for each of the classes',
        ),
    }
    for name, (is_right, what) in expected.items():
        if not is_right:
            raise CheckpointError(f'{path}: {name} must be {what}, got {getattr(manifest, name)!r}')


def _is_size(values: list) -> bool:
    return _are_positive(values, int) and len(values) == 2


def _are_texts(values: list) -> bool:
    return all(isinstance(value, str) for value in values)


def _are_numbers(values: list) -> bool:
    return all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)


def _is_color(value: Any) -> bool:
    return isinstance(value, list) and len(value) == CHANNELS and all(entry in range(256) for entry in value)


def _are_positive(values: list, kinds) -> bool:
    return all(isinstance(value, kinds) and value > 0 for value in values)
