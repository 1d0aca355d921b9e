import importlib.util
import json

import pytest

from mmdetlike.apis import inference_detector
from mmdetlike.apis.results import to_dict
from mmdetlike.datasets.errors import DataError, ImageError
from tests.apis.helpers import picture, save_checkpoint, tiny_detector, write_pictures
from tests.utils import ROOT, python

DEMO = ROOT / 'demo/image_demo.py'


@pytest.fixture(scope='module')
def detector():
    return tiny_detector()


@pytest.fixture(scope='module')
def weights(detector, tmp_path_factory):
    return save_checkpoint(detector, tmp_path_factory.mktemp('demo') / 'tiny.pth')


@pytest.fixture(scope='module')
def main():
    spec = importlib.util.spec_from_file_location('image_demo', DEMO)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *args: module.main([str(arg) for arg in args])


def test_pictures_and_predictions_are_written(main, detector, weights, tmp_path, capsys):
    write_pictures(tmp_path / 'in', 2)
    detector.cfg.dump(tmp_path / 'config.py')
    for name, model in (('a', [tmp_path / 'config.py', '--weights', weights]), ('b', [weights])):
        out = tmp_path / name
        main(tmp_path / 'in', *model, '--out-dir', out, '--device', 'cpu', '--batch-size', 2)
        assert sorted(path.name for path in (out / 'vis').iterdir()) == ['0.png', '1.png']
        saved = json.loads((out / 'preds/1.json').read_text())
        expected = to_dict(inference_detector(detector, picture(1)))
        assert saved['labels'] == expected['labels']
        assert saved['scores'] == pytest.approx(expected['scores'], abs=1e-4)
        assert f'written: pictures in {out}/vis' in capsys.readouterr().out


def test_options(main, weights, tmp_path, capsys):
    (path,) = write_pictures(tmp_path / 'in', 1)
    main(path, weights, '--out-dir', tmp_path / 'a', '--no-save-vis', '--no-save-pred', '--print-result')
    assert not (tmp_path / 'a').exists()
    assert f'{path}: ' in (printed := capsys.readouterr().out) and 'objects that score 0.3 or more' in printed
    main(path, weights, '--out-dir', tmp_path / 'a', '--pred-score-thr', 1.1)
    main(path, weights, '--out-dir', tmp_path / 'b', '--pred-score-thr', 0)
    assert (tmp_path / 'a/vis/0.png').read_bytes() != (tmp_path / 'b/vis/0.png').read_bytes()


def test_broken_pictures(main, weights, tmp_path, capsys):
    paths = write_pictures(tmp_path / 'in', 2)
    paths[0].write_bytes(b'nothing')
    main(tmp_path / 'in', weights, '--out-dir', tmp_path / 'out')
    assert '1 of 2 inputs could not be read' in capsys.readouterr().out
    with pytest.raises(ImageError, match=r'0\.png'):
        main(paths[0], weights, '--out-dir', tmp_path / 'out')
    paths[1].write_bytes(b'nothing')
    with pytest.raises(DataError, match='none of the inputs'):
        main(tmp_path / 'in', weights, '--out-dir', tmp_path / 'out')


def test_mistakes_end_with_a_sentence(tmp_path):
    (path,) = write_pictures(tmp_path / 'in', 1)
    process = python(DEMO, path, 'faster-rcnn_r18_fpn_shape')
    assert process.returncode != 0 and 'Traceback' not in process.stderr
    assert 'did you mean faster-rcnn_r18_fpn_shapes' in process.stderr
