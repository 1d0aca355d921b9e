"""Masks and keypoints for boxes that are given, not found."""

from collections.abc import Mapping

import torch
from mmengine.structures import InstanceData
from torch import nn

from mmdetlike.datasets.errors import DataError
from mmdetlike.errors import ConfigError
from mmdetlike.structures import DetDataSample
from mmdetlike.structures.bbox import geometry, get_box_tensor, scale_boxes


def give_boxes(model: nn.Module, sample: DetDataSample, given: Mapping | InstanceData) -> None:
    """Put boxes into a prepared sample, for which the model then predicts the rest.

    Args:
        model: A detector of regions with a branch of masks or keypoints.
        sample: Changed: ``given_boxes``, in pixels of the network's input.
        given: ``bboxes`` (n, 4) xyxy in pixels of the picture, ``labels`` (n,) and, where known, ``scores`` (n,).

    Raises:
        ConfigError: The model predicts nothing for given boxes.
        DataError: ``given`` lacks a field, has one of another shape, or a class that the model doesn't know.
    """
    if not getattr(getattr(model, 'roi_head', None), 'branches', None):
        raise ConfigError(
            f'given_boxes: {type(model).__name__} predicts neither masks nor keypoints of regions; expected a detector '
            'such as MaskRCNN or KeypointRCNN'
        )
    fields = dict(given.items())
    missing = [name for name in ('bboxes', 'labels') if name not in fields]
    if missing:
        raise DataError(f'given_boxes has no {" and no ".join(missing)}; it has {sorted(fields)}')
    boxes = torch.as_tensor(get_box_tensor(fields['bboxes']), dtype=torch.float32)
    labels = torch.as_tensor(fields['labels'], dtype=torch.long)
    scores = torch.as_tensor(fields.get('scores', torch.ones(len(labels))), dtype=torch.float32)
    boxes = boxes.reshape(0, geometry.HORIZONTAL) if boxes.numel() == 0 else boxes
    _check(boxes, labels, scores, model)
    boxes = scale_boxes(boxes, sample.scale_factor)
    sample.given_boxes = InstanceData(bboxes=boxes, labels=labels, scores=scores)


def _check(boxes: torch.Tensor, labels: torch.Tensor, scores: torch.Tensor, model: nn.Module) -> None:
    count = len(boxes)
    if boxes.shape != (count, geometry.HORIZONTAL) or labels.shape != (count,) or scores.shape != (count,):
        raise DataError(
            f'given_boxes: bboxes of shape {tuple(boxes.shape)}, labels of {tuple(labels.shape)} and scores of '
            f'{tuple(scores.shape)} do not fit; expected (n, 4), (n,) and (n,)'
        )
    num_classes = model.roi_head.part('bbox_head', model.roi_head.num_stages - 1).num_classes
    unknown = labels[(labels < 0) | (labels >= num_classes)].tolist()
    if unknown:
        raise DataError(f'given_boxes: label {unknown[0]} is none of the {num_classes} classes of the model')
