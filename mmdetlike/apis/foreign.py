"""Detectors of Detectron2 and torchvision, from their own configs and checkpoints."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from torch import Tensor, nn

from mmdetlike.compat import detectron2, torchvision
from mmdetlike.errors import CheckpointError
from mmdetlike.utils.checkpoint import read_weights


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
        """What ``fill`` takes, of a checkpoint of the other toolbox or of ours.

        Raises:
            CheckpointError: It can't be read.
        """
        if str(checkpoint).endswith('.pkl'):
            return dict(state_dict=self.convert(detectron2.read_pickle(checkpoint), model))
        loaded = read_weights(checkpoint, trust)
        if 'state_dict' in loaded:  # what a training of ours wrote
            return loaded
        weights = loaded.get('model', loaded)
        if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
            raise CheckpointError(f'checkpoint {checkpoint} holds no tensors by name, neither alone nor as "model"')
        return dict(state_dict=self.convert(weights, model))


def foreign_detector(config: object) -> ForeignDetector | None:
    """The detector that ``torchvision://NAME`` or a YAML file of Detectron2 describes; None for configs of ours.

    Raises:
        ConfigError: A setting has no counterpart here.
    """
    if not isinstance(config, (str, Path)):
        return None
    if str(config).startswith(torchvision.SCHEME):
        name, arguments = torchvision.parse_name(str(config))
        return ForeignDetector(Config(torchvision.whole_config(name, **arguments)), torchvision.convert_state_dict)
    if detectron2.is_detectron2_config(config):
        whole = detectron2.whole_config(detectron2.read_config(config))
        return ForeignDetector(Config(whole), detectron2.convert_state_dict)
    return None
