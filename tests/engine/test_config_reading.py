"""What is wrong in a config file is told with its file and line, and as what it is."""

import sys

import pytest

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from mmdetlike.utils.config import load_config


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes files; modules that a test imports are forgotten, as is the path they were found by."""
    monkeypatch.setattr(sys, 'path', list(sys.path))
    before = set(sys.modules)

    def files(**texts: str):
        for name, text in texts.items():
            (tmp_path / f'{name}.py').write_text(text)
        return tmp_path / f'{next(reversed(texts))}.py'

    yield files
    for name in set(sys.modules) - before:
        if name.startswith('my_'):
            del sys.modules[name]


BASE = "model = dict(type='A', heads=[dict(x=1)], neck=dict(y=1), depth=3)\nseed = 5\n"


@pytest.mark.parametrize(
    'text, message',
    [
        (
            'x = 1\ny = 1 / 0\n',
            r'child.py could not be read: ZeroDivisionError: division by zero \(.*child.py, line 2\)',
        ),
        ('def f():\n    return [][1]\nx = f()\n', r'IndexError: .* \(.*child.py, line 2\)'),
        ('x = 1\nimport nosuch_module\n', r"No module named 'nosuch_module' \(.*child.py, line 2\)"),
        ('x = (\n', r'child.py is not valid Python: .* \(line 1\)'),
        ("_base_ = 'child.py'\n", 'child.py: _base_ leads back to the file itself: child.py -> child.py'),
        ("_base_ = './middle.py'\n", 'leads back to the file itself: child.py -> middle.py -> child.py'),
        ("_base_ = 'base.py'\nx = 1\ny = 'n{{_base_.seed}}'\n", r"child.py, line 3: .*write f'...\{_base_.seed\}...'"),
        ("_base_ = 'base.py'\nx = '{{_base_.seed}}'\n", r'line 2: .*write \{\{_base_.seed\}\}, without quotes'),
        (
            "_base_ = 'base.py'\nmodel = dict(heads=dict(x=2))\n",
            r'heads is a dict, but a list in the base config.*heads.0.KEY',
        ),
        (
            "_base_ = 'base.py'\nmodel = dict(depth=dict(x=2))\n",
            r'depth is a dict, but of type int .*depth=dict\(_delete_=True',
        ),
        ("_base_ = 'broken.py'\n", r'ZeroDivisionError: division by zero \(.*broken.py, line 1\)'),
        ('_base_ = 3\n', 'child.py: _base_ must be a path or a list of paths, got 3'),
        ('x = "\0"\n', 'child.py is not a config|not valid Python'),
        ('raise RuntimeError\n', r'could not be read: RuntimeError \(.*child.py, line 1\)'),
        ("custom_imports = dict(imports=['my_missing'])", 'there is no module my_missing, neither in .* nor installed'),
        (
            "custom_imports = dict(imports=['my_broken'])",
            r'importing my_broken failed: ModuleNotFoundError: .*nosuchthing',
        ),
        (
            "custom_imports = dict(imports='my_error')",
            r'importing my_error failed: ZeroDivisionError: .*my_error.py, line 2\)',
        ),
        ("custom_imports = 'my_error'", r"custom_imports must be dict\(imports=\['module', ...\]\), got 'my_error'"),
    ],
)
def test_mistakes(text, message, write):
    path = write(
        base=BASE,
        middle="_base_ = 'child.py'\n",
        broken='x = 1 / 0\n',
        my_broken='import nosuchthing\n',
        my_error='\nx = 1 / 0\n',
        child=text,
    )
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert '\n' not in str(caught.value)
    assert 'PYTHONPATH" to' not in str(caught.value)


@pytest.mark.parametrize(
    'head', ['import os\n_base_ = ["base.py"]\n', '_base_ = ["base.py"]\nimport os\n', 'import os\n']
)
def test_imports_may_stand_anywhere(head, write):
    path = write(base=BASE, child=f"{head}import numpy as np\nx = os.path.join('a', 'b')\ny = np.arange(2)\n")
    cfg = load_config(path)
    assert (cfg.x, cfg.y) == ('a/b', [0, 1])
    assert ('model' in cfg) == ('_base_' in head)
    assert 'np' not in cfg


def test_a_base_may_import(write):
    path = write(base='import numpy as np\nx = np.int64(3)\n', child="_base_ = 'base.py'\ny = {{_base_.x}}\n")
    assert (load_config(path).x, load_config(path).y) == (3, 3)


def test_templates_that_are_a_whole_value(write):
    path = write(
        base=BASE,
        child="'Of {{_base_.x}}.'\n_base_ = 'base.py'\nx = {{_base_.seed}}\n"
        "y = {{_base_.model.neck}}\nz = f'n{_base_.seed}'\n",
    )
    cfg = load_config(path)
    assert (cfg.x, cfg.y, cfg.z) == (5, dict(y=1), 'n5')


NECK = """
from torch import nn
from mmdetlike.registry import MODELS

@MODELS.register_module(force=True)
class MyNeckBesideTheConfig(nn.Module):
    pass
"""


def test_modules_beside_the_config_are_found(write, tmp_path, monkeypatch):
    monkeypatch.chdir('/')
    path = write(
        my_neck_beside=NECK, child="custom_imports = dict(imports=['my_neck_beside'], allow_failed_imports=False)\n"
    )
    load_config(path)
    assert type(MODELS.build(dict(type='MyNeckBesideTheConfig'))).__name__ == 'MyNeckBesideTheConfig'
    assert str(tmp_path) in sys.path  # worker processes import it, too


def test_the_path_stays_as_it_was_without_such_modules(write, tmp_path):
    load_config(write(child='x = 1\n'))
    assert str(tmp_path) not in sys.path


def test_failed_imports_that_are_allowed(write):
    assert (
        load_config(write(child="custom_imports = dict(imports=['my_no'], allow_failed_imports=True)\nx = 1\n")).x == 1
    )


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmcls'])
def test_a_toolbox_of_classifiers_is_not_needed_for_the_backbones_that_are_here(scope, write):
    imports = f"custom_imports = dict(imports=['{scope}.models'], allow_failed_imports=False)\n"
    backbone = dict(type=f'{scope}.ConvNeXt', arch=dict(depths=[1, 1], channels=[4, 8]), frozen_stages=1)
    cfg = load_config(write(child=f'{imports}backbone = {backbone}\n'))
    model = MODELS.build(cfg.backbone).train()
    assert type(model).__module__ == 'mmdetlike.models.backbones.convnext'
    learning = {name.split('.')[1] for name, p in model.named_parameters() if p.requires_grad}
    assert '0' not in learning and '1' in learning  # the first stage is frozen
    with pytest.raises(ConfigError, match=f"type='{scope}.Unknown' is of {scope}, which is not installed; .*ConvNeXt"):
        MODELS.build(dict(type=f'{scope}.Unknown'))


@pytest.mark.parametrize(
    'project, types',
    [
        ('ViTDet.vitdet', 'ViT, SimpleFPN, Fp16CompresssionHook'),
        ('EfficientDet.efficientdet', 'EfficientDet, BiFPN, EfficientDetSepBNHead, HuberLoss'),
    ],
)
def test_a_project_is_not_needed_for_types_that_are_here(write, monkeypatch, project, types):
    said = []
    monkeypatch.setattr('mmdetlike.utils.config_reading.print_log', lambda message, *args: said.append(message))
    imports = f"custom_imports = dict(imports=['projects.{project}'], allow_failed_imports=False)\n"
    load_config(write(child=imports))
    assert len(said) == 1
    assert said[0].endswith(
        f'custom_imports: projects.{project} is not installed, and not needed for its {types}, '
        'which are part of mmdetlike'
    )
    with pytest.raises(ConfigError, match='there is no module projects'):
        load_config(write(child=imports.replace(project, 'Other')))


@pytest.mark.parametrize('value', ["{{_base_.root}} + 'a.json'", 'len({{_base_.root}})', '{{_base_.root}}[0]'])
def test_computing_with_a_base_variable_in_braces_is_refused(tmp_path, value):
    (tmp_path / 'base.py').write_text("root = 'data/'\n")
    config = tmp_path / 'config.py'
    config.write_text(f"_base_ = './base.py'\nx = {value}\n")
    with pytest.raises(ConfigError, match=r'config.py, line 2: \{\{_base_.root\}\} can only be a whole value'):
        load_config(config)
    plain = value.replace('{{', '').replace('}}', '')
    config.write_text(f"_base_ = './base.py'\nx = {plain}\ny = [{{{{_base_.root}}}}]\n")
    assert load_config(config).y == ['data/']


def test_a_module_that_imports_mmcv_is_told_of_what_stands_in(write):
    path = write(my_old='from mmcv.runner import HOOKS', config="custom_imports = dict(imports=['my_old'])")
    with pytest.raises(ConfigError, match=r"No module named 'mmcv'.*may name 'mmdetlike\.compat\.openmmlab'"):
        load_config(path)
