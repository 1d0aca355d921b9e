"""What a user reads when the kernels cannot be compiled or loaded."""

import os
import shutil
import subprocess
import sys
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
