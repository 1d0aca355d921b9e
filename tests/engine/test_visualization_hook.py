"""Pictures of a run: what is drawn, and that drawing ends nothing."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.visualization import LocalVisBackend
from PIL import Image

from mmdetlike.engine import Runner
from mmdetlike.engine.hooks.visualization_hook import original_image
from mmdetlike.errors import ConfigError
from mmdetlike.registry import VISBACKENDS
from mmdetlike.structures import DetDataSample
from mmdetlike.visualization import DetLocalVisualizer
from tests.utils import tiny_config


def sample_of(path, shape) -> DetDataSample:
    return DetDataSample(metainfo=dict(img_path=str(path), ori_shape=shape))


def test_original_image(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), picture)
    inputs = torch.zeros(3, 3, 4)
    np.testing.assert_array_equal(original_image(sample_of(tmp_path / 'a.png', (6, 8)), inputs), picture[..., ::-1])
    Image.fromarray(picture[..., ::-1]).save(tmp_path / 'a.ico', sizes=[(8, 6)])
    assert original_image(sample_of(tmp_path / 'a.ico', (6, 8)), inputs).any(), 'only Pillow reads it'


@pytest.mark.parametrize('content', [b'nothing', b''])
def test_the_input_is_drawn_where_the_file_cannot_be(tmp_path, content):
    (tmp_path / 'a.png').write_bytes(content)
    inputs = torch.tensor([300.0, 7.0, -3.0])[:, None, None].expand(3, 3, 4)
    drawn = original_image(sample_of(tmp_path / 'a.png', (6, 8)), inputs)
    assert drawn.shape == (6, 8, 3) and drawn[0, 0].tolist() == [0, 7, 255]
    assert original_image(sample_of('gone.png', (3, 4)), torch.zeros(5, 3, 4)).shape == (3, 4, 3)


def test_an_input_of_16_bits_is_drawn_from_its_darkest_to_its_brightest_value():
    values = torch.tensor([[[0, 30000], [45000, 60000]]]).to(torch.uint16)
    picture = original_image(sample_of('gone.png', (2, 2)), values)
    assert picture[..., 0].tolist() == [[0, 127], [191, 255]]


def test_a_picture_that_the_pipeline_turned(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((6, 8, 3), 9, np.uint8))
    assert original_image(sample_of(tmp_path / 'a.png', (8, 6)), torch.zeros(3, 8, 6)).shape == (8, 6, 3)


def test_drawing_errors_end_no_run_and_are_told_once(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError('raqm_layout() failed')

    monkeypatch.setattr(DetLocalVisualizer, 'add_datasample', fail)
    hook = dict(type='DetVisualizationHook', draw=True, interval=1, test_out_dir='pictures')
    cfg = tiny_config(tmp_path, train_cfg=dict(max_epochs=1), default_hooks=dict(visualization=hook))
    runner = Runner.from_cfg(cfg)
    runner.train()
    runner.test()
    log = next((tmp_path / runner.timestamp).glob('*.log')).read_text()
    assert log.count('could not be drawn: RuntimeError: raqm_layout() failed') == 1
    assert not list((tmp_path / runner.timestamp / 'pictures').glob('*.png')), 'no empty files are left'


def test_each_process_writes_its_pictures(tmp_path, monkeypatch):
    visualizer = DetLocalVisualizer(name='rank_1')
    visualizer.dataset_meta = dict(classes=('cat',))
    for module in ('mmdetlike.visualization.local_visualizer', 'mmengine.dist.utils'):
        monkeypatch.setattr(f'{module}.is_main_process', lambda *args: False)
    visualizer.add_datasample('x', np.zeros((8, 8, 3), np.uint8), DetDataSample(), out_file=str(tmp_path / 'a.png'))
    assert (tmp_path / 'a.png').is_file()
    assert visualizer.dataset_meta == dict(classes=('cat',))


def test_show_dir_names_are_those_of_the_pictures(tmp_path):
    hook = dict(type='DetVisualizationHook', draw=True, test_out_dir=str(tmp_path / 'pictures'))
    runner = Runner.from_cfg(tiny_config(tmp_path / 'run', default_hooks=dict(visualization=hook)))
    for _ in range(2):
        runner.test()
        names = sorted(path.name for path in (tmp_path / 'pictures').glob('*'))
        assert len(names) == 9 and names[0] == '.sources.jsonl' and names[1].startswith('shapes_val_')
    lines = (tmp_path / 'pictures/.sources.jsonl').read_text().splitlines()
    assert sorted(json.loads(line)['file'] for line in lines) == names[1:]


def test_backends_get_a_name_for_each_picture(tmp_path):
    hook = dict(type='DetVisualizationHook', draw=True, interval=1)
    data = dict(dataset=dict(length=7))  # the last batch is a smaller one
    cfg = tiny_config(
        tmp_path, train_cfg=dict(max_epochs=1), default_hooks=dict(visualization=hook), val_dataloader=data
    )
    cfg.test_dataloader = cfg.val_dataloader
    runner = Runner.from_cfg(cfg)
    runner.train()
    runner.test()
    names = sorted(path.name for path in (tmp_path / runner.timestamp / 'vis_data/vis_image').iterdir())
    assert names == [*(f'test_img_{i}.png' for i in range(7)), 'val_img_0_4.png', 'val_img_1_4.png']


def test_a_backend_without_its_package_is_told_by_its_place(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.visualizer = dict(type='DetLocalVisualizer', vis_backends=[dict(type='NeedsAPackage')])

    @VISBACKENDS.register_module(force=True)
    class NeedsAPackage(LocalVisBackend):
        @property
        def experiment(self):
            raise ImportError('pip install something')

    with pytest.raises(ConfigError, match=r"type='NeedsAPackage' needs a package: pip install something") as raised:
        Runner.from_cfg(cfg)
    assert raised.value.cfg == dict(type='NeedsAPackage')
