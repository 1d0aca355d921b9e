"""The script that measures a GPU, tried without one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.gpu import measure
from tests.gpu.measure import TINY, Clock, Row, kernel_rows, main, predict_rows, table

SCRIPT = Path(__file__).with_name('measure.sh')


@pytest.fixture
def clock():
    return Clock(torch.device('cpu'), limit=60)


def test_without_a_gpu_the_script_says_so(tmp_path):
    stand_in = tmp_path / 'python'
    stand_in.write_text('#!/bin/sh\necho\n')
    stand_in.chmod(0o755)
    run = subprocess.run(
        ['bash', str(SCRIPT)], env={**os.environ, 'PYTHON': str(stand_in)}, capture_output=True, text=True
    )
    assert run.returncode == 2
    assert 'no GPU: torch finds no CUDA device here, so nothing was measured' in run.stderr


def test_kernels_have_a_row_each(clock):
    rows = [row for row in kernel_rows(clock, TINY) if row.what != 'kernels of torchvision']
    assert [row.what.split()[0] for row in rows] == ['nms', 'batched_nms', 'roi_align', 'roi_align', 'modulated']
    assert all(row.value > 0 and 'FAILED' not in row.target for row in rows)


def test_when_the_time_is_over_rows_say_so():
    over = Clock(torch.device('cpu'), limit=-1)
    rows = [*kernel_rows(over, TINY), *predict_rows(over, TINY)]
    assert [row.target for row in rows if row.what.startswith(('nms', 'predict'))] == ['no time was left'] * 5


def test_a_failure_costs_its_own_row_only(monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise ValueError('no memory')

    monkeypatch.setattr(measure, 'nms', fail)
    assert main(['--device', 'cpu', '--tiny', '--only', 'kernels']) == 1
    lines = capsys.readouterr().out.splitlines()
    assert '| nms of 200 boxes |  | ms | FAILED: ValueError: no memory |' in lines
    assert lines[-1].startswith('| modulated deformable convolution | ') and 'FAILED' not in lines[-1]


def test_the_table_is_markdown():
    assert table([Row('a', 1234.567, 'ms', 'fast'), Row('b', None, 'ms')]).splitlines()[2:] == [
        '| a | 1235 | ms | fast |',
        '| b |  | ms |  |',
    ]


@pytest.mark.slow
def test_the_whole_script_with_tiny_sizes():
    command = ['bash', str(SCRIPT), '--device', 'cpu', '--tiny']
    run = subprocess.run(command, env={**os.environ, 'PYTHON': sys.executable}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    rows = [line for line in run.stdout.splitlines() if line.startswith('| ')][2:]
    for begin, number in (('| train', 2), ('| predict', 4)):
        assert len([row for row in rows if row.startswith(begin)]) == number
    assert 'FAILED' not in run.stdout
