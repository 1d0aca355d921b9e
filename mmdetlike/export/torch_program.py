"""A detector's graph as files of torch's own: a program of torch.export, and code compiled for this CPU."""

import json
import warnings
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

import mmdetlike_ops  # noqa: F401  registers the kernels that programs call
from mmdetlike.errors import ConfigError
from mmdetlike.export.program import FACTS, SIZES, Program, Sizes


def write_torch(program: ExportedProgram, path: Path, outputs: list[str], sizes: Sizes, facts: dict) -> None:
    """Write a program, which ``torch.export.load`` reads wherever ``mmdetlike_ops`` is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torch's to itself
        torch.export.save(program, path, extra_files={SIZES: sizes.to_text(), FACTS: json.dumps(facts)})


def read_torch(path: Path) -> Program:
    """A program of torch.export, to be called."""
    metadata = {SIZES: '', FACTS: ''}
    program = torch.export.load(path, extra_files=metadata)
    if not metadata[SIZES]:  # written by a version of ours that knew only fixed sizes
        return Program(program.module(), Sizes.fixed(*program.example_inputs[0][0].shape[-2:]))
    return Program(program.module(), Sizes.from_text(metadata[SIZES]), json.loads(metadata[FACTS] or '{}'))


def write_aoti(program: ExportedProgram, path: Path, outputs: list[str], sizes: Sizes, facts: dict) -> None:
    """Compile a program, by a C++ compiler, into a package for this kind of CPU.

    Raises:
        ConfigError: It can't be compiled.
    """
    from torch._inductor.exc import CppCompileError, InductorError, InvalidCxxCompiler

    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # torch's to itself
            torch._inductor.aoti_compile_and_package(
                program,
                package_path=str(path),
                inductor_configs={'aot_inductor.metadata': {SIZES: sizes.to_text(), FACTS: json.dumps(facts)}},
            )
    except (CppCompileError, InductorError, InvalidCxxCompiler) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f'this detector could not be compiled by AOTInductor: {reason}') from error


def read_aoti(path: Path) -> Program:
    """A compiled package, to be called."""
    package = torch._inductor.aoti_load_package(str(path))
    metadata = package.get_metadata()

    def run(images: Tensor) -> dict[str, Tensor]:
        # compiled code reads the memory as that of the traced images, row by row, and doesn't look at strides: of the
        # images of a picture, whose channels are next to each other, it would silently read other pixels
        return package(images.contiguous())

    if SIZES not in metadata:  # written by a version of ours that knew only fixed sizes
        return Program(run, Sizes.fixed(int(metadata['height']), int(metadata['width'])))
    return Program(run, Sizes.from_text(metadata[SIZES]), json.loads(metadata.get(FACTS, '{}')))
