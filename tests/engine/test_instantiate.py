"""Objects of nested data, and keys of configs that have changed."""

import logging

import pytest
import torch
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.utils import old_keys
from mmdetlike.utils.config import load_config
from mmdetlike.utils.instantiate import LazyCall, instantiate


def test_nested_calls_and_references():
    config = dict(
        width=8,
        model=LazyCall(nn.ModuleDict)(
            modules=dict(
                first=LazyCall(nn.Conv2d)(in_channels=3, out_channels='${width}', kernel_size=1),
                second={'_target_': 'torch.nn.Conv2d', 'in_channels': '${..first.out_channels}', 'out_channels': 2},
            )
        ),
        name='net-${width}',
    )
    config['model']['modules']['second'].update(kernel_size='${..first.kernel_size}')
    made = instantiate(config)
    assert made['name'] == 'net-8'
    second = made['model']['second']
    assert (second.in_channels, second.kernel_size) == (8, (1, 1))
    assert made['model']['first'](torch.zeros(1, 3, 2, 2)).shape == (1, 8, 2, 2)
    config['model'].modules.first.out_channels = 5
    assert instantiate(config)['model']['second'].in_channels == 5
    config['model'].modules.first.out_channels = '${width}'
    # the config stays data, so that it can be changed and used again
    config['width'] = 4
    assert instantiate(config)['model']['second'].in_channels == 4


def test_lists_and_data():
    made = instantiate([LazyCall(dict)(a=1), {'_target_': dict, '_recursive_': False, 'b': LazyCall(dict)(c=2)}])
    assert made == [{'a': 1}, {'b': {'_target_': dict, 'c': 2}}]
    assert instantiate((1, '${1}x' if False else 'x')) == (1, 'x')
    assert instantiate(dict(a=[dict(b=3)], c='${a.0.b}')) == dict(a=[dict(b=3)], c=3)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (
            dict(a={'_target_': 'torch.nn.Konv'}),
            r"a: _target_='torch\.nn\.Konv' is nothing that can",
        ),
        (dict(a={'_target_': 'torch.nn.Linear', 'width': 3}), r"a: _target_='torch\.nn\.Linear' does not take"),
        (dict(a={'_target_': 'math.pi'}), r"a: _target_='math\.pi' is nothing that can be called"),
        (dict(a='${b.c}', b={}), r'a: \$\{b\.c\} points at b\.c, which is not there'),
        (dict(a='${b}', b='${a}'), r'leads in a circle'),
        (dict(a=dict(b='${a}')), r'a\.b: \$\{a\} leads in a circle'),
        (dict(a='${...b}'), r'a: \$\{\.\.\.b\} leads out of the config'),
    ],
)
def test_what_is_wrong_is_told_with_its_place(config, message):
    with pytest.raises(ConfigError, match=message):
        instantiate(config)


def test_only_what_can_be_called():
    with pytest.raises(ConfigError, match='takes a callable or its import path, got 3'):
        LazyCall(3)


@pytest.fixture
def registered(monkeypatch):
    for name in ('_renamed', '_deprecated', '_upgrades'):
        monkeypatch.setattr(old_keys, name, {})


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / 'mine.py'
        path.write_text(text)
        return path

    return write


def test_a_renamed_key_names_the_new_one(registered, config):
    old_keys.rename_key('model.depth', 'model.backbone.depth')
    with pytest.raises(ConfigError, match=r'mine\.py: the key model\.depth has been renamed to model\.backbone\.depth'):
        load_config(config('model = dict(depth=50)'))
    assert load_config(config('model = dict(backbone=dict(depth=50))')).model.backbone.depth == 50


def test_a_deprecated_key_is_dropped_with_a_warning(registered, config, capsys, caplog):
    old_keys.deprecate_key('model.fast', 'All models are.')
    with caplog.at_level(logging.WARNING):
        cfg = load_config(config('model = dict(fast=True, slow=1)'))
    assert dict(cfg.model) == dict(slow=1)


def test_versions_are_upgraded_step_by_step(registered, config):
    @old_keys.register_upgrade(2)
    def second(cfg):
        cfg.width = cfg.pop('size')

    @old_keys.register_upgrade(3)
    def third(cfg):
        cfg.width *= 2

    upgraded = load_config(config('config_version = 1\nsize = 4'))
    assert (upgraded.width, upgraded.config_version, 'size' in upgraded) == (8, 3, False)
    assert load_config(config('config_version = 3\nwidth = 4')).width == 4
    assert load_config(config('width = 4')).width == 4
    with pytest.raises(ConfigError, match='config_version=4; expected a whole number up to 3'):
        load_config(config('config_version = 4'))
    with pytest.raises(ConfigError, match='can not be upgraded: nobody says what version 1 changes'):
        load_config(config('config_version = 0'))
    with pytest.raises(ConfigError, match='there is an upgrade to config_version 3 already'):
        old_keys.register_upgrade(3)
