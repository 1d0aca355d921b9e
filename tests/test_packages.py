"""Optional packages: the core asks for none of them, and what needs one says what installs it before it begins."""

import importlib.util

import pytest

from mmdetlike.cli import batch_predict, deploy, serve
from mmdetlike.errors import ConfigError
from mmdetlike.utils.packages import require_packages
from tests.apis.helpers import write_pictures


@pytest.fixture
def only_the_core(monkeypatch):
    """As if no optional package were installed."""
    optional = ('onnx', 'onnxscript', 'onnxruntime', 'litserve', 'multipart', 'ray', 'pyarrow')
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *rest: None if name in optional else find(name))


def test_packages_that_are_missing_are_named_as_pip_calls_them(only_the_core):
    require_packages('nothing', 'serve', 'torch', 'numpy')
    message = r"^serving needs litserve and python-multipart, not installed here: pip install 'mmdetlike\[serve\]'$"
    with pytest.raises(ConfigError, match=message):
        require_packages('serving', 'serve', 'torch', 'litserve', 'multipart')


def test_a_folder_of_that_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / 'not_a_package').mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match='something needs not_a_package, not installed here'):
        require_packages('something', 'ray', 'not_a_package')


@pytest.mark.parametrize(
    'command, words',
    [
        (['deploy', '--to', 'onnx'], r"writing ONNX needs onnx and onnxscript, .* 'mmdetlike\[deploy\]'"),
        (['serve'], r"serving needs litserve and python-multipart, .* 'mmdetlike\[serve\]'"),
        (['batch-predict'], r"batch-predict needs ray and pyarrow, .* 'mmdetlike\[ray\]'"),
    ],
)
def test_commands_say_what_they_need_before_anything_is_loaded_or_written(only_the_core, tmp_path, command, words):
    name, *options = command
    write_pictures(tmp_path / 'in', 1)
    out, nothing = str(tmp_path / 'out'), str(tmp_path / 'gone.pth')
    mains = {
        'deploy': (deploy.main, ['retinanet_r18_fpn_shapes', nothing, '--out', out]),
        'serve': (serve.main, [nothing]),
        'batch-predict': (batch_predict.main, [nothing, '--input', str(tmp_path / 'in'), '--output', out]),
    }
    main, arguments = mains[name]
    with pytest.raises(ConfigError, match=words):
        main([*arguments, *options])
    assert [path.name for path in tmp_path.iterdir()] == ['in']
