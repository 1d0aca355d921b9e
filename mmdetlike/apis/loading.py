"""A detector by whatever a command line names it."""

from pathlib import Path

from mmdetlike.apis.deployed import Detector
from mmdetlike.apis.inferencer import DetInferencer


def load_inferencer(
    model: str | None,
    weights: str | None = None,
    device: str | None = None,
    *,
    optimize: str | None = None,
    trust_checkpoint: bool = False,
) -> DetInferencer | Detector:
    """What detects objects in pictures, without a progress bar.

    Args:
        model: Folder of an artifact (``tools/deploy.py``), config, or checkpoint that holds its config.
        weights, device, optimize, trust_checkpoint: As of ``DetInferencer``; an artifact takes none of them but
            ``device``.
    """
    from mmdetlike.export.manifest import NAME

    if model is not None and (Path(model).expanduser() / NAME).is_file():
        return Detector.load(model, show_progress=False)
    if model is not None and model.endswith(('.pth', '.pt')) and weights is None:
        model, weights = None, model
    return DetInferencer(
        model, weights, device, show_progress=False, optimize=optimize, trust_checkpoint=trust_checkpoint
    )
