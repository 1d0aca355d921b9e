"""Hooks that switch to weaker augmentation for the last epochs."""

from collections.abc import Sequence

from mmengine.dataset import Compose
from mmengine.hooks import Hook
from torch.utils.data import DataLoader, Dataset

from mmdetlike.errors import ConfigError
from mmdetlike.models.utils.progress import MIXES_IMAGES
from mmdetlike.registry import HOOKS, TRANSFORMS


@HOOKS.register_module()
class YOLOXModeSwitchHook(Hook):
    """Train the last epochs without mosaics and with an L1 loss (YOLOX, arXiv 2107.08430).

    The training set must be a ``MultiImageMixDataset``; losses see the change as ``TrainingProgress.mixes_images``.

    Args:
        num_last_epochs: Number of the last epochs.
        skip_type_keys: Types of the transforms that are left out.
    """

    def __init__(
        self, num_last_epochs: int = 15, skip_type_keys: Sequence[str] = ('Mosaic', 'RandomAffine', 'MixUp')
    ) -> None:
        self.num_last_epochs = num_last_epochs
        self.skip_type_keys = skip_type_keys
        self._has_switched = False

    def before_train_epoch(self, runner) -> None:
        """Switch once the last epochs begin, or where a run is resumed among them.

        Raises:
            ConfigError: The training set cannot leave out transforms.
        """
        if self._has_switched or runner.epoch < runner.max_epochs - self.num_last_epochs:
            return
        loader = runner.train_dataloader
        if not hasattr(loader.dataset, 'update_skip_type_keys'):
            raise ConfigError(
                f'YOLOXModeSwitchHook needs a MultiImageMixDataset as training set, got {type(loader.dataset).__name__}'
            )
        runner.logger.info(f'From now on without {", ".join(self.skip_type_keys)}.')
        loader.dataset.update_skip_type_keys(self.skip_type_keys)
        restart_workers(loader)
        runner.message_hub.update_info(MIXES_IMAGES, False)
        self._has_switched = True


@HOOKS.register_module()
class PipelineSwitchHook(Hook):
    """Replace the pipeline of the training set from some epoch on (RTMDet, arXiv 2212.07784).

    Args:
        switch_epoch: The first epoch, counted from 0, with the new pipeline.
        switch_pipeline: Its transforms.
    """

    def __init__(self, switch_epoch: int, switch_pipeline: Sequence[dict]) -> None:
        self.switch_epoch = switch_epoch
        self.switch_pipeline = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in switch_pipeline]
        self._has_switched = False

    def before_train_epoch(self, runner) -> None:
        """Switch at the epoch, or where a run is resumed after it.

        Raises:
            ConfigError: The training set has no pipeline.
        """
        if self._has_switched or runner.epoch < self.switch_epoch:
            return
        runner.logger.info('From now on with the pipeline of PipelineSwitchHook.')
        for dataset in with_pipeline(runner.train_dataloader.dataset):
            dataset.pipeline = Compose(self.switch_pipeline)
        restart_workers(runner.train_dataloader)
        self._has_switched = True


def with_pipeline(dataset: Dataset) -> list[Dataset]:
    """A dataset if it has a pipeline, else those with a pipeline that it wraps.

    Raises:
        ConfigError: There is none.
    """
    if hasattr(dataset, 'pipeline'):
        return [dataset]
    inner = getattr(dataset, 'datasets', None) or [d for d in [getattr(dataset, 'dataset', None)] if d is not None]
    if not inner:
        raise ConfigError(f'PipelineSwitchHook needs a training set with a pipeline, got {type(dataset).__name__}')
    return [found for part in inner for found in with_pipeline(part)]


def restart_workers(loader: DataLoader) -> None:
    """Restart persistent workers, which hold a copy of the dataset as it was when they started."""
    loader._iterator = None  # where torch keeps them
