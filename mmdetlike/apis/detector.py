"""Building a detector from a config and a checkpoint."""

import contextlib
import warnings
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from mmdetlike.apis.configs import as_config
from mmdetlike.apis.foreign import foreign_detector
from mmdetlike.apis.pipeline import dataset_config
from mmdetlike.apis.tta import with_tta
from mmdetlike.errors import ConfigError
from mmdetlike.registry import DATASETS, MODELS
from mmdetlike.utils.checkpoint import load_weights, read_weights
from mmdetlike.utils.config import located
from mmdetlike.utils.published import find_published, published_config
from mmdetlike.utils.settings import check_test_cfg
from mmdetlike.utils.setup_env import register_all_modules
from mmdetlike.visualization import get_palette


def init_detector(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    palette: str | list = 'none',
    device: str | torch.device | None = None,
    cfg_options: dict | None = None,
    trust_checkpoint: bool = False,
    pretrained: bool = False,
    optimize: str | None = None,
    tta: bool | dict = False,
) -> nn.Module:
    """Build a detector ready for inference. Weights of a backbone alone are never fetched.

    Args:
        config: Config file, name of a shipped config or of published weights, or ``Config``; or a YAML file of
            Detectron2, ``'detectron2://COCO-Detection/retinanet_R_50_FPN_1x.yaml'`` or
            ``'torchvision://maskrcnn_resnet50_fpn_v2'``, which take checkpoints of that toolbox.
        checkpoint: File or URL of a checkpoint; None leaves the weights random.
        palette: Colors of classes as ``get_palette`` takes them; ``'none'`` for those of the checkpoint or dataset.
            A device in its place is taken as one, and a dict after it as ``cfg_options``, as scripts for OpenMMLab's
            2.x hand them over.
        device: Where the model goes; by default the first GPU, or the CPU where there is none.
        cfg_options: Overrides of the config by dotted key.
        trust_checkpoint: Let the checkpoint hold any object; reading it then runs whatever code it names.
        pretrained: Fetch the published weights of the model that ``config`` names, in place of ``checkpoint``.
        optimize: ``'fp32'``, ``'bf16'``, ``'fp16'`` or ``'compile'``: make the detector fast for prediction, by
            ``optimize_model``; it can't be trained then.
        tta: Look at several versions of each picture, as ``with_tta`` says: True, or a ``tta_cfg``.

    Returns:
        The model in eval mode, with ``cfg`` and ``dataset_meta`` (``classes``, ``palette``).

    Raises:
        FileNotFoundError: There is no such config or checkpoint.
        ConfigError: The config can't be built, the device isn't there or can't do what ``optimize`` asks for, or the
            palette doesn't fit the classes.
        CheckpointError: The checkpoint can't be read or belongs to another model.
    """
    if _is_device(palette) and (device is None or isinstance(device, dict)):
        cfg_options = device or cfg_options
        device = palette
        palette = 'none'
    if _is_device(checkpoint) and not Path(str(checkpoint)).exists():
        raise ConfigError(f'checkpoint={str(checkpoint)!r} is a device: write device={str(checkpoint)!r}')
    if pretrained:
        checkpoint = _published_weights(config, checkpoint)
    foreign = foreign_detector(config, pretrained)
    if foreign is not None:
        config = foreign.config
    cfg = as_config(published_config(config) if isinstance(config, (str, Path)) else config, cfg_options)
    device = check_device(device, optimize)
    model = build_model(cfg)
    if checkpoint is None:
        loaded = {}
    elif foreign is None:
        loaded = read_weights(checkpoint, trust_checkpoint)
    else:
        loaded = foreign.read(checkpoint, model, trust_checkpoint)
    if checkpoint is not None:
        load_weights(model, loaded, str(checkpoint))
    model = make_ready(model, cfg, loaded, palette, device, optimize)
    return with_tta(model, tta) if tta or isinstance(tta, dict) else model


def _published_weights(config, checkpoint: str | Path | None) -> str:
    """The address of the published weights of a model.

    Raises:
        ConfigError: There are none, or a checkpoint is given as well.
    """
    if checkpoint is not None:
        raise ConfigError(f'pretrained=True and checkpoint={str(checkpoint)!r}: give one of them')
    name = config if isinstance(config, (str, Path)) else getattr(config, 'filename', None)
    if name is None:
        raise ConfigError('pretrained=True needs the name of a model with published weights in place of a config')
    return find_published(str(name)).url


def _is_device(value) -> bool:
    """Whether a value names a device, present or not; no name of a palette or a color does."""
    if isinstance(value, torch.device):
        return True
    try:
        return isinstance(value, str) and torch.device(value) is not None
    except RuntimeError:
        return False


def check_device(device: str | torch.device | None, optimize: str | None = None) -> torch.device:
    """The device to use.

    Raises:
        ConfigError: It isn't there, or can't do what ``optimize`` asks for.
    """
    found = _find_device(device)
    if optimize is not None:
        from mmdetlike.models.optimize import check_optimization

        check_optimization(optimize, found)
    return found


def _find_device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        offered = ', '.join(map(repr, _devices()))
        raise ConfigError(
            f"device {str(device)!r} can't be used here: expected one of {offered}{_why(error)}"
        ) from error
    return torch.device(device)


def _devices() -> list[str]:
    """The devices of this machine that torch can use."""
    gpus = [f'cuda:{i}' for i in range(torch.cuda.device_count())]
    return ['cpu', *gpus, *(['mps'] if torch.backends.mps.is_available() else [])]


def _why(error: Exception, limit: int = 80) -> str:
    """The first line of torch's message, unless it is long, as its lists of all kinds of devices are."""
    lines = str(error).strip().splitlines() or ['']
    return f' ({lines[0].rstrip(". ")})' if 0 < len(lines[0]) <= limit else ''


def build_model(cfg: Config) -> nn.Module:
    """The model of a config, with random weights.

    Raises:
        ConfigError: It can't be built; the message says where in the config.
    """
    check_test_cfg(cfg.model)
    register_all_modules(init_default_scope_=False)
    init_default_scope(cfg.default_scope)
    model = _without_pretrained(cfg.model)
    with located(cfg, dict(model=model)):
        return MODELS.build(model)


def _without_pretrained(cfg):
    """A model config that names no weights to fetch."""
    if isinstance(cfg, dict):
        kept = {key: _without_pretrained(value) for key, value in cfg.items()}
        kept.update({key: None for key in kept if key == 'pretrained' or (key == 'init_cfg' and _fetches(kept[key]))})
        return type(cfg)(kept)
    return [_without_pretrained(value) for value in cfg] if isinstance(cfg, list) else cfg


def _fetches(init_cfg) -> bool:
    return isinstance(init_cfg, dict) and init_cfg.get('checkpoint') is not None


def make_ready(
    model: nn.Module,
    cfg: Config,
    checkpoint: dict,
    palette: str | list,
    device: torch.device,
    optimize: str | None = None,
) -> nn.Module:
    """Give a model its config, classes and palette, put it on its device in eval mode and optimize it if asked to."""
    model.cfg = cfg
    model.dataset_meta = find_dataset_meta(model, cfg, checkpoint.get('meta') or {})
    set_palette(model, palette)
    model.to(device).eval()
    return model if optimize is None else optimized(model, optimize)


def optimized(model: nn.Module, optimize: str) -> nn.Module:
    """What ``optimize_model`` makes of a model; the networks that it knows are imported only now."""
    from mmdetlike.models.optimize import optimize_model

    return optimize_model(model, optimize)


def set_palette(model: nn.Module, palette: str | list) -> None:
    """Set the colors in a model's ``dataset_meta``; ``'none'`` keeps those that are there.

    Raises:
        ConfigError: The palette is unknown or holds what is no color.
    """
    if palette is None or (isinstance(palette, str) and palette == 'none'):
        palette = model.dataset_meta.get('palette')
    model.dataset_meta['palette'] = get_palette(palette, len(model.dataset_meta['classes']))


def find_dataset_meta(model: nn.Module, cfg: Config, checkpoint_meta: dict) -> dict:
    """The classes, from the checkpoint, else from the test dataset of the config, else as 'class_0', 'class_1', ..."""
    meta = _meta_of_checkpoint(checkpoint_meta) or _meta_of_dataset(cfg)
    number = count_classes(model)
    if meta and len(meta['classes']) >= number:
        return meta
    names = tuple(f'class_{i}' for i in range(number))
    reason = f'there are {len(meta["classes"])} of them for {number} classes' if meta else 'none are known'
    source = cfg.filename or 'the config'
    warnings.warn(f'names of classes: {reason}, neither from the checkpoint nor from {source}', stacklevel=4)
    return {'classes': names}


def _meta_of_checkpoint(meta: dict) -> dict:
    if 'dataset_meta' in meta:
        found = {key.lower(): value for key, value in meta['dataset_meta'].items()}
    else:
        found = {key.lower(): meta[key] for key in ('CLASSES', 'PALETTE') if meta.get(key) is not None}
    return found if found.get('classes') is not None else {}


def _meta_of_dataset(cfg: Config) -> dict:
    dataset = dataset_config(cfg) or {}
    with contextlib.suppress(ConfigError):  # a dataset that this installation lacks is no hindrance to inference
        cls = DATASETS.get(dataset['type']) if isinstance(dataset.get('type'), str) else dataset.get('type')
        if hasattr(cls, '_load_metainfo'):
            meta = {key.lower(): value for key, value in cls._load_metainfo(dataset.get('metainfo')).items()}
            return meta if meta.get('classes') is not None else {}
    return {}


def count_classes(model: nn.Module) -> int:
    """The largest number of classes that a head of a model predicts, 1 if none says."""
    counts = [
        module.num_classes
        for module in model.modules()
        if getattr(module, 'predicts_dataset_classes', True) and isinstance(getattr(module, 'num_classes', None), int)
    ]
    return max(counts, default=1)
