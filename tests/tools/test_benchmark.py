"""How long data loading and inference take."""

import json

import pytest

from mmdetlike.cli.benchmark import main
from mmdetlike.cli.benchmarking import summary
from tests.utils import tiny_config


def test_summary():
    numbers = summary([(0.010, 2), (0.030, 2), (0.020, 2), (0.040, 1)])
    assert numbers['images/s'] == pytest.approx(70)
    assert (numbers['mean'], numbers['least'], numbers['50%'], numbers['most']) == pytest.approx((25, 10, 25, 40))


def test_tool(tmp_path, capsys):
    tiny_config(tmp_path).dump(tmp_path / 'tiny.py')
    out = tmp_path / 'new' / 'speed.json'
    main([str(tmp_path / 'tiny.py'), '--number', '6', '--warmup', '1', '--device', 'cpu', '--out', str(out)])
    results = json.loads(out.read_text())
    assert list(results) == ['data', 'inference', 'both']
    assert all(0 < numbers['least'] <= numbers['50%'] <= numbers['most'] for numbers in results.values())
    text = capsys.readouterr().out
    assert '| inference ' in text and 'workers load the data' in text


def test_data_of_training_need_no_model(tmp_path, capsys):
    cfg = tiny_config(tmp_path)
    cfg.model = dict(type='NoSuchModel')
    cfg.dump(tmp_path / 'tiny.py')
    main([str(tmp_path / 'tiny.py'), '--tasks', 'data', '--split', 'train', '--number', '2', '--warmup', '0'])
    assert '| data ' in capsys.readouterr().out


@pytest.mark.parametrize('wrong', [['--number', '0'], ['--warmup', '-1'], ['--split', 'train']])
def test_wrong_arguments(wrong, capsys):
    with pytest.raises(SystemExit):
        main(['faster-rcnn_r18_fpn_shapes', *wrong])
    assert wrong[0] in capsys.readouterr().err
