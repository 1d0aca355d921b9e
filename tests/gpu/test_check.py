"""What check.sh says and returns, with a stand-in for the interpreter that it calls."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name('check.sh')


@pytest.fixture
def check(tmp_path):
    """Runs check.sh with an interpreter whose four calls print and fail as told."""

    def run(capability='9.0', build=0, tests=0, benchmark=0):
        stand_in = tmp_path / 'python'
        stand_in.write_text(
            '#!/bin/sh\ncase "$*" in\n'
            f'-c*) echo {capability} ;;\n'
            f'setup.py*) echo "arch $TORCH_CUDA_ARCH_LIST" >&2; exit {build} ;;\n'
            f'*pytest*) echo "ran $*"; exit {tests} ;;\n'
            f'*benchmark*) echo "the table"; exit {benchmark} ;;\nesac\n'
        )
        stand_in.chmod(0o755)
        env = {**os.environ, 'PYTHON': str(stand_in)}
        env.pop('TORCH_CUDA_ARCH_LIST', None)
        result = subprocess.run(['bash', str(SCRIPT), 'tests/ops'], env=env, capture_output=True, text=True)
        return result.returncode, result.stdout.splitlines(), result.stderr

    return run


def test_no_gpu(check):
    code, _, errors = check(capability='')
    assert code == 2
    assert 'no GPU: torch finds no CUDA device here, so nothing was checked' in errors


def test_all_is_well(check):
    code, lines, errors = check()
    assert code == 0
    assert 'arch 9.0' in errors
    assert 'ran -m pytest -m gpu tests/ops' in lines
    assert lines[-2] == 'the table'
    assert lines[-1].split() == ['tests', 'marked', 'gpu', 'PASS']


def test_failures_are_told_and_returned(check):
    code, lines, _ = check(tests=1)
    assert code == 1 and lines[-2] == 'the table' and lines[-1].endswith(' FAIL')
    code, lines, _ = check(benchmark=1)
    assert code == 1 and lines[-2].endswith(' PASS') and lines[-1].endswith(' FAIL')
    code, lines, errors = check(build=1)
    assert code == 1 and 'the build failed' in errors and 'the table' not in lines
