"""Converting predictions to plain data, and writing them to files."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from urllib.parse import urlparse

import cv2
import numpy as np

from mmdetlike.apis.images import Image, as_array
from mmdetlike.apis.sources import Item
from mmdetlike.apis.videos import Video, is_video
from mmdetlike.evaluation.metrics.convert import encode_masks, to_numpy
from mmdetlike.structures import DetDataSample
from mmdetlike.structures.panoptic import INSTANCE_OFFSET
from mmdetlike.utils.outputs import OutputFolder, identity, is_url
from mmdetlike.visualization import save_image

_WRITABLE = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def to_dict(sample: DetDataSample) -> dict:
    """The predictions of a sample as lists of numbers.

    Returns:
        ``labels``, ``scores`` and ``bboxes`` (as predicted) and, where there are any, ``masks`` (COCO run-length
        encodings), ``keypoints`` (x, y), ``keypoint_scores`` and ``all_scores``, those of all classes for each box, see
        ``test_cfg.return_all_scores``; ``panoptic_seg``, a list of segments with ``id``
        (label + 1000 * instance) and ``mask``.
    """
    instances = sample.get('pred_instances', {})
    result = {key: to_numpy(instances[key]).tolist() for key in ('labels', 'scores', 'bboxes') if key in instances}
    if 'masks' in instances:
        result['masks'] = encode_masks(instances['masks'])
    for key in ('keypoints', 'keypoint_scores', 'all_scores'):
        if key in instances:
            result[key] = to_numpy(instances[key]).tolist()
    if 'pred_panoptic_seg' in sample:
        ids = to_numpy(sample.pred_panoptic_seg.sem_seg)[0]
        numbers = np.unique(ids)
        masks = encode_masks(ids == numbers[:, None, None])
        result['panoptic_seg'] = [{'id': number, 'mask': mask} for number, mask in zip(numbers.tolist(), masks)]
    return result


def summarize(prediction: dict, classes: Sequence[str], score_thr: float) -> str:
    """A prediction in a few words: a line an object that scores ``score_thr`` or more, or a line a segment.

    Args:
        prediction: From ``to_dict``.
        classes: Names of the classes.
        score_thr: Others are only counted.
    """
    if 'panoptic_seg' in prediction:
        ids = [segment['id'] % INSTANCE_OFFSET for segment in prediction['panoptic_seg']]
        names = ', '.join(_class_name(classes, i) for i in ids if i < len(classes))
        return f'segments: {names or "none"}'
    found = list(zip(prediction.get('labels', ()), prediction.get('scores', ()), prediction.get('bboxes', ())))
    shown = [entry for entry in found if entry[1] >= score_thr]
    lines = [f'{len(shown)} objects that score {score_thr} or more, {len(found) - len(shown)} others']
    for label, score, box in shown:
        lines.append(f'  {_class_name(classes, label)} {score:.2f} at {", ".join(f"{x:.1f}" for x in box)}')
    return '\n'.join(lines)


def _class_name(classes: Sequence[str], label: int) -> str:
    return str(classes[label]) if label < len(classes) else f'class {label}'


def to_json(prediction: dict) -> str:
    """A prediction as JSON, which has no infinite numbers and no NaN: they become null."""
    return json.dumps(_finite(prediction), allow_nan=False)


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class ResultWriter:
    """Writes drawn pictures to ``out_dir/vis`` and predictions to ``out_dir/preds``; closes videos when it is left.

    Files are called as `OutputFolder` says; that of a picture in memory has its number.

    Args:
        out_dir: The folder.
        save_vis: Write pictures.
        save_pred: Write predictions.
        sources: The inputs, as far as they are known beforehand.

    Raises:
        OutputError: An output would replace an input, or the folder can't be written to.
    """

    def __init__(self, out_dir: str | Path, save_vis: bool, save_pred: bool, sources: Iterable = ()) -> None:
        known = sources if isinstance(sources, list) and (save_vis or save_pred) else []  # generators are read later
        self._files = [source for source in known if isinstance(source, (str, Path))]
        self._outputs = OutputFolder(out_dir or '.', self._files)
        self._save_vis = save_vis
        self._save_pred = save_pred
        self._written = 0
        self._video: _VideoWriter | None = None
        if save_vis or save_pred:
            self._outputs.check(self._expected())

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
        if self._save_vis and picture is not None:
            save_image(picture, self._claim('vis', item.image, _picture_suffix(item.image)))
        if self._save_pred:
            self._claim('preds', item.image, '.json').write_text(to_json(prediction))
        self._written += 1

    def summary(self) -> str:
        """The folders that outputs were written to; empty if there are none."""
        written = {'pictures': ('vis', self._save_vis), 'predictions': ('preds', self._save_pred)}
        folders = {what: self._outputs.folder / name for what, (name, wanted) in written.items() if wanted}
        return ', '.join(f'{what} in {path}' for what, path in folders.items() if path.is_dir())

    def _expected(self) -> Iterator[PurePath]:
        """The files of inputs that are known."""
        for source in self._files:
            if self._save_vis:
                yield 'vis' / self._outputs.name(source, '.mp4' if is_video(source) else _picture_suffix(source))
            if self._save_pred:
                yield 'preds' / self._outputs.name(source, '.json')

    def _claim(self, folder: str, image: Image, suffix: str) -> Path:
        if isinstance(image, (str, Path)):
            return self._outputs.claim(folder / self._outputs.name(image, suffix), identity(image))
        name = PurePath(f'{self._written:08d}{suffix}')
        return self._outputs.claim(folder / name, identity(as_array(image)))

    def _write_frame(self, video: Video, prediction: dict, picture: np.ndarray | None) -> None:
        if self._video is None or self._video.video is not video:
            self._close_video()
            pictures = self._claim('vis', video.path, '.mp4') if self._save_vis else None
            predictions = self._claim('preds', video.path, '.json') if self._save_pred else None
            self._video = _VideoWriter(video, pictures, predictions)
        self._video.write(prediction, picture)

    def _close_video(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video = None


def _picture_suffix(image: Image) -> str:
    """The ending of a drawn picture: that of its input if the format can be written."""
    if not isinstance(image, (str, Path)):
        return '.jpg'
    path = Path(urlparse(image).path if is_url(image) else image)
    return path.suffix.lower() if path.suffix.lower() in _WRITABLE else '.png'


class _VideoWriter:
    """An annotated video, and a JSON list with the predictions of each frame, written as frames come."""

    def __init__(self, video: Video, vis: Path | None, preds: Path | None) -> None:
        self.video = video
        self._vis = vis
        self._pictures = None
        self._shape: tuple[int, int] | None = None
        self._json = None if preds is None else open(preds, 'w')  # noqa: SIM115  closed by close()
        self._frames = 0

    def write(self, prediction: dict, picture: np.ndarray | None) -> None:
        """Write a frame."""
        if self._json is not None:
            self._json.write(('[' if self._frames == 0 else ',\n') + to_json(prediction))
        if self._vis is not None and picture is not None:
            self._open(picture.shape)
            if picture.shape[:2] != self._shape:  # OpenCV would leave it out without a word
                picture = cv2.resize(picture, self._shape[::-1])
            self._pictures.write(np.ascontiguousarray(picture[..., ::-1]))
        self._frames += 1

    def _open(self, shape: tuple[int, ...]) -> None:
        if self._pictures is not None:
            return
        self._shape = shape[:2]
        codec = cv2.VideoWriter_fourcc(*'mp4v')
        size = (shape[1], shape[0])
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
