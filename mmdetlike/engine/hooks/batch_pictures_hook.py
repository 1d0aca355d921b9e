"""Drawing what a model is trained on."""

import logging

from mmengine.hooks import Hook
from mmengine.logging import print_log

from mmdetlike.engine.hooks.checks import batch_paths, flat_branches
from mmdetlike.engine.hooks.visualization_hook import input_picture
from mmdetlike.errors import ConfigError
from mmdetlike.registry import HOOKS
from mmdetlike.visualization import contact_sheet


@HOOKS.register_module()
class BatchPicturesHook(Hook):
    """Draw batches of a training, as they come out of the pipeline, with their objects, to the visualizer's backends.

    One sheet of the pictures of this process is called ``train_batch``. Pictures that can't be drawn end no training:
    the log says why.

    Args:
        interval: Iterations between two batches; the first one is always drawn.
        max_images: Pictures of a batch at most.
        cell: Longer side of each picture on the sheet, in pixels.

    Raises:
        ConfigError: A number isn't positive.
    """

    def __init__(self, interval: int = 1000, max_images: int = 16, cell: int = 320) -> None:
        if min(interval, max_images, cell) < 1:
            raise ConfigError(
                f'BatchPicturesHook: interval={interval}, max_images={max_images} and cell={cell} should be positive.'
            )
        self.interval = interval
        self.max_images = max_images
        self.cell = cell

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Draw the batch, before the preprocessor pads its pictures and annotations."""
        if data_batch is None or runner.iter % self.interval:
            return
        try:
            runner.visualizer.add_image('train_batch', self._sheet(runner, data_batch), runner.iter)
        except Exception as error:
            print_log(
                f'BatchPicturesHook: the batch of iteration {runner.iter + 1} could not be drawn: '
                f'{type(error).__name__}: {error}. Images: {", ".join(batch_paths(data_batch)) or "unknown"}',
                logger='current',
                level=logging.WARNING,
            )

    def _sheet(self, runner, data_batch: dict):
        images = flat_branches(data_batch['inputs'])[: self.max_images]
        samples = flat_branches(data_batch['data_samples'])[: self.max_images]
        meta = runner.visualizer.dataset_meta or getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
        return contact_sheet(
            [(input_picture(image), sample.gt_instances) for image, sample in zip(images, samples)],
            cell=self.cell,
            captions=[str(sample.metainfo.get('img_path', sample.metainfo.get('img_id', ''))) for sample in samples],
            classes=meta.get('classes'),
            palette=meta.get('palette'),
        )
