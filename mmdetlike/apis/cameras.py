"""Frames of cameras and streams, one after the other without end."""

from collections.abc import Iterable, Iterator
from itertools import islice

import cv2
import numpy as np

from mmdetlike.apis.videos import Video, is_video, probe, read_frames
from mmdetlike.datasets.errors import ImageError
from mmdetlike.errors import ConfigError

CAMERA_FPS = 25.0


def open_source(source: int | str | Iterable[np.ndarray], max_frames: int | None = None) -> tuple[Video, Iterator]:
    """What is known of a source of frames, and its frames (h, w, 3), uint8, BGR.

    Args:
        source: Number of a camera, also as text; file of a video; address of a stream (``rtsp://...``); or the frames.
        max_frames: Stop after so many; None for all there are.

    Raises:
        ConfigError: ``max_frames`` isn't positive.
        ImageError: It can't be opened.
    """
    if max_frames is not None and max_frames < 1:
        raise ConfigError(f'max_frames={max_frames} should be positive, or None for all frames')
    if not isinstance(source, (int, str)):
        return Video('frames', CAMERA_FPS, 0), islice(iter(source), max_frames)
    if is_video(source):
        video = probe(source)
        return video, islice(read_frames(video), max_frames)
    number = int(source) if str(source).isdigit() else None
    capture = cv2.VideoCapture(source if number is None else number)
    if not capture.isOpened():
        capture.release()
        kind = f'camera {number}' if number is not None else str(source)
        raise ImageError(kind, 'it can not be opened; expected the number of a camera, a video or a stream')
    fps = capture.get(cv2.CAP_PROP_FPS)
    name = f'camera_{number}' if number is not None else 'stream'
    return Video(name, fps if fps > 0 else CAMERA_FPS, 0), islice(_frames(capture), max_frames)


def _frames(capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    try:
        while True:
            good, frame = capture.read()
            if not good:
                return
            yield frame
    finally:
        capture.release()
