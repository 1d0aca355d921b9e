"""Detectors of Detectron2 and torchvision, from their own configs and checkpoints."""

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmdetlike.apis.configs import as_config
from mmdetlike.compat import detectron2, torchvision
from mmdetlike.errors import CheckpointError
from mmdetlike.registry import MODELS
from mmdetlike.utils.checkpoint import fetched_file, read_weights
from mmdetlike.utils.setup_env import register_all_modules
from mmdetlike.utils.whole_files import whole_file


@dataclass
class ForeignDetector:
    """A detector of another toolbox.

    Attributes:
        config: Our config of it.
        convert: Its state dict and our model -> our state dict.
    """

    config: Config
    convert: Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]]

    def read(self, checkpoint: str | Path, model: nn.Module, trust: bool) -> dict:
        """What ``load_weights`` takes, of a checkpoint of the other toolbox or of ours.

        Raises:
            CheckpointError: It can't be read.
        """
        checkpoint = detectron2.zoo_address(str(checkpoint))
        if checkpoint.endswith('.pkl'):
            file = fetched_file(checkpoint) if '://' in checkpoint else checkpoint
            return dict(state_dict=self.convert(detectron2.read_pickle(file), model))
        loaded = read_weights(checkpoint, trust)
        if 'state_dict' in loaded:  # what a training of ours wrote
            return loaded
        weights = loaded.get('model', loaded)
        if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
            raise CheckpointError(f'checkpoint {checkpoint} holds no tensors by name, neither alone nor as "model"')
        return dict(state_dict=self.convert(weights, model))


def foreign_detector(config: object, pretrained: bool = False, runs: bool = False) -> ForeignDetector | None:
    """The detector that another toolbox's config describes; None for configs of ours.

    Args:
        config: ``torchvision://NAME``, ``detectron2://NAME`` of the model zoo, or a YAML file of Detectron2.
        pretrained: Its published weights are what it will be given.
        runs: It is to be trained or tested: settings of that which are left out are told.

    Raises:
        ConfigError: A setting has no counterpart here.
    """
    if not isinstance(config, (str, Path)):
        return None
    if str(config).startswith(torchvision.SCHEME):
        name, arguments = torchvision.parse_name(str(config))
        if pretrained:
            arguments.setdefault('weights', torchvision.PUBLISHED)
        return ForeignDetector(Config(torchvision.whole_config(name, **arguments)), torchvision.convert_state_dict)
    if detectron2.is_zoo_name(config):
        return _of_detectron2(detectron2.zoo_config(config), runs)
    if detectron2.is_detectron2_config(config):
        return _of_detectron2(detectron2.read_config(config), runs)
    return None


def _of_detectron2(cfg: dict, runs: bool) -> ForeignDetector:
    return ForeignDetector(Config(detectron2.whole_config(cfg, warn=runs)), detectron2.convert_state_dict)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    """Where translations are kept until Python ends."""
    return tempfile.TemporaryDirectory(prefix='mmdetlike_')


def translated_config(config: str | Path) -> Path | None:
    """A file with our config of another toolbox's detector, named like it; None for configs of ours.

    Raises:
        ConfigError: A setting has no counterpart here.
    """
    foreign = foreign_detector(config, runs=True)
    if foreign is None:
        return None
    # what follows the question mark are arguments of torchvision's function
    stem = Path(str(config).partition('?')[0]).stem
    path = Path(_folder().name, f'{stem}.py')
    foreign.config.dump(path)
    return path


def translated_checkpoint(checkpoint: str | Path, config: str | Path, folder: str | Path | None = None) -> str:
    """A file with the weights of a checkpoint under our names; the checkpoint itself where it has them already.

    Args:
        checkpoint: File or URL.
        config: What the checkpoint is of, as of ``foreign_detector``.
        folder: Where that file is written, as ``started_from_NAME.pth``; None for one that is deleted when Python ends.

    Raises:
        CheckpointError: It can't be read.
    """
    foreign = foreign_detector(config)
    if foreign is None:
        return str(checkpoint)
    register_all_modules()
    model = MODELS.build(as_config(foreign.config).model)
    loaded = foreign.read(checkpoint, model, trust=False)
    if set(loaded) != {'state_dict'}:  # a training of ours wrote it, with its state
        return str(checkpoint)
    if folder is None:
        path = Path(_folder().name, f'{Path(checkpoint).stem}.pth')
    else:
        path = Path(folder, f'started_from_{Path(checkpoint).stem}.pth').resolve()
    with whole_file(path) as file:  # processes of one training write the same
        torch.save(dict(loaded, meta={}), file)
    return str(path)
