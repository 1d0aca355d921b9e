"""Adapting the test pipeline of a config so that it takes a picture by its path or as an array."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.dataset import Compose

from mmdetlike.apis.images import Image, as_array, describe
from mmdetlike.apis.videos import is_video
from mmdetlike.datasets.errors import ImageError
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS
from mmdetlike.utils.config import located

# loaders that take their picture from elsewhere than a file
_NOT_FROM_FILE = ('LoadShapesImage', 'LoadImageFromNDArray', 'LoadImageFromWebcam', 'InferencerLoader')
_SETTINGS = ('to_float32', 'color_type', 'imdecode_backend')


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
    """The steps of a test pipeline, changed to prepare a path or an array for a detector's ``test_step``.

    A step tells by its ``role`` (see `BaseTransform`) whether it loads the picture, and is replaced as needed, or
    needs annotations, and is left out. ``meta_keys`` that only a dataset knows are left out, too.

    Args:
        steps: Transform configs of a test pipeline.
        channel_order: ``'bgr'`` or ``'rgb'``, of pictures in memory.
    """

    def __init__(self, steps: Sequence[dict], channel_order: str = 'bgr') -> None:
        self.channel_order = channel_order
        steps = [step for step in steps if _role(step) != 'annotations']
        loader = _loader(steps)
        self.from_file = TRANSFORMS.build(_file_loader(loader))
        self.from_array = TRANSFORMS.build(_array_loader(loader))
        rest = [TRANSFORMS.build(_with_known_meta_keys(step)) for step in steps if step is not loader]
        self._rest = Compose([_KnownMetaKeys(step) if hasattr(step, 'meta_keys') else step for step in rest])

    def load(self, image: Image, channel_order: str | None = None) -> dict:
        """A sample with ``img`` as the detector's dataset would load it.

        Args:
            image: Path, or what ``as_array`` takes.
            channel_order: Of a picture in memory, if it is another than that of the pipeline.

        Raises:
            ImageError: The file is missing or damaged.
            TypeError, ValueError: It is neither a path nor a picture.
        """
        if isinstance(image, (str, Path)):
            results = self.from_file(dict(img_path=str(image), img_id=0))
        else:
            results = self.from_array(dict(img=as_array(image, channel_order or self.channel_order), img_id=0))
        if results is None:
            raise ImageError(describe(image), 'the test pipeline gave it up')
        return results

    def __call__(self, image: Image) -> dict:
        """``inputs`` (c, h, w) and ``data_samples`` of a picture; see ``load`` and ``rest``."""
        return self.rest(self.load(image))

    def rest(self, results: dict) -> dict | None:
        """``inputs`` (c, h, w) and ``data_samples`` of a sample with ``img``; None if a step gave it up.

        Raises:
            ConfigError: No step makes ``inputs``.
        """
        data = self._rest(results)
        if data is not None and 'inputs' not in data:
            raise ConfigError(
                f'the test pipeline makes {", ".join(data)}: expected inputs, by PackDetInputs at its end'
            )
        return data


def build_pipeline(
    cfg: Config | None, test_pipeline: Callable | Sequence[dict] | None = None, channel_order: str = 'bgr'
) -> Callable:
    """The callable that prepares a picture for the model, by ``test_pipeline`` or by that of the config.

    Args:
        cfg: Config of the detector.
        test_pipeline: Transform configs, or a callable that takes ``dict(img_path)`` or ``dict(img)``.
        channel_order: ``'bgr'`` or ``'rgb'``, of pictures in memory.

    Raises:
        ConfigError: There is none.
    """
    if callable(test_pipeline):
        return lambda image: test_pipeline(_as_dict(image, channel_order))
    if test_pipeline is not None:
        return InferencePipeline(test_pipeline, channel_order)
    if cfg is None:
        raise ConfigError('the model has no cfg to take a test pipeline from: build it by init_detector, or set it')
    steps = (dataset_config(cfg) or {}).get('pipeline')
    if not steps:
        raise ConfigError(f'{cfg.filename or "the config"} has no test_dataloader.dataset.pipeline')
    with located(cfg):
        return InferencePipeline(steps, channel_order)


def _as_dict(image: Image, channel_order: str) -> dict:
    if isinstance(image, (str, Path)):
        return dict(img_path=str(image), img_id=0)
    return dict(img=as_array(image, channel_order), img_path=None, img_id=0)


def prepared(pipeline: Callable, image: Image) -> dict:
    """A picture after the pipeline.

    Raises:
        ImageError: It is a video, or the pipeline gave it up.
    """
    if isinstance(pipeline, InferencePipeline) and is_video(image):
        raise ImageError(str(image), 'it is a video, which DetInferencer takes; inference_detector takes pictures')
    data = pipeline(image)
    if data is None:
        raise ImageError(describe(image), 'the test pipeline returned nothing for it')
    return data


def _name(step: dict | Callable) -> str:
    kind = step.get('type', '') if isinstance(step, dict) else type(step)
    return getattr(kind, '__name__', str(kind)).rsplit('.', 1)[-1]


def _role(step: dict | Callable) -> str | None:
    """The role that a step declares; where it declares none, the one that its name suggests."""
    return getattr(_class(step), 'role', None) or _role_by_name(_name(step))


def _class(step: dict | Callable):
    """The class, or the callable itself, of a step; None if it isn't registered."""
    kind = step.get('type') if isinstance(step, dict) else step
    return TRANSFORMS.get(kind) if isinstance(kind, str) else kind


def _role_by_name(name: str) -> str | None:
    if name in ('LoadProposals', 'FilterAnnotations') or (name.startswith('Load') and 'Annotations' in name):
        return 'annotations'
    return 'image' if name == 'InferencerLoader' or (name.startswith('Load') and 'Image' in name) else None


def _loader(steps: Sequence[dict]) -> dict:
    """The step that loads the picture: one of that role, else the first one if it isn't ours and may do it unsaid."""
    found = [step for step in steps if _role(step) == 'image'] or [step for step in steps[:1] if not _is_ours(step)]
    return found[0] if found else {}


def _is_ours(step: dict | Callable) -> bool:
    return getattr(_class(step), '__module__', '').startswith('mmdetlike.')


def _file_loader(loader: dict) -> dict:
    if loader and _name(loader) not in _NOT_FROM_FILE:
        return loader
    return dict(type='LoadImageFromFile', **_settings(loader))


def _array_loader(loader: dict) -> dict:
    return dict(type='LoadImageFromNDArray', **_settings(loader))


def _settings(loader: dict) -> dict:
    return {key: loader[key] for key in _SETTINGS if key in loader}


def _with_known_meta_keys(step: dict | Callable) -> dict | Callable:
    """``TestTimeAug`` whose versions are packed by ``_KnownMetaKeys``; any other step as it is."""
    if not isinstance(step, dict) or _name(step) != 'TestTimeAug':
        return step
    built = [[TRANSFORMS.build(each) for each in choices] for choices in step['transforms']]
    known = [[_KnownMetaKeys(each) if hasattr(each, 'meta_keys') else each for each in choices] for choices in built]
    return dict(step, transforms=known)


class _KnownMetaKeys:
    """A step that packs those of its ``meta_keys`` which are known of a picture without a dataset."""

    def __init__(self, step: Callable) -> None:
        self.step = step

    def __call__(self, results: dict) -> dict:
        step = copy.copy(self.step)  # threads may share it
        step.meta_keys = tuple(key for key in self.step.meta_keys if key in results)
        return step(results)
