"""Weights of other toolboxes, which are told by their names of parameters or by how they are pickled."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch

# what torch.save's older format begins with, as the pickle of a long integer writes it
TORCH_MAGIC = torch.serialization.MAGIC_NUMBER.to_bytes(10, 'little')
PICKLE = b'\x80'
START = 32  # bytes within which torch.save writes that number


@dataclass(frozen=True)
class Maker:
    """Another toolbox.

    Attributes:
        name: What it is called.
        parameters: Begins of parameters' names that no model of ours has.
        config: What takes the place of our config beside such weights.
        command: What converts them, but for the checkpoint at its end.
    """

    name: str
    parameters: re.Pattern
    config: str
    command: str

    def advice(self, source: str) -> str:
        """What to do with such a checkpoint."""
        return f'{self.config}, or convert it by "{self.command.format(source=source)}"'


DETECTRON2 = Maker(
    'Detectron2',
    re.compile(r'backbone\.(bottom_up|fpn_lateral\d|res[2-5]|stem\.conv1)\.|proposal_generator\.|sem_seg_head\.'),
    'give its YAML file or detectron2://NAME as the config',
    'mmdetlike convert-model CONFIG.yaml OUT.py {source}',
)
TORCHVISION = Maker(
    'torchvision',
    re.compile(r'backbone\.(body|fpn)\.|rpn\.head\.|head\.(classification|regression)_head\.'),
    'give torchvision://FUNCTION as the config',
    'mmdetlike convert-model torchvision://FUNCTION OUT.py {source}',
)
TRANSFORMERS = Maker(
    'transformers',
    re.compile(r'model\.(backbone|encoder|decoder|input_projection|encoder_input_proj)\.'),
    'choose our config of the same model',
    'python tools/model_converters/huggingface.py FOLDER OUT.pth',
)


def foreign_names(names: Iterable[str], source: str) -> str | None:
    """A sentence about a checkpoint whose parameters have another toolbox's names; None if they don't.

    Args:
        names: Parameters that a model of ours doesn't have.
        source: The checkpoint.
    """
    for name in names:
        for maker in (DETECTRON2, TORCHVISION, TRANSFORMERS):
            if isinstance(name, str) and maker.parameters.match(name):
                return f'{source} has parameters of {maker.name}, as {name}: {maker.advice(source)}.'
    return None


def foreign_pickle(path: str, start: bytes) -> str | None:
    """A sentence about a file that is a pickle, but not one of ``torch.save``; None if it isn't, or too short to tell.

    Args:
        path: The file.
        start: Its first ``START`` bytes.
    """
    if len(start) < START or not start.startswith(PICKLE) or TORCH_MAGIC in start:
        return None
    return f'{path} is a pickle that torch.save did not write. If it is of Detectron2: {DETECTRON2.advice(path)}.'
