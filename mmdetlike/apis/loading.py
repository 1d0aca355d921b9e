"""A detector by whatever a command line names it."""

from pathlib import Path

from mmdetlike.apis.deployed import Detector
from mmdetlike.apis.inferencer import DetInferencer
from mmdetlike.errors import ConfigError
from mmdetlike.utils.checkpoint_files import is_checkpoint_alone
from mmdetlike.utils.memory import keep_freed_memory


def load_inferencer(
    model: str | Path | None,
    weights: str | Path | None = None,
    device: str | None = None,
    *,
    optimize: str | None = None,
    trust_checkpoint: bool = False,
    palette: str | list = 'none',
    show_progress: bool = False,
    color_mode: str | None = None,
) -> DetInferencer | Detector:
    """What detects objects in pictures, in a process that does little else: it keeps the memory it once needed.

    Args:
        model: Folder of an artifact (``tools/deploy.py``), config, or checkpoint that holds its config.
        weights, device, optimize, trust_checkpoint: As of ``DetInferencer``; an artifact has all of them settled.
        palette, show_progress, color_mode: As of ``DetInferencer``.

    Raises:
        ConfigError: An artifact is to have other weights, another device or another optimization than it was made with.
    """
    from mmdetlike.export.manifest import NAME

    keep_freed_memory()
    if model is not None and (Path(model).expanduser() / NAME).is_file():
        _refuse_settings(model, weights=weights, device=device, optimize=optimize)
        return Detector.load(model, palette, show_progress, color_mode=color_mode)
    if is_checkpoint_alone(model, weights):
        model, weights = None, model
    return DetInferencer(
        model,
        weights,
        device,
        palette=palette,
        show_progress=show_progress,
        color_mode=color_mode,
        optimize=optimize,
        trust_checkpoint=trust_checkpoint,
    )


def _refuse_settings(folder: str | Path, **settings: str | Path | None) -> None:
    """Refuse what was settled when an artifact was made; ``device='cpu'`` is what it has anyway."""
    given = [name for name, value in settings.items() if value is not None and (name, value) != ('device', 'cpu')]
    if given:
        raise ConfigError(f'{folder} is a deployed detector, which has its own {given[0]}: leave {given[0]} out')
