"""Changing the config of a test into one with test-time augmentation."""

from collections.abc import Iterator

from mmengine.config import Config, ConfigDict
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.models.test_time_augs import plain_version

DEFAULT_MODEL = dict(type='DetTTAModel')
FLIPS = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]


def augment_test(cfg: Config) -> None:
    """Wrap ``cfg.model`` by ``tta_model`` and let the test datasets run ``tta_pipeline``.

    Without ``tta_model`` it is ``DetTTAModel``; without ``tta_pipeline`` it is the pipeline of the test, once with the
    image mirrored and once as it is.

    Raises:
        ConfigError: There is no ``tta_pipeline``, and the pipeline of the test doesn't end with ``PackDetInputs``.
    """
    pipeline = cfg.get('tta_pipeline')
    for dataset in datasets_with_pipeline(cfg.test_dataloader.dataset):
        dataset['pipeline'] = mirrored_too(dataset['pipeline']) if pipeline is None else pipeline
    cfg.model = ConfigDict({**cfg.get('tta_model', DEFAULT_MODEL), 'module': cfg.model})


def datasets_with_pipeline(dataset: dict) -> Iterator[dict]:
    """The configs of a dataset, or of those that it wraps, that have a pipeline."""
    if 'pipeline' in dataset:
        yield dataset
    inner = dataset.get('dataset', dataset.get('datasets', []))
    for each in [inner] if isinstance(inner, dict) else inner:
        yield from datasets_with_pipeline(each)


def mirrored_too(pipeline: list[dict]) -> list[dict]:
    """The pipeline with ``TestTimeAug`` at its end, which makes a mirrored version of each image and a plain one."""
    pack = pipeline[-1]
    if str(pack.get('type')).rsplit('.', 1)[-1] != 'PackDetInputs':
        raise ConfigError(
            f'--tta without tta_pipeline needs a pipeline of the test that ends with PackDetInputs, got '
            f'{pack.get("type")}: write tta_pipeline into the config'
        )
    if 'meta_keys' in pack:
        names = dict.fromkeys([*pack['meta_keys'], 'flip', 'flip_direction'])
        pack = dict(pack, meta_keys=tuple(names))
    return [*pipeline[:-1], dict(type='TestTimeAug', transforms=[FLIPS, [pack]])]


def images_of_batch(data_batch: dict) -> list[Tensor]:
    """The inputs (c, h, w) of a batch; of an image in several versions, of one that isn't mirrored."""
    inputs = data_batch['inputs']
    if isinstance(inputs[0], Tensor):
        return inputs
    # versions come first, then the images of the batch: all images have the same ones
    return inputs[plain_version([images[0] for images in data_batch['data_samples']])]
