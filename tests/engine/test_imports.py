"""Imports are cheap, and a broken torchvision is nobody's problem."""

import subprocess
import sys

import pytest

from tests.utils import process_settings, python, tiny_config, without_validation

BROKEN = "raise RuntimeError('operator torchvision::nms does not exist')\n"


def test_import_adds_nothing_to_torch_but_our_own_modules():
    """So it takes some milliseconds for mmdetlike and, for the table of operators, 0.1 s for mmdetlike_ops."""
    code = """
import sys, torch
before = set(sys.modules)
import mmdetlike
print(sorted(set(sys.modules) - before))
import mmdetlike_ops
print({name.partition('.')[0] for name in set(sys.modules) - before})
"""
    ours, packages = python('-c', code).stdout.splitlines()
    assert ours == "['mmdetlike', 'mmdetlike.version']"
    assert sorted(eval(packages)) == ['mmdetlike', 'mmdetlike_ops']


def test_import_does_not_bring_in_what_it_need_not():
    code = 'import mmdetlike, sys; print([m for m in ("mmengine", "cv2", "matplotlib", "torch") if m in sys.modules])'
    assert python('-c', code).stdout.strip() == '[]'


@pytest.fixture
def broken_torchvision(tmp_path) -> str:
    folder = tmp_path / 'broken'
    (folder / 'torchvision').mkdir(parents=True)
    (folder / 'torchvision' / '__init__.py').write_text(BROKEN)
    return str(folder)


def test_training_beside_a_broken_torchvision(broken_torchvision, tmp_path):
    cfg = without_validation(tiny_config(tmp_path / 'run', train_cfg=dict(max_epochs=1), log_level='INFO'))
    cfg.dump(tmp_path / 'config.py')
    code = f"""
try:
    import torchvision
except RuntimeError:
    print('it is broken')
import mmdetlike, mmdetlike_ops
from mmengine.config import Config
from mmdetlike.engine import Runner
Runner.from_cfg(Config.fromfile({str(tmp_path / 'config.py')!r})).train()
"""
    done = subprocess.run([sys.executable, '-c', code], timeout=300, **process_settings(broken_torchvision))
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'it is broken' in done.stdout
    assert 'PyTorch: ' in done.stdout + done.stderr  # the environment report
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()


STATE = """
import sys, torch
from mmengine.fileio.backends.registry_utils import backends
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import CheckpointLoader

safe = torch.serialization.get_safe_globals()

def state():
    return (
        hasattr(HOOKS.build_func, '__wrapped__'),
        hasattr(MODELS.build_func, '__wrapped__'),
        'mmdet.registry' in sys.modules,
        CheckpointLoader._schemes[''].__module__.startswith('mmdetlike'),
        backends['local'].__name__ == 'AtomicLocalBackend',
        torch.serialization.get_safe_globals() != safe,
    )
"""


def test_importing_changes_nothing_outside():
    parts = ('apis', 'datasets', 'engine', 'evaluation', 'models', 'registry', 'visualization')
    code = STATE + ''.join(f'import mmdetlike.{part}\n' for part in parts) + 'print(state())'
    assert python('-c', code).stdout.strip() == str((False,) * 6)


def test_bootstrap_changes_all_that_is_changed():
    code = f'{STATE}from mmdetlike.utils.setup_env import bootstrap\nbootstrap()\nprint(state())'
    # what may be unpickled is told to torch for each reading, not for the process
    assert python('-c', code).stdout.strip() == '(True, True, True, True, True, False)'
