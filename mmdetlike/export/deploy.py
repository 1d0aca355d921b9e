"""Write a detector as an artifact: a folder with a program and its manifest."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram

from mmdetlike.errors import ConfigError
from mmdetlike.export.detection import Detection, Normalization
from mmdetlike.export.manifest import FORMAT, PROGRAMS, Manifest, checksum
from mmdetlike.export.onnx_program import write_onnx
from mmdetlike.export.torch_program import write_aoti, write_torch
from mmdetlike.models.data_preprocessors import DetDataPreprocessor
from mmdetlike.utils.outputs import check_folder
from mmdetlike.version import __version__

WRITERS = {'torch': write_torch, 'aoti': write_aoti, 'onnx': write_onnx}


def deploy(
    model: nn.Module,
    folder: str | Path,
    kind: str,
    size: tuple[int, int],
    pipeline: Sequence[dict],
    raw_input: bool = False,
) -> Manifest:
    """Write a detector as an artifact.

    Args:
        model: A detector with ``dataset_meta``, as from ``init_detector``; it is put into eval mode.
        folder: Where the program and its manifest go; made if need be.
        kind: ``'torch'``, ``'aoti'`` or ``'onnx'``.
        size: Height and width in pixels of the images that the program takes.
        pipeline: Transforms from a picture to an image of the network, as in a config.
        raw_input: Let the program take pixels as they are loaded, from 0 to 255, and normalize them itself.

    Raises:
        ConfigError: The kind or size is wrong, or the detector has no such form.
        OutputError: Nothing can be written to the folder.
    """
    folder = Path(folder).expanduser()
    if kind not in WRITERS:
        raise ConfigError(f'a detector can be deployed to {", ".join(WRITERS)}, got {kind!r}')
    check_folder(folder)
    preparation = preparation_of(model)
    check_size(size, model.data_preprocessor.pad_size_divisor)
    program = trace(model.eval(), size, preparation if raw_input else None)
    outputs = output_names(program)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PROGRAMS[kind]
    WRITERS[kind](program, path, outputs)
    manifest = Manifest(
        format=FORMAT,
        kind=kind,
        program=path.name,
        sha256=checksum(path),
        detector=type(model).__name__,
        classes=list(model.dataset_meta['classes']),
        palette=[list(color) for color in model.dataset_meta['palette']],
        size=list(size),
        raw_input=raw_input,
        mean=preparation.mean.flatten().tolist(),
        std=preparation.std.flatten().tolist(),
        reverse_channels=preparation.reverse_channels,
        pad_value=model.data_preprocessor.pad_value,
        outputs=outputs,
        limit=row_count(program),
        test_cfg=plain(model.test_cfg),
        pipeline=plain(list(pipeline)),
        versions=dict(mmdetlike=__version__, torch=torch.__version__),
    )
    manifest.write(folder)
    return manifest


@torch.no_grad()
def trace(model: nn.Module, size: tuple[int, int], normalize: nn.Module | None = None) -> ExportedProgram:
    """The program of `Detection` for images of a size (height, width).

    Raises:
        ConfigError: The detector has no form of tensors alone, or nothing bounds the number of objects.
    """
    try:
        return torch.export.export(Detection(model, normalize), (torch.zeros(1, 3, *size),), strict=False)
    except (NotImplementedError, ValueError) as error:  # of detect, see BaseDetector
        raise ConfigError(f'{type(model).__name__} cannot be exported: {error}') from error


def preparation_of(model: nn.Module) -> Normalization:
    """What a detector's data preprocessor does to pixels.

    Raises:
        ConfigError: It is of another kind than ``DetDataPreprocessor``.
    """
    preprocessor = model.data_preprocessor
    if not isinstance(preprocessor, DetDataPreprocessor):
        kind = type(preprocessor).__name__
        raise ConfigError(f'model.data_preprocessor must be a DetDataPreprocessor to be exported, got {kind}')
    mean, std = (getattr(preprocessor, name, torch.empty(0)).flatten().tolist() for name in ('mean', 'std'))
    return Normalization(mean, std, preprocessor.channel_conversion)


def check_size(size: tuple[int, int], divisor: int) -> None:
    """Raise a ConfigError unless both sides are positive multiples of what images are padded to."""
    if any(side <= 0 or side % divisor for side in size):
        raise ConfigError(
            f'the size {size[0]} x {size[1]} (height x width) must be of positive multiples of {divisor}, '
            'the pad_size_divisor of model.data_preprocessor'
        )


def output_names(program: ExportedProgram) -> list[str]:
    """Names of a program's outputs, in their order."""
    return [str(key) for key in program.call_spec.out_spec.context]


def row_count(program: ExportedProgram) -> int:
    """How many rows the outputs of a program have, filled up with zeros."""
    return program.graph.output_node().args[0][0].meta['val'].shape[0]


def plain(value):
    """A value of a config as JSON has it; a class becomes its name."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return getattr(value, '__name__', value) if callable(value) else value
