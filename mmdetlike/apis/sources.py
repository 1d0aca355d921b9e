"""What a user may hand over to be looked at, as one stream of pictures."""

import glob
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.transforms import decode_image
from mmdetlike.utils.outputs import is_url

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm')
VIDEO_SUFFIXES = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.mpg', '.mpeg', '.m4v', '.wmv', '.flv')
_DEFAULT_FPS = 25.0
_TIMEOUT = 30  # seconds without an answer


@dataclass(frozen=True)
class Video:
    """A video file.

    Args:
        path: The file.
        fps: Frames a second.
        frames: How many it says it has; 0 if it doesn't say.
    """

    path: str
    fps: float
    frames: int


@dataclass(frozen=True)
class Item:
    """One picture to look at.

    Args:
        image: Path, URL or array (h, w, 3), BGR.
        video: The video whose frame it is.
        error: Why there is no picture.
    """

    image: str | np.ndarray
    video: Video | None = None
    error: ImageError | None = None


def expand(inputs) -> list[str | np.ndarray]:
    """Paths, URLs and arrays, one by one, of what a user handed over.

    Args:
        inputs: Path of a picture, video or folder, glob pattern, URL, array, or a list of these.

    Raises:
        FileNotFoundError: A folder or pattern has no pictures, or a sole path leads nowhere.
    """
    if isinstance(inputs, (list, tuple)):
        return [found for entry in inputs for found in _expand_one(entry)]
    found = _expand_one(inputs)
    if len(found) == 1 and isinstance(found[0], str) and not is_url(found[0]) and not Path(found[0]).exists():
        raise FileNotFoundError(f'{found[0]}: there is no such picture, video or folder')
    return found


def _expand_one(entry) -> list:
    if not isinstance(entry, (str, Path)):
        return [entry]
    text, path = str(entry), Path(entry)
    if path.is_dir():
        return _files_of(sorted(path.iterdir()), f'folder {path}')
    if not is_url(text) and not path.exists() and glob.has_magic(text):
        return _files_of([Path(found) for found in sorted(glob.glob(text, recursive=True))], f'pattern {text}')
    return [text]


def _files_of(paths: Sequence[Path], where: str) -> list[str]:
    wanted = IMAGE_SUFFIXES + VIDEO_SUFFIXES
    found = [str(path) for path in paths if path.suffix.lower() in wanted and path.is_file()]
    if not found:
        raise FileNotFoundError(
            f'{where}: there are no pictures or videos among its {len(paths)} entries; looked for {", ".join(wanted)}'
        )
    return found


def is_video(source) -> bool:
    """Whether it is the path of a video."""
    return isinstance(source, str) and not is_url(source) and Path(source).suffix.lower() in VIDEO_SUFFIXES


def count(sources: Sequence) -> int | None:
    """How many pictures there will be, by what videos say of themselves; None if one doesn't say."""
    counts = [_frames_of(source) if is_video(source) else 1 for source in sources]
    return None if 0 in counts else sum(counts)


def _frames_of(path: str) -> int:
    capture = cv2.VideoCapture(path)
    frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 1  # an error is one item, too
    capture.release()
    return max(frames, 0)


def stream(sources: Sequence) -> Iterator[Item]:
    """The pictures of sources, videos frame by frame."""
    for source in sources:
        if is_video(source):
            yield from _frames(source)
        else:
            yield Item(source)


def _frames(path: str) -> Iterator[Item]:
    capture = cv2.VideoCapture(path)
    try:
        fps, frames = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        video = Video(path, fps if fps > 0 else _DEFAULT_FPS, max(frames, 0))
        good, frame = capture.read()
        if not good:
            reason = 'OpenCV cannot read it as a video' if Path(path).is_file() else 'there is no such file'
            yield Item(path, error=ImageError(path, reason))
        while good:
            yield Item(frame, video)
            good, frame = capture.read()
    finally:
        capture.release()


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
