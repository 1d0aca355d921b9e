"""Checkpoints: what is read, what is refused, and what is said."""

import collections
import io
import os
import pathlib
import subprocess
import sys
import urllib.request
from urllib.error import URLError

import mmengine
import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import _load_checkpoint
from torch import nn

from mmdetlike.utils.checkpoint import (
    CheckpointError,
    check_fit,
    fetch,
    find_latest_checkpoint,
    read_checkpoint,
    trust_checkpoints,
)
from tests.utils import tiny_config, train, without_validation


class Stranger:
    """A class that a checkpoint may not name."""


class Payload:
    """Unpickled, it runs a command that leaves a file."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


class GetattrPayload:
    """Unpickled, it asks for an attribute of a class that is allowed."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A finished run of one epoch: its folder and runner."""
    work_dir = tmp_path_factory.mktemp('run')
    runner, _ = train(without_validation(tiny_config(work_dir, train_cfg=dict(max_epochs=1))))
    return work_dir, runner


def save(tmp_path, **content) -> str:
    path = str(tmp_path / 'checkpoint.pth')
    torch.save(dict(state_dict=dict(weight=torch.ones(2)), **content), path)
    return path


def test_our_own_checkpoint_is_read_safely(run):
    work_dir, runner = run
    checkpoint = _load_checkpoint(str(work_dir / 'epoch_1.pth'))
    assert set(checkpoint) >= {'meta', 'state_dict', 'message_hub', 'optimizer'}
    weights = runner.model.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in checkpoint['state_dict'].items())
    history = checkpoint['message_hub']['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    assert history.mean(2) == pytest.approx(history.data[0][-2:].mean())
    assert history.statistics('current') == history.data[0][-1]


def test_mmengine_alone_does_not_read_it(run):
    """Otherwise there would be no need for our reader."""
    code = 'import sys; from mmengine.runner.checkpoint import _load_checkpoint as load; load(sys.argv[1])'
    done = subprocess.run(
        [sys.executable, '-c', code, str(run[0] / 'epoch_1.pth')], capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    assert 'weights_only' in done.stderr


@pytest.mark.parametrize(
    'intruder, name',
    [
        (Stranger(), 'Stranger'),
        (pathlib.PurePosixPath('/tmp'), 'pathlib.PurePosixPath'),
        (Payload('never'), 'system'),
        (GetattrPayload(), 'HistoryBuffer.__init__'),
        (subprocess.Popen, 'subprocess.Popen'),
    ],
)
def test_other_objects_are_refused_by_name(intruder, name, tmp_path):
    path = save(tmp_path, meta=dict(extra=intruder))
    with pytest.raises(CheckpointError, match=name) as caught:
        read_checkpoint(path)
    assert '--trust-checkpoint' in str(caught.value)
    assert path in str(caught.value)


def test_refused_code_does_not_run_and_trusted_code_does(tmp_path, monkeypatch):
    mark = tmp_path / 'mark'
    path = save(tmp_path, meta=Payload(mark))
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    with pytest.raises(CheckpointError), trust_checkpoints(False):
        read_checkpoint(path)
    assert not mark.exists()
    with trust_checkpoints():
        read_checkpoint(path)
    assert mark.exists()
    with pytest.raises(CheckpointError):  # trust ends with the block
        read_checkpoint(path)
    monkeypatch.setenv('MMDETLIKE_TRUST_CHECKPOINT', '1')
    assert read_checkpoint(path)['meta'] == 0  # the status of the command
    monkeypatch.setenv('MMDETLIKE_TRUST_CHECKPOINT', '0')
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


@pytest.mark.parametrize('trusted', [False, True])
@pytest.mark.parametrize('share', [0, 0.3, 0.9])
def test_truncated_file(share, trusted, run, tmp_path):
    whole = (run[0] / 'epoch_1.pth').read_bytes()
    path = tmp_path / 'epoch_1.pth'
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r'epoch_1\.pth is not a readable checkpoint'), trust_checkpoints(trusted):
        read_checkpoint(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nothing\.pth does not exist'):
        read_checkpoint(tmp_path / 'nothing.pth')


def test_check_fit_lists_keys():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    good = {f'module.{key}': value for key, value in model.state_dict().items() if 'tracked' not in key}
    assert check_fit(model, good, 'a.pth', strict=True) is None
    other = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(3), nn.Linear(3, 3)).state_dict()
    with pytest.raises(CheckpointError) as caught:
        check_fit(model, other, 'a.pth', strict=True)
    for part in ('a.pth does not fit Sequential', '0.weight (4, 2) for (3, 2)', '2 keys unknown (2.weight, 2.bias)'):
        assert part in str(caught.value)
    assert '0.weight (4, 2) for (3, 2)' in check_fit(model, other, 'a.pth', strict=False)
    with pytest.raises(CheckpointError, match='6 keys missing'):
        check_fit(model, dict(x=torch.ones(1)), 'a.pth', strict=False)


def test_load_from_another_model_is_refused(run, tmp_path):
    cfg = without_validation(tiny_config(tmp_path, load_from=str(tmp_path / 'other.pth')))
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r'keys missing \(backbone.*2 keys unknown \(weight, bias\)'):
        train(cfg)


def test_load_from_another_number_of_classes_warns_and_loads_the_rest(run, tmp_path, monkeypatch):
    work_dir, source = run
    cfg = without_validation(tiny_config(tmp_path, load_from=str(work_dir / 'epoch_1.pth')))
    cfg.model.roi_head.bbox_head.num_classes = 3
    cfg.custom_hooks = [dict(type='EarlyStoppingHook', monitor='loss')]
    from mmdetlike.engine import Runner

    runner = Runner.from_cfg(cfg)
    warnings = []
    monkeypatch.setattr(runner.logger, 'warning', warnings.append)
    runner._init_model_weights = lambda: None
    runner.load_or_resume()
    text = '\n'.join(map(str, warnings))
    assert 'roi_head.bbox_head.fc_cls.weight (6, 32) for (4, 32)' in text
    assert 'roi_head.bbox_head.fc_reg.weight (20, 32) for (12, 32)' in text
    theirs, ours = source.model.state_dict(), runner.model.state_dict()
    same = [key for key in ours if ours[key].shape == theirs[key].shape]
    assert len(same) == len(ours) - 4
    assert all(torch.equal(ours[key], theirs[key]) for key in same)


def test_resume_needs_the_state_of_a_run(run, tmp_path):
    weights = read_checkpoint(run[0] / 'epoch_1.pth')['state_dict']
    torch.save(dict(state_dict=weights), tmp_path / 'weights.pth')
    cfg = without_validation(tiny_config(tmp_path, load_from=str(tmp_path / 'weights.pth'), resume=True))
    with pytest.raises(CheckpointError, match="no 'meta': it holds weights but not the state of a run"):
        train(cfg)


def openmmlab_checkpoint(weights: dict, tmp_path) -> pathlib.Path:
    """Laid out as OpenMMLab's toolboxes of generation 3 write it, beside a numpy 1."""
    history = HistoryBuffer([1.5, 0.5], [1, 1])
    content = dict(
        meta=dict(
            epoch=12,
            iter=100,
            cfg='model = dict()',
            seed=np.int64(3),
            experiment_name='x',
            time='20220101_000000',
            mmengine_version='0.3.0',
            dataset_meta=dict(CLASSES=('a', 'b'), PALETTE=[(1, 2, 3)]),
            hook_msgs=dict(best_score=np.float64(0.5), last_ckpt=None),
        ),
        state_dict=collections.OrderedDict(weights),
        message_hub=dict(
            log_scalars={'train/loss': history},
            runtime_info=dict(eta=np.float64(2.0), iter=99, flag=np.bool_(True), order=np.arange(3)),
            resumed_keys={'train/loss': True},
        ),
        optimizer=dict(state={}, param_groups=[]),
        param_schedulers=[dict(milestones=collections.Counter([8, 11]), last_step=3)],
    )
    path = tmp_path / 'openmmlab.pth'
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.write_bytes(buffer.getvalue())
    return path


def test_checkpoint_of_openmmlab_loads(run, tmp_path, monkeypatch):
    weights = run[1].model.state_dict()
    # numpy 1 called its core numpy.core; the same number of bytes, so that the file stays a valid archive
    path = openmmlab_checkpoint(weights, tmp_path)
    checkpoint = read_checkpoint(path)
    assert checkpoint['meta']['hook_msgs']['best_score'] == 0.5
    assert checkpoint['message_hub']['log_scalars']['train/loss'].mean() == 1.0
    assert checkpoint['message_hub']['runtime_info']['order'].tolist() == [0, 1, 2]
    assert check_fit(run[1].model, checkpoint['state_dict'], 'x', strict=True) is None


def test_names_of_numpy_1_are_known(tmp_path):
    """``numpy.core.multiarray.scalar`` in a pickle, as numpy 1 wrote it."""
    path = tmp_path / 'old.pth'
    torch.save(dict(a=np.float64(0.25), b=np.arange(3)), path)
    import zipfile

    old = tmp_path / 'older.pth'
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(old, 'w', zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith('data.pkl'):
                assert b'numpy._core.multiarray' in data or b'numpy.core.multiarray' in data
                data = data.replace(b'numpy._core.multiarray', b'numpy.core.multiarray')
            target.writestr(name, data)
    content = read_checkpoint(old)
    assert content['a'] == 0.25
    assert content['b'].tolist() == [0, 1, 2]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and no network."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))

    def offline(request, **_):
        raise URLError('Temporary failure in name resolution')

    monkeypatch.setattr(urllib.request, 'urlopen', offline)
    return tmp_path / 'hub' / 'checkpoints'


@pytest.mark.parametrize(
    'name, file',
    [
        ('torchvision://resnet50', 'resnet50-0676ba61.pth'),
        ('open-mmlab://detectron2/resnet50_caffe', 'resnet50_msra-5891d200.pth'),
        ('https://example.org/models/a.pth?token=1', 'a.pth'),
    ],
)
def test_offline_says_where_to_put_the_file(name, file, cache):
    with pytest.raises(CheckpointError, match='could not download https://') as caught:
        _load_checkpoint(name)
    message = str(caught.value)
    assert 'Offline? Put the file at' in message
    assert str(cache / file) in message
    assert 'init_cfg=None' in message


@pytest.mark.parametrize('name', ['torchvision://resnet5O', 'open-mmlab://nothing'])
def test_unknown_name_of_a_zoo(name, cache):
    with pytest.raises(CheckpointError, match=r"has no '(resnet5O|nothing)'"):
        _load_checkpoint(name)


def test_cached_file_is_used(cache):
    cache.mkdir(parents=True)
    torch.save(dict(conv1=torch.full((2,), 7.0)), cache / 'resnet50-0676ba61.pth')
    assert _load_checkpoint('torchvision://resnet50')['conv1'].tolist() == [7, 7]
    torch.save(dict(conv1=torch.zeros(1)), cache / 'a.pth')
    assert fetch('https://example.org/a.pth')['conv1'].tolist() == [0]


def test_find_latest_checkpoint(run, tmp_path):
    whole = (run[0] / 'epoch_1.pth').read_bytes()
    assert find_latest_checkpoint(tmp_path) is None
    for i, name in enumerate(['epoch_1', 'epoch_2', 'best_coco_epoch_1', 'epoch_3']):
        (tmp_path / f'{name}.pth').write_bytes(whole if name != 'epoch_3' else whole[:1000])
        os.utime(tmp_path / f'{name}.pth', (i, i))
    last = tmp_path / 'last_checkpoint'
    two = str(tmp_path / 'epoch_2.pth')
    assert find_latest_checkpoint(tmp_path) == two  # 3 is half-written
    last.write_text('')
    assert find_latest_checkpoint(tmp_path) == two
    last.write_text(str(tmp_path / 'epoch_3.pth'))
    assert find_latest_checkpoint(tmp_path) == two
    last.write_text('/another/place/epoch_1.pth')  # the folder has been moved
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.pth')
    last.write_text(str(run[0] / 'epoch_1.pth'))  # ... or copied: go on from the copy
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.pth')


def test_mmengine_ships_the_tables():
    assert (pathlib.Path(mmengine.__file__).parent / 'hub' / 'torchvision_0.12.json').is_file()
