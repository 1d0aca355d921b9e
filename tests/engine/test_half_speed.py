import os
import subprocess
import sys

import pytest
import torch

from mmdetlike.engine import half_speed
from mmdetlike.engine.half_speed import check_half_training, half_training_ratio
from mmdetlike.engine.optim import AmpOptimWrapper
from mmdetlike.errors import ConfigError
from tests.utils import ROOT


def test_the_measurement_leaves_threads_and_random_numbers_alone():
    half_training_ratio.cache_clear()
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with torch.no_grad():
        assert 0.05 < half_training_ratio() < 100
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_a_cpu_that_is_slower_in_half_refuses_the_switch_and_warns_of_the_config(monkeypatch):
    monkeypatch.setattr(half_speed, 'half_training_ratio', lambda: 6.4)
    monkeypatch.delenv('ONEDNN_MAX_CPU_ISA', raising=False)
    with pytest.raises(
        ConfigError, match=r'--amp would .* slower.*6\.4 times as long.*lacks fast instr.*leave --amp out'
    ):
        check_half_training()
    if not torch.cuda.is_available():
        optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.1)
        with pytest.warns(UserWarning, match=r'AmpOptimWrapper makes training on this CPU slower.*6\.4 times'):
            AmpOptimWrapper(optimizer=optimizer)


def test_a_cpu_that_is_faster_is_not_refused(monkeypatch):
    monkeypatch.setattr(half_speed, 'half_training_ratio', lambda: 0.5)
    check_half_training()


@pytest.mark.skipif(torch.cuda.is_available(), reason='the GPU trains')
def test_training_without_instructions_for_it_is_refused_before_it_starts(tmp_path):
    """As on a CPU without them, whose ratio was measured as 10; with them it was 0.5."""
    command = [sys.executable, 'tools/train.py', 'retinanet_r18_fpn_shapes', '--amp', '--work-dir', str(tmp_path / 'w')]
    environment = {**os.environ, 'ONEDNN_MAX_CPU_ISA': 'AVX2', 'PYTHONPATH': str(ROOT)}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode != 0
    assert '--amp would make training on this CPU slower' in run.stderr + run.stdout
    assert 'ONEDNN_MAX_CPU_ISA=AVX2' in run.stderr + run.stdout
    assert 'Traceback' not in run.stderr
    assert not (tmp_path / 'w').exists()
