"""Validation that computes losses beside scores."""

import copy
from collections import defaultdict

import torch
from mmengine.dist import all_reduce
from mmengine.runner import ValLoop as MMEngineValLoop
from mmengine.runner.amp import autocast

from mmdetlike.datasets.transforms.geometric import GeometricTransform
from mmdetlike.datasets.transforms.loading import LoadAnnotations
from mmdetlike.errors import ConfigError
from mmdetlike.registry import LOOPS

from .hooks.checks import unwrapped

LOSS_PREFIX = 'val/'  # before the names of losses, so that they don't hide those of training


@LOOPS.register_module(force=True)
class ValLoop(MMEngineValLoop):
    """mmengine's validation, which may compute the losses of the validation set, too.

    They are those of training, computed with the model as it is in validation (running statistics, no dropout), mean
    over images: ``val/loss``, the sum, and ``val/loss_cls`` and so on. ``save_best`` and early stopping can watch them.
    A network is passed twice, so that validation takes about twice as long.

    Args:
        runner: The runner.
        dataloader: Dataloader or its config.
        evaluator: Evaluator or its config.
        fp16: Validate in mixed precision.
        with_loss: Compute losses. The pipeline has to load annotations before it resizes or flips, as losses need them
            in the picture that the network sees.

    Attributes:
        loss_prefix: What the names of losses begin with; None without losses.

    Raises:
        ConfigError: There should be losses, but the pipeline loads no annotations, or too late.
    """

    def __init__(self, runner, dataloader, evaluator, fp16: bool = False, with_loss: bool = False) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        self.with_loss = with_loss
        self.loss_prefix = LOSS_PREFIX if with_loss else None
        if with_loss:
            _check_pipeline(self.dataloader.dataset)
        self._sums: dict[str, float] = defaultdict(float)
        self._images = 0

    def run(self) -> dict[str, float]:
        """Validate; the scores, and the losses if they are wanted."""
        if not self.with_loss:
            return super().run()
        self._sums.clear()
        self._images = 0
        self.runner.call_hook('before_val')
        self.runner.call_hook('before_val_epoch')
        self.runner.model.eval()
        for idx, data_batch in enumerate(self.dataloader):
            self.add_losses(data_batch)
            self.run_iter(idx, data_batch)
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        metrics.update(self._mean_losses())
        self.runner.call_hook('after_val_epoch', metrics=metrics)
        self.runner.call_hook('after_val')
        return metrics

    @torch.no_grad()
    def add_losses(self, data_batch: dict) -> None:
        """Add the losses of a batch, times the number of its images, to the sums."""
        model = unwrapped(self.runner.model)
        # prediction gets the batch next, and losses may leave something in the samples
        data = model.data_preprocessor(copy.deepcopy(data_batch), False)
        pad = getattr(model.data_preprocessor, 'pad_annotations', None)
        for sample in data['data_samples'] if pad is not None else ():
            pad(sample, tuple(data['inputs'].shape[-2:]))
        count = len(data['data_samples'])
        # losses draw samples of boxes and the like: training goes on as if nothing had been drawn
        with torch.random.fork_rng(), autocast(enabled=self.fp16):
            losses = model(**data, mode='loss')
        total, terms = model.parse_losses(losses)
        for name, value in {**terms, 'loss': total}.items():
            self._sums[name] += float(value) * count
        self._images += count

    def _mean_losses(self) -> dict[str, float]:
        """Over the images of all processes."""
        names = list(self._sums)
        values = torch.tensor([*(self._sums[name] for name in names), float(self._images)], dtype=torch.float64)
        all_reduce(values)
        *sums, images = values.tolist()
        return {f'{LOSS_PREFIX}{name}': value / max(images, 1) for name, value in zip(names, sums)}


def _check_pipeline(dataset) -> None:
    """Make sure that annotations are where the picture is."""
    steps = list(getattr(getattr(dataset, 'pipeline', None), 'transforms', ()))
    if not steps:  # a wrapper of several datasets, or a pipeline of another kind: nobody can tell
        return
    loads = [place for place, step in enumerate(steps) if isinstance(step, LoadAnnotations)]
    moves = [step for step in steps[: loads[0] if loads else 0] if isinstance(step, GeometricTransform)]
    if not loads:
        found = 'has no LoadAnnotations'
    elif moves:
        found = f'has LoadAnnotations after {type(moves[0]).__name__}'
    else:
        return
    raise ConfigError(
        f'val_cfg has with_loss=True, but the pipeline of val_dataloader {found}: losses need annotations in the '
        f'picture that the network sees; put LoadAnnotations right after the image is loaded.'
    )
