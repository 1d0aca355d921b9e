"""Write a detector as an artifact: a folder with a program and its manifest."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from mmdetlike.errors import ConfigError
from mmdetlike.export.detection import Detection, Normalization
from mmdetlike.export.manifest import FORMAT, PROGRAMS, Manifest, checksum
from mmdetlike.export.onnx_program import write_onnx
from mmdetlike.export.program import Sizes
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
    smallest_size: tuple[int, int] | None = None,
    batch_size: int = 1,
) -> Manifest:
    """Write a detector as an artifact.

    Args:
        model: A detector with ``dataset_meta``, as from ``init_detector``; it is put into eval mode.
        folder: Where the program and its manifest go; made if need be.
        kind: ``'torch'``, ``'aoti'`` or ``'onnx'``.
        size: Height and width in pixels of the images that the program takes, the largest ones.
        pipeline: Transforms from a picture to an image of the network, as in a config.
        raw_input: Let the program take pixels as they are loaded, from 0 to 255, and normalize them itself.
        smallest_size: Let it take all sizes between this and ``size``, in steps of what the detector pads images to;
            None for ``size`` alone.
        batch_size: Images that the program takes at once.

    Raises:
        ConfigError: The kind, size or batch is wrong, or the detector has no such form.
        OutputError: Nothing can be written to the folder.
    """
    folder = Path(folder).expanduser()
    if kind not in WRITERS:
        raise ConfigError(f'a detector can be deployed to {", ".join(WRITERS)}, got {kind!r}')
    check_folder(folder)
    preparation = preparation_of(model)
    sizes = Sizes(tuple(smallest_size or size), tuple(size), model.data_preprocessor.pad_size_divisor, batch_size)
    check_sizes(sizes)
    sizes = sizes if sizes.are_open else Sizes.fixed(*size, batch_size)
    program = trace(model.eval(), sizes, preparation if raw_input else None)
    outputs = output_names(program)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PROGRAMS[kind]
    facts = dict(
        detector=type(model).__name__,
        raw_input=raw_input,
        mean=preparation.mean.flatten().tolist(),
        std=preparation.std.flatten().tolist(),
        reverse_channels=preparation.reverse_channels,
        pad_value=model.data_preprocessor.pad_value,
        outputs=outputs,
        limit=row_count(program, outputs),
    )
    classes = list(model.dataset_meta['classes'])
    WRITERS[kind](program, path, outputs, sizes, dict(facts, class_count=len(classes)))
    manifest = Manifest(
        format=FORMAT,
        kind=kind,
        program=path.name,
        sha256=checksum(path),
        classes=classes,
        palette=[list(color) for color in model.dataset_meta['palette']],
        size=list(sizes.largest),
        smallest_size=list(sizes.smallest),
        size_divisor=sizes.divisor,
        batch_size=sizes.batch_size,
        **facts,
        test_cfg=plain(model.test_cfg),
        pipeline=plain(list(pipeline)),
        versions=dict(mmdetlike=__version__, torch=torch.__version__),
    )
    manifest.write(folder)
    return manifest


@torch.no_grad()
def trace(model: nn.Module, sizes: Sizes, normalize: nn.Module | None = None) -> ExportedProgram:
    """The program of `Detection` for images of the given sizes.

    Raises:
        ConfigError: The detector has no form of tensors alone or none for several sizes, or nothing bounds the number
            of objects.
    """
    detection = Detection(model, normalize)
    images = torch.zeros(sizes.batch_size, 3, *example_size(sizes))
    shapes = (open_sides(sizes),) if sizes.are_open else None
    try:
        program = torch.export.export(detection, (images,), dynamic_shapes=shapes, strict=False)
    except (NotImplementedError, ValueError) as error:  # of detect, see BaseDetector
        raise ConfigError(f'{type(model).__name__} cannot be exported: {error}') from error
    except torch._dynamo.exc.UserError as error:  # something in the detector needs to know the size
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f'{type(model).__name__} cannot be exported for images of {sizes}: {reason}') from error
    if sizes.are_open:
        check_open(program, sizes, type(model).__name__)
    return program


def check_open(program: ExportedProgram, sizes: Sizes, name: str) -> None:
    """Run a program with the smallest and the largest images: tracing may have bound it to a size without a word.

    Raises:
        ConfigError: It doesn't take them.
    """
    run = program.module()
    for size in (sizes.smallest, sizes.largest):
        try:
            run(torch.zeros(sizes.batch_size, 3, *size))
        except AssertionError as error:  # a guard of the graph
            raise ConfigError(
                f'{name} cannot be exported for images of {sizes}: its graph takes none of {size[0]} x {size[1]}. '
                'Deploy it for one size, without --dynamic'
            ) from error


def example_size(sizes: Sizes) -> tuple[int, int]:
    """A size from which to trace: one whose sides differ, where there is one, so that no graph confuses them."""
    height, width = sizes.largest
    middle = (sizes.smallest[0] + height) // 2
    return sizes.fitting(middle if height == width else height, width)


def open_sides(sizes: Sizes) -> dict[int, Dim | int]:
    """Height and width, axes 2 and 3 of images, as ``torch.export`` is told of those that it shall keep open."""
    sides = {}
    for axis, name, least, most in zip((2, 3), ('height', 'width'), sizes.smallest, sizes.largest):
        if least < most:
            steps = Dim(name, min=least // sizes.divisor, max=most // sizes.divisor)
            sides[axis] = sizes.divisor * steps if sizes.divisor > 1 else steps
    return sides


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


def check_sizes(sizes: Sizes) -> None:
    """Raise a ConfigError unless there are images whose sides are positive multiples of the divisor, and in order."""
    if sizes.batch_size < 1:
        raise ConfigError(f'a program takes a batch of one image or more, got batch_size={sizes.batch_size}')
    for height, width in (sizes.smallest, sizes.largest):
        if any(side <= 0 or side % sizes.divisor for side in (height, width)):
            raise ConfigError(
                f'the size {height} x {width} (height x width) must be of positive multiples of {sizes.divisor}, '
                'the pad_size_divisor of model.data_preprocessor'
            )
    if any(map(int.__gt__, sizes.smallest, sizes.largest)):
        raise ConfigError(
            f'the smallest size, {sizes.smallest[0]} x {sizes.smallest[1]} (height x width), must not exceed the '
            f'largest, {sizes.largest[0]} x {sizes.largest[1]}'
        )


def output_names(program: ExportedProgram) -> list[str]:
    """Names of a program's outputs, in their order."""
    return [str(key) for key in program.call_spec.out_spec.context]


def row_count(program: ExportedProgram, outputs: list[str]) -> int:
    """How many rows a program's outputs, whose names are given, have for an image, filled up with zeros."""
    return program.graph.output_node().args[0][outputs.index('scores')].meta['val'].shape[-1]


def plain(value):
    """A value of a config as JSON has it; a class becomes its name."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return getattr(value, '__name__', value) if callable(value) else value
