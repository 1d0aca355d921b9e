"""The command `mmdetlike`: what it offers, that nothing heavy is imported for help or a wrong path, and the doctor."""

import json
import sys

import numpy as np
import pytest

from mmdetlike.cli import doctor
from mmdetlike.cli.main import COMMANDS, main
from mmdetlike.utils.config import load_config
from mmdetlike.utils.config_files import find_config, shipped_base
from tests.utils import ROOT, python

HEAVY = ('torch', 'mmengine', 'numpy', 'cv2', 'matplotlib', 'scipy')
NAME = 'faster-rcnn_r18_fpn_shapes'
IMPORTED = f"""
import atexit, runpy, sys
atexit.register(lambda: print([name for name in {HEAVY} if name in sys.modules]))
sys.argv[:1] = []
"""


def run(*arguments) -> tuple[list[str], str, int]:
    """Modules among `HEAVY` that a command line has imported, what it wrote to stderr, and its status."""
    code = f'{IMPORTED}sys.argv.insert(0, "mmdetlike")\nfrom mmdetlike.cli.main import main\nmain()'
    done = python('-c', code, *arguments)
    return json.loads(done.stdout.splitlines()[-1].replace("'", '"')), done.stderr, done.returncode


@pytest.mark.parametrize('name', COMMANDS)
def test_help_imports_nothing_heavy(name):
    assert run(name, '--help') == ([], '', 0)


@pytest.mark.parametrize('arguments, message', [
    (['train', 'gone.py'], 'FileNotFoundError: config gone.py does not exist'),
    (['train', 'faster-rcnn_r18_fpn_shape'], f'a shipped config; did you mean {NAME}'),
    (['train', NAME, '--resume', 'gone.pth'], 'FileNotFoundError: checkpoint gone.pth does not exist'),
    (['test', NAME, 'gone.pth'], 'FileNotFoundError: checkpoint gone.pth does not exist'),
    (['predict', 'a.jpg', NAME, '--weights', 'gone.pth'], 'FileNotFoundError: checkpoint gone.pth does not exist'),
    (['browse', 'configs'], 'error: config configs is a folder, not a file'),
    (['config', 'gone'], "FileNotFoundError: 'gone' is neither a config file nor the name of a shipped config"),
    (['config', '--list', 'no such'], "error: none of the "),
    (['trian'], "error: mmdetlike has no command 'trian'; did you mean train?"),
    (['fly'], "error: mmdetlike has no command 'fly'; there are train, test, "),
])  # fmt: skip
def test_a_wrong_path_is_told_before_anything_heavy_is_imported(arguments, message):
    imported, said, status = run(*arguments)
    assert (imported, status) == ([], 2)
    assert message in said
    assert len(said.splitlines()) == 1


def test_the_files_in_tools_are_as_quick():
    code = f'{IMPORTED}runpy.run_path(sys.argv[0], run_name="__main__")'
    done = python('-c', code, ROOT / 'tools/test.py', '--help')
    assert done.stdout.splitlines()[-1] == '[]'


def test_usage_names_each_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['mmdetlike'])
    main()
    printed = capsys.readouterr().out
    assert all(f'  {name} ' in printed for name in COMMANDS)


def test_commands_run_by_the_name_of_a_config(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['mmdetlike', 'config', NAME, '--cfg-options', 'train_cfg.max_epochs=3'])
    main()
    assert 'max_epochs=3' in capsys.readouterr().out
    monkeypatch.setattr(sys, 'argv', ['mmdetlike', 'config', '--list', 'quickstart/faster'])
    main()
    assert capsys.readouterr().out == f'quickstart/{NAME}.py\n'


@pytest.mark.parametrize('name', [
    NAME, f'{NAME}.py', f'quickstart/{NAME}', f'quickstart/{NAME}.py', f'configs/quickstart/{NAME}.py',
])  # fmt: skip
def test_ways_to_name_a_shipped_config(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == ROOT / 'configs/quickstart' / f'{NAME}.py'


@pytest.mark.parametrize('base', [
    f'mmdetlike::{NAME}',
    f'mmdetlike::quickstart/{NAME}.py',
    f'mmdet::quickstart/{NAME}.py',
    f'mmdet::faster_rcnn/{NAME}.py',
])  # fmt: skip
def test_a_config_inherits_from_one_that_is_shipped(tmp_path, base):
    (tmp_path / 'mine.py').write_text(
        f'_base_ = {base!r}\ntrain_cfg = dict(max_epochs=3)\nname = {{{{_base_.model.type}}}}'
    )
    mine, shipped = load_config(tmp_path / 'mine.py'), load_config(NAME)
    assert mine.pop('name') == 'FasterRCNN'
    assert mine.train_cfg.pop('max_epochs') == 3
    assert shipped.train_cfg.pop('max_epochs') == 12
    assert mine.to_dict() == shipped.to_dict()


def test_a_shipped_base_that_does_not_exist(tmp_path):
    (tmp_path / 'mine.py').write_text("_base_ = ['mmdetlike::quickstart/faster-rcnn_r18_fpn_shape.py']")
    with pytest.raises(FileNotFoundError, match=rf"mine.py: a base config is missing: .*'; did you mean {NAME}"):
        load_config(tmp_path / 'mine.py')


def test_bases_of_other_packages_are_left_to_mmengine():
    assert shipped_base('mmpretrain::resnet/resnet50.py') is None
    assert shipped_base('../base.py') is None


def test_the_doctor_finds_this_installation_well(capsys, monkeypatch):
    monkeypatch.setattr(doctor, 'check_cuda', lambda: iter(()))
    doctor.main([])
    printed = capsys.readouterr().out
    assert '   ok  the kernels load and compute on the CPU' in printed
    assert printed.endswith('all that training and prediction need is there\n')


def only(check) -> doctor.Finding:
    (finding,) = doctor.run_check(check)
    return finding


def test_the_doctor_ends_with_status_1_and_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr('torch.__version__', '2.9.1')
    monkeypatch.setattr(doctor, 'CHECKS', (doctor.check_torch,))
    with pytest.raises(SystemExit) as end:
        doctor.main([])
    assert end.value.code == 1
    printed = capsys.readouterr().out
    assert 'wrong  torch 2.9.1' in printed
    assert '-> the kernels need torch >= 2.10: `pip install -U' in printed


def test_the_doctor_goes_on_after_a_check_that_raises():
    def check_nothing():
        raise RuntimeError('boom\nand more')
        yield

    assert only(check_nothing) == doctor.Finding('wrong', 'nothing: RuntimeError: boom')


def test_the_doctor_of_kernels_that_do_not_load_or_compute(monkeypatch):
    monkeypatch.setattr('mmdetlike_ops.nms', lambda boxes, scores, threshold: (boxes, np.array([0, 1])))
    assert only(doctor.check_kernels).text == 'nms keeps [0, 1], expected [0, 2]'
    monkeypatch.setitem(sys.modules, 'mmdetlike_ops', None)
    finding = only(doctor.check_kernels)
    assert finding.text.startswith('the kernels cannot be loaded: import of mmdetlike_ops halted')
    assert 'bash tools/setup.sh' in finding.advice


def test_the_doctor_of_packages_that_are_missing_or_broken(monkeypatch, tmp_path):
    monkeypatch.setattr(
        doctor, 'OPTIONAL', {'no_such_package': ('nothing', 'pip install it'), 'broken_package': ('nobody', '')}
    )
    (tmp_path / 'broken_package.py').write_text("raise RuntimeError('operator nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    missing, broken = doctor.run_check(doctor.check_optional_packages)
    assert missing.advice == 'if you need it: `pip install it`'
    assert 'cannot be imported (nobody): operator nms does not exist' in broken.text
    monkeypatch.setattr(doctor, 'NEEDED', ('no_such_package',))
    assert doctor.run_check(doctor.check_packages)[0].status == 'wrong'


def test_the_doctor_of_a_folder_that_cannot_be_written(monkeypatch):
    monkeypatch.setattr('torch.hub.get_dir', lambda: '/proc/nothing/hub')
    finding = doctor.run_check(doctor.check_folders)[1]
    assert finding.status == 'wrong'
    assert finding.text.startswith('nothing can be written to /proc (downloaded weights)')
    assert finding.advice == 'name another folder by TORCH_HOME'


@pytest.mark.parametrize('built, found, status, words', [
    (None, False, 'note', 'torch has no CUDA: everything runs on the CPU, though the driver has 2'),
    ('13.0', False, 'note', 'torch finds no GPU, though the driver has 2'),
])  # fmt: skip
def test_the_doctor_of_gpus_that_torch_does_not_use(monkeypatch, built, found, status, words):
    monkeypatch.setattr(doctor, 'gpus_of_driver', lambda: ['GPU 0', 'GPU 1'])
    monkeypatch.setattr('torch.version.cuda', built)
    monkeypatch.setattr('torch.cuda.is_available', lambda: found)
    finding = only(doctor.check_cuda)
    assert (finding.status, finding.text) == (status, words)
    assert finding.advice


def test_the_doctor_of_kernels_without_cuda(monkeypatch):
    monkeypatch.setattr('torch.version.cuda', '13.0')
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.device_count', lambda: 1)
    monkeypatch.setattr('torch.cuda.get_device_capability', lambda index: (9, 0))
    monkeypatch.setattr('torch.cuda.get_device_name', lambda index: 'H200')
    monkeypatch.setattr('mmdetlike_ops._library.COMPILED_FOR_CUDA', False)
    gpu, kernels = doctor.run_check(doctor.check_cuda)
    assert gpu.text == 'GPU 0: H200, generation 9.0'
    assert kernels.status == 'wrong'
    assert kernels.advice.startswith('`MMDETLIKE_OPS_CUDA=1 bash tools/setup.sh`')
