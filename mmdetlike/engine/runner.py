"""mmengine's Runner with what today's torch and a careful user need of it."""

from logging import FileHandler, LogRecord

import torch
from mmengine.config import Config as MMEngineConfig
from mmengine.dist import is_distributed
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner as MMEngineRunner
from mmengine.runner.checkpoint import _load_checkpoint
from torch import nn

from mmdetlike.registry import RUNNERS
from mmdetlike.utils.checkpoint import CheckpointError, check_fit, find_latest_checkpoint
from mmdetlike.utils.config import located
from mmdetlike.utils.config_text import Config
from mmdetlike.utils.setup_env import register_all_modules, shield_from_broken_torchvision

# hooks every run gets unless its config has one of the same type
STANDARD_HOOKS = ('CheckInvalidLossHook', 'NumClassCheckHook', 'ReportHook')


def _concerns_the_user(record: LogRecord) -> bool:
    message = record.getMessage()
    return not ('deprecated in future' in message and message.startswith(('"FileClient"', '"HardDiskBackend"')))


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """Trains and tests a detector from a config.

    Beyond mmengine: runs on CPU processes with gloo; refuses checkpoints that don't fit; resumes from the newest
    checkpoint that is whole, with the seed it was made with; and adds ``STANDARD_HOOKS``.
    """

    def __init__(self, *args, **kwargs) -> None:
        register_all_modules()
        shield_from_broken_torchvision()
        super().__init__(*args, **kwargs)

    @classmethod
    def from_cfg(cls, cfg: MMEngineConfig | dict) -> 'Runner':
        """Build a runner from a config, of which it keeps a copy that can be written and read again."""
        return super().from_cfg(Config.of(cfg))

    def setup_env(self, env_cfg: dict) -> None:
        """Set up processes; without CUDA they talk over gloo."""
        if self.distributed and self._launcher == 'pytorch' and not torch.cuda.is_available() and not is_distributed():
            torch.distributed.init_process_group('gloo')
        super().setup_env(env_cfg)

    def build_logger(self, *args, **kwargs):
        """Build mmengine's logger, its file in UTF-8.

        It leaves out mmengine's warnings about calls that mmengine's own hooks make.
        """
        logger = super().build_logger(*args, **kwargs)
        logger.addFilter(_concerns_the_user)
        for handler in logger.handlers:
            if isinstance(handler, FileHandler) and handler.stream is not None:
                handler.stream.reconfigure(encoding='utf-8')  # whatever the locale says
        return logger

    def build_visualizer(self, visualizer: dict | None = None):
        """Build a visualizer of this run's own.

        mmengine keeps one for each name, so a second run in the same process would draw into the first one's folder.
        """
        if isinstance(visualizer, dict):
            visualizer = {**visualizer, 'name': f'{visualizer.get("name", "visualizer")}_{self._experiment_name}'}
        return super().build_visualizer(visualizer)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Move the model to its device and, in distributed runs, wrap it."""
        if self.distributed and not torch.cuda.is_available():
            find_unused = self.cfg.get('find_unused_parameters', False)
            default = dict(broadcast_buffers=False, find_unused_parameters=find_unused)
            model_wrapper_cfg = {**default, **(model_wrapper_cfg or {}), 'device_ids': None}
        return super().wrap_model(model_wrapper_cfg, model)

    def register_hooks(self, default_hooks: dict | None = None, custom_hooks: list | None = None) -> None:
        """Register the config's hooks and those of ``STANDARD_HOOKS`` that it doesn't set itself."""
        custom_hooks = list(custom_hooks or [])
        given = {hook.get('type') if isinstance(hook, dict) else type(hook).__name__ for hook in custom_hooks}
        names = {str(name).rsplit('.', 1)[-1] for name in given}
        custom_hooks += [dict(type=name) for name in STANDARD_HOOKS if name not in names]
        super().register_hooks(default_hooks, custom_hooks)

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
        difference = check_fit(model, checkpoint.get('state_dict', checkpoint), filename, strict)
        if difference is not None:
            self.logger.warning(difference)
        return super().load_checkpoint(filename, map_location, strict=False, **kwargs)

    def resume(self, filename: str, *args, **kwargs) -> None:
        """Go on from a checkpoint, with the order of samples that its run had.

        Raises:
            CheckpointError: The file holds weights only, without the state of a run.
        """
        try:
            super().resume(filename, *args, **kwargs)
        except KeyError as error:
            raise CheckpointError(
                f'{filename} has no {error}: it holds weights but not the state of a run. Use load_from without '
                '--resume to start a new run from it.'
            ) from error
        if not self._randomness_cfg.get('diff_rank_seed', False):
            for sampler in (self.train_dataloader.sampler, getattr(self.train_dataloader.batch_sampler, 'sampler', 0)):
                if hasattr(sampler, 'seed'):
                    sampler.seed = self.seed


def launch(cfg: MMEngineConfig, action: str) -> None:
    """Build a runner from a config and let it ``'train'`` or ``'test'``.

    Raises:
        ConfigError: The config can't be built; the message says in which file and under which key.
    """
    with located(cfg):
        getattr(Runner.from_cfg(cfg), action)()
