"""Mistakes end each tool with one sentence and status 2; ``--debug`` shows the traceback."""

import errno
import io
import logging
import os
import runpy
import subprocess
import sys

import pytest
import torch

from mmdetlike.datasets.errors import DataError, ImageError
from mmdetlike.errors import CheckpointError, ConfigError
from mmdetlike.utils.command import run_tool
from mmdetlike_ops import batched_nms
from tests.utils import ROOT, process_settings, python

QUICKSTART = str(ROOT / 'configs' / 'quickstart' / 'faster-rcnn_r18_fpn_shapes.py')


@pytest.fixture
def shell(monkeypatch, capsys, tmp_path):
    """Runs a tool as the shell does, in a folder of its own; returns its status and what it wrote to stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('MMDETLIKE_DEBUG', '0')
    # runs that start within a second share mmengine's logger, whose stream ended with the test before
    monkeypatch.setattr(logging, 'raiseExceptions', False)

    def run(tool: str, *arguments) -> tuple[int, str]:
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
        status = 0
        try:
            runpy.run_path(str(ROOT / tool), run_name='__main__')
        except SystemExit as end:
            status = end.code
        return status, capsys.readouterr().err

    return run


def last(error_output: str) -> str:
    assert 'Traceback' not in error_output
    return error_output.strip().splitlines()[-1]


@pytest.mark.parametrize(
    'tool, arguments, message',
    [
        ('tools/train.py', ['gone.py'], 'FileNotFoundError: config gone.py does not exist'),
        ('tools/train.py', ['.'], 'error: config . is a folder'),
        ('tools/train.py', [QUICKSTART, '--work-dir', 'file'], "file' is a file where a folder is needed"),
        ('tools/train.py', [QUICKSTART, '--work-dir', 'file/sub'], 'NotADirectoryError: '),
        ('tools/train.py', [QUICKSTART, '--work-dir', '/proc/nothing'], "FileNotFoundError: '/proc/nothing'"),
        ('tools/train.py', [QUICKSTART, '--work-dir', 'x' * 300], 'File name too long'),
        (
            'tools/train.py',
            [QUICKSTART, '--cfg-options', 'model.backbone.depth=7'],
            "model.backbone: type='ResNet': depth",
        ),
        (
            'tools/train.py',
            [QUICKSTART, '--cfg-options', 'train_dataloader.dataset.length=x'],
            'train_dataloader.dataset: ',
        ),
        ('tools/test.py', [QUICKSTART, 'gone.pth'], 'FileNotFoundError: checkpoint gone.pth does not exist'),
        (
            'tools/test.py',
            [QUICKSTART, 'file'],
            'CheckpointError: file is not a readable checkpoint: it is a text file',
        ),
        ('tools/misc/print_config.py', ['gone.py'], 'FileNotFoundError: config gone.py'),
        ('tools/misc/print_config.py', [QUICKSTART, '--save-path', 'file/a.py'], "'file'"),
        (
            'tools/analysis_tools/browse_dataset.py',
            [QUICKSTART, '--output-dir', 'file/a', '--number', '1'],
            'OutputError: file/a cannot be a folder for outputs',
        ),
        ('tools/analysis_tools/analyze_logs.py', ['plot_curve', 'file'], 'file'),
        ('tools/dataset_converters/make_shapes.py', ['file/out', '--num-train', '1'], "NotADirectoryError: 'file/out"),
        ('tools/dataset_converters/make_shapes.py', ['out', '--size', '0'], 'error: '),
        ('tools/dataset_converters/pascal_voc.py', ['gone', 'a.json'], 'DataError: gone holds no folder Annotations'),
        ('demo/image_demo.py', ['gone.png', QUICKSTART], 'gone.png'),
        ('demo/image_demo.py', ['gone.png', 'nothing.py'], 'FileNotFoundError: config nothing.py does not exist'),
    ],
)
def test_each_tool_says_one_sentence(tool, arguments, message, shell, tmp_path):
    (tmp_path / 'file').write_text('no data')
    status, output = shell(tool, *arguments)
    assert status == 2
    assert message in last(output)
    assert 'internal error' not in output


@pytest.mark.parametrize(
    'tool, arguments, message',
    [
        ('tools/train.py', ['{config}', '--resume', 'gone.pth'], 'checkpoint gone.pth does not exist'),
        ('tools/train.py', ['{config}', '--resume', 'folder'], 'checkpoint folder is a folder'),
        ('tools/train.py', ['{config}', '--cfg-options', 'load_from=empty'], 'empty is not a readable checkpoint: the'),
        ('tools/train.py', ['{config}', '--cfg-options', 'load_from=lfs'], 'lfs is not a readable checkpoint: it is a'),
        ('tools/test.py', ['{config}', 'lfs'], 'fetch that by "git lfs pull"'),
        ('tools/test.py', ['{config}', 'binary'], 'binary is not a readable checkpoint'),
        ('tools/test.py', ['{config}', 'folder'], 'checkpoint folder is a folder'),
    ],
)
def test_a_checkpoint_is_looked_at_before_anything_is_built_or_written(tool, arguments, message, shell, tmp_path):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'empty').touch()
    (tmp_path / 'lfs').write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n')
    (tmp_path / 'binary').write_bytes(b'\xff\xfe\x00\x80')
    status, output = shell(tool, *[argument.format(config=QUICKSTART) for argument in arguments])
    assert status == 2
    assert message in last(output)
    assert len(output.splitlines()) == 1
    assert not (tmp_path / 'work_dirs').exists()


@pytest.mark.parametrize(
    'tool, arguments, message',
    [
        ('tools/misc/print_config.py', ['empty.py'], 'error: empty.py is an empty config: it sets nothing'),
        ('tools/misc/print_config.py', ['binary'], 'binary'),
        ('tools/misc/split_coco.py', ['empty.py', 'out'], 'DataError: empty.py: expected a JSON file, it is empty'),
        ('tools/misc/split_coco.py', ['folder', 'out'], "'folder' is a folder"),
        ('tools/misc/split_coco.py', ['binary', 'out'], 'DataError: binary: '),
        ('tools/analysis_tools/analyze_logs.py', ['plot_curve', 'binary'], 'DataError: binary holds no scalars'),
        (
            'tools/analysis_tools/analyze_logs.py',
            ['cal_train_time', 'empty.py'],
            'DataError: empty.py holds no scalars',
        ),
        ('tools/analysis_tools/analyze_logs.py', ['plot_curve', 'folder'], 'folder is a folder, not a log'),
        ('tools/dataset_converters/pascal_voc.py', ['empty.py', 'a.json'], 'empty.py holds no folder Annotations'),
        ('demo/image_demo.py', ['a.png', 'folder'], 'folder is a folder, not a file'),
        ('demo/image_demo.py', ['', QUICKSTART], "'' is not the path of a picture"),
        ('demo/image_demo.py', ['binary', QUICKSTART], 'binary: it is damaged or of an unknown format'),
        ('tools/analysis_tools/browse_dataset.py', [QUICKSTART, '--output-dir', '/proc/a'], 'nothing can be written'),
    ],
)
def test_other_kinds_of_files_in_the_place_of_an_input(tool, arguments, message, shell, tmp_path):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'empty.py').touch()
    (tmp_path / 'binary').write_bytes(b'\xff\xfe\x00\x80' * 20)
    status, output = shell(tool, *arguments)
    assert status == 2
    assert message in last(output)
    assert 'internal error' not in output


@pytest.mark.parametrize(
    'tool, arguments, message',
    [
        ('tools/misc/split_coco.py', ['a.json', 'o', '--fold', '0'], '--fold must be positive, got 0'),
        ('tools/misc/split_coco.py', ['a.json', 'o', '--labeled-percent', 'nan'], 'between 0 and 100, got nan'),
        ('tools/misc/split_coco.py', ['a.json', 'o', '--labeled-percent', '150'], 'between 0 and 100, got 150'),
        ('tools/dataset_converters/make_shapes.py', ['o', '--num-train', '-1'], '--num-train -1 and --num-val 100 are'),
        ('tools/dataset_converters/make_shapes.py', ['o', '--num-train', '0', '--num-val', '0'], 'give one at least'),
    ],
)
def test_numbers_of_which_nothing_would_come(tool, arguments, message, shell, tmp_path):
    status, output = shell(tool, *arguments)
    assert status == 2
    assert message in last(output)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('out', ['child.py', 'folder/../base.py'])
def test_a_config_is_not_written_over_its_sources(out, shell, tmp_path):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'base.py').write_text('x = 1  # a comment\n')
    (tmp_path / 'child.py').write_text("_base_ = 'base.py'\ny = 2  # a comment\n")
    status, output = shell('tools/misc/print_config.py', 'child.py', '--save-path', out)
    assert status == 2
    assert last(output) == f'error: --save-path {out} is a file that child.py is read from: choose another one'
    assert all('# a comment' in (tmp_path / name).read_text() for name in ('base.py', 'child.py'))
    assert shell('tools/misc/print_config.py', 'child.py', '--save-path', 'folder/child.py')[0] == 0


def test_home_is_expanded(shell, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    assert shell('tools/misc/print_config.py', QUICKSTART, '--save-path', '~/a.py')[0] == 0
    assert (tmp_path / 'home' / 'a.py').is_file()
    (tmp_path / 'c.py').write_text("work_dir = '~/w'\ndata = dict(root='~/d', name='a~/b')\n")
    assert shell('tools/misc/print_config.py', 'c.py', '--save-path', 'd.py')[0] == 0
    text = (tmp_path / 'd.py').read_text()
    assert f"work_dir = '{tmp_path}/home/w'" in text
    assert f"root='{tmp_path}/home/d'" in text
    assert "name='a~/b'" in text


def raising(error):
    def main():
        raise error

    return main


def from_worker(error, kind=None) -> Exception:
    """As a DataLoader hands on what its worker raised."""
    return (kind or type(error))(
        f'Caught {type(error).__name__} in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n'
        f'  File "a.py", line 3, in f\n    raise x\n{type(error).__module__}.{type(error).__name__}: {error}\n'
    )


@pytest.mark.parametrize(
    'error, said',
    [
        (CheckpointError('a.pth is not whole'), 'CheckpointError: a.pth is not whole'),
        (ConfigError('c.py: model: no'), 'error: c.py: model: no'),
        (from_worker(DataError('a.json: image 3 has no file_name')), 'DataError: a.json: image 3 has no file_name'),
        (
            RuntimeError(str(from_worker(ImageError('a.png', 'it is cut short'), DataError))),
            'ImageError: a.png: it is cut short',
        ),
        (PermissionError(errno.EACCES, 'Permission denied', 'w/x'), "PermissionError: 'w/x': Permission denied"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), 'a', None, 'b'), "OSError: 'a' -> 'b': Read-only file system"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 'OSError: No space left on device; free some space'),
        (OSError('could not write x.png'), 'OSError: could not write x.png'),
        (MemoryError(), 'out of memory: '),
        (torch.OutOfMemoryError('CUDA out of memory. Tried'), 'out of memory: CUDA out of memory. Tried'),
        (RuntimeError('DataLoader worker (pid 3) is killed'), 'error: a process that loads data has been ended'),
        (KeyError('x'), "internal error: KeyError: 'x' (tests/tools/test_run_tool.py:"),
        (RuntimeError('size of tensor\nmust match'), 'internal error: RuntimeError: size of tensor (tests/'),
        (AssertionError(), 'internal error: AssertionError: without a message ('),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else '',
)
def test_what_is_said(error, said, capsys, monkeypatch):
    monkeypatch.setenv('MMDETLIKE_DEBUG', '0')
    with pytest.raises(SystemExit) as caught:
        run_tool(raising(error))
    assert caught.value.code == 2
    output = capsys.readouterr().err
    assert output.startswith(said)
    assert len(output.splitlines()) == 1
    if 'internal' in said:
        assert '--debug' in output


def test_a_sentence_of_ours_is_said_without_its_traceback(capsys, monkeypatch):
    from mmdetlike.utils.colors import distinct_colors

    monkeypatch.setenv('MMDETLIKE_DEBUG', '0')
    with pytest.raises(SystemExit):
        run_tool(lambda: distinct_colors(-1))
    assert capsys.readouterr().err == 'error: the number of colors must not be negative, got -1\n'


def test_so_is_one_of_the_kernels(capsys, monkeypatch):
    monkeypatch.setenv('MMDETLIKE_DEBUG', '0')
    box = torch.zeros(1, 4)
    with pytest.raises(SystemExit):
        run_tool(lambda: batched_nms(box, box[0, :1], torch.zeros(1, dtype=torch.long), dict(type='mine')))
    assert capsys.readouterr().err.startswith("error: batched_nms: nms_cfg['type'] is 'mine', one of ('nms', ")


def test_debug_raises(monkeypatch):
    monkeypatch.setenv('MMDETLIKE_DEBUG', '1')
    with pytest.raises(CheckpointError):
        run_tool(raising(CheckpointError('a')))
    monkeypatch.setenv('MMDETLIKE_DEBUG', '0')
    monkeypatch.setattr(sys, 'argv', ['tool', 'a', '--debug', 'b'])
    with pytest.raises(KeyError):
        run_tool(raising(KeyError('a')))
    assert sys.argv == ['tool', 'a', 'b']


def test_interrupted(capsys, monkeypatch):
    monkeypatch.setenv('MMDETLIKE_DEBUG', '0')
    with pytest.raises(SystemExit) as caught:
        run_tool(raising(KeyboardInterrupt()), 'start again')
    assert caught.value.code == 130
    assert capsys.readouterr().err == 'interrupted; start again\n'


TOOLS = [
    path
    for folder in ('tools', 'demo')
    for path in sorted((ROOT / folder).rglob('*.py'))
    if 'docs' not in path.parts and path.name != 'distributed_run.py'  # which scripts start, not people
]


@pytest.mark.parametrize('path', TOOLS, ids=lambda path: path.name)
def test_each_tool_has_the_option_and_the_net(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [str(path), '--help'])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(path), run_name='__main__')
    assert caught.value.code == 0
    assert '--debug' in capsys.readouterr().out
    assert 'run_tool(main' in path.read_text()


ASCII = dict(LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0', LANG='C')


def test_output_is_utf8_in_an_ascii_locale(tmp_path):
    (tmp_path / 'c.py').write_text("classes = ('猫',)\n", encoding='utf-8')
    settings = {**process_settings(env=ASCII), 'text': False}
    done = subprocess.run(
        [sys.executable, ROOT / 'tools/misc/print_config.py', tmp_path / 'c.py'], timeout=120, **settings
    )
    assert done.returncode == 0
    assert '猫' in done.stdout.decode('utf-8')


def test_a_file_name_that_the_locale_lacks_is_named():
    script = "import os\nfrom mmdetlike.utils.command import run_tool\nrun_tool(lambda: os.stat('\\u732b.png'))\n"
    done = python('-c', script, **ASCII)
    assert done.returncode == 2
    assert "error: '猫.png' can't be written in ascii: set the locale to UTF-8" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_streams_that_cannot_be_reconfigured_are_left(monkeypatch):
    monkeypatch.setattr(sys, 'stdout', io.StringIO())
    run_tool(lambda: print('猫'))
    assert sys.stdout.getvalue() == '猫\n'


@pytest.mark.slow
def test_log_file_is_utf8_in_an_ascii_locale(tmp_path):
    fast = ['train_dataloader.dataset.length=2', 'train_dataloader.batch_size=2', 'val_dataloader.dataset.length=2']
    config = f"_base_ = {QUICKSTART!r}\nnote = '猫'\ntrain_cfg = dict(max_epochs=1)\n"
    (tmp_path / 'c.py').write_text(config, encoding='utf-8')
    options = ['--work-dir', tmp_path / 'w', '--cfg-options', *fast]
    done = python(ROOT / 'tools' / 'train.py', tmp_path / 'c.py', *options, **ASCII)
    assert done.returncode == 0, done.stderr
    assert '--- Logging error ---' not in done.stderr
    assert '猫' in next((tmp_path / 'w').glob('*/*.log')).read_text(encoding='utf-8')
