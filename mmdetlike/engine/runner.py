"""mmengine's Runner, on today's torch, with checks of configs, checkpoints and data."""

from collections.abc import Sequence
from logging import FileHandler, LogRecord
from pathlib import Path

import torch
from mmengine.config import Config as MMEngineConfig
from mmengine.device import get_device
from mmengine.dist import barrier, is_distributed, is_main_process, master_only
from mmengine.evaluator import Evaluator
from mmengine.model import BaseTTAModel, is_model_wrapper, revert_sync_batchnorm
from mmengine.runner import Runner as MMEngineRunner
from mmengine.runner.checkpoint import _load_checkpoint
from mmengine.visualization import Visualizer
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.evaluation import check_metrics, introduce
from mmdetlike.models.backbones.staged import StagedBackbone
from mmdetlike.registry import RUNNERS
from mmdetlike.utils.checkpoint import check_fit, find_latest_checkpoint
from mmdetlike.utils.config import located
from mmdetlike.utils.config_reading import import_custom_modules
from mmdetlike.utils.config_text import Config
from mmdetlike.utils.settings import check_loader, check_settings, unread_settings, without_worker_settings
from mmdetlike.utils.setup_env import register_all_modules

from .cpu_processes import connect
from .explain import explained
from .loops import EpochBasedTrainLoop
from .progress import META_KEY, Division, describe
from .resume import FormerRun
from .tiled_test import TiledDetector
from .work_dir import check_work_dir, sole_training

# hooks every run gets unless its config has one of the same type
STANDARD_HOOKS = (
    'CheckInvalidLossHook',
    'MonitorCheckHook',
    'NumClassCheckHook',
    'ChannelCheckHook',
    'ReportHook',
)


class _WarningFilter:
    """Leaves out warnings about calls that mmengine's own hooks make, and repeats of one that comes with each epoch."""

    def __init__(self) -> None:
        self.has_accumulation_been_told = False

    def __call__(self, record: LogRecord) -> bool:
        message = record.getMessage()
        if message.startswith('Gradient accumulative may slightly decrease'):
            is_new = not self.has_accumulation_been_told
            self.has_accumulation_been_told = True
            return is_new
        return not ('deprecated in future' in message and message.startswith(('"FileClient"', '"HardDiskBackend"')))


def start_backends(visualizer: Visualizer, configs: Sequence[dict]) -> None:
    """Open what a visualizer writes to, which mmengine puts off to the first word it writes.

    Args:
        visualizer: Built of ``configs``.
        configs: Its ``vis_backends``.

    Raises:
        ConfigError: One needs a package that isn't there.
    """
    for config in configs:
        try:
            _ = visualizer.get_backend(config.get('name', config['type'])).experiment
        except ImportError as error:
            raise ConfigError(f'type={config["type"]!r} needs a package: {error}', config) from error


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """Trains and tests a detector from a config.

    Beyond mmengine: runs on CPU processes with gloo; refuses checkpoints that don't fit; resumes from the newest
    checkpoint that is whole, with the seed it was made with; and adds ``STANDARD_HOOKS``.
    """

    def __init__(self, *args, **kwargs) -> None:
        register_all_modules()
        super().__init__(*args, **kwargs)

    @classmethod
    def from_cfg(cls, cfg: MMEngineConfig | dict) -> 'Runner':
        """Check a config and build a runner from a copy of it that can be written and read again.

        Raises:
            ConfigError: A setting is wrong (``check_settings``), or a part can't be built.
        """
        cfg = Config.of(cfg)
        import_custom_modules(cfg)
        check_settings(cfg)
        return super().from_cfg(cfg)

    @staticmethod
    def build_dataloader(dataloader, *args, **kwargs):
        """Build a dataloader; settings that only worker processes use are left out where it has none."""
        if isinstance(dataloader, dict):
            check_loader(dataloader)
            dataloader = without_worker_settings(dataloader)
        return MMEngineRunner.build_dataloader(dataloader, *args, **kwargs)

    def build_evaluator(self, evaluator) -> Evaluator:
        """Build an evaluator and check its metrics before anything is predicted."""
        built = super().build_evaluator(evaluator)
        check_metrics(built.metrics)
        return built

    def build_val_loop(self, loop):
        """Build the loop of a validation; without a type it is our ``ValLoop``."""
        if isinstance(loop, dict) and 'type' not in loop:
            loop = {'type': 'ValLoop', **loop}
        return _introduced(super().build_val_loop(loop))

    def build_test_loop(self, loop):
        """Build the loop of a test."""
        return _introduced(super().build_test_loop(loop))

    def setup_env(self, env_cfg: dict) -> None:
        """Set up processes; without CUDA they talk over gloo."""
        if self.distributed and not torch.cuda.is_available() and not is_distributed():
            connect(self._launcher)
        super().setup_env(env_cfg)

    def build_logger(self, *args, **kwargs):
        """Build mmengine's logger, its file in UTF-8.

        It leaves out mmengine's warnings about calls that mmengine's own hooks make, and repeats of one of each epoch.
        Its first lines name the settings that nothing reads: whatever goes wrong later may be due to them.
        """
        logger = super().build_logger(*args, **kwargs)
        logger.addFilter(_WarningFilter())
        for handler in logger.handlers:
            if isinstance(handler, FileHandler) and handler.stream is not None:
                # whatever the locale says; names of files may hold bytes that are no text
                handler.stream.reconfigure(encoding='utf-8', errors='backslashreplace')
        for line in unread_settings(self.cfg):
            logger.warning(line)
        return logger

    def build_visualizer(self, visualizer: dict | None = None):
        """Build a visualizer of this run's own.

        mmengine keeps one for each name, so a second run in the same process would draw into the first one's folder.
        """
        if isinstance(visualizer, dict):
            visualizer = {**visualizer, 'name': f'{visualizer.get("name", "visualizer")}_{self._experiment_name}'}
        built = super().build_visualizer(visualizer)
        if isinstance(visualizer, dict) and is_main_process():
            start_backends(built, visualizer.get('vis_backends') or ())
        return built

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Move the model to its device and, in distributed runs, wrap it."""
        if self.distributed:
            self._freeze_unused_stages(model)
            if not torch.cuda.is_available():
                model = self._without_synchronized_norms(model)
                find_unused = self.cfg.get('find_unused_parameters', False)
                default = dict(broadcast_buffers=False, find_unused_parameters=find_unused)
                model_wrapper_cfg = {**default, **(model_wrapper_cfg or {}), 'device_ids': None}
        return super().wrap_model(model_wrapper_cfg, model)

    def _freeze_unused_stages(self, model: nn.Module) -> None:
        for name, module in model.named_modules():
            unused = module.freeze_unused_stages() if isinstance(module, StagedBackbone) else []
            if unused:
                self.logger.info(f'{name}: {", ".join(unused)} are not trained, as no output of theirs is used')

    def _without_synchronized_norms(self, model: nn.Module) -> nn.Module:
        """Replace synchronized batch norms by plain ones, since torch's distributed wrapper takes them on GPUs only."""
        if self.cfg.get('sync_bn') is not None:
            raise ConfigError(f'sync_bn={self.cfg.sync_bn!r} needs GPUs: leave it out to train on CPU processes')
        count = sum(isinstance(module, nn.SyncBatchNorm) for module in model.modules())
        if count > 0:
            self.logger.warning(
                f'without GPUs the {count} SyncBN layers are plain BN: each process normalizes by its own batch'
            )
        return revert_sync_batchnorm(model)

    def register_hooks(self, default_hooks: dict | None = None, custom_hooks: list | None = None) -> None:
        """Register the config's hooks and those of ``STANDARD_HOOKS`` that it doesn't set itself.

        A default hook that is None is left out.
        """
        removable = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
        # the names that mmengine itself adds, which None takes away; it refuses None under any other name
        default_hooks = {
            name: hook for name, hook in (default_hooks or {}).items() if hook is not None or name in removable
        }
        custom_hooks = list(custom_hooks or [])
        given = {hook.get('type') if isinstance(hook, dict) else type(hook).__name__ for hook in custom_hooks}
        names = {str(name).rsplit('.', 1)[-1] for name in given}
        custom_hooks += [dict(type=name) for name in STANDARD_HOOKS if name not in names]
        super().register_hooks(default_hooks, custom_hooks)

    def dump_config(self) -> None:
        """Write the config into the run's own folder; the copy in the work folder is that of the last training."""
        self._write_config(Path(self.log_dir))

    @master_only
    def _write_config(self, folder: Path) -> None:
        cfg = self.cfg.copy()
        if cfg.get('overwrite'):
            cfg.overwrite = False  # a permission for this run, not for those that start from the copy
        cfg.dump(str(folder / Path(cfg.filename or f'{self.timestamp}.py').name))

    def train(self) -> nn.Module:
        """Train in a work folder that no other training uses; what an earlier one left there is put aside.

        Raises:
            ConfigError: Another training is at work there, or there is nothing to resume from.
        """
        with sole_training(self.work_dir), explained(self):
            self._take_work_dir()
            return super().train()

    def _take_work_dir(self) -> None:
        check_work_dir(self.cfg, self.work_dir)
        barrier()  # no process may write before all have looked
        self._write_config(Path(self.work_dir))

    def load_or_resume(self) -> None:
        """Load ``load_from``, or resume from it or from the newest checkpoint in the work folder."""
        if not self._has_loaded and self._resume and self._load_from is None:
            self._load_from = find_latest_checkpoint(self.work_dir)
            if self._load_from is None:
                self.logger.info(f'nothing to resume in {self.work_dir}: training from the start')
                self._resume = False
        super().load_or_resume()

    def load_checkpoint(self, filename: str, map_location='cpu', strict: bool = False, **kwargs) -> dict:
        """Load weights.

        Testing and resuming need all of them; ``load_from`` may bring a part, which is reported.

        Raises:
            CheckpointError: The checkpoint doesn't fit the model.
        """
        strict = strict or self._resume or self._train_loop is None
        checkpoint = _load_checkpoint(filename, map_location='cpu')
        model = self.model.module if is_model_wrapper(self.model) else self.model
        if isinstance(model, (BaseTTAModel, TiledDetector)):
            model = model.module  # checkpoints are of the detector within
        difference = check_fit(model, checkpoint.get('state_dict', checkpoint), filename, strict)
        if difference is not None:
            self.logger.warning(difference)
        return super().load_checkpoint(filename, map_location, strict=False, **kwargs)

    def test(self) -> dict:
        """Test; if that fails midway, write the predictions made until then, where predictions are to be written."""
        try:
            return super().test()
        except (Exception, KeyboardInterrupt):
            for metric in getattr(getattr(self._test_loop, 'evaluator', None), 'metrics', ()):
                if hasattr(metric, 'write_rest'):
                    metric.write_rest()
            raise

    def save_checkpoint(self, out_dir: str, filename: str, *args, meta: dict | None = None, by_epoch=True, **kwargs):
        """Save a checkpoint whose ``meta`` also holds the position of the run in its data."""
        meta = dict(meta or {})
        # hooks save by_epoch before the loop counts the epoch, and by iterations before it counts the iteration
        epoch = meta.setdefault('epoch', self.epoch + by_epoch)
        iteration = meta.setdefault('iter', self.iter + (not by_epoch))
        if _counts_samples(self.train_loop):
            position = self.train_loop.position_at(epoch, iteration)
            meta[META_KEY] = describe(position, Division.of(self.train_dataloader))
        super().save_checkpoint(out_dir, filename, *args, meta=meta, by_epoch=by_epoch, **kwargs)

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location='default',
    ) -> None:
        """Go on from a checkpoint.

        Weights, the optimizer's state and the place in data and schedules are restored; settings are those of the
        config, and each that differs from the checkpoint's is logged. The order of samples is that of its run.

        Args:
            filename: The checkpoint.
            resume_optimizer: Restore the optimizer's state.
            resume_param_scheduler: Go on with the schedules where they stood.
            map_location: Where its tensors go; ``'default'`` is the device of this run.

        Raises:
            CheckpointError: It holds weights only, without the state of a run, or state of another optimizer.
        """
        if not _counts_samples(self.train_loop):
            self.logger.warning(f'{type(self.train_loop).__name__} counts no samples: resuming by the stored settings')
            super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)
            return
        if map_location == 'default':
            map_location = get_device()
        checkpoint = self.load_checkpoint(filename, map_location)
        loop = self.train_loop
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        former = FormerRun(checkpoint, filename, self.cfg.pretty_text, loop.dataloader, by_epoch)
        if former.report():
            self.logger.warning(former.report())
        self._resume_seed(former.meta.get('seed'))
        self.message_hub.load_state_dict(checkpoint['message_hub'])
        loop.go_on(former.position, former.meta['epoch'], former.meta['iter'])
        if resume_optimizer:
            former.restore_optimizer(self.optim_wrapper)
        if resume_param_scheduler and self.param_schedulers is not None:
            former.restore_schedules(self.param_schedulers, len(loop.dataloader), by_epoch, loop.iter)
        self._has_loaded = True
        self._tell_where(filename, by_epoch)

    def _resume_seed(self, seed: int | None) -> None:
        """Take the seed of the former run, so that the order of samples goes on."""
        if seed is None:
            return
        if seed != self._randomness_cfg.get('seed'):
            self._randomness_cfg.update(seed=seed)
            self.set_randomness(**self._randomness_cfg)
        if not self._randomness_cfg.get('diff_rank_seed', False):
            # with a batch sampler of the config, the dataloader's own sampler is another one
            for sampler in (self.train_dataloader.sampler, getattr(self.train_dataloader.batch_sampler, 'sampler', 0)):
                if hasattr(sampler, 'seed'):
                    sampler.seed = self.seed

    def _tell_where(self, filename: str, by_epoch: bool) -> None:
        self.logger.info(f'resumed {filename}: {self.epoch} epochs and {self.iter} iterations are done')
        done, end, key = (
            (self.epoch, self.max_epochs, 'max_epochs') if by_epoch else (self.iter, self.max_iters, 'max_iters')
        )
        if done >= end:
            self.logger.warning(f'nothing is left to train: train_cfg.{key} is {end}, and {filename} has done {done}')


def _introduced(loop):
    """A loop of validation or testing, its evaluator told of the dataset."""
    evaluator = getattr(loop, 'evaluator', None)
    if evaluator is not None:
        introduce(evaluator, loop.dataloader.dataset)
    return loop


def _counts_samples(loop) -> bool:
    """Whether a loop counts samples as ours do; people also bring subclasses of mmengine's loops."""
    return hasattr(loop, 'position_at') and hasattr(loop, 'go_on')


def launch(cfg: MMEngineConfig, action: str) -> None:
    """Build a runner from a config and let it ``'train'`` or ``'test'``.

    Raises:
        ConfigError: The config can't be built; the message says in which file and under which key.
    """
    with located(cfg):
        if action == 'train':
            check_work_dir(cfg, cfg.work_dir)
        getattr(Runner.from_cfg(cfg), action)()
    if is_distributed():
        # else threads that still serve other processes may abort this one while it exits
        torch.distributed.destroy_process_group()
