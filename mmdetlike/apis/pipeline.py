"""The test pipeline of a config, changed so that it takes a picture by its path or as an array."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose

from mmdetlike.datasets.errors import ImageError
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS
from mmdetlike.utils.config import located

# loaders that take their picture from elsewhere than a file
_NOT_FROM_FILE = ('LoadShapesImage', 'LoadImageFromNDArray', 'LoadImageFromWebcam', 'InferencerLoader')
_SETTINGS = ('to_float32', 'color_type', 'imdecode_backend')
# what only a dataset knows of a sample
_DATASET_KEYS = ('instances', 'seg_map_path', 'sample_idx', 'proposals')
Image = str | Path | np.ndarray


def dataset_config(cfg: Config) -> dict | None:
    """The config of the test dataset, or of the first one where several are wrapped; None if there is none."""
    dataset = (cfg.get('test_dataloader') or {}).get('dataset')
    while dataset is not None and 'pipeline' not in dataset:
        inner = dataset.get('dataset', dataset.get('datasets'))
        inner = inner[0] if isinstance(inner, Sequence) and inner else inner
        if not isinstance(inner, dict):
            break
        dataset = inner
    return dataset


class InferencePipeline:
    """From a picture, a path or an array, to what a detector's ``test_step`` takes.

    Args:
        steps: Transform configs of a test pipeline. What loads its picture is replaced as needed; what loads
            annotations is left out.
    """

    def __init__(self, steps: Sequence[dict]) -> None:
        steps = [step for step in steps if not _loads_annotations(step)]
        loader = next((step for step in steps if _loads_image(step)), {})
        self.from_file = TRANSFORMS.build(_file_loader(loader))
        self.from_array = TRANSFORMS.build(_array_loader(loader))
        rest = [_without_dataset_keys(step) for step in steps if step is not loader]
        self.rest = Compose([TRANSFORMS.build(step) for step in rest])

    def load(self, image: Image) -> dict:
        """A sample with ``img`` as the detector's dataset would load it.

        Raises:
            ImageError: The file is missing or damaged.
            TypeError, ValueError: It is neither a path nor an array of a picture.
        """
        if isinstance(image, (str, Path)):
            return self.from_file(dict(img_path=str(image), img_id=0))
        return self.from_array(dict(img=check_array(image), img_id=0))

    def __call__(self, image: Image) -> dict:
        """``inputs`` (c, h, w) and ``data_samples`` of a picture; see ``load``."""
        return self.rest(self.load(image))


def build_pipeline(cfg: Config | None, test_pipeline: Callable | Sequence[dict] | None = None) -> Callable:
    """What prepares a picture: ``test_pipeline``, or that of the config.

    Args:
        cfg: Config of the detector.
        test_pipeline: Transform configs, or a callable that takes ``dict(img_path)`` or ``dict(img)``.

    Raises:
        ConfigError: There is none.
    """
    if callable(test_pipeline):
        return lambda image: test_pipeline(_as_dict(image))
    if test_pipeline is not None:
        return InferencePipeline(test_pipeline)
    if cfg is None:
        raise ConfigError('the model has no cfg to take a test pipeline from: build it by init_detector, or set it')
    steps = (dataset_config(cfg) or {}).get('pipeline')
    if not steps:
        raise ConfigError(f'{cfg.filename or "the config"} has no test_dataloader.dataset.pipeline')
    with located(cfg):
        return InferencePipeline(steps)


def _as_dict(image: Image) -> dict:
    if isinstance(image, (str, Path)):
        return dict(img_path=str(image), img_id=0)
    return dict(img=check_array(image), img_path=None, img_id=0)


def check_array(image: np.ndarray) -> np.ndarray:
    """A picture as (h, w, 3) uint8, BGR: grey ones get equal channels, an alpha channel is left out.

    Raises:
        TypeError: It is no array.
        ValueError: It is an array of another kind.
    """
    if isinstance(image, torch.Tensor):
        raise TypeError(
            f'expected a path or an array (h, w, 3), uint8, BGR, got a tensor of the shape {tuple(image.shape)}: call '
            'model.test_step for tensors, or hand over its .numpy()'
        )
    if not isinstance(image, np.ndarray):
        raise TypeError(f'expected a path or an array (h, w, 3), uint8, BGR, got {type(image).__name__}')
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in (1, 3, 4) or image.size == 0:
        raise ValueError(
            f'a picture as an array must be (h, w, 3), uint8, BGR (or grey, or with alpha), got {image.dtype} of the '
            f'shape {image.shape}'
        )
    if channels == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    return image[..., :3]


def describe(image: Image) -> str:
    """What messages call a picture."""
    return str(image) if isinstance(image, (str, Path)) else f'array {getattr(image, "shape", type(image).__name__)}'


def prepared(pipeline: Callable, image: Image) -> dict:
    """A picture after the pipeline.

    Raises:
        ImageError: The pipeline gave it up.
    """
    data = pipeline(image)
    if data is None:
        raise ImageError(describe(image), 'the test pipeline returned nothing for it')
    return data


def _name(step: dict | Callable) -> str:
    kind = step.get('type', '') if isinstance(step, dict) else type(step)
    return getattr(kind, '__name__', str(kind)).rsplit('.', 1)[-1]


def _loads_image(step: dict) -> bool:
    name = _name(step)
    return name == 'InferencerLoader' or (name.startswith('Load') and 'Image' in name)


def _loads_annotations(step: dict) -> bool:
    name = _name(step)
    return name in ('LoadProposals', 'FilterAnnotations') or (name.startswith('Load') and 'Annotations' in name)


def _file_loader(loader: dict) -> dict:
    if loader and _name(loader) not in _NOT_FROM_FILE:
        return loader
    return dict(type='LoadImageFromFile', **_settings(loader))


def _array_loader(loader: dict) -> dict:
    return dict(type='LoadImageFromNDArray', **_settings(loader))


def _settings(loader: dict) -> dict:
    return {key: loader[key] for key in _SETTINGS if key in loader}


def _without_dataset_keys(step: dict) -> dict:
    if not isinstance(step, dict) or 'meta_keys' not in step:
        return step
    return {**step, 'meta_keys': tuple(key for key in step['meta_keys'] if key not in _DATASET_KEYS)}
