"""Two processes train as one does on the same global batch."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest
import torch

from mmdetlike.utils.checkpoint import read_checkpoint
from tests.utils import ROOT, process_settings, python, sample_everything, tiny_config, train, without_validation

BATCHES = 4

# put before the tool: a hook that writes the losses of each process
RECORD = """
import json, os
from mmengine.hooks import Hook
from mmdetlike.registry import HOOKS

@HOOKS.register_module()
class WriteLosses(Hook):
    def before_train(self, runner):
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({name: float(value.detach()) for name, value in outputs.items()})

    def after_train(self, runner):
        with open(os.path.join(runner.work_dir, f'losses_{runner.rank}.json'), 'w') as file:
            json.dump(self.losses, file)
"""


def free_port() -> str:
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return str(server.getsockname()[1])


def deterministic(work_dir, model, batch_size):
    cfg = tiny_config(work_dir, model, train_cfg=dict(max_epochs=1), val_dataloader=dict(dataset=dict(length=7)))
    if model == 'faster_rcnn':
        sample_everything(cfg)
    cfg.train_dataloader.batch_size = batch_size
    cfg.optim_wrapper.clip_grad = dict(max_norm=10)
    return cfg


def launch(script: str, *args, path='') -> str:
    settings = process_settings(path, dict(PORT=free_port(), PYTHON=sys.executable)) | dict(stderr=subprocess.STDOUT)
    done = subprocess.run([str(ROOT / 'tools' / script), *map(str, args)], timeout=300, **settings)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason='about processes without CUDA')
@pytest.mark.parametrize('model', [pytest.param('retinanet', marks=pytest.mark.slow), 'faster_rcnn'])
def test_two_processes_train_as_one(model, tmp_path):
    runner, whole = train(deterministic(tmp_path / 'one', model, batch_size=4))
    cfg = deterministic(tmp_path / 'two', model, batch_size=2)
    (tmp_path / 'record_losses.py').write_text(RECORD)
    cfg.custom_imports = dict(imports=['record_losses'], allow_failed_imports=False)
    cfg.custom_hooks = [dict(type='WriteLosses')]
    cfg.dump(tmp_path / 'config.py')
    launch('dist_train.sh', tmp_path / 'config.py', 2, path=str(tmp_path))
    (metrics,) = (hook.metrics for hook in runner.hooks if type(hook).__name__ == 'ReportHook')
    assert validation_scores(tmp_path / 'two') == pytest.approx(metrics, abs=0.01)
    tables = [next((tmp_path / name).glob('*/report/by_size.csv')).read_text() for name in ('one', 'two')]
    assert tables[0] == tables[1], 'the report of two processes is about the images of both'
    parts = [json.loads((tmp_path / 'two' / f'losses_{rank}.json').read_text()) for rank in range(2)]
    assert len(whole) == len(parts[0]) == len(parts[1]) == BATCHES
    for i, terms in whole.items():
        for name in terms:
            if name != 'acc':
                mean = (parts[0][i][name] + parts[1][i][name]) / 2
                assert mean == pytest.approx(terms[name], rel=1e-5, abs=1e-5), (i, name)
    assert parts[0] != parts[1]
    trained = read_checkpoint(tmp_path / 'two' / 'epoch_1.pth')['state_dict']
    for key, value in runner.model.state_dict().items():
        torch.testing.assert_close(trained[key], value, rtol=1e-3, atol=1e-5)


def validation_scores(work_dir) -> dict[str, float]:
    lines = next(work_dir.glob('*/vis_data/scalars.json')).read_text().splitlines()
    scores = [json.loads(line) for line in lines if 'coco/bbox_mAP' in line][-1]
    return {name: value for name, value in scores.items() if name.startswith('coco/')}


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='about processes without CUDA')
def test_two_processes_test_as_one(tmp_path):
    cfg = tiny_config(tmp_path / 'run', train_cfg=dict(max_epochs=1), val_dataloader=dict(dataset=dict(length=7)))
    cfg.test_dataloader = cfg.val_dataloader
    runner, _ = train(cfg)
    (metrics,) = (hook.metrics for hook in runner.hooks if type(hook).__name__ == 'ReportHook')
    cfg.dump(tmp_path / 'config.py')
    checkpoint = tmp_path / 'run' / 'epoch_1.pth'
    launch('dist_test.sh', tmp_path / 'config.py', checkpoint, 2, '--work-dir', tmp_path / 'test')
    written = json.loads(next((tmp_path / 'test').glob('*/*.json')).read_text())
    assert metrics['coco/bbox_mAP'] > 0
    assert written['coco/bbox_mAP'] == pytest.approx(metrics['coco/bbox_mAP'], abs=1e-6)


SRUN = """#!/usr/bin/env python3
import os, subprocess, sys
options = [arg for arg in sys.argv[1:] if arg.startswith('--n') or arg.startswith('--gres')]
assert options == ['--ntasks=2', '--ntasks-per-node=2'], options
command = sys.argv[sys.argv.index('--kill-on-bad-exit=1') + 1 :]
given = dict(os.environ, SLURM_NTASKS='2', SLURM_NODELIST='node[7-8]')
ranks = [dict(given, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank)) for rank in range(2)]
sys.exit(max([one.wait() for one in [subprocess.Popen(command, env=rank) for rank in ranks]]))
"""
SCONTROL = """#!/bin/sh
[ "$*" = 'show hostnames node[7-8]' ] && printf '127.0.0.1\\nnode8\\n'
"""


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='about processes without CUDA')
def test_two_processes_of_slurm_train_together(tmp_path, monkeypatch):
    """Slurm isn't there: a script starts the processes with its variables, as srun does."""
    for name, content in (('srun', SRUN), ('scontrol', SCONTROL)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    for name, value in dict(GPUS='2', CPU_ONLY='1', MASTER_PORT=str(free_port()), PYTHON=sys.executable).items():
        monkeypatch.setenv(name, value)
    cfg = without_validation(deterministic(tmp_path / 'run', 'retinanet', batch_size=2))
    cfg.log_level = 'INFO'
    cfg.dump(tmp_path / 'config.py')
    command = [ROOT / 'tools' / 'slurm_train.sh', 'partition', 'job', tmp_path / 'config.py', tmp_path / 'run']
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()
    assert 'Distributed training: True' in next((tmp_path / 'run').glob('*/*.log')).read_text()


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'])
def test_scripts_say_how_to_use_them(script):
    done = subprocess.run([str(ROOT / 'tools' / script), 'config.py'], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert 'usage:' in done.stderr
    assert 'CONFIG' in done.stderr


@pytest.mark.parametrize('has_kernels', [True, False])
def test_scripts_take_the_package_of_a_clone_that_is_compiled(tmp_path, monkeypatch, has_kernels):
    """Where ``pip install .`` has put it elsewhere, Python finds it without them."""
    shutil.copytree(ROOT / 'tools', tmp_path / 'tools')
    (tmp_path / 'mmdetlike_ops').mkdir()
    if has_kernels:
        (tmp_path / 'mmdetlike_ops' / '_C.abi3.so').touch()
    (tmp_path / 'srun').write_text('#!/bin/sh\necho "path=$PYTHONPATH"\n')
    (tmp_path / 'srun').chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    monkeypatch.setenv('PYTHON', str(tmp_path / 'srun'))
    monkeypatch.setenv('PYTHONPATH', '/elsewhere')
    arguments = ['partition', 'job', 'config.py', 'checkpoint.pth', 'work']
    for script in ('dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'):
        command = [str(tmp_path / 'tools' / script), *(arguments if 'slurm' in script else arguments[2:])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        expected = f'path={tmp_path}/tools/..:/elsewhere\n' if has_kernels else 'path=/elsewhere\n'
        assert (done.returncode, done.stdout) == (0, expected), done.stderr


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='about processes without CUDA')
def test_two_processes_go_on_where_one_stopped(tmp_path):
    """With two processes an epoch has half as many batches, and the next one is trained nonetheless."""
    cfg = deterministic(tmp_path / 'run', 'retinanet', batch_size=2)
    train(cfg)
    cfg.train_cfg.max_epochs = 2
    cfg.log_level = 'INFO'
    cfg.dump(tmp_path / 'config.py')
    output = launch('dist_train.sh', tmp_path / 'config.py', 2, '--resume')
    assert 'processes: stored 1, given 2; the given one holds' in output
    meta = read_checkpoint(tmp_path / 'run' / 'epoch_2.pth')['meta']
    assert (meta['epoch'], meta['iter']) == (2, 2 * BATCHES)
    assert len(re.findall(r'Epoch\(train\) *\[2\]\[\d/4\]', output)) == BATCHES


FAMILIES = sorted(path.stem for path in (ROOT / 'configs' / 'quickstart').glob('*_shapes.py'))


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='about processes without CUDA')
@pytest.mark.parametrize('first', range(5))
def test_every_family_trains_where_a_process_has_no_objects(first, tmp_path):
    names = FAMILIES[first::5]
    run = ['-m', 'torch.distributed.run', '--nproc-per-node=2', f'--master-port={free_port()}']
    done = python(*run, ROOT / 'tests' / 'data' / 'two_processes.py', tmp_path, *names, timeout=550)
    results = dict(re.findall(r'RESULT (\w.* of process \d): (.*)', done.stdout))
    wanted = {f'{name} of process {rank}': '3 steps' for name in names for rank in range(2)}
    assert results == wanted, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='about processes without CUDA')
def test_parameters_without_gradient_are_named(tmp_path):
    cfg = without_validation(tiny_config(tmp_path / 'run', 'retinanet'))
    cfg.custom_imports = dict(imports=['spare_part'], allow_failed_imports=False)
    cfg.model.backbone.type = 'SpareResNet'
    cfg.dump(tmp_path / 'config.py')
    (tmp_path / 'spare_part.py').write_text(
        'from torch import nn\n'
        'from mmdetlike.models.backbones import ResNet\n'
        'from mmdetlike.registry import MODELS\n\n'
        '@MODELS.register_module()\n'
        'class SpareResNet(ResNet):\n'
        '    def __init__(self, **kwargs):\n'
        '        super().__init__(**kwargs)\n'
        '        self.spare = nn.Linear(2, 2)\n'
    )
    settings = process_settings(str(tmp_path), dict(PORT=free_port(), PYTHON=sys.executable))
    command = [str(ROOT / 'tools' / 'dist_train.sh'), str(tmp_path / 'config.py'), '2']
    done = subprocess.run(command, timeout=300, **settings)
    assert done.returncode != 0
    sentence = r'2 parameters of RetinaNet got no gradient, .*: backbone.spare.weight, backbone.spare.bias. Set find_un'
    assert re.search(sentence, done.stderr)
