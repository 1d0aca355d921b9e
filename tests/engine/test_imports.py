"""Imports are cheap, and a broken torchvision is nobody's problem."""

import signal
import subprocess
import sys
import time

import pytest

from tests.utils import ROOT, process_settings, python, tiny_config, without_validation

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


LIGHT = ('mmdetlike', 'mmdetlike.apis', 'mmdetlike.utils.command', 'mmdetlike.utils.config_files', 'mmdetlike.cli.main')


@pytest.mark.parametrize('module', LIGHT)
def test_import_does_not_bring_in_what_it_need_not(module):
    code = f'import {module}, sys; print([m for m in ("mmengine", "cv2", "numpy", "torch") if m in sys.modules])'
    assert python('-c', code).stdout.strip() == '[]'


def test_apis_offers_its_names_all_the_same():
    code = """
import mmdetlike.apis
from mmdetlike.apis import *
print(DetInferencer.__name__, inference_detector.__name__, init_detector.__name__)
print([name for name in ('DetInferencer', 'inference_detector', 'init_detector') if name not in dir(mmdetlike.apis)])
from mmdetlike.registry import INFERENCERS
print(INFERENCERS.get('DetInferencer') is DetInferencer)
mmdetlike.apis.nothing
"""
    done = python('-c', code)
    assert done.stdout.splitlines() == ['DetInferencer inference_detector init_detector', '[]', 'True']
    assert "AttributeError: module 'mmdetlike.apis' has no attribute 'nothing'" in done.stderr


def test_an_inferencer_is_found_by_its_type_before_apis_is_used():
    code = "from mmdetlike.registry import INFERENCERS; print(INFERENCERS.get('DetInferencer').__name__)"
    assert python('-c', code).stdout.strip() == 'DetInferencer'


def test_the_garbage_collector_rests_while_torch_is_imported():
    code = """
import gc
from mmdetlike.utils.command import quick_imports
with quick_imports():
    print(gc.isenabled())
    import torch
print(gc.isenabled(), gc.get_freeze_count() > 10_000)
gc.unfreeze()
with quick_imports():
    print(gc.isenabled())
print(gc.get_freeze_count())
"""
    assert python('-c', code).stdout.split() == ['False', 'True', 'True', 'True', '0']


def test_training_says_that_it_starts_before_it_imports_torch(tmp_path):
    code = """
import sys
import time
import mmdetlike.utils.command as command
say_start = command.say_start
def said(what):
    say_start(what)
    print('torch' in sys.modules)
    sys.exit()
command.say_start = said
from mmdetlike.cli.train import main
main(['faster-rcnn_r18_fpn_shapes'])
"""
    first, heavy = python('-c', code).stdout.splitlines()
    assert first.startswith('training ') and first.endswith('shapes.py: importing torch and the toolbox')
    assert heavy == 'False'


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


def test_the_garbage_collector_rests_while_apis_is_imported_and_goes_on_afterwards():
    code = """
import gc
import torch
starts = []
gc.callbacks.append(lambda phase, info: starts.append(phase) if phase == 'start' else None)
from mmdetlike.apis import init_detector
# one begins as soon as it may
print(len(starts) <= 1, gc.isenabled(), gc.get_freeze_count())
"""
    assert python('-c', code).stdout.split() == ['True', 'True', '0']


def test_predicting_and_training_need_neither_scipy_nor_matplotlib():
    code = """
import sys
import time
from mmdetlike.utils.setup_env import register_all_modules
register_all_modules()
print([name for name in ('scipy', 'matplotlib', 'sklearn', 'pandas') if name in sys.modules])
"""
    assert python('-c', code).stdout.strip() == '[]'


@pytest.mark.parametrize('seconds', [0.4, 0.8, 1.6])
def test_interrupted_while_it_imports_a_tool_says_so_in_a_line(tmp_path, seconds):
    """Wherever the interrupt comes, whether in Python or in an extension that is being loaded."""
    command = [
        sys.executable,
        '-u',
        'tools/train.py',
        'faster-rcnn_r18_fpn_shapes',
        '--work-dir',
        str(tmp_path / 'run'),
    ]
    process = subprocess.Popen(command, cwd=ROOT, **process_settings())
    assert process.stdout.readline().startswith('training ')
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    # Python ends itself by the signal where it came while an extension ran Python code; a shell says 130 for both
    assert process.returncode in (130, -signal.SIGINT)
    # on a fast machine the imports are over after a second, and the training itself, which saves later, says the line
    assert errors in ('interrupted; nothing had been trained yet\n', 'interrupted; no checkpoint had been saved yet\n')
