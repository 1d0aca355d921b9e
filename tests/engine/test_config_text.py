"""Configs are written so that they can be read again: with the same values of the same types."""

import keyword
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yapf.yapflib.yapf_api import FormatCode

from mmdetlike.apis.configs import config_in_checkpoint
from mmdetlike.datasets import CocoDataset
from mmdetlike.errors import ConfigError
from mmdetlike.utils import config_text as config_text_module
from mmdetlike.utils.config import load_config
from mmdetlike.utils.config_text import Config, config_text
from tests.utils import ROOT, tiny_config, train, without_validation

QUICKSTART = ROOT / 'configs' / 'quickstart' / 'faster-rcnn_r18_fpn_shapes.py'

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3)
keys = st.sampled_from(['a', 'lambda', 'None', 'a-b', 'x y', 'type', 'ключ']) | st.integers()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)
names = st.sampled_from(['a', 'b_', 'model', 'größe'])


def evaluate(text: str) -> dict:
    scope: dict = {}
    exec(text, scope)
    scope.pop('__builtins__')
    return scope


def same(a, b) -> bool:
    """Equal in value and type, also where nan is."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(names, values, max_size=3))
def test_any_plain_value_is_read_again(config):
    assert same(evaluate(config_text(config)), config)


CONFIG = """
_base_ = []
import numpy as np
from mmdetlike.datasets import CocoDataset
classes = tuple(np.unique(['dog', 'cat']))
limit = float('inf')
nothing = [float('nan'), -limit]
table = {'lambda': 1, 'None': 2, 3: {}}
data = dict(type=CocoDataset, mean=np.array([1.5, 2]), size=np.int64(3), rate=np.float32(0.5), parts={1, 2})
"""


def test_a_config_with_values_of_other_kinds_is_read_again(tmp_path):
    (tmp_path / 'a.py').write_text(CONFIG)
    first = load_config(tmp_path / 'a.py')
    first.dump(tmp_path / 'b.py')
    second = load_config(tmp_path / 'b.py')
    assert second.classes == ('cat', 'dog')
    assert {type(name) for name in second.classes} == {str}
    assert (second.limit, second.nothing[1]) == (math.inf, -math.inf)
    assert math.isnan(second.nothing[0])
    assert second.table == {'lambda': 1, 'None': 2, 3: {}}
    assert second.data == dict(type='CocoDataset', mean=[1.5, 2.0], size=3, rate=0.5, parts={1, 2})
    assert same(second.to_dict(), first.to_dict())


def test_values_given_in_python_become_plain():
    config = Config.of(
        dict(dataset=dict(type=CocoDataset), a=np.float16(0.5), path=Path('x'), other=dict(type=math.hypot))
    )
    assert config.to_dict() == dict(dataset=dict(type='CocoDataset'), a=0.5, path='x', other=dict(type='math.hypot'))


@pytest.mark.parametrize(
    'config, message',
    [
        (dict(a=[dict(b=print)]), r'a\[0\].b is <built-in function print>, a builtin_function'),
        (dict(a=dict(type=lambda: 0)), 'a.type is <function'),
        ({'a-b': 1}, "the top-level key 'a-b'"),
        ({'lambda': 1}, "the top-level key 'lambda'"),
    ],
)
def test_what_has_no_text_is_named(config, message):
    with pytest.raises(ConfigError, match=message):
        Config.of(config).dump()


def test_a_config_in_pure_python_keeps_its_lazy_classes(tmp_path):
    (tmp_path / 'base.py').write_text('x = 1\n')
    text = 'from mmengine.config import read_base\nfrom mmdetlike.datasets import CocoDataset\n'
    text += 'with read_base():\n    from .base import *\ndataset = dict(type=CocoDataset)\n'
    (tmp_path / 'a.py').write_text(text)
    config = load_config(tmp_path / 'a.py')
    assert config.dataset.type is CocoDataset
    assert evaluate(config.pretty_text)['dataset']['type'].endswith('CocoDataset')
    assert 'CocoDataset' not in evaluate(config.pretty_text)


def test_a_run_keeps_a_readable_copy_and_checkpoint(tmp_path):
    cfg = without_validation(tiny_config(tmp_path, train_cfg=dict(max_epochs=1)))
    cfg.train_dataloader.dataset.update(length=4, type=cfg.train_dataloader.dataset.type)
    cfg.limits = [float('inf'), float('nan'), {'lambda': np.int8(1)}]
    runner, _ = train(cfg)
    copies = list(tmp_path.rglob('*.py'))
    assert copies
    for path in copies:
        assert load_config(path).limits[0] == math.inf
        assert load_config(path).limits[2] == {'lambda': 1}
    inside = config_in_checkpoint(dict(meta=dict(cfg=runner.cfg.pretty_text)), 'x')
    assert inside.model.type == 'FasterRCNN'


def test_formatted_text_evaluates_to_the_values(monkeypatch):
    monkeypatch.setattr('mmdetlike.utils.config_text.FormatCode', FormatCode)
    config = load_config(QUICKSTART)
    assert '\n    ' in config.pretty_text
    assert same(evaluate(config.pretty_text), config.to_dict())
    assert not any(keyword.iskeyword(key) for key in config)


def test_equal_configs_are_laid_out_once(monkeypatch):
    calls = []
    monkeypatch.setattr(config_text_module, 'FormatCode', lambda text, style_config: (calls.append(text) or text, True))
    assert [config_text_module.config_text(dict(laid_out_once=value)) for value in (1, 1, 2)] == [
        'laid_out_once = 1\n',
        'laid_out_once = 1\n',
        'laid_out_once = 2\n',
    ]
    assert len(calls) == 2
