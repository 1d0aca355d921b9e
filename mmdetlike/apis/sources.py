"""Turning inputs (paths, folders, patterns, URLs, videos, pictures in memory) into one stream of pictures."""

import glob
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmdetlike.apis.images import Image, each, is_single
from mmdetlike.apis.videos import (
    ANIMATION_SUFFIXES,
    PICTURE_SUFFIXES,
    VIDEO_SUFFIXES,
    Video,
    is_video,
    probe,
    read_frames,
)
from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.transforms import decode_image
from mmdetlike.utils.outputs import is_url

_LISTED_SUFFIXES = (*PICTURE_SUFFIXES, *ANIMATION_SUFFIXES, *VIDEO_SUFFIXES)
_TIMEOUT = 30  # seconds without an answer


@dataclass(frozen=True)
class Item:
    """One picture to predict on.

    Args:
        image: Path, URL or picture in memory; of a video the frame (h, w, 3), BGR.
        video: The video whose frame it is.
        error: Why there is no picture.
    """

    image: Image
    video: Video | None = None
    error: ImageError | None = None


def expand(inputs) -> list[Image] | Iterator[Image]:
    """Expand what a user handed over to paths, URLs and pictures.

    Args:
        inputs: Path of a picture, video or folder, glob pattern, URL, picture in memory, or a list, generator or stack
            of these.

    Returns:
        A list; of a generator or the like an iterator, which takes from it no more than is asked for.

    Raises:
        FileNotFoundError: A folder or pattern has no pictures, or a sole path leads nowhere.
    """
    if not is_single(inputs):
        found = (source for entry in each(inputs) for source in _expand_one(entry))
        return list(found) if hasattr(inputs, '__len__') else found
    found = _expand_one(inputs)
    if len(found) == 1 and isinstance(found[0], str) and not is_url(found[0]) and not Path(found[0]).exists():
        hint = '; of cameras and streams hand over the frames, as arrays' if _may_be_camera(found[0]) else ''
        raise FileNotFoundError(f'{found[0]}: there is no such picture, video or folder{hint}')
    return found


def _may_be_camera(text: str) -> bool:
    return '://' in text or text.isdigit()


def _expand_one(entry) -> list:
    if not isinstance(entry, (str, Path)):
        return [entry]
    text = str(entry)
    path = Path(entry)
    if not text:
        raise FileNotFoundError("'' is not the path of a picture, video or folder")  # to Path it is the folder '.'
    if path.is_dir():
        return _files_of(sorted(path.iterdir()), f'folder {path}')
    if not is_url(text) and not path.exists() and glob.has_magic(text):
        return _files_of([Path(found) for found in sorted(glob.glob(text, recursive=True))], f'pattern {text}')
    return [text]


def _files_of(paths: Sequence[Path], where: str) -> list[str]:
    found = [str(path) for path in paths if path.suffix.lower() in _LISTED_SUFFIXES and path.is_file()]
    if not found:
        raise FileNotFoundError(
            f'{where}: there are no pictures or videos among its {len(paths)} entries; looked for '
            f'{", ".join(_LISTED_SUFFIXES)}'
        )
    return found


def count(sources: Iterable) -> int | None:
    """The number of pictures, with frames as videos announce them; None if one doesn't, or for a generator."""
    if not isinstance(sources, list):
        return None
    counts = [_frames_of(source) if is_video(source) else 1 for source in sources]
    return None if 0 in counts else sum(counts)


def _frames_of(path: str) -> int:
    try:
        return probe(path).frames
    except ImageError:
        return 1  # an error is one item, too


def stream(sources: Iterable) -> Iterator[Item]:
    """The pictures of sources, videos frame by frame."""
    for source in sources:
        if is_video(source):
            yield from _frames(source)
        else:
            yield Item(source)


def _frames(path: str) -> Iterator[Item]:
    try:
        video = probe(path)
        for frame in read_frames(video):
            yield Item(frame, video)
    except ImageError as error:
        yield Item(path, error=error)


def download(url: str) -> np.ndarray:
    """The picture (h, w, 3), uint8, BGR, at an http(s) address.

    Raises:
        ImageError: It can't be fetched or isn't a whole picture.
    """
    request = urllib.request.Request(url, headers={'User-Agent': 'mmdetlike'})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            content = response.read()
    except (OSError, ValueError, urllib.error.URLError) as error:
        reason = getattr(error, 'reason', error)
        raise ImageError(url, f'could not be downloaded ({reason}); offline? Hand over a file instead') from error
    return decode_image(content, path=url)
