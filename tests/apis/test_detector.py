import warnings
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmdetlike.apis import inference_detector, init_detector
from mmdetlike.apis.configs import config_in_checkpoint
from mmdetlike.errors import ConfigError
from mmdetlike.utils.checkpoint import CheckpointError, read_checkpoint
from mmdetlike.utils.colors import distinct_colors
from mmdetlike.utils.config import find_config
from tests.apis.helpers import CLASSES, CONFIG, TINY, picture, save_checkpoint, tiny_detector
from tests.utils import RETINANET, ROOT


@pytest.fixture(scope='module')
def detector():
    return tiny_detector()


@pytest.fixture(scope='module')
def checkpoint(detector, tmp_path_factory):
    return save_checkpoint(detector, tmp_path_factory.mktemp('apis') / 'tiny.pth')


def load(checkpoint, **kwargs):
    return init_detector(CONFIG, checkpoint, device='cpu', **{'cfg_options': TINY, **kwargs})


def rewritten(checkpoint, path, **changes):
    content = read_checkpoint(checkpoint)
    torch.save({**content, **changes}, path)
    return path


def test_all_weights_of_the_checkpoint_are_loaded(detector, checkpoint):
    model = load(checkpoint)
    assert not model.training
    for (name, value), other in zip(model.state_dict().items(), detector.state_dict().values()):
        assert torch.equal(value, other), name
    assert model.cfg.model.backbone.base_channels == 8
    assert model.dataset_meta['classes'] == CLASSES


@pytest.mark.parametrize('kind', [str, Config.fromfile])
def test_config_as_text_or_object(checkpoint, kind):
    model = init_detector(kind(CONFIG), checkpoint, 'none', 'cpu', TINY)
    assert model.cfg.model.backbone.base_channels == 8


def test_config_object_is_left_as_it_is(checkpoint):
    cfg = Config.fromfile(CONFIG)
    init_detector(cfg, checkpoint, device='cpu', cfg_options=TINY)
    assert cfg.model.backbone.base_channels == 32


def test_keys_of_data_parallel_checkpoints(checkpoint, tmp_path):
    state_dict = {f'module.{key}': value for key, value in read_checkpoint(checkpoint)['state_dict'].items()}
    model = load(rewritten(checkpoint, tmp_path / 'c.pth', state_dict=state_dict))
    assert torch.equal(model.backbone.conv1.weight, state_dict['module.backbone.conv1.weight'])


def test_bare_state_dict(detector, tmp_path):
    torch.save(detector.state_dict(), tmp_path / 'bare.pth')
    model = load(tmp_path / 'bare.pth')
    assert torch.equal(model.backbone.conv1.weight, detector.backbone.conv1.weight)
    assert model.dataset_meta['classes'] == CLASSES  # of the config's dataset


@pytest.mark.parametrize(
    'meta', [{'dataset_meta': {'CLASSES': tuple('abcde')}}, {'CLASSES': tuple('abcde'), 'PALETTE': [(1, 2, 3)] * 5}]
)
def test_classes_of_older_checkpoints(checkpoint, tmp_path, meta):
    model = load(rewritten(checkpoint, tmp_path / 'old.pth', meta=meta))
    assert model.dataset_meta['classes'] == tuple('abcde')
    expected = (1, 2, 3) if 'PALETTE' in meta else model.dataset_meta['palette'][0]
    assert len(model.dataset_meta['palette']) == 5 and model.dataset_meta['palette'][0] == expected


def test_metainfo_of_the_config(detector, tmp_path):
    torch.save({'state_dict': detector.state_dict()}, tmp_path / 'c.pth')
    dataset = dict(type='CocoDataset', metainfo=dict(classes=tuple('vwxyz')))
    options = {**TINY, 'test_dataloader.dataset': dict(dataset, _delete_=True, ann_file='none.json')}
    assert load(tmp_path / 'c.pth', cfg_options=options).dataset_meta['classes'] == tuple('vwxyz')


@pytest.mark.parametrize('meta', [{}, {'dataset_meta': {'classes': ('too', 'few')}}])
def test_unknown_classes_are_numbered_with_a_warning(checkpoint, tmp_path, meta):
    path = rewritten(checkpoint, tmp_path / 'c.pth', meta=meta)
    options = {**TINY, 'test_dataloader.dataset.type': 'NotInstalledDataset'}
    with pytest.warns(UserWarning, match='names of classes'):
        model = load(path, cfg_options=options)
    assert model.dataset_meta['classes'] == ('class_0', 'class_1', 'class_2', 'class_3', 'class_4')


def test_palette(checkpoint):
    assert load(checkpoint, palette='red').dataset_meta['palette'] == [(255, 0, 0)] * 5
    with pytest.warns(UserWarning, match='2 colors for 5 classes'):
        filled = load(checkpoint, palette=['black', (1, 1, 1)]).dataset_meta['palette']
    assert filled == [(0, 0, 0), (1, 1, 1), *distinct_colors(5)[2:]]
    with pytest.raises(ConfigError, match=r'a color is .*, got \(300, 0, 0\)'):
        load(checkpoint, palette=[(300, 0, 0)])


@pytest.mark.parametrize('with_checkpoint', [True, False])
def test_backbone_weights_are_not_fetched(checkpoint, monkeypatch, with_checkpoint):
    def refuse(*args, **kwargs):
        raise AssertionError('tried to download')

    monkeypatch.setattr('urllib.request.urlopen', refuse)
    pretrained = dict(type='Pretrained', checkpoint='torchvision://resnet18', _delete_=True)
    options = {**TINY, 'model.backbone.init_cfg': pretrained}
    model = load(checkpoint if with_checkpoint else None, cfg_options=options)
    assert model.backbone.init_cfg is None or 'Pretrained' not in str(model.backbone.init_cfg)
    model.init_weights()


def test_checkpoint_of_another_model(checkpoint):
    config = ROOT / 'configs/quickstart/retinanet_r18_fpn_shapes.py'
    with pytest.raises(CheckpointError, match=r'tiny\.pth does not fit RetinaNet.*keys missing \(.*bbox_head'):
        init_detector(config, checkpoint, device='cpu', cfg_options={'model': RETINANET})


def test_names_that_a_relative_uses(tmp_path):
    backbone = dict(depth=18, base_channels=8, frozen_stages=-1)
    options = dict(model=dict(backbone=backbone, neck=dict(in_channels=[8, 16, 32, 64])))
    config = ROOT / 'configs/rpn/rpn_r50_fpn_1x_coco.py'
    model = init_detector(config, device='cpu', cfg_options=options)
    state_dict = {key.replace('bbox_head.', 'rpn_head.'): value for key, value in model.state_dict().items()}
    torch.save({'state_dict': state_dict, 'meta': {}}, tmp_path / 'c.pth')
    loaded = init_detector(config, tmp_path / 'c.pth', device='cpu', cfg_options=options)
    assert torch.equal(loaded.bbox_head.rpn_conv.weight, model.bbox_head.rpn_conv.weight)


def test_checkpoint_of_other_shapes(checkpoint):
    options = {**TINY, 'model.roi_head.bbox_head.num_classes': 7}
    with pytest.raises(CheckpointError, match=r'fc_cls\.weight \(6, 32\) for \(8, 32\)'):
        load(checkpoint, cfg_options=options)


def test_surplus_weights_are_reported(detector, checkpoint, tmp_path):
    state_dict = {**detector.state_dict(), 'mask_head.weight': torch.ones(1)}
    with pytest.warns(UserWarning, match=r'1 keys unknown \(mask_head\.weight\)'):
        load(rewritten(checkpoint, tmp_path / 'c.pth', state_dict=state_dict))


def test_checkpoint_with_code_needs_trust(checkpoint, tmp_path):
    path = rewritten(checkpoint, tmp_path / 'c.pth', extra=SimpleNamespace(a=1))
    with pytest.raises(CheckpointError, match=r'SimpleNamespace.*trust_checkpoint=True'):
        load(path)
    assert load(path, trust_checkpoint=True).dataset_meta['classes'] == CLASSES


def test_checkpoint_that_is_none(tmp_path):
    torch.save(torch.zeros(2), tmp_path / 'tensor.pth')
    with pytest.raises(CheckpointError, match=r'tensor\.pth holds a Tensor'):
        load(tmp_path / 'tensor.pth')
    with pytest.raises(FileNotFoundError, match=r'gone\.pth does not exist'):
        load(tmp_path / 'gone.pth')


def test_mistakes_in_the_config(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'did you mean .*faster-rcnn_r18_fpn_shapes'):
        init_detector(CONFIG.with_name('faster_rcnn_r18_fpn_shapes.py'), device='cpu')
    with pytest.raises(ConfigError, match=r"model.*'FasterRCN' is not in.*Closest names: FasterRCNN"):
        init_detector(CONFIG, device='cpu', cfg_options={'model.type': 'FasterRCN'})
    with pytest.raises(ConfigError, match='has no model'):
        init_detector(Config(dict(a=1)), device='cpu')
    with pytest.raises(TypeError, match='got int'):
        init_detector(3)


@pytest.mark.parametrize('device', ['cuda:77', 'gpu', 'CPU', '', -1, ['cpu'], 'mps:5'])
def test_device_that_is_not_there(device):
    with pytest.raises(ConfigError) as caught:
        init_detector(CONFIG, device=device, cfg_options=TINY)
    message = str(caught.value)
    assert message.startswith(f"device {str(device)!r} can't be used here: expected one of 'cpu'")
    assert len(message) < 250
    assert '\n' not in message


@pytest.mark.parametrize('device', ['cpu', 'cuda:0', torch.device('cpu')])
def test_a_device_in_place_of_the_checkpoint(device):
    with pytest.raises(ConfigError, match=f"checkpoint='{device}' is a device: write device='{device}'"):
        init_detector(CONFIG, device)


# -- configs by name and from checkpoints ------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['', 'faster_rcnn/', 'configs/faster_rcnn/'])
def test_shipped_config_by_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    suffix = '.py' if name else ''
    found = find_config(f'{name}faster-rcnn_r50_fpn_1x_coco{suffix}')
    assert found == ROOT / 'configs/faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'


def test_unknown_name_lists_close_ones(tmp_path):
    with pytest.raises(ConfigError, match=r'config .* is a folder'):
        find_config(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'; there are \d+, as '):
        find_config('0000')
    with pytest.raises(FileNotFoundError, match='did you mean faster-rcnn_r50_fpn_1x_coco'):
        find_config('faster-rcnn_r50_fpn_1x_cocoo')


def test_config_of_a_checkpoint_is_that_of_its_model(detector, checkpoint):
    cfg = config_in_checkpoint(read_checkpoint(checkpoint), 'c.pth')
    assert cfg.model == detector.cfg.model
    assert cfg.test_dataloader == detector.cfg.test_dataloader


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ("model = __import__('os').system('true')", "more than plain data.*line 1: __import__\\('os'\\)"),
        ("model = dict(type='os.system', command='true')", r'names os\.system by import path'),
        ("model = dict(type='mmdetlike.utils.checkpoint.os.system')", 'by import path'),
        ('model = dict(', 'more than plain data'),
        (None, 'does not hold the config'),
    ],
)
def test_config_of_a_checkpoint_is_never_run(text, message):
    with pytest.raises(CheckpointError, match=message):
        config_in_checkpoint({'meta': {'cfg': text}}, 'c.pth')


def test_no_warnings_in_the_normal_case(checkpoint):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        load(checkpoint)


@pytest.mark.parametrize('device', ['cpu', 'cpu:0', torch.device('cpu')])
def test_device_where_2x_has_it(device):
    model = init_detector(CONFIG, None, device, cfg_options=TINY)
    assert next(model.parameters()).device.type == 'cpu'
    assert len(model.dataset_meta['palette']) == 5


def test_options_where_2x_has_them():
    model = init_detector(CONFIG, None, 'cpu', {**TINY, 'model.test_cfg.rcnn.score_thr': 0.7})
    assert model.cfg.model.test_cfg.rcnn.score_thr == 0.7


def test_device_where_2x_has_it_that_is_not_there():
    with pytest.raises(ConfigError, match="device 'cuda:77' can't be used"):
        init_detector(CONFIG, None, 'cuda:77', cfg_options=TINY)
    with pytest.raises(ConfigError, match=r"device \"\['cpu'\]\" can't be used|device .* can't be used"):
        init_detector(CONFIG, device=['cpu'], cfg_options=TINY)


def test_config_by_name():
    assert type(init_detector('retinanet_r18_fpn_shapes', device='cpu')).__name__ == 'RetinaNet'
    with pytest.raises(FileNotFoundError, match='did you mean retinanet_r18_fpn_shapes'):
        init_detector('retinanet_r18_fpn_shape', device='cpu')


@pytest.mark.parametrize('value', ['0.5', [0.5], True, None])
def test_thresholds_that_are_no_numbers(value):
    cfg = Config.fromfile(CONFIG)
    cfg.model.test_cfg.rcnn.score_thr = value
    with pytest.raises(ConfigError, match=r'model\.test_cfg\.rcnn\.score_thr must be a number, got the \w+ '):
        init_detector(cfg, device='cpu')


def test_an_optimized_detector_predicts_the_same(checkpoint):
    plain = inference_detector(load(checkpoint), picture(0)).pred_instances
    model = load(checkpoint, optimize='fp32')
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    fast = inference_detector(model, picture(0)).pred_instances
    torch.testing.assert_close(dict(fast.items()), dict(plain.items()), rtol=1e-3, atol=1e-4)


def test_what_cannot_be_optimized_is_told_before_weights_are_read():
    with pytest.raises(ConfigError, match="optimize='fp16' needs a GPU, the model is on the CPU"):
        load('nowhere.pth', optimize='fp16')
