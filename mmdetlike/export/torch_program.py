"""A detector's graph as files of torch's own: a program of torch.export, and code compiled for this CPU."""

from pathlib import Path

import torch
from torch.export import ExportedProgram

import mmdetlike_ops  # noqa: F401  registers the kernels that programs call
from mmdetlike.errors import ConfigError
from mmdetlike.export.program import Program


def write_torch(program: ExportedProgram, path: Path, outputs: list[str]) -> None:
    """Write a program, which ``torch.export.load`` reads wherever ``mmdetlike_ops`` is imported."""
    torch.export.save(program, path)


def read_torch(path: Path) -> Program:
    """A program of torch.export, to be called."""
    program = torch.export.load(path)
    height, width = program.example_inputs[0][0].shape[-2:]
    return Program(program.module(), (height, width))


def write_aoti(program: ExportedProgram, path: Path, outputs: list[str]) -> None:
    """Compile a program, by a C++ compiler, into a package for this kind of CPU.

    Raises:
        ConfigError: It can't be compiled.
    """
    from torch._inductor.exc import CppCompileError, InductorError, InvalidCxxCompiler

    height, width = program.example_inputs[0][0].shape[-2:]
    try:
        torch._inductor.aoti_compile_and_package(
            program,
            package_path=str(path),
            inductor_configs={'aot_inductor.metadata': dict(height=str(height), width=str(width))},
        )
    except (CppCompileError, InductorError, InvalidCxxCompiler) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f'this detector could not be compiled by AOTInductor: {reason}') from error


def read_aoti(path: Path) -> Program:
    """A compiled package, to be called."""
    package = torch._inductor.aoti_load_package(str(path))
    height, width = (int(package.get_metadata()[name]) for name in ('height', 'width'))
    return Program(package, (height, width))
