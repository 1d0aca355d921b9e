"""Predictions of a detector for pictures in memory or on disk."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mmdetlike.apis.pipeline import build_pipeline, prepared
from mmdetlike.structures import DetDataSample

Images = str | Path | np.ndarray | Sequence[str | Path | np.ndarray]


def inference_detector(
    model: nn.Module, imgs: Images, test_pipeline: Callable | Sequence[dict] | None = None, batch_size: int = 1
) -> DetDataSample | list[DetDataSample]:
    """Detect objects.

    Args:
        model: Detector, from ``init_detector``.
        imgs: Path of a picture, or picture (h, w, 3), uint8, BGR; or a list of these.
        test_pipeline: Transform configs, or a callable that takes ``dict(img_path)`` or ``dict(img)``; by default the
            test pipeline of ``model.cfg``.
        batch_size: Pictures of a list that go through the model at once.

    Returns:
        The sample with ``pred_instances``, boxes xyxy in pixels of the picture; a list for a list.

    Raises:
        ImageError: A file is missing or damaged.
        TypeError, ValueError: An input is of another kind.
        ConfigError: There is no test pipeline.
    """
    check_batch_size(batch_size)
    single = not isinstance(imgs, (list, tuple))
    pipeline = build_pipeline(getattr(model, 'cfg', None), test_pipeline)
    results: list[DetDataSample] = []
    for images in batches([imgs] if single else imgs, batch_size):
        results += predict_batch(model, [prepared(pipeline, image) for image in images])
    return results[0] if single else results


@torch.inference_mode()
def predict_batch(model: nn.Module, data: Sequence[dict]) -> list[DetDataSample]:
    """The predictions of a model for prepared pictures."""
    batch = {key: [entry[key] for entry in data] for key in ('inputs', 'data_samples')}
    return list(model.test_step(batch))


def batches(items: Iterable, size: int) -> Iterator[list]:
    """Lists of ``size`` items, the last one shorter; no more than one is held at a time."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def check_batch_size(batch_size: int) -> None:
    """Raise a ValueError unless the size is a positive integer."""
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f'batch_size must be a positive integer, got {batch_size!r}')
