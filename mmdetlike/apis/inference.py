"""Predictions of a detector for pictures in memory or on disk."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import torch
from mmengine.structures import InstanceData
from torch import nn

from mmdetlike.apis.given_boxes import give_boxes
from mmdetlike.apis.images import Image, check_channel_order, each, is_single
from mmdetlike.apis.pipeline import build_pipeline, prepared
from mmdetlike.datasets.errors import DataError
from mmdetlike.errors import ConfigError
from mmdetlike.structures import DetDataSample


def inference_detector(
    model: nn.Module,
    imgs: Image | Iterable[Image],
    test_pipeline: Callable | Sequence[dict] | None = None,
    batch_size: int = 1,
    channel_order: str = 'bgr',
    given_boxes: Mapping | InstanceData | Sequence[Mapping | InstanceData] | None = None,
) -> DetDataSample | list[DetDataSample]:
    """Detect the objects in one picture or several.

    Args:
        model: Detector, from ``init_detector``; it predicts in eval mode and is left in the mode that it is in.
        imgs: Path of a picture, array (h, w, 3), uint8, tensor (3, h, w), uint8 or from 0 to 1, or PIL image; or a
            list, generator or stack of these.
        test_pipeline: Transform configs, or a callable that takes ``dict(img_path)`` or ``dict(img)``; by default the
            test pipeline of ``model.cfg``.
        batch_size: Pictures of a list that go through the model at once.
        channel_order: ``'bgr'`` or ``'rgb'``, of arrays and tensors.
        given_boxes: Predict masks or keypoints for these boxes alone: ``dict(bboxes=..., labels=...)``,
            xyxy in pixels of the picture, with ``scores`` where known; a list of these for several pictures.

    Returns:
        The sample with ``pred_instances``, boxes xyxy in pixels of the picture; a list for several.

    Raises:
        ImageError: A file is missing or damaged.
        TypeError, ValueError: An input is of another kind.
        ConfigError: There is no test pipeline, the model's weights aren't of single precision, or the model predicts
            nothing for given boxes.
        DataError: Given boxes don't fit the pictures or the model.
    """
    check_batch_size(batch_size)
    check_channel_order(channel_order)
    single = is_single(imgs)
    pipeline = build_pipeline(getattr(model, 'cfg', None), test_pipeline, channel_order)
    results: list[DetDataSample] = []
    given = None if given_boxes is None else iter([given_boxes] if single else given_boxes)
    for images in batches([imgs] if single else each(imgs), batch_size):
        data = [prepared(pipeline, image) for image in images]
        if given is not None:
            _give_all(model, data, given)
        results += predict_batch(model, data)
    return results[0] if single else results


def _give_all(model: nn.Module, data: Sequence[dict], given: Iterator[Mapping | InstanceData]) -> None:
    for entry in data:
        boxes = next(given, None)
        if boxes is None:
            raise DataError('given_boxes has fewer entries than there are pictures; expected one for each')
        give_boxes(model, entry['data_samples'], boxes)


@torch.no_grad()  # tensors of torch's inference mode could not be changed in place by users
def predict_batch(model: nn.Module, data: Sequence[dict]) -> list[DetDataSample]:
    """The predictions of a model for prepared pictures.

    Raises:
        ConfigError: The model's weights aren't of single precision.
    """
    _check_precision(model)
    batch = {key: [entry[key] for entry in data] for key in ('inputs', 'data_samples')}
    if isinstance(data[0]['inputs'], list):  # several versions of each picture: versions first, then pictures
        batch = {key: [list(version) for version in zip(*values)] for key, values in batch.items()}
    with _eval_mode(model):
        return list(model.test_step(batch))


@contextlib.contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    """Within this context a model is in eval mode; after it, each of its modules is in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True  # not train(), which would switch frozen submodules, too


def _check_precision(model: nn.Module) -> None:
    if getattr(model, 'inference_dtype', None) is not None:
        return  # optimize_model took care of it
    weight = next((weight for weight in model.parameters() if weight.is_floating_point()), None)
    if weight is None or weight.dtype == torch.float32 or torch.is_autocast_enabled(weight.device.type):
        return
    raise ConfigError(
        f'the weights of the model are {weight.dtype} but pictures are torch.float32: call model.float(), and '
        "optimize_model(model, 'bf16') or 'fp16' for the speed of lower precision"
    )


def batches(items: Iterable, size: int) -> Iterator[list]:
    """Lists of ``size`` items, the last one shorter; no more than one is held at a time."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def check_batch_size(batch_size: int) -> None:
    """Raise a ValueError unless the size is a positive integer."""
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f'batch_size must be a positive integer, got {batch_size!r}')
