"""Predictions as plain data, and the files they are written to."""

import json
from pathlib import Path
from urllib.parse import urlparse

import cv2
import numpy as np

from mmdetlike.apis.sources import Item, Video, is_url
from mmdetlike.evaluation.metrics.convert import encode_masks, to_numpy
from mmdetlike.structures import DetDataSample
from mmdetlike.visualization import save_image

_WRITABLE = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def to_dict(sample: DetDataSample) -> dict:
    """The predictions of a sample as lists of numbers.

    Returns:
        ``labels``, ``scores`` and ``bboxes`` (xyxy in pixels) and, where there are any, ``masks`` (COCO run-length
        encodings), ``keypoints`` (x, y) and ``keypoint_scores``; ``panoptic_seg``, a list of segments with ``id``
        (label + 1000 * instance) and ``mask``.
    """
    instances = sample.get('pred_instances', {})
    result = {key: to_numpy(instances[key]).tolist() for key in ('labels', 'scores', 'bboxes') if key in instances}
    if 'masks' in instances:
        result['masks'] = encode_masks(instances['masks'])
    for key in ('keypoints', 'keypoint_scores'):
        if key in instances:
            result[key] = to_numpy(instances[key]).tolist()
    if 'pred_panoptic_seg' in sample:
        ids = to_numpy(sample.pred_panoptic_seg.sem_seg)[0]
        numbers = np.unique(ids)
        masks = encode_masks(ids == numbers[:, None, None])
        result['panoptic_seg'] = [{'id': number, 'mask': mask} for number, mask in zip(numbers.tolist(), masks)]
    return result


class ResultWriter:
    """Writes drawn pictures to ``out_dir/vis`` and predictions to ``out_dir/preds``; closes videos when it is left.

    A picture keeps its name; one without gets its number, one whose name is taken gets a number after it.

    Args:
        out_dir: The folder.
        save_vis: Write pictures.
        save_pred: Write predictions.
    """

    def __init__(self, out_dir: str | Path, save_vis: bool, save_pred: bool) -> None:
        self.vis = Path(out_dir) / 'vis' if save_vis else None
        self.preds = Path(out_dir) / 'preds' if save_pred else None
        self._names: set[str] = set()
        self._written = 0
        self._video: _VideoWriter | None = None

    def __enter__(self) -> 'ResultWriter':
        return self

    def __exit__(self, *exception) -> None:
        self._close_video()

    def write(self, item: Item, prediction: dict, picture: np.ndarray | None) -> None:
        """Write what was found in one picture.

        Args:
            item: The picture.
            prediction: From ``to_dict``.
            picture: The drawn picture (h, w, 3), RGB; None if none is to be written.
        """
        if item.video is not None:
            self._write_frame(item.video, prediction, picture)
            return
        self._close_video()
        name, suffix = self._name(item)
        if self.vis is not None and picture is not None:
            save_image(picture, self.vis / f'{name}{suffix}')
        if self.preds is not None:
            self.preds.mkdir(parents=True, exist_ok=True)
            (self.preds / f'{name}.json').write_text(json.dumps(prediction))
        self._written += 1

    def summary(self) -> str:
        """Where everything was written; empty if nothing was."""
        folders = {'pictures': self.vis, 'predictions': self.preds}
        return ', '.join(f'{what} in {path}' for what, path in folders.items() if path is not None and path.is_dir())

    def _name(self, item: Item) -> tuple[str, str]:
        path = Path(_file_name(item.image, self._written))
        suffix = path.suffix.lower() if path.suffix.lower() in _WRITABLE else '.png'
        return self._unused(path.stem), suffix

    def _unused(self, stem: str) -> str:
        name, number = stem, 0
        while name in self._names:
            number += 1
            name = f'{stem}_{number}'
        self._names.add(name)
        return name

    def _write_frame(self, video: Video, prediction: dict, picture: np.ndarray | None) -> None:
        if self._video is None or self._video.video is not video:
            self._close_video()
            self._video = _VideoWriter(video, self._unused(Path(video.path).stem), self.vis, self.preds)
        self._video.write(prediction, picture)

    def _close_video(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video = None


def _file_name(image: str | np.ndarray, number: int) -> str:
    if isinstance(image, np.ndarray):
        return f'{number:08d}.jpg'
    return urlparse(image).path if is_url(image) else image


class _VideoWriter:
    """An annotated video, and a JSON list with the predictions of each frame, written as frames come."""

    def __init__(self, video: Video, name: str, vis: Path | None, preds: Path | None) -> None:
        self.video, self._vis = video, vis and vis / f'{name}.mp4'
        self._pictures = self._json = None
        self._frames = 0
        if preds is not None:
            preds.mkdir(parents=True, exist_ok=True)
            self._json = open(preds / f'{name}.json', 'w')  # noqa: SIM115  closed by close()

    def write(self, prediction: dict, picture: np.ndarray | None) -> None:
        """Write a frame."""
        if self._json is not None:
            self._json.write(('[' if self._frames == 0 else ',\n') + json.dumps(prediction))
        if self._vis is not None and picture is not None:
            self._open(picture.shape)
            self._pictures.write(np.ascontiguousarray(picture[..., ::-1]))
        self._frames += 1

    def _open(self, shape: tuple[int, ...]) -> None:
        if self._pictures is not None:
            return
        self._vis.parent.mkdir(parents=True, exist_ok=True)
        codec, size = cv2.VideoWriter_fourcc(*'mp4v'), (shape[1], shape[0])
        self._pictures = cv2.VideoWriter(str(self._vis), codec, self.video.fps, size)
        if not self._pictures.isOpened():
            raise OSError(f'OpenCV could not write a video to {self._vis}: is the folder writable?')

    def close(self) -> None:
        """Finish the files."""
        if self._json is not None:
            self._json.write(']\n')
            self._json.close()
        if self._pictures is not None:
            self._pictures.release()
