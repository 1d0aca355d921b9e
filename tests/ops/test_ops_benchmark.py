import json
import time

import pytest
import torch

import mmdetlike_ops.benchmark.__main__ as benchmark
from mmdetlike_ops.benchmark.cases import CASES
from mmdetlike_ops.benchmark.measure import Case, Machine, best_time, measure


@pytest.fixture
def small(monkeypatch):
    """Two cases instead of all, and a machine that need not be measured."""

    def cases(device):
        x = torch.ones(1000, device=device)
        yield Case('double, 1000', lambda: x * 2, bytes=8000, flops=1000, target=1e9)
        yield 'nothing', lambda: None

    monkeypatch.setattr(benchmark, 'CASES', (cases,))
    monkeypatch.setattr(benchmark, 'measure_machine', lambda device, repeats: Machine(0.01, 1e9, 1e9))


def test_what_a_case_reaches(monkeypatch):
    monkeypatch.setattr('mmdetlike_ops.benchmark.measure.best_time', lambda run, repeats: 0.5)
    machine = Machine(convolution=0.1, bandwidth=100.0, flops=1000.0)
    result = measure(Case('a', print, bytes=10, flops=300, target=4.0), machine, 1)
    assert result == {
        'name': 'a', 'seconds': 0.5, 'ratio': 5.0, 'bytes': 10, 'flops': 300, 'limit': 'flops', 'share': 0.6,
        'target': 4.0, 'met': False,
    }  # fmt: skip
    assert measure(Case('b', print, bytes=40, flops=300), machine, 1)['limit'] == 'bandwidth'
    unknown = measure(Case.of(('c', print)), machine, 1)
    assert unknown['share'] is None and unknown['met'] is None and unknown['limit'] is None


def test_the_table(small, capsys):
    benchmark.main(['--repeats', '1'])
    about, header, double, nothing = capsys.readouterr().out.splitlines()
    assert 'convolution 10.00 ms, copy 1.0 GB/s, matrix product 1 GFLOP/s' in about
    assert header.split()[0] == 'case'
    assert double.startswith('double, 1000 ') and double.endswith('bandwidth  <= 1000000000.0 met')
    assert nothing.startswith('nothing ') and 'met' not in nothing


def test_json_of_some(small, capsys):
    benchmark.main(['--json', '--only', 'doub', '--repeats', '1'])
    (result,) = json.loads(capsys.readouterr().out)
    assert result['name'] == 'double, 1000' and result['met'] is True
    assert result['share'] == pytest.approx(8e-6 / result['seconds'])
    assert result['ratio'] == pytest.approx(result['seconds'] / 0.01)


def test_a_device_that_is_not_there(small, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SystemExit):
        benchmark.main(['--device', 'cuda'])
    assert '--device is cuda, but torch finds no CUDA device' in capsys.readouterr().err


def test_the_fastest_run_counts():
    waits = iter([0.2, 0.02, 0.001])
    assert 0.001 <= best_time(lambda: time.sleep(next(waits)), 2) < 0.02


def test_the_documented_cases_have_their_targets():
    targets = {case.name: case.target for cases in CASES for case in map(Case.of, cases(torch.device('cpu')))}
    documented = {
        'nms, 10000 boxes': 1.0,
        'batched_nms, 10000 boxes, 80 classes': 0.15,
        'roi_align forward, contiguous_format': 5.0,
        'roi_align forward + backward, contiguous_format': 12.0,
        'modulated_deform_conv2d forward': 2.5,
        'modulated_deform_conv2d forward + backward': 12.0,
        'deform_conv2d forward, im2col_step 2': 2.5,
    }
    assert documented.items() <= targets.items()
    assert len(targets) >= 20
