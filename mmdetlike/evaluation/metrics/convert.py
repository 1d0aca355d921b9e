"""Conversion of predictions and ground truth, as samples carry them, to COCO annotations."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from faster_coco_eval.core import mask as rle

from ...datasets.annotations import shortened
from ...datasets.errors import DataError
from ...datasets.records import area as read_area
from ...errors import ConfigError
from ...structures.bbox import geometry
from ...structures.mask import encode_segmentation, read_runs, read_segmentation


def to_numpy(value) -> np.ndarray:
    """An array on the CPU of a tensor, box or mask structure or sequence."""
    value = getattr(value, 'tensor', value)  # of box objects
    value = getattr(value, 'masks', value)  # of mask objects
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        # numpy has no bfloat16, and too few digits in float16 for coordinates
        value = value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
        return value.numpy()
    return np.asarray(value)


def encode_masks(masks) -> list[dict]:
    """Run-length encodings, with text counts, of (N, H, W) boolean masks; encoded ones are checked and passed on.

    Raises:
        DataError: An encoded mask isn't one.
    """
    if isinstance(masks, (list, tuple)) and (not masks or isinstance(masks[0], dict)):
        return [_checked(mask, number) for number, mask in enumerate(masks)]
    array = to_numpy(masks)
    # pycocotools' layout (h, w, n), column by column; bool as uint8 is the same bytes
    stacked = np.asfortranarray(array.astype(bool, copy=False).view(np.uint8).transpose(1, 2, 0))
    return [_text(mask) for mask in rle.encode(stacked)] if len(array) else []


def _checked(mask: dict, number: int) -> dict:
    """A predicted mask with text counts; it may be empty, unlike an annotated one."""
    try:
        (height, width), lengths = read_runs(mask)
    except ValueError as error:
        raise DataError(f'Predicted mask {number} of an image is unusable: {error}: {shortened(mask)}.') from error
    if isinstance(mask['counts'], (str, bytes)):
        return _text(mask)
    return _text(rle.frPyObjects({'size': [height, width], 'counts': lengths.tolist()}, height, width))


def _text(mask: dict) -> dict:
    counts = mask['counts']
    counts = counts.decode('ascii') if isinstance(counts, bytes) else counts
    return {'size': [int(side) for side in mask['size']], 'counts': counts}


def xyxy_to_xywh(box: Sequence[float]) -> list[float]:
    """``[x, y, width, height]`` of ``[x1, y1, x2, y2]``."""
    x1, y1, x2, y2 = map(float, box)
    return [x1, y1, x2 - x1, y2 - y1]


def boxes_of(boxes, metric: str, box_dim: int = geometry.HORIZONTAL) -> np.ndarray:
    """(n, ``box_dim``) predicted or annotated boxes, a tensor, box object or sequence.

    Raises:
        ConfigError: They are of another kind than ``metric`` scores.
    """
    array = to_numpy(boxes)
    if array.size == 0:
        return array.reshape(-1, box_dim)
    geometry.require_kind(array, box_dim, metric)
    return array


def prediction_of(sample: dict, metric: str, box_dim: int = geometry.HORIZONTAL) -> dict:
    """The predictions of a sample as arrays: ``img_id``, ``bboxes`` (n, 4), ``scores``, ``labels``, and if there are
    any ``masks`` (run-length encoded), ``mask_scores`` and ``keypoints``.

    Besides, ``img_path`` and ``size`` (h, w) of the image, None where the sample doesn't say.

    Args:
        sample: With ``pred_instances``.
        metric: Who scores, for messages.
        box_dim: Numbers of a box.

    Raises:
        ConfigError: Boxes have another count of numbers.
    """
    instances = sample['pred_instances']
    result = {'img_id': sample['img_id'], 'bboxes': boxes_of(instances['bboxes'], metric, box_dim)}
    result['img_path'] = sample.get('img_path')
    result['size'] = tuple(map(int, sample['ori_shape'][:2])) if sample.get('ori_shape') is not None else None
    result['scores'] = to_numpy(instances['scores'])
    labels = instances.get('labels')
    result['labels'] = np.zeros(len(result['scores']), np.int64) if labels is None else to_numpy(labels)
    if 'masks' in instances:
        result['masks'] = encode_masks(instances['masks'])
        result['mask_scores'] = to_numpy(instances.get('mask_scores', result['scores']))
    if 'keypoints' in instances:
        result['keypoints'] = _with_scores(to_numpy(instances['keypoints']), instances.get('keypoint_scores'))
    return result


def _with_scores(points: np.ndarray, scores) -> np.ndarray:
    """(N, K, 3): x, y and a score that evaluation ignores."""
    if points.shape[-1] == 3:
        return points
    scores = np.ones(points.shape[:-1]) if scores is None else to_numpy(scores)
    return np.concatenate([points, scores[..., None]], axis=-1)


def detections(prediction: dict, category_ids: Sequence[int | None]) -> list[dict]:
    """COCO annotations of a prediction.

    Args:
        prediction: From ``prediction_of``.
        category_ids: Category of each label; None for one that the annotation file doesn't have.
    """
    rows = []
    boxes = prediction['bboxes'].astype(np.float64)  # as the file's numbers; differences in float32 would be others
    boxes[:, 2:] -= boxes[:, :2]
    image_id = prediction['img_id']
    columns = (boxes, prediction['scores'], prediction['labels'])
    for box, score, label in zip(*(column.tolist() for column in columns)):
        rows.append({'image_id': image_id, 'bbox': box, 'score': score, 'category_id': category_ids[label]})
    if 'masks' in prediction:
        for row, mask, score in zip(rows, prediction['masks'], prediction['mask_scores']):
            row.update(segmentation=mask, mask_score=float(score))
    if 'keypoints' in prediction:
        for row, points in zip(rows, prediction['keypoints']):
            row['keypoints'] = points.reshape(-1).tolist()
    return rows


def truth_of(sample: dict) -> dict:
    """Ground truth that a sample carries: ``img_id``, ``height``, ``width`` and ``instances``.

    Raises:
        ConfigError: The sample has no ``instances``.
    """
    if 'instances' not in sample:
        raise ConfigError(
            "Without an ann_file the ground truth is what the samples' metainfo holds as 'instances': list it in "
            f"PackDetInputs(meta_keys=(..., 'instances')). The sample has {sorted(sample)}."
        )
    height, width = sample['ori_shape'][:2]
    return {'img_id': sample['img_id'], 'height': height, 'width': width, 'instances': sample['instances']}


def annotated_boxes(sample: dict) -> list[dict]:
    """Annotated boxes: ``instances`` of ``truth_of`` a sample, else the objects that its pipeline has loaded.

    Objects are those of the original image where ``LoadAnnotations`` comes after ``Resize``, as in OpenMMLab's configs.

    Returns:
        Dicts of ``bbox``, ``bbox_label`` and ``ignore_flag``.

    Raises:
        ConfigError: The sample has neither.
    """
    loaded = sample.get('gt_instances', {})
    if 'instances' in sample or 'bboxes' not in loaded:
        return truth_of(sample)['instances']
    return [*_loaded_boxes(loaded, 0), *_loaded_boxes(sample.get('ignored_instances', {}), 1)]


def _loaded_boxes(objects: dict, ignore_flag: int) -> list[dict]:
    boxes = to_numpy(objects['bboxes']).tolist() if 'bboxes' in objects else []
    labels = to_numpy(objects['labels']).tolist() if boxes else []
    return [dict(bbox=box, bbox_label=label, ignore_flag=ignore_flag) for box, label in zip(boxes, labels)]


def truth_annotations(truth: dict) -> list[dict]:
    """COCO annotations of ``truth_of`` a sample; a category id is the label.

    Raises:
        ConfigError: An annotated box is turned.
    """
    return [_truth_annotation(truth, instance) for instance in truth['instances']]


def _truth_annotation(truth: dict, instance: dict) -> dict:
    box = xyxy_to_xywh(boxes_of(instance['bbox'], 'COCO evaluation'))
    row = {
        'image_id': truth['img_id'],
        'category_id': instance['bbox_label'],
        'bbox': box,
        'area': box[2] * box[3],
        'iscrowd': int(instance.get('ignore_flag', 0)),
    }
    row.update(mask_row(instance.get('mask'), truth['height'], truth['width']))  # whose area is better than the box's
    if instance.get('keypoints') is not None:
        row['keypoints'] = [float(v) for v in np.asarray(instance['keypoints']).reshape(-1)]
        row['num_keypoints'] = sum(v > 0 for v in row['keypoints'][2::3])
    known = read_area(instance.get('area'))
    return row if math.isnan(known) else row | {'area': known}


def mask_row(segmentation: object, height: int, width: int) -> dict:
    """``segmentation``, run-length encoded, and ``area`` of an annotated mask; nothing if there is no usable one."""
    mask = read_segmentation(segmentation, height, width).mask
    if mask is None:
        return {}
    encoded = encode_segmentation(mask, height, width)
    return {'segmentation': encoded, 'area': area_of_mask(encoded)}


def area_of_mask(encoded: dict) -> float:
    """Pixels of a run-length encoded mask."""
    return float(rle.area(encoded))
