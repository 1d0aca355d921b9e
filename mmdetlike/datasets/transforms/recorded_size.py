"""Comparing the size that annotations record for a picture with that of the picture which was loaded."""

from numbers import Real

import numpy as np
import torch
from pycocotools import mask as coco_mask

from mmdetlike.datasets.errors import DataError, ImageError, ImageSizeError, tells_at, warn
from mmdetlike.datasets.transforms.image_io import read_orientation
from mmdetlike.datasets.transforms.jpeg import TURNS
from mmdetlike.structures.bbox import geometry
from mmdetlike.structures.mask import rle_to_bitmap
from mmdetlike.structures.warp import Size, Warp

SIZE_MISMATCHES = ('skip', 'rescale', 'ignore', 'error')


class RecordedSize:
    """Compare a loaded picture with ``height`` and ``width`` of its sample, where these are known.

    Args:
        mismatch: What happens if they differ. 'skip': in training the sample is left out with a warning, as broken
            pictures are; in testing, where each picture must be predicted, there is only the warning. 'rescale': the
            annotations follow the picture. 'ignore': nothing. 'error': stop.
        turned: Whether pictures are loaded turned as EXIF says, and not as they are stored.
        backend_args: Where files are, to look up what EXIF says of a picture.

    Raises:
        ValueError: ``mismatch`` is unknown.
    """

    def __init__(self, mismatch: str, turned: bool = True, backend_args: dict | None = None) -> None:
        if mismatch not in SIZE_MISMATCHES:
            raise ValueError(f'size_mismatch={mismatch!r} is unknown; expected one of {", ".join(SIZE_MISMATCHES)}.')
        self.mismatch = mismatch
        self.turned = turned
        self.backend_args = backend_args
        self.paths: set[str] = set()

    def compare(self, results: dict) -> None:
        """Compare the sizes of a sample whose image has just been loaded, and act on a difference.

        Raises:
            ImageSizeError: The sizes differ, and the sample is to be left out of training.
            DataError: The sizes differ, and that is an error.
        """
        recorded = recorded_size(results)
        loaded = results['img_shape']
        if self.mismatch == 'ignore' or recorded in (None, loaded):
            return
        reason = self._reason(results, recorded)
        if self.mismatch == 'error':
            raise DataError(f'{results["img_path"]}: {reason}.')
        if self.mismatch == 'rescale' and recorded != loaded[::-1]:  # what is turned can't be reached by stretching
            rescale_sample(results, Warp.resize(recorded, loaded))
            moved = 'Predictions' if results.get('test_mode') else 'Annotations'
            self._warn(f'{moved} are rescaled for', results['img_path'], reason)
        elif results.get('test_mode'):
            self._warn('Tested on', results['img_path'], reason)
        else:
            raise ImageSizeError(str(results['img_path']), reason)

    def _warn(self, done: str, path: str, reason: str) -> None:
        if path in self.paths:
            return
        self.paths.add(path)
        count = len(self.paths)
        if tells_at(count):
            warn(f'{done} an image of another size than recorded ({count} so far in this process): {path}: {reason}.')

    def _reason(self, results: dict, recorded: Size) -> str:
        loaded = results['img_shape']
        sizes = f'its width x height is {_text(loaded)}, but {_text(recorded)} according to its annotations'
        if recorded != loaded[::-1]:
            return (
                f'{sizes}; set size_mismatch of LoadImageFromFile to "rescale" if they belong to a picture of the size '
                f'they give, to "ignore" if they fit this one as they are'
            )
        orientation = read_orientation(results['img_path'], self.backend_args)
        if orientation not in TURNS:
            return f'{sizes}: width and height are exchanged'
        if self.turned:
            return (
                f'{sizes}: it was turned by its EXIF orientation, {orientation}; set color_type (the imdecode flag) of '
                f'LoadImageFromFile to "color_ignore_orientation" if the annotations belong to the stored picture'
            )
        return (
            f'{sizes}: it was loaded as stored, without its EXIF orientation, {orientation}; set color_type (the '
            f'imdecode flag) of LoadImageFromFile to "color" if the annotations belong to the turned picture'
        )


def recorded_size(results: dict) -> Size | None:
    """(h, w) that the annotations of a sample give for its picture; None if they give none."""
    size = results.get('height'), results.get('width')
    known = all(isinstance(side, (Real, np.number)) and side > 0 for side in size)
    return (int(size[0]), int(size[1])) if known else None


def _text(size: Size) -> str:
    return f'{size[1]} x {size[0]}'


def rescale_sample(results: dict, warp: Warp) -> None:
    """Rescale a sample whose loaded image is the annotated one resized by ``warp``.

    In training the annotations move onto the image. In testing, what is predicted will be compared with annotations as
    they are in their file: the sample becomes what a `Resize` of the annotated image would have made of it.
    """
    if results.get('test_mode'):
        results['ori_shape'] = warp.source
        results['scale_factor'] = warp.scale
        return
    results['instances'] = [_rescaled_instance(instance, warp) for instance in results.get('instances', [])]
    if isinstance(results.get('proposals'), dict):
        proposals = results['proposals']
        results['proposals'] = {**proposals, 'bboxes': _rescaled_points(proposals['bboxes'], warp)}
    results['height'], results['width'] = warp.size
    results['label_map_size'] = warp.source


def follow_reduction(results: dict, size: Size) -> None:
    """Let a sample follow its picture, which was decoded at ``size`` (h, w), below the ``img_shape`` that it has.

    What is to be compared with annotations in testing still belongs to the whole picture.
    """
    warp = Warp.resize(results['img_shape'], size)
    before = results['scale_factor']  # not 1 where the whole picture differs from the annotated one, too
    label_map_size = results.get('label_map_size', results['img_shape'])
    ori_shape = results['ori_shape']
    rescale_sample(results, warp)
    results['img_shape'] = size
    if results.get('test_mode'):
        results['ori_shape'] = ori_shape
        results['scale_factor'] = tuple(first * second for first, second in zip(before, warp.scale))
    else:
        results['ori_shape'] = size
        results['label_map_size'] = label_map_size


def _rescaled_instance(instance: dict, warp: Warp) -> dict:
    moved = dict(instance)
    if 'bbox' in instance:
        moved['bbox'] = _rescaled_box(instance['bbox'], warp)
    if 'area' in instance:
        moved['area'] = instance['area'] * warp.scale[0] * warp.scale[1]
    if 'keypoints' in instance:
        keypoints = np.array(instance['keypoints'], dtype=np.float64).reshape(-1, 3)
        keypoints[:, :2] = warp.points(keypoints[:, :2])
        moved['keypoints'] = keypoints.reshape(np.shape(instance['keypoints'])).tolist()
    if 'point_coords' in instance:
        moved['point_coords'] = warp.points(np.array(instance['point_coords'], np.float64).reshape(-1, 2)).tolist()
    if isinstance(instance.get('mask'), dict):
        moved['mask'] = _rescaled_rle(instance['mask'], warp.size)
    elif 'mask' in instance:
        moved['mask'] = [_rescaled_polygon(polygon, warp) for polygon in instance['mask']]
    return moved


def _rescaled_box(box: list, warp: Warp) -> list:
    if len(box) != geometry.ROTATED:
        return _rescaled_points(box, warp).tolist()
    return geometry.project(torch.tensor(box, dtype=torch.float64), warp.matrix).tolist()


def _rescaled_points(numbers: list | np.ndarray, warp: Warp) -> np.ndarray:
    """Corners x, y, x, y, ... in the last axis of an array of any shape."""
    numbers = np.asarray(numbers, dtype=np.float64)
    if numbers.shape[-1] % 2:
        raise DataError(f'size_mismatch="rescale" cannot stretch a box that is turned, {numbers.tolist()}.')
    return warp.points(numbers.reshape(-1, 2)).reshape(numbers.shape)


def _rescaled_polygon(polygon: list, warp: Warp) -> list:
    """A polygon without pairs of numbers is left to the check that comes with masks."""
    return _rescaled_points(polygon, warp).tolist() if len(polygon) % 2 == 0 else polygon


def _rescaled_rle(rle: dict, size: Size) -> dict:
    """A mask resized from its own size, which may differ from the annotated one, to ``size`` (h, w)."""
    bitmap = rle_to_bitmap(rle)
    moved = Warp.resize(bitmap.shape, size).label_map(bitmap)
    encoded = coco_mask.encode(np.asfortranarray(moved))
    return dict(encoded, counts=encoded['counts'].decode('ascii'))  # text, as in files


def fit_label_map(seg: np.ndarray, results: dict, path: str) -> np.ndarray:
    """A map (h, w) of the pixels of a sample's picture, which follows if the sample's annotations were rescaled.

    Raises:
        ImageError: It is not of the size of the picture.
    """
    expected = results.get('ori_shape')
    if expected is None or seg.shape[:2] == tuple(expected):
        return seg
    if seg.shape[:2] == results.get('label_map_size'):
        return Warp.resize(seg.shape[:2], expected).label_map(seg)
    raise ImageError(
        path,
        f'the width x height of this map is {_text(seg.shape)}, but {_text(expected)} that of its picture '
        f'{results.get("img_path")}',
    )
