"""Builds `mmdetlike` and, with it, the compiled kernels of `mmdetlike_ops`.

Metadata is in setup.cfg, dependency lists in requirements/. The kernels are one shared library,
`mmdetlike_ops/_C.abi3.so`, which uses only PyTorch's stable ABI: it is no Python extension module, so one binary serves
every Python >= 3.10 and every torch >= 2.10. Environment variables:

    MMDETLIKE_OPS_CUDA    CUDA kernels: auto (default: if torch has CUDA, nvcc is found and, unless a wheel is built,
                          a GPU is there), 0 (never), 1 (always; nvcc is required)
    TORCH_CUDA_ARCH_LIST  GPU generations to compile for, as PyTorch writes them: '8.0;9.0+PTX'
                          (default: those of the GPUs that are there, for a wheel all)
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
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

CSRC = Path('mmdetlike_ops/csrc')
TORCH_FLOOR = (2, 10)
STABLE_ABI = ['-DTORCH_STABLE_ONLY', '-DTORCH_TARGET_VERSION=0x020a000000000000']
CUDA_ARCHS = ['7.5', '8.0', '8.6', '8.9', '9.0', '10.0', '12.0']


class Cuda(NamedTuple):
    """What the CUDA kernels are compiled with and for."""

    nvcc: str
    archs: list[str]


def fail(sentence: str):
    sys.exit(f'mmdetlike: {sentence}')


def say(sentence: str):
    print(f'mmdetlike: {sentence}', flush=True)


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


def read_torch_version(torch: Path) -> tuple[str, bool]:
    """The version of torch and whether it has CUDA, read from its files: importing it takes seconds."""
    text = (torch / 'version.py').read_text()
    version = re.search(r"__version__ = '((\d+)\.(\d+)[^']*)'", text)
    if version is None:
        return 'of unknown version', False
    if (int(version[2]), int(version[3])) < TORCH_FLOOR:
        fail(f'torch {version[1]} is installed, the kernels need torch >= 2.10; run `pip install -U torch`.')
    return version[1], re.search(r"^cuda\b[^=]*= '", text, re.MULTILINE) is not None


def find_compiler() -> list[str]:
    command = shlex.split(os.environ.get('CXX', '')) or [shutil.which('g++') or shutil.which('clang++') or 'g++']
    if not shutil.which(command[0]):
        fail(f'the C++ compiler {command[0]!r} was not found; install one (`apt install g++`) or set CXX to its path.')
    return command


def find_nvcc() -> str | None:
    home = os.environ.get('CUDA_HOME', '/usr/local/cuda')
    return shutil.which('nvcc', path=f'{home}/bin') or shutil.which('nvcc')


def plan_cuda(version: str, has_cuda: bool, travels: bool) -> tuple[Cuda | None, str]:
    """What to compile CUDA kernels with and for, or None and the reason.

    Args:
        version: Of torch.
        has_cuda: Whether this torch has CUDA.
        travels: Whether the library is for a wheel, which other machines may install.
    """
    wish = os.environ.get('MMDETLIKE_OPS_CUDA', 'auto')
    if wish not in ('auto', '0', '1'):
        fail(f'MMDETLIKE_OPS_CUDA is {wish!r}, it takes auto, 0 or 1.')
    if wish == '0':
        return None, 'MMDETLIKE_OPS_CUDA=0'
    if wish == 'auto' and not has_cuda:
        return None, f'torch {version} has no CUDA; MMDETLIKE_OPS_CUDA=1 builds them all the same'
    nvcc = find_nvcc()
    if nvcc is None and wish == '1':
        fail('MMDETLIKE_OPS_CUDA=1 but nvcc was not found; install the CUDA toolkit or set CUDA_HOME to it.')
    if nvcc is None:
        return None, 'nvcc was not found; install the CUDA toolkit or set CUDA_HOME to it, to have them'
    archs = choose_archs(nvcc, travels)
    if archs:
        return Cuda(nvcc, archs), f'for {", ".join(archs)}'
    if wish == 'auto':
        return None, 'no GPU is here; MMDETLIKE_OPS_CUDA=1 builds them for all generations, in minutes'
    return Cuda(nvcc, all_archs(nvcc)), f'for all generations ({", ".join(all_archs(nvcc))}), no GPU is here'


def choose_archs(nvcc: str, travels: bool) -> list[str]:
    """The GPU generations to compile for; none if those of the GPUs are wanted and there is none."""
    given = os.environ.get('TORCH_CUDA_ARCH_LIST', '').strip()
    if given:
        return re.split(r'[;,\s]+', given)
    if travels:
        return all_archs(nvcc)
    return sorted({nearest_arch(generation, all_archs(nvcc)) for generation in gpus_here()})


def all_archs(nvcc: str) -> list[str]:
    """The generations of `CUDA_ARCHS` that this nvcc knows, the newest with PTX for those to come."""
    told = subprocess.run([nvcc, '--list-gpu-arch'], capture_output=True, text=True).stdout
    known = [arch for arch in CUDA_ARCHS if f'compute_{arch.replace(".", "")}\n' in told] or CUDA_ARCHS
    return [*known[:-1], f'{known[-1]}+PTX']


def gpus_here() -> list[str]:
    """The generation of each GPU of this machine, such as 9.0."""
    try:
        query = ['nvidia-smi', '--query-gpu=compute_cap', '--format=csv,noheader']
        told = subprocess.run(query, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return re.findall(r'^\d+\.\d+$', told, re.MULTILINE)


def nearest_arch(generation: str, archs: list[str]) -> str:
    """What to compile for a GPU: its generation, or the PTX of the newest before it if nvcc doesn't know that."""
    names = [arch.removesuffix('+PTX') for arch in archs]
    if generation in names:
        return generation
    number = float(generation)
    older = [name for name in names if float(name) < number]
    if not older:
        fail(f'a GPU of generation {generation} is here, the kernels compile for {names[0]} and newer.')
    return f'{older[-1]}+PTX'


def gencode_flags(archs: list[str]) -> list[str]:
    flags = []
    for arch in archs:
        number = arch.removesuffix('+PTX').replace('.', '')
        flags += [f'-gencode=arch=compute_{number},code=sm_{number}']
        if arch.endswith('+PTX'):
            flags += [f'-gencode=arch=compute_{number},code=compute_{number}']
    return flags


class Progress:
    """Says how far the compilation is, a line a file; silent where there is nothing to compile."""

    def __init__(self, total: int):
        self.total = total
        self.done = 0
        self.lock = threading.Lock()

    def tell(self, source: Path, seconds: float) -> None:
        with self.lock:
            self.done += 1
            place = f'{self.done:{len(str(self.total))}}/{self.total}'
            say(f'compiled {place} {source.relative_to(CSRC)} ({seconds:.1f} s)')


class BuildKernels(build_ext):
    """Compiles csrc/cpu with the C++ compiler, csrc/cuda with nvcc if they are wanted, and links one library."""

    def finalize_options(self):
        # setuptools takes a new folder for each editable install, which would compile everything again
        self.objects = Path(self.build_temp or 'build/kernels')
        super().finalize_options()

    def run(self):
        self.travels = not (self.inplace or self.editable_mode)
        super().run()

    def build_extension(self, ext):
        torch = find_torch()
        version, has_cuda = read_torch_version(torch)
        cxx = find_compiler()
        cuda, reason = plan_cuda(version, has_cuda, self.travels)
        self.compile_all(self.plan_jobs(torch, version, cxx, cuda), cuda, reason)
        self.link(cxx, torch, cuda)

    def plan_jobs(self, torch: Path, version: str, cxx: list[str], cuda: Cuda | None) -> dict[Path, tuple]:
        """For each object file its source and the command that compiles it."""
        common = [f'-I{CSRC}', f'-I{torch}/include', '-std=c++17', '-O3', *STABLE_ABI]
        # The same rounding on every machine, and branches of arithmetic free to become vector selections.
        arithmetic = ['-ffp-contract=off', '-fno-trapping-math', '-fno-math-errno']
        host = ['-fPIC', '-fvisibility=hidden', '-Wall', *arithmetic]
        jobs = [(source, [*cxx, *common, *host]) for source in sorted(CSRC.glob('cpu/*.cpp'))]
        if cuda is not None:
            device = ['-Xcompiler', ','.join(host), '--fmad=false', '--threads', '2', *gencode_flags(cuda.archs)]
            jobs += [(source, [cuda.nvcc, *common, *device]) for source in sorted(CSRC.glob('cuda/*.cu'))]
        return {self.object_of(source, command, version): (source, command) for source, command in jobs}

    def object_of(self, source: Path, command: list[str], version: str) -> Path:
        """The object file of a source; another command or another torch, whose headers it includes, make another."""
        key = zlib.crc32(' '.join([*command, version]).encode())
        return self.objects / f'{source.parent.name}_{source.stem}_{key:08x}.o'

    def compile_all(self, jobs: dict[Path, tuple], cuda: Cuda | None, reason: str) -> None:
        self.linked = list(jobs)
        stale = {target: job for target, job in jobs.items() if is_stale(target, job[0])}
        if not stale:
            say('the kernels are compiled already')
            return
        workers = int(os.environ.get('MAX_JOBS', 0)) or os.cpu_count()
        say(f'{"CUDA kernels" if cuda else "no CUDA kernels"}: {reason}')
        say(f'compiling {len(stale)} files, {workers} at a time; one takes seconds, for many GPU generations a minute')
        progress = Progress(len(stale))
        self.objects.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(workers) as pool:
            running = [pool.submit(self.compile_one, target, *job, progress) for target, job in stale.items()]
            try:
                for compilation in as_completed(running):
                    compilation.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)  # the first failure is enough
                raise

    def compile_one(self, target: Path, source: Path, command: list[str], progress: Progress) -> None:
        start = time.monotonic()
        unfinished = target.with_suffix('.part')  # a compiler that is stopped leaves no object that looks done
        self.execute_command([*command, '-c', str(source), '-o', str(unfinished)])
        unfinished.replace(target)
        progress.tell(source, time.monotonic() - start)

    def link(self, cxx: list[str], torch: Path, cuda: Cuda | None) -> None:
        target = Path(self.get_ext_fullpath('mmdetlike_ops._C'))
        target.parent.mkdir(parents=True, exist_ok=True)
        libraries = [f'-L{torch}/lib', '-ltorch', '-ltorch_cpu', '-lc10']
        if cuda is not None:
            home = Path(cuda.nvcc).resolve().parent.parent
            home = Path(os.environ.get('CUDA_HOME', home if (home / 'lib64').is_dir() else '/usr/local/cuda'))
            libraries += [f'-L{home}/lib64', '-lcudart_static', '-ldl', '-lrt', '-lpthread']
        symbols = [] if '-g' in cxx else ['-s']
        objects = map(str, self.linked)
        self.execute_command([*cxx, '-shared', *symbols, *objects, *libraries, '-o', str(target)])

    def execute_command(self, command: list[str]) -> None:
        if subprocess.run(command).returncode:
            fail(f'this command failed (its messages are above): {shlex.join(command)}')


def is_stale(target: Path, source: Path) -> bool:
    """Whether an object file is missing or older than what it is made of."""
    inputs = [source, Path(__file__), *CSRC.glob('common/*'), *source.parent.glob('*.h')]
    return not target.exists() or target.stat().st_mtime < max(path.stat().st_mtime for path in inputs)


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
