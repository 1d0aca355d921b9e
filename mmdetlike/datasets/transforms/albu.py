"""The transforms of albumentations, applied to all fields of a sample at once."""

import difflib
import inspect
import os
import warnings
from collections.abc import Sequence
from types import ModuleType

import cv2
import numpy as np

from mmdetlike.datasets.transforms.base import BaseTransform, image_size
from mmdetlike.datasets.transforms.color import to_bytes
from mmdetlike.datasets.transforms.instances import INSTANCE_FIELDS, PROPOSAL_FIELDS, select_instances
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.bbox import HorizontalBoxes
from mmdetlike.structures.mask import BitmapMasks
from mmdetlike.utils.packages import import_package

# 2.0.8 is the last version under the MIT license.
INSTALL = "'albumentations==2.0.8'"
# the keys of our samples and the names of albumentations' targets
KEYMAP = {'img': 'image', 'gt_bboxes': 'bboxes', 'gt_masks': 'masks', 'gt_seg_map': 'mask', 'gt_keypoints': 'keypoints'}
# What `Albu` itself sees to: each field of an instance follows its box, and lost instances are dropped.
_OWN_BOX_PARAMS = ('type', 'format', 'label_fields', 'filter_lost_elements')
_BOX_PARAMS = ('min_area', 'min_visibility', 'min_width', 'min_height', 'check_each_transform', 'max_accept_ratio')
_HALF_PIXEL = 0.5  # they count from centers of pixels, we from corners


@TRANSFORMS.register_module()
class Albu(BaseTransform):
    """Apply transforms of albumentations to image, boxes, masks, keypoints, label map and proposals alike.

    Boxes are cut to the image, and instances of which no box is left are dropped. Masks become bitmaps. Floating point
    images are rounded to 8 bits on the way.

    Args:
        transforms: Configs of their transforms, by the names of albumentations 2; 'JpegCompression' and its arguments
            are translated. Those that hold others ('OneOf', 'Sequential' ...) have ``transforms``, too.
        bbox_params: Which boxes are dropped beside the lost ones: ``min_area``, ``min_visibility``, ``min_width``,
            ``min_height``.
        keymap: Kept for configs: all that a sample holds is moved, whether named there or not.
        skip_img_without_anno: Give the sample up (return None) if no box is left.

    Raises:
        ConfigError: The package is missing, or knows no such transform or argument; or boxes are turned.
    """

    needs = ('img',)

    def __init__(
        self,
        transforms: Sequence[dict],
        bbox_params: dict | None = None,
        keymap: dict | None = None,
        skip_img_without_anno: bool = False,
    ) -> None:
        os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')  # else it asks the network for a newer version
        package = import_package('albumentations', 'Albu', INSTALL)
        _check_keymap(keymap or {})
        self.transforms = transforms
        self.bbox_params = bbox_params
        self.keymap = keymap
        self.skip_img_without_anno = skip_img_without_anno
        with warnings.catch_warnings():
            # it would warn where no step moves boxes or keypoints
            warnings.filterwarnings('ignore', message='Got processor for')
            self._compose = compose(package, transforms, _box_params(bbox_params or {}))

    def transform(self, results: dict) -> dict | None:
        if 'gt_points' in results:
            raise ConfigError('Albu does not move gt_points: put LoadMaskPoints after it')
        # their generators are their own: our seed goes on to them
        self._compose.set_random_seed(int(np.random.randint(2**31)))
        old = image_size(results)
        targets = _targets(results)
        moved = self._compose(**targets)
        results['img'] = moved['image'].astype(results['img'].dtype, copy=False)
        results['img_shape'] = results['img'].shape[:2]
        points = _moved_points(moved, len(targets['keypoints']))
        matrix = _record_matrix(results, points[:4], old)
        _read_dense(results, moved)
        _read_keypoints(results, points[4:], mirrored=np.linalg.det(matrix[:2, :2]) < 0)
        _read_boxes(results, moved)
        if self.skip_img_without_anno and len(results.get('gt_bboxes', ' ')) == 0:
            return None
        return results


def compose(package: ModuleType, transforms: Sequence[dict], box_params: dict) -> object:
    """Their pipeline of transforms, for boxes and keypoints that are numbered.

    Raises:
        ConfigError: A transform can't be built.
    """
    return package.Compose(
        [build_albu(package, step) for step in transforms],
        bbox_params=package.BboxParams(
            format='pascal_voc', label_fields=['box_numbers'], clip=True, filter_invalid_bboxes=True, **box_params
        ),
        keypoint_params=package.KeypointParams(format='xy', label_fields=['point_numbers'], remove_invisible=False),
    )


def build_albu(package: ModuleType, step: dict) -> object:
    """One of their transforms from its config.

    Raises:
        ConfigError: There is no such transform, or it doesn't take the arguments.
    """
    step = _renamed(dict(step))
    name = step.pop('type', None)
    cls = getattr(package, str(name), None)
    if not inspect.isclass(cls) or not issubclass(cls, (package.BasicTransform, package.BaseCompose)):
        close = difflib.get_close_matches(str(name), dir(package), n=3, cutoff=0.5)
        raise ConfigError(
            f'type={name!r} is no transform of albumentations {package.__version__}'
            + (f'; closest names: {", ".join(close)}' if close else '')
        )
    known = list(inspect.signature(cls.__init__).parameters)[1:]
    unknown = [key for key in step if key not in known]
    if unknown:  # it would drop them with a warning
        raise ConfigError(
            f'{name} of albumentations {package.__version__} takes no {", ".join(unknown)}; its arguments are '
            f'{", ".join(known)}'
        )
    if 'transforms' in step:
        step['transforms'] = [build_albu(package, inner) for inner in step['transforms']]
    try:
        return cls(**step)
    except (TypeError, ValueError) as error:
        raise ConfigError(f'{name} of albumentations {package.__version__}: {_reason(error)}') from error


def _reason(error: Exception) -> str:
    """What is wrong with the arguments, in a line: pydantic writes several on each."""
    detailed = error if hasattr(error, 'errors') else error.__cause__
    if not hasattr(detailed, 'errors'):
        return str(error)
    return '; '.join(
        f'{".".join(map(str, problem["loc"][:1]))}: {problem["msg"]}, got {problem["input"]!r}'
        for problem in detailed.errors()
    )


def _renamed(step: dict) -> dict:
    """Names of albumentations 1, which the configs of that time have."""
    if step.get('type') in ('JpegCompression', 'ImageCompression') and 'quality_range' not in step:
        step['type'] = 'ImageCompression'
        step['quality_range'] = (step.pop('quality_lower', 99), step.pop('quality_upper', 100))
    return step


def _check_keymap(keymap: dict) -> None:
    wrong = {ours: theirs for ours, theirs in keymap.items() if KEYMAP.get(ours) != theirs}
    if wrong:
        raise ConfigError(f'keymap of Albu has {wrong}; what samples hold is called {KEYMAP}')


def _box_params(given: dict) -> dict:
    unknown = [key for key in given if key not in (*_OWN_BOX_PARAMS, *_BOX_PARAMS)]
    if unknown or given.get('format', 'pascal_voc') != 'pascal_voc':
        raise ConfigError(
            f'bbox_params of Albu takes {", ".join((*_OWN_BOX_PARAMS, *_BOX_PARAMS))}, with format="pascal_voc"; got '
            f'{given}'
        )
    return {key: value for key, value in given.items() if key in _BOX_PARAMS}


def _corners(size: tuple[int, int]) -> np.ndarray:
    """Corners (4, 2) of an image of (h, w), x and y."""
    height, width = size
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)


def _targets(results: dict) -> dict:
    """What a sample holds, as their transforms take it; boxes and points are numbered in this order."""
    # the corners of the image go along as points: where they end tells how the image was moved
    boxes = [_plain_boxes(results, key) for key in ('gt_bboxes', 'proposals')]
    keypoints = results.get('gt_keypoints')
    points = np.zeros((0, 2), np.float32) if keypoints is None else keypoints[..., :2].reshape(-1, 2)
    points = np.concatenate([_corners(image_size(results)), points]) - _HALF_PIXEL
    targets = {
        'image': to_bytes(results['img']),
        'bboxes': np.concatenate(boxes),
        'box_numbers': np.arange(sum(len(each) for each in boxes)),
        'keypoints': points,
        'point_numbers': np.arange(len(points)),
    }
    if results.get('gt_seg_map') is not None:
        targets['mask'] = results['gt_seg_map']
    if results.get('gt_masks') is not None and len(results['gt_masks']):
        targets['masks'] = results['gt_masks'].to_ndarray()
    return targets


def _plain_boxes(results: dict, key: str) -> np.ndarray:
    boxes = results.get(key)
    if boxes is None:
        return np.zeros((0, 4), np.float32)
    if not isinstance(boxes, HorizontalBoxes):
        raise ConfigError(
            f'Albu moves axis-aligned boxes, but {key} of {results.get("img_path")} are {type(boxes).__name__}: '
            'use the transforms of this toolbox for turned ones'
        )
    return boxes.tensor.numpy()


def _moved_points(moved: dict, count: int) -> np.ndarray:
    """The new positions (count, 2) of the ``count`` points that were handed over; NaN for those that were lost."""
    points = np.full((count, 2), np.nan, dtype=np.float32)
    numbers = np.asarray(moved['point_numbers'], np.int64).reshape(-1)
    points[numbers] = np.asarray(moved['keypoints'], np.float32).reshape(len(numbers), -1)[:, :2] + _HALF_PIXEL
    return points


def _record_matrix(results: dict, corners: np.ndarray, old: tuple[int, int]) -> np.ndarray:
    """Keep ``homography_matrix`` up to date by where the corners (4, 2) of the image went; returns their map (3, 3)."""
    if np.isnan(corners).any():  # elastic distortions, which no matrix describes, lose points; the rest hardly moves
        return np.eye(3)
    matrix = cv2.getPerspectiveTransform(_corners(old), np.ascontiguousarray(corners))
    results['homography_matrix'] = matrix @ results.get('homography_matrix', np.eye(3))
    return matrix


def _read_dense(results: dict, moved: dict) -> None:
    if 'mask' in moved:
        results['gt_seg_map'] = np.asarray(moved['mask'])
    if results.get('gt_masks') is not None:
        height, width = results['img_shape']
        masks = [np.asarray(mask) for mask in moved.get('masks', [])]
        results['gt_masks'] = BitmapMasks(masks, height, width)


def _read_keypoints(results: dict, points: np.ndarray, mirrored: bool) -> None:
    keypoints = results.get('gt_keypoints')
    if keypoints is None:
        return
    height, width = results['img_shape']
    points = points.reshape(*keypoints.shape[:2], 2)
    inside = ((points >= 0) & (points <= (width, height))).all(-1)  # not so for NaN
    new = np.concatenate([points, keypoints[..., 2:]], axis=-1).astype(keypoints.dtype)
    new[~inside | (keypoints[..., 2] == 0)] = 0
    if mirrored and results.get('flip_indices') is not None:
        new = new[:, list(results['flip_indices'])]
    results['gt_keypoints'] = new


def _read_boxes(results: dict, moved: dict) -> None:
    boxes = np.asarray(moved['bboxes'], np.float32).reshape(-1, 4)
    numbers = np.asarray(moved['box_numbers'], np.int64).reshape(-1)
    first = 0
    for key, fields in (('gt_bboxes', INSTANCE_FIELDS), ('proposals', PROPOSAL_FIELDS)):
        if results.get(key) is None:
            continue
        count = len(results[key])
        mine = (numbers >= first) & (numbers < first + count)
        kept = np.isin(np.arange(first, first + count), numbers[mine])
        select_instances(results, kept, fields)
        # as they came, whatever the order in which the package returns them
        results[key] = HorizontalBoxes(boxes[mine][np.argsort(numbers[mine])])
        first += count
