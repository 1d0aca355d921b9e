"""What a dataset consists of, in numbers: classes, sizes, shapes, overlaps, and pictures that occur twice."""

import hashlib
import io
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmengine import fileio
from PIL import Image, ImageOps

from mmdetlike.structures.bbox import geometry

from .errors import ImageError

PERCENTILES = (0, 5, 25, 50, 75, 95, 100)
SIZES = {'small': (0, 32**2), 'medium': (32**2, 96**2), 'large': (96**2, np.inf)}  # square pixels, as in COCO
OVERLAPPING = 0.5
SAME_BOX = 0.95
_HASH_SIDE = 16
_CHUNKS = 8
# fewer differing bits than chunks of a hash, so that two alike pictures share one of them
_ALIKE = _CHUNKS - 1
_FLAT = 2.0  # spread of gray levels below which all pictures look alike


@dataclass(frozen=True)
class Objects:
    """The objects of a split, n in all.

    Attributes:
        images: (n,) index of the image of each.
        labels: (n,) class indices.
        boxes: (n, 4) xyxy, or rotated ones (n, 5), in pixels.
        ignored: (n,) bool, crowds and the like.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    ignored: np.ndarray

    @classmethod
    def of(cls, infos: Sequence[dict]) -> 'Objects':
        """The objects of data infos."""
        rows = [(i, row) for i, info in enumerate(infos) for row in info.get('instances', ())]
        boxes = np.array([row['bbox'] for _, row in rows], dtype=np.float64)
        return cls(
            np.array([i for i, _ in rows], dtype=int),
            np.array([row['bbox_label'] for _, row in rows], dtype=int),
            boxes.reshape(len(rows), -1) if len(rows) else np.zeros((0, 4)),
            np.array([bool(row.get('ignore_flag', 0)) for _, row in rows], dtype=bool),
        )

    @property
    def sizes(self) -> np.ndarray:
        """(n, 2) width and height in pixels."""
        return geometry.sizes(torch.from_numpy(self.boxes)).numpy()


def describe(infos: Sequence[dict], classes: Sequence[str]) -> dict:
    """The numbers of a split, ready for JSON.

    Args:
        infos: What a dataset knows of each image: ``img_path``, ``img_id``, ``width``, ``height``, ``instances``.
        classes: Names of the classes.
    """
    objects = Objects.of(infos)
    width, height = objects.sizes.T if len(objects.labels) else np.zeros((2, 0))
    per_image = np.bincount(objects.images, minlength=len(infos))
    empty = [name_of(infos[i]) for i in np.flatnonzero(per_image == 0)]
    areas = width * height
    by_class = _classes(objects, areas, classes)
    return {
        'images': len(infos),
        'objects': len(objects.labels),
        'ignored objects': int(objects.ignored.sum()),
        'images without objects': {'number': len(empty), 'examples': empty[:5]},
        'classes': by_class,
        'classes without objects': [name for name, row in by_class.items() if not row['objects']],
        'objects by size': {name: int(((areas >= a) & (areas < b)).sum()) for name, (a, b) in SIZES.items()},
        'side of an object': percentiles(np.sqrt(areas)),
        'aspect ratio of an object': percentiles(width / np.maximum(height, 1e-9)),
        'objects of an image': percentiles(per_image),
        'side of an image': percentiles([np.sqrt(info['width'] * info['height']) for info in _sized(infos)]),
        'sizes of images': _commonest(f'{info["width"]} x {info["height"]}' for info in _sized(infos)),
        'overlaps': overlaps(infos, objects, classes),
    }


def _sized(infos: Sequence[dict]) -> list[dict]:
    return [info for info in infos if info.get('width') and info.get('height')]


def name_of(info: dict) -> str:
    """What to call an image in a report."""
    return str(info.get('img_path') or f'image {info.get("img_id")}')


def _commonest(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common(5))


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Percentiles, mean, and how many values there are; of no values only that."""
    values = np.asarray(values, dtype=float)
    if not len(values):
        return {'number': 0}
    found = {f'{p}%': float(v) for p, v in zip(PERCENTILES, np.percentile(values, PERCENTILES))}
    return {'number': len(values), 'mean': float(values.mean()), **found}


def _classes(objects: Objects, areas: np.ndarray, classes: Sequence[str]) -> dict[str, dict]:
    numbers = {}
    for label, name in enumerate(classes):
        own = objects.labels == label
        side = np.sqrt(areas[own])
        numbers[name] = {
            'objects': int(own.sum()),
            'images': len(np.unique(objects.images[own])),
            'share': float(own.mean()) if len(own) else 0.0,
            'median side': float(np.median(side)) if len(side) else None,
        }
    return numbers


def overlaps(infos: Sequence[dict], objects: Objects, classes: Sequence[str]) -> dict:
    """How many objects of an image overlap: by half, of one class or two, and so much that one may be there twice."""
    counts = Counter()
    confused = Counter()
    examples = []
    # sorted by image, since data infos are gone through in order
    starts = np.searchsorted(objects.images, np.arange(len(infos) + 1))
    for image, (start, end) in enumerate(itertools.pairwise(starts)):
        if end - start < 2:
            continue
        boxes = torch.from_numpy(objects.boxes[start:end])
        iou = np.triu(geometry.overlaps(boxes, boxes).numpy(), k=1)
        for a, b in np.argwhere(iou > OVERLAPPING):
            first, second = sorted(objects.labels[[start + a, start + b]].tolist())
            same = first == second
            counts['pairs of one class' if same else 'pairs of two classes'] += 1
            if not same:
                confused[f'{classes[first]} and {classes[second]}'] += 1
            if iou[a, b] > SAME_BOX:
                counts['pairs in one place'] += 1
                examples.append(f'{name_of(infos[image])}: {classes[first]} and {classes[second]} {_box(boxes[a])}')
    return {
        f'pairs of one class above IoU {OVERLAPPING}': counts['pairs of one class'],
        f'pairs of two classes above IoU {OVERLAPPING}': counts['pairs of two classes'],
        'commonest pairs of two classes': dict(confused.most_common(5)),
        f'pairs above IoU {SAME_BOX}, perhaps annotated twice': {
            'number': counts['pairs in one place'],
            'examples': examples[:5],
        },
    }


def _box(box: torch.Tensor) -> list[float]:
    return [round(value, 1) for value in box.tolist()]


@dataclass(frozen=True)
class Fingerprint:
    """What tells whether two picture files show the same.

    Attributes:
        content: A digest of the file's bytes.
        look: 256 bits of which of two neighboring spots is brighter, in 32 bytes; None of a picture without contrast.
    """

    content: bytes
    look: bytes | None


def fingerprint(path: str, backend_args: dict | None = None) -> Fingerprint:
    """The fingerprint of a picture file.

    Raises:
        ImageError: There is no such file, or it isn't a picture.
    """
    try:
        content = fileio.get(path, backend_args=backend_args)
    except FileNotFoundError:
        raise ImageError(path, 'there is no such file') from None
    digest = hashlib.blake2b(content, digest_size=16).digest()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.draft('L', (8 * _HASH_SIDE, 8 * _HASH_SIDE))  # JPEG decodes to an eighth in an eighth of the time
            upright = ImageOps.exif_transpose(picture).convert('L')
            gray = np.asarray(upright.resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX), dtype=np.int16)
    except Exception as error:  # damaged pictures raise whatever the format's reader runs into
        raise ImageError(path, 'not an image') from error
    if gray.std() < _FLAT:
        return Fingerprint(digest, None)
    return Fingerprint(digest, np.packbits(gray[:, 1:] > gray[:, :-1]).tobytes())


def alike(fingerprints: Sequence[Fingerprint | None]) -> list[list[int]]:
    """Groups of indices of pictures that look alike or are the same file; pictures that are alone are left out.

    Pictures look alike if at most 7 of their 256 bits differ, as after storing them again or resizing them.
    """
    parents = list(range(len(fingerprints)))

    def root(i: int) -> int:
        while parents[i] != i:
            parents[i] = parents[parents[i]]
            i = parents[i]
        return i

    buckets = defaultdict(list)
    for i, one in enumerate(fingerprints):
        for key in _keys(one):
            buckets[key].append(i)
    for indices in buckets.values():
        for i in indices[1:]:
            first = next((j for j in indices if j < i and _similar(fingerprints[i], fingerprints[j])), None)
            if first is not None:
                parents[root(i)] = root(first)
    groups = defaultdict(list)
    for i in range(len(fingerprints)):
        groups[root(i)].append(i)
    return [group for group in groups.values() if len(group) > 1]


def _keys(one: Fingerprint | None) -> list:
    if one is None:
        return []
    step = len(one.look) // _CHUNKS if one.look else 1
    chunks = [(k, one.look[k * step : (k + 1) * step]) for k in range(_CHUNKS)] if one.look else []
    return [one.content, *chunks]


def _similar(a: Fingerprint, b: Fingerprint) -> bool:
    if a.content == b.content:
        return True
    if a.look is None or b.look is None:
        return False
    return (int.from_bytes(a.look, 'big') ^ int.from_bytes(b.look, 'big')).bit_count() <= _ALIKE
