"""The plain training loop learns."""

import importlib.util
from pathlib import Path

import pytest
import torch

PATH = Path(__file__).parents[2] / 'tools/misc/plain_train_loop.py'


@pytest.mark.slow
def test_a_plain_loop_learns(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location('plain_train_loop', PATH)
    loop = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loop)
    small = {'train_dataloader.dataset.indices': 4, 'train_dataloader.batch_size': 2}
    small['train_dataloader.num_workers'] = 0
    small['train_dataloader.persistent_workers'] = False
    config = str(PATH.parents[2] / 'configs/quickstart/retinanet_r18_fpn_shapes.py')
    losses = loop.train(config, 12, str(tmp_path / 'weights.pth'), small)
    assert len(losses) == 12 and sum(losses[-3:]) < sum(losses[:3])
    assert '12/12: loss' in capsys.readouterr().out
    assert 'backbone.conv1.weight' in torch.load(tmp_path / 'weights.pth')['state_dict']
