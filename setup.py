"""Builds `mmdetlike` and, with it, the compiled kernels of `mmdetlike_ops`.

Metadata is in setup.cfg, dependency lists in requirements/. The kernels are one shared library,
`mmdetlike_ops/_C.abi3.so`, which uses only PyTorch's stable ABI: it is no Python extension module, so one binary serves
every Python >= 3.10 and every torch >= 2.10. Environment variables:

    MMDETLIKE_OPS_CUDA    auto (default: CUDA kernels if nvcc is found), 0 (never), 1 (nvcc is required)
    TORCH_CUDA_ARCH_LIST  GPU generations to compile for, as PyTorch writes them: '8.0;9.0+PTX'
    CXX, CUDA_HOME        the C++ compiler, with flags of its own (-g keeps the symbols), and the CUDA toolkit
    MAX_JOBS              compiler processes at a time (default: the number of cores)
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

CSRC = Path('mmdetlike_ops/csrc')
TORCH_FLOOR = (2, 10)
STABLE_ABI = ['-DTORCH_STABLE_ONLY', '-DTORCH_TARGET_VERSION=0x020a000000000000']
CUDA_ARCHS = '7.5;8.0;8.6;8.9;9.0;10.0;12.0+PTX'


def fail(sentence: str):
    sys.exit(f'mmdetlike: {sentence}')


def find_torch() -> Path:
    """The directory of the torch to compile against; pip's isolated builds hide it from `import`, hence the process."""
    spec = importlib.util.find_spec('torch')
    if spec and spec.origin:
        return Path(spec.origin).parent
    code = "import importlib.util as u; s = u.find_spec('torch'); print(s.origin if s else '')"
    found = subprocess.run([sys.executable, '-I', '-c', code], capture_output=True, text=True).stdout.strip()
    if not found:
        fail(
            'compiling the kernels needs the headers of an installed torch >= 2.10; run `pip install torch` first, '
            'or, if it is installed, add --no-build-isolation to the command.'
        )
    return Path(found).parent


def check_torch(torch: Path) -> None:
    version = re.search(r"__version__ = '((\d+)\.(\d+)[^']*)'", (torch / 'version.py').read_text())
    if version and (int(version[2]), int(version[3])) < TORCH_FLOOR:
        fail(f'torch {version[1]} is installed, the kernels need torch >= 2.10; run `pip install -U torch`.')


def find_compiler() -> list[str]:
    command = shlex.split(os.environ.get('CXX', '')) or [shutil.which('g++') or shutil.which('clang++') or 'g++']
    if not shutil.which(command[0]):
        fail(f'the C++ compiler {command[0]!r} was not found; install one (`apt install g++`) or set CXX to its path.')
    return command


def find_nvcc() -> str | None:
    wish = os.environ.get('MMDETLIKE_OPS_CUDA', 'auto')
    if wish not in ('auto', '0', '1'):
        fail(f'MMDETLIKE_OPS_CUDA is {wish!r}, it takes auto, 0 or 1.')
    if wish == '0':
        return None
    home = os.environ.get('CUDA_HOME', '/usr/local/cuda')
    nvcc = shutil.which('nvcc', path=f'{home}/bin') or shutil.which('nvcc')
    if wish == '1' and not nvcc:
        fail('MMDETLIKE_OPS_CUDA=1 but nvcc was not found; install the CUDA toolkit or set CUDA_HOME to it.')
    return nvcc


def gencode_flags() -> list[str]:
    flags = []
    for arch in re.split(r'[;,\s]+', os.environ.get('TORCH_CUDA_ARCH_LIST', '').strip() or CUDA_ARCHS):
        number = arch.removesuffix('+PTX').replace('.', '')
        flags += [f'-gencode=arch=compute_{number},code=sm_{number}']
        if arch.endswith('+PTX'):
            flags += [f'-gencode=arch=compute_{number},code=compute_{number}']
    return flags


class BuildKernels(build_ext):
    """Compiles csrc/cpu with the C++ compiler, csrc/cuda with nvcc if there is one, and links one library."""

    def build_extension(self, ext):
        torch = find_torch()
        check_torch(torch)
        cxx, nvcc = find_compiler(), find_nvcc()
        common = [f'-I{CSRC}', f'-I{torch}/include', '-std=c++17', '-O3', *STABLE_ABI]
        # The same rounding on every machine, and branches of arithmetic free to become vector selections.
        arithmetic = ['-ffp-contract=off', '-fno-trapping-math', '-fno-math-errno']
        host = ['-fPIC', '-fvisibility=hidden', '-Wall', *arithmetic]
        jobs = [(source, [*cxx, *common, *host]) for source in sorted(CSRC.glob('cpu/*.cpp'))]
        if nvcc:
            cuda = ['-Xcompiler', ','.join(host), '--fmad=false', '--threads', '2', *gencode_flags()]
            jobs += [(source, [nvcc, *common, *cuda]) for source in sorted(CSRC.glob('cuda/*.cu'))]
        with ThreadPoolExecutor(int(os.environ.get('MAX_JOBS', 0)) or os.cpu_count()) as pool:
            objects = list(pool.map(lambda job: self.compile_one(*job), jobs))
        self.link(cxx, objects, torch, nvcc)

    def compile_one(self, source: Path, command: list[str]) -> str:
        version = zlib.crc32(' '.join(command).encode())
        target = Path(self.build_temp) / f'{source.parent.name}_{source.stem}_{version:08x}.o'
        target.parent.mkdir(parents=True, exist_ok=True)
        inputs = [source, Path(__file__), *CSRC.glob('common/*'), *source.parent.glob('*.h')]
        if not target.exists() or target.stat().st_mtime < max(path.stat().st_mtime for path in inputs):
            self.execute_command([*command, '-c', str(source), '-o', str(target)])
        return str(target)

    def link(self, cxx: list[str], objects: list[str], torch: Path, nvcc: str | None) -> None:
        target = Path(self.get_ext_fullpath('mmdetlike_ops._C'))
        target.parent.mkdir(parents=True, exist_ok=True)
        libraries = [f'-L{torch}/lib', '-ltorch', '-ltorch_cpu', '-lc10']
        if nvcc:
            home = Path(nvcc).resolve().parent.parent
            home = Path(os.environ.get('CUDA_HOME', home if (home / 'lib64').is_dir() else '/usr/local/cuda'))
            libraries += [f'-L{home}/lib64', '-lcudart_static', '-ldl', '-lrt', '-lpthread']
        symbols = [] if '-g' in cxx else ['-s']
        self.execute_command([*cxx, '-shared', *symbols, *objects, *libraries, '-o', str(target)])

    def execute_command(self, command: list[str]) -> None:
        print(shlex.join(command), flush=True)
        if subprocess.run(command).returncode:
            fail(f'this command failed (its messages are above): {shlex.join(command)}')


class CopyConfigs(build_py):
    """Puts the configs into the package, where `DetInferencer` finds them by name."""

    def run(self):
        super().run()
        if not self.editable_mode:
            shutil.copytree('configs', Path(self.build_lib) / 'mmdetlike' / 'configs', dirs_exist_ok=True)


setup(
    ext_modules=[Extension('mmdetlike_ops._C', [], py_limited_api=True)],
    cmdclass={'build_ext': BuildKernels, 'build_py': CopyConfigs},
)
