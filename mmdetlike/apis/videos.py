"""Reading videos and animated pictures frame by frame."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from mmdetlike.datasets.errors import ImageError
from mmdetlike.utils.outputs import is_url

PICTURE_SUFFIXES = ('.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.ppm', '.pgm')
ANIMATION_SUFFIXES = ('.gif', '.webp', '.png', '.apng')  # of pictures that may move
VIDEO_SUFFIXES = (
    *('.mp4', '.avi', '.mov', '.mkv', '.webm', '.mpg', '.mpeg', '.m4v', '.wmv', '.flv'),
    *('.ts', '.mts', '.m2ts', '.3gp', '.3g2', '.ogv', '.asf', '.vob'),
)
_DEFAULT_FPS = 25.0
GIF_END = b'\x3b'
# A damaged frame is passed over. Where a video doesn't say how long it is, so many in a row are its end.
_MAX_FAILURES = 100


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


def is_video(source) -> bool:
    """Whether it is the path of a video or of an animated picture, by its ending, else by its content."""
    if not isinstance(source, (str, Path)) or is_url(source):
        return False
    suffix = Path(source).suffix.lower()
    if suffix in ANIMATION_SUFFIXES:
        return _count_pages(source) > 1
    if suffix in (*PICTURE_SUFFIXES, *VIDEO_SUFFIXES):
        return suffix in VIDEO_SUFFIXES
    return Path(source).is_file() and not _count_pages(source) and cv2.VideoCapture(str(source)).isOpened()


def probe(path: str) -> Video:
    """Read the frame rate and the number of frames that a video announces.

    Raises:
        ImageError: There is no such file, or it can't be read as a video.
    """
    if not Path(path).is_file():
        raise ImageError(path, 'there is no such file')
    if Path(path).suffix.lower() in ANIMATION_SUFFIXES:
        return _probe_animation(path)
    capture = cv2.VideoCapture(path)
    try:
        if not capture.isOpened():
            raise ImageError(path, 'OpenCV cannot read it as a video')
        fps = capture.get(cv2.CAP_PROP_FPS)
        frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()
    return Video(path, fps if fps > 0 else _DEFAULT_FPS, max(frames, 0))


def read_frames(video: Video) -> Iterator[np.ndarray]:
    """The frames (h, w, 3), uint8, BGR, of a video; damaged ones are passed over, with a warning at the end.

    Raises:
        ImageError: There isn't a single one.
    """
    animated = Path(video.path).suffix.lower() in ANIMATION_SUFFIXES
    count = 0
    for frame in (_animation_frames if animated else _video_frames)(video):
        count += 1
        yield frame
    if count == 0:
        raise ImageError(video.path, 'it is a video without a frame that can be read')
    if _is_gif_cut_short(video.path):  # its number of frames is that of those found
        warnings.warn(f'{video.path}: the file is cut short; {count} frames could be read', stacklevel=2)
    elif count < video.frames:
        warnings.warn(
            f'{video.path}: {count} of the {video.frames} frames that it announces could be read', stacklevel=2
        )


def _is_gif_cut_short(path: str) -> bool:
    """Whether a GIF, which doesn't announce its frames, lacks the byte that ends each."""
    if Path(path).suffix.lower() != '.gif' or not Path(path).is_file():
        return False
    content = Path(path).read_bytes()
    return content.startswith(b'GIF8') and not content.rstrip(b'\0').endswith(GIF_END)


def _video_frames(video: Video) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(video.path)
    try:
        number = 0
        failures = 0
        while failures < _MAX_FAILURES and not (failures and video.frames and number >= video.frames):
            good, frame = capture.read()
            number += 1
            failures = 0 if good else failures + 1
            if good:
                yield frame
    finally:
        capture.release()


def _count_pages(path: str | Path) -> int:
    """Pictures in a file of pictures; 0 if it is none."""
    try:
        with Image.open(path) as image:
            return getattr(image, 'n_frames', 1)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return int(cv2.haveImageReader(str(path)))


def _probe_animation(path: str) -> Video:
    try:
        with Image.open(path) as image:
            image.load()  # some formats tell the duration only then
            duration = image.info.get('duration') or 0  # of the first frame, in milliseconds
            return Video(path, 1000 / duration if duration > 0 else _DEFAULT_FPS, getattr(image, 'n_frames', 1))
    except (UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise ImageError(path, f'Pillow cannot read it: {error}') from error


def _animation_frames(video: Video) -> Iterator[np.ndarray]:
    with Image.open(video.path) as image:
        for number in range(video.frames):
            try:
                image.seek(number)
                frame = np.asarray(image.convert('RGB'))
            except (OSError, EOFError, ValueError, SyntaxError):
                return  # frames are stored as differences: those after a damaged one mean nothing
            yield np.ascontiguousarray(frame[..., ::-1])
