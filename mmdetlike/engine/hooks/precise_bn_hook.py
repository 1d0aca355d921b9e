"""Recomputing batch norms' statistics during training."""

from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook

from mmdetlike.engine.precise_bn import batch_norms_in_training, update_bn_stats
from mmdetlike.errors import ConfigError
from mmdetlike.registry import HOOKS


@HOOKS.register_module()
class PreciseBNHook(Hook):
    """Compute the running statistics of batch norms anew before they are needed: see `update_bn_stats`.

    The data come from the training's own dataset, by a loader of their own. Over several processes statistics are
    averaged. The last checkpoint and evaluation have them.

    Args:
        interval: Iterations between, and after the last one; 0 only after the last one.
        num_iters: Batches to look at.

    Raises:
        ConfigError: A number is out of range.
    """

    priority = 'VERY_HIGH'  # before checkpoints and validation of the same iteration

    def __init__(self, interval: int = 0, num_iters: int = 200) -> None:
        if interval < 0 or num_iters < 1:
            raise ConfigError(
                f'PreciseBNHook: expected interval of 0 or more and num_iters of 1 or more, got {interval} and '
                f'{num_iters}.'
            )
        self.interval = interval
        self.num_iters = num_iters

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Update after each interval, and after the last iteration."""
        done = runner.iter + 1
        if done == runner.max_iters or (self.interval and done % self.interval == 0):
            self.update(runner)

    def update(self, runner) -> None:
        """Compute the statistics now, and average them over processes."""
        loader = runner.build_dataloader(runner.cfg.train_dataloader, seed=runner.seed)
        layers = batch_norms_in_training(runner.model)
        num_iters = min(self.num_iters, len(loader)) if hasattr(loader, '__len__') else self.num_iters
        update_bn_stats(runner.model, loader, num_iters)
        runner.logger.info(f'Computed the statistics of {len(layers)} batch norms from {num_iters} batches.')
        if get_world_size() > 1:
            for layer in layers:
                all_reduce(layer.running_mean, op='mean')
                all_reduce(layer.running_var, op='mean')
