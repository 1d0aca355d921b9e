"""What a user reads when the kernels cannot be compiled or loaded."""

import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not (ROOT / 'setup.py').exists(), reason='needs the source tree')


def build(tmp_path, path=None, torch_version=None, python_flags=(), **environment):
    """Runs the compile step; `torch_version` puts a fake torch first on the path."""
    fakes = tmp_path / 'fakes'
    if torch_version:
        (fakes / 'torch').mkdir(parents=True)
        (fakes / 'torch' / '__init__.py').write_text('')
        (fakes / 'torch' / 'version.py').write_text(f"__version__ = '{torch_version}'\n")
    env = {**os.environ, 'PYTHONPATH': str(fakes), 'MMDETLIKE_OPS_CUDA': '0', **environment}
    env.pop('CXX', None)
    if path is not None:
        env['PATH'] = path
    command = [sys.executable, *python_flags, 'setup.py', '-q', 'build_ext', '--build-temp', str(tmp_path / 'temp')]
    command += ['--build-lib', str(tmp_path / 'lib')]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.mark.parametrize('arguments, words', [
    ({'path': ''}, "the C++ compiler 'g++' was not found; install one (`apt install g++`) or set CXX"),
    ({'torch_version': '2.9.1+cpu'}, 'torch 2.9.1+cpu is installed, the kernels need torch >= 2.10; run `pip install'),
    ({'MMDETLIKE_OPS_CUDA': 'yes'}, "MMDETLIKE_OPS_CUDA is 'yes', it takes auto, 0 or 1"),
], ids=['compiler', 'torch', 'setting'])  # fmt: skip
def test_a_failing_build_says_what_to_do(tmp_path, arguments, words):
    result = build(tmp_path, **arguments)
    assert result.returncode != 0
    assert words in result.stderr
    assert 'Traceback' not in result.stderr


def test_nvcc_asked_for_but_missing(tmp_path):
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / 'g++').symlink_to(shutil.which('g++'))
    result = build(tmp_path, path=str(tmp_path / 'bin'), MMDETLIKE_OPS_CUDA='1', CUDA_HOME=str(tmp_path))
    assert 'MMDETLIKE_OPS_CUDA=1 but nvcc was not found; install the CUDA toolkit' in result.stderr


COMPILER = """#!{python}
import pathlib, sys
if '--list-gpu-arch' in sys.argv:
    print('compute_80', 'compute_90', 'compute_100', sep='\\n')
else:
    pathlib.Path(sys.argv[sys.argv.index('-o') + 1]).write_text(' '.join(sys.argv))
"""


def fake_build(tmp_path, cuda="cuda = '13.0'", gpus='', **environment):
    """Runs the compile step with compilers that only note their arguments, beside the GPUs that nvidia-smi tells.

    Returns:
        What it printed, and the arguments of each compilation by the name of its object file.
    """
    tools = tmp_path / 'tools'
    tools.mkdir(exist_ok=True)
    scripts = {name: COMPILER.format(python=sys.executable) for name in ('g++', 'nvcc')}
    scripts['nvidia-smi'] = f'#!/bin/sh\nprintf "{gpus}"\n'
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    (tmp_path / 'fakes/torch').mkdir(parents=True, exist_ok=True)
    (tmp_path / 'fakes/torch/__init__.py').write_text('')
    (tmp_path / 'fakes/torch/version.py').write_text(f"__version__ = '2.11.0'\n{cuda}\n")
    settings = {'MMDETLIKE_OPS_CUDA': 'auto', 'TORCH_CUDA_ARCH_LIST': '', **environment}
    result = build(tmp_path, path=f'{tools}:/usr/bin:/bin', CUDA_HOME=str(tmp_path), **settings)
    assert result.returncode == 0, result.stderr
    return result.stdout, {path.name: path.read_text() for path in (tmp_path / 'temp').glob('*.o')}


def generations(objects: dict[str, str]) -> set[str]:
    """What the CUDA files were compiled for."""
    return {flag for text in objects.values() for flag in text.split() if flag.startswith('-gencode')}


@pytest.mark.parametrize('settings, reason', [
    ({'cuda': 'cuda = None'}, 'no CUDA kernels: torch 2.11.0 has no CUDA; MMDETLIKE_OPS_CUDA=1 builds them all'),
    ({'cuda': 'cuda: str | None = None'}, 'no CUDA kernels: torch 2.11.0 has no CUDA'),
    ({'MMDETLIKE_OPS_CUDA': '0'}, 'no CUDA kernels: MMDETLIKE_OPS_CUDA=0'),
])  # fmt: skip
def test_no_cuda_kernels_and_why(tmp_path, settings, reason):
    printed, objects = fake_build(tmp_path, **settings)
    assert f'mmdetlike: {reason}' in printed
    assert generations(objects) == set()
    assert f' {len(objects)}/{len(objects)} cpu/' in printed


@pytest.mark.parametrize('settings', [{}, {'cuda': 'cuda = None', 'MMDETLIKE_OPS_CUDA': '1'}])
def test_a_wheel_has_cuda_kernels_for_all_generations_that_nvcc_knows(tmp_path, settings):
    printed, objects = fake_build(tmp_path, gpus='8.0\n', **settings)
    assert 'CUDA kernels: for 8.0, 9.0, 10.0+PTX' in printed
    sm = {f'-gencode=arch=compute_{number},code=sm_{number}' for number in (80, 90, 100)}
    assert generations(objects) == {*sm, '-gencode=arch=compute_100,code=compute_100'}


def test_generations_can_be_given(tmp_path):
    objects = fake_build(tmp_path, TORCH_CUDA_ARCH_LIST='8.6')[1]
    assert generations(objects) == {'-gencode=arch=compute_86,code=sm_86'}


def test_a_second_build_compiles_what_has_changed(tmp_path):
    first = fake_build(tmp_path, cuda='cuda = None')[1]
    assert 'mmdetlike: the kernels are compiled already\n' in fake_build(tmp_path, cuda='cuda = None')[0]
    next(path for path in (tmp_path / 'temp').glob('cpu_nms_*.o') if 'rotated' not in path.name).unlink()
    printed, second = fake_build(tmp_path, cuda='cuda = None')
    assert 'compiled 1/1 cpu/nms.cpp' in printed
    assert second == first


def load_setup():
    """setup.py as a module, with nothing built."""
    code = (ROOT / 'setup.py').read_text().rpartition('\nsetup(')[0]
    module = types.ModuleType('setup_under_test')
    module.__file__ = str(ROOT / 'setup.py')
    sys.modules[module.__name__] = module  # NamedTuple asks for it
    exec(compile(code, 'setup.py', 'exec'), module.__dict__)
    return module


@pytest.mark.parametrize('gpus, wish, archs, reason', [
    (['9.0', '9.0'], 'auto', ['9.0'], 'for 9.0'),
    (['8.0', '9.0'], 'auto', ['8.0', '9.0'], 'for 8.0, 9.0'),
    (['9.0'], '1', ['9.0'], 'for 9.0'),
    (['12.1'], 'auto', ['10.0+PTX'], 'for 10.0+PTX'),
    ([], 'auto', None, 'no GPU is here; MMDETLIKE_OPS_CUDA=1 builds them for all generations, in minutes'),
    ([], '1', ['8.0', '10.0+PTX'], 'for all generations (8.0, 10.0+PTX), no GPU is here'),
])  # fmt: skip
def test_a_build_in_place_is_for_the_gpus_that_are_there(monkeypatch, gpus, wish, archs, reason):
    module = load_setup()
    monkeypatch.setenv('MMDETLIKE_OPS_CUDA', wish)
    monkeypatch.delenv('TORCH_CUDA_ARCH_LIST', raising=False)
    monkeypatch.setattr(module, 'find_nvcc', lambda: 'nvcc')
    known = ['8.0', '9.0', '10.0+PTX'] if gpus else ['8.0', '10.0+PTX']
    monkeypatch.setattr(module, 'all_archs', lambda nvcc: known)
    monkeypatch.setattr(module, 'gpus_here', lambda: gpus)
    cuda, told = module.plan_cuda('2.11.0', True, travels=False)
    assert (cuda and cuda.archs, told) == (archs, reason)


def test_a_missing_library_says_how_to_build(tmp_path):
    shutil.copytree(ROOT / 'mmdetlike_ops', tmp_path / 'mmdetlike_ops', ignore=shutil.ignore_patterns('*.so', 'csrc'))
    result = subprocess.run(
        [sys.executable, '-c', 'import mmdetlike_ops'], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, 'PYTHONPATH': str(tmp_path), 'MMDETLIKE_OPS_LIBRARY': ''},
    )  # fmt: skip
    assert 'ImportError' in result.stderr
    assert 'the kernels are not compiled; run `pip install -e .`' in result.stderr


def test_another_library_can_be_named(tmp_path):
    result = subprocess.run(
        [sys.executable, '-c', 'import mmdetlike_ops'], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'MMDETLIKE_OPS_LIBRARY': str(tmp_path / 'other.so')},
    )  # fmt: skip
    assert f'{tmp_path}/other.so does not exist: the kernels are not compiled' in result.stderr


def test_every_operator_has_its_three_files():
    names = {path.stem for path in (ROOT / 'mmdetlike_ops/csrc/cpu').glob('*.cpp')}
    assert names == {path.stem for path in (ROOT / 'mmdetlike_ops/csrc/cuda').glob('*.cu')}
    assert all((ROOT / f'mmdetlike_ops/{name}.py').exists() for name in names)
