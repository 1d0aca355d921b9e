"""Settings that nobody reads are named, and no others."""

import re

import pytest
from mmengine.config import Config

from mmdetlike.errors import ConfigError
from mmdetlike.utils.config import load_config
from mmdetlike.utils.settings import check_settings, unread_options, unread_settings, without_worker_settings
from tests.utils import ROOT

QUICKSTART = ROOT / 'configs' / 'quickstart' / 'faster-rcnn_r18_fpn_shapes.py'
SHIPPED = [path for path in sorted((ROOT / 'configs').rglob('*.py')) if '_base_' not in path.parts]


def child(tmp_path, text: str, options: dict | None = None) -> Config:
    path = tmp_path / 'child.py'
    path.write_text(f'_base_ = {str(QUICKSTART)!r}\n{text}\n')
    return load_config(path, options)


def told(tmp_path, text: str = '', options: dict | None = None) -> list[str]:
    cfg = child(tmp_path, text, options)
    return [*unread_options(cfg, options), *unread_settings(cfg)]


@pytest.mark.parametrize(
    'text, parts',
    [
        (
            "train_pipeline = [dict(type='LoadShapesImage')]",
            ['child.py: train_pipeline has no effect here', 'as train_dataloader.dataset.pipeline; set that'],
        ),
        ('trian_cfg = dict(max_epochs=3)', ["nothing reads trian_cfg; did you mean 'train_cfg'?"]),
        ('lr = 5\nz = lr', ['nothing reads z']),
        ('max_epochs = 7\nx = [max_epochs]', ['nothing reads x']),
        ('env_cfg = dict(nosuch=1)', ['nothing reads env_cfg.nosuch; there are cudnn_benchmark, mp_cfg']),
        (
            'env_cfg = dict(mp_cfg=dict(opencv_threads=1))',
            ["env_cfg.mp_cfg.opencv_threads; did you mean 'opencv_num_threads'"],
        ),
        (
            "train_dataloader = dict(dataset=dict(metainfo=dict(clases=('a',))))",
            ["nothing reads train_dataloader.dataset.metainfo.clases; did you mean 'classes'?"],
        ),
        (
            'optim_wrapper = dict(paramwise_cfg=dict(custom_key={}))',
            ["nothing reads optim_wrapper.paramwise_cfg.custom_key; did you mean 'custom_keys'?"],
        ),
        ('randomness = dict(sed=1)', ["nothing reads randomness.sed; did you mean 'seed'?"]),
        (
            'evaluation = dict(interval=1)',
            ['evaluation is of OpenMMLab 2.x and read by nothing; it has become val_evaluator'],
        ),
        ('find_unused_parameter = True\ny = 1\nmodel = dict(z=y)', ["did you mean 'find_unused_parameters'?"]),
    ],
)
def test_what_nobody_reads(text, parts, tmp_path):
    sentences = told(tmp_path, text)
    assert len(sentences) == 1, sentences
    for part in parts:
        assert part in sentences[0]


@pytest.mark.parametrize('name', ['data', 'runner', 'optimizer', 'lr_config', 'optimizer_config'])
def test_old_names_that_would_change_a_training_are_refused(name, tmp_path):
    with pytest.raises(ConfigError, match=f'child.py: {name}: keys of OpenMMLab 2.x configs, which have no effect'):
        check_settings(child(tmp_path, f'{name} = dict(a=17)'))
    (sentence,) = told(tmp_path, f'{name} = dict(a=17)')
    assert 'OpenMMLab 2.x' in sentence


def test_old_names_that_are_used_are_not_refused(tmp_path):
    check_settings(child(tmp_path, "optimizer = dict(type='SGD', lr=0.5)\noptim_wrapper = dict(optimizer=optimizer)"))


@pytest.mark.parametrize(
    'text',
    [
        'num_classes = 3\nmodel = dict(roi_head=dict(bbox_head=dict(num_classes=num_classes)))',
        "train_pipeline = [dict(type='X')]\ntrain_dataloader = dict(dataset=dict(pipeline=train_pipeline))",
        "train_pipeline = [dict(type='X')]\ntrain_dataloader = dict(dataset=dict(pipeline=[dict(type='X')]))",
        'max_epochs = 7\ntrain_cfg = dict(max_epochs=7)',
        'optimizer = dict(type="SGD", lr=0.5)\noptim_wrapper = dict(optimizer=optimizer)',
        'x = {{_base_.train_pipeline}}\ntrain_dataloader = dict(dataset=dict(pipeline=x))',
        'import os\nfrom math import pi\nfor i in range(3):\n    pass\nmodel = dict(a=pi, b=i, c=os.sep)',
        'half = 6 / 2\ntrain_cfg = dict(max_epochs=int(half))',
        "metainfo = dict(classes=('a',), mine=3)\ntrain_dataloader = dict(dataset=dict(metainfo=metainfo))",
    ],
)
def test_what_is_used_is_not_named(text, tmp_path):
    assert told(tmp_path, text) == []


@pytest.mark.parametrize(
    'options, part',
    [
        (
            {'train_pipeline.2.prob': 0.9},
            'train_pipeline: the config had used train_pipeline before, .* set train_dataloader',
        ),
        ({'lr': 5}, r'--cfg-options lr: nothing reads it; did you mean optim_wrapper.optimizer.lr\?'),
        ({'batch_size': 1}, r'did you mean train_dataloader.batch_size\?'),
        ({'max_epochs': 7}, r'did you mean train_cfg.max_epochs\?'),
        ({'trian_cfg.max_epochs': 7}, "did you mean 'train_cfg'"),
        ({'env_cfg.nosuch': 1}, 'nothing reads env_cfg.nosuch'),
        ({'optimizer.lr': 1}, 'it has become optim_wrapper|did you mean optim_wrapper.optimizer'),
    ],
)
def test_options_that_nobody_reads(options, part, tmp_path):
    (sentence,) = told(tmp_path, '', options)
    assert re.search(part, sentence), sentence


def test_options_that_are_read(tmp_path):
    options = {'train_cfg.max_epochs': 1, 'experiment_name': 'x', 'model.backbone.depth': 34, 'custom_hooks': []}
    assert told(tmp_path, '', options) == []


@pytest.mark.parametrize('path', SHIPPED[::12], ids=lambda path: path.stem)
def test_no_false_alarm_on_shipped_configs(path, tmp_path):
    check_no_alarm(path, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_no_false_alarm_on_any_shipped_config(path, tmp_path):
    check_no_alarm(path, tmp_path)


def check_no_alarm(path, tmp_path):
    """Neither on the config nor on the copy that a run keeps of it."""
    cfg = load_config(path)
    if 'model' in cfg:  # else a part that other configs inherit
        check_settings(cfg)
    assert unread_settings(cfg) == []
    cfg.dump(tmp_path / 'copy.py')
    assert unread_settings(load_config(tmp_path / 'copy.py')) == []


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(work_dir=3), 'work_dir must be str, got 3'),
        (dict(custom_hooks=3), 'custom_hooks must be list or tuple, got 3'),
        (dict(train_cfg=[1]), r'train_cfg must be dict, got \[1\]'),
        (dict(custom_hooks=[1]), r"custom_hooks\[0\] must be a dict with the key 'type', got 1"),
        (dict(param_scheduler=[dict(), 'x']), r"param_scheduler\[1\] must be a dict with the key 'type', got 'x'"),
        (dict(log_level='NOPE'), "log_level='NOPE': it should be one of 'DEBUG', "),
        (dict(randomness=dict(seed='abc')), "randomness.seed='abc': it should be a whole number from 0"),
        (
            dict(default_hooks=dict(checkpoint=3)),
            "default_hooks.checkpoint must be a dict with the key 'type', got 3",
        ),
        (
            dict(train_dataloader=dict(batchsize=3)),
            "train_dataloader: 'batchsize' is not an argument of a dataloader; did you mean 'batch_size'",
        ),
        (
            dict(val_dataloader=dict(batch_size=0)),
            'val_dataloader.batch_size=0: it should be a positive integer',
        ),
        (
            dict(val_dataloader=dict(num_workers=-1)),
            'val_dataloader.num_workers=-1: it should be a whole number, at least 0',
        ),
        (dict(val_dataloader=dict(dataset=None)), 'val_dataloader: the dataloader has no dataset'),
    ],
)
def test_settings_of_another_kind(change, message):
    cfg = load_config(QUICKSTART)
    for key, value in change.items():
        if isinstance(value, dict):
            cfg[key].update(value)
        else:
            cfg[key] = value
    with pytest.raises(ConfigError, match=f'faster-rcnn_r18_fpn_shapes.py: {message}'):
        check_settings(cfg)


def test_settings_of_workers_are_left_out_where_there_are_none():
    loader = dict(num_workers=0, persistent_workers=True, prefetch_factor=2)
    assert without_worker_settings(loader) == dict(num_workers=0)
    assert without_worker_settings(dict(loader, num_workers=1)) == dict(loader, num_workers=1)


def test_no_alarm_on_the_copy_of_a_test(tmp_path):
    """It has no settings of training, but the variables that these had been made of."""
    cfg = load_config(QUICKSTART)
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = None
    cfg.dump(tmp_path / 'copy.py')
    assert 'train_pipeline' in cfg
    assert unread_settings(load_config(tmp_path / 'copy.py')) == []
