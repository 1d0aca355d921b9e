"""Detectors with published weights, by name: ``get('rtmdet_s_8xb32-300e_coco', trained=True)``.

The names are those of OpenMMLab's configs, with or without folder and suffix, in the spelling of 3.x or of 2.x; of
Detectron2's model zoo, as ``'COCO-Detection/retinanet_R_50_FPN_1x.yaml'``; and of torchvision's functions.
"""

from pathlib import Path

import torch
from mmengine.config import Config
from torch import nn

from mmdetlike.utils.config import load_config
from mmdetlike.utils.published import find_published, look_up, published, published_config

__all__ = ['get', 'get_checkpoint_url', 'get_config', 'get_config_file', 'get_scores', 'list']


def list() -> tuple[str, ...]:
    """The names of all models whose weights are published."""
    return tuple(published())


def get_checkpoint_url(name: str) -> str:
    """The address of the published weights of a model.

    Raises:
        ConfigError: There are none of that name, or the model is made of several.
    """
    return find_published(name).url


def get_scores(name: str) -> dict[str, float]:
    """What the published weights of a model scored, in percent, by benchmark and metric.

    Raises:
        ConfigError: There are none of that name.
    """
    return dict(find_published(name).scores)


def get_config_file(name: str) -> Path:
    """The file of a model's config.

    Raises:
        ConfigError: Weights are published, but the config isn't shipped.
        FileNotFoundError: There is neither a config nor weights of that name; close names are listed.
    """
    return published_config(name)


def get_config(name: str, trained: bool = False) -> Config:
    """The config of a model.

    Args:
        name: Of the model.
        trained: Set ``load_from`` to the published weights.

    Raises:
        ConfigError, FileNotFoundError: As of ``get_config_file`` and ``get_checkpoint_url``.
    """
    foreign = _foreign_name(name)
    if foreign is None:
        config = load_config(get_config_file(name))
    else:
        from mmdetlike.apis.foreign import foreign_detector

        config = foreign_detector(foreign, trained).config
    if trained:
        config.load_from = get_checkpoint_url(name)
    return config


def get(name: str, trained: bool = False, device: str | torch.device | None = None) -> nn.Module:
    """A detector, ready for inference.

    Args:
        name: Of the model.
        trained: Fetch the published weights, once, into torch's cache folder; else they are random.
        device: Where it goes; by default the first GPU, or the CPU where there is none.

    Raises:
        ConfigError, FileNotFoundError: As of ``get_config_file`` and ``get_checkpoint_url``.
        CheckpointError: The weights can't be fetched or don't fit.
    """
    # what builds detectors is imported when one is built: looking names up costs nothing
    from mmdetlike.apis import init_detector

    foreign = _foreign_name(name)
    if foreign is not None:
        return init_detector(foreign, device=device, pretrained=trained)
    return init_detector(get_config_file(name), get_checkpoint_url(name) if trained else None, device=device)


def _foreign_name(name: str) -> str | None:
    """The name by which a config of another toolbox is known; None for configs of ours."""
    if '://' in name:
        return name
    entry = look_up(name)
    return None if entry is None else entry.foreign_name
