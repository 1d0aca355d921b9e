"""A config written for OpenMMLab's detection toolbox trains, tests and infers here without a change."""

import importlib.util
from pathlib import Path

import pytest

from mmdetlike.apis import inference_detector, init_detector
from tests.utils import ROOT

CONFIG = Path(__file__).parents[1] / 'data' / 'foreign_config.py'


def tool(path: str):
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / 'tools' / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """A small dataset on disk, where the config looks for it."""
    monkeypatch.chdir(tmp_path)
    arguments = ['shapes', '--num-train', '4', '--num-val', '2', '--size', '64', '96']
    tool('dataset_converters/make_shapes.py').main(arguments)
    return tmp_path


def test_foreign_config_trains_tests_and_infers(shapes):
    tool('train.py').main([str(CONFIG), '--work-dir', 'run'])
    checkpoint = shapes / 'run' / 'epoch_1.pth'
    assert checkpoint.is_file()
    log = next((shapes / 'run').glob('*/*.log')).read_text()
    assert 'coco/bbox_mAP' in log and 'not installed' not in log
    tool('test.py').main([str(CONFIG), str(checkpoint), '--work-dir', 'test', '--out', 'results.pkl'])
    assert (shapes / 'results.pkl').stat().st_size > 0
    model = init_detector(CONFIG, checkpoint, device='cpu')
    sample = inference_detector(model, str(shapes / 'shapes' / 'val' / '000000.png'))
    assert sample.pred_instances.bboxes.shape[1] == 4
    assert model.dataset_meta['classes'] == ('circle', 'triangle', 'square', 'star', 'cross')
