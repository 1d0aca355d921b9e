"""Weights of other toolboxes in the hands of a config of ours: what they are and what converts them is told."""

import argparse
import pickle

import numpy as np
import pytest
import torch

from mmdetlike.apis import DetInferencer, init_detector
from mmdetlike.cli.test import main as evaluate
from mmdetlike.cli.train import main as train
from mmdetlike.errors import CheckpointError
from mmdetlike.utils.checkpoint import read_checkpoint

OURS = 'faster-rcnn_r50_fpn_1x_coco'
NAMES = {
    'Detectron2': ('backbone.bottom_up.res2.0.conv1.weight', 'mmdetlike convert-model CONFIG.yaml OUT.py'),
    'torchvision': ('backbone.body.layer1.0.conv1.weight', 'mmdetlike convert-model torchvision://FUNCTION OUT.py'),
    'transformers': ('model.backbone.conv_encoder.weight', 'python tools/model_converters/huggingface.py FOLDER'),
}
NO_PICKLE_OF_TORCH = (
    r'model_final\.pkl is a pickle that torch\.save did not write\. If it is of Detectron2: give its YAML file or '
    r'detectron2://NAME as the config, or convert it by "mmdetlike convert-model CONFIG\.yaml OUT\.py .*final\.pkl"\.$'
)


def written_pickle(folder, protocol=pickle.DEFAULT_PROTOCOL) -> str:
    path = folder / 'model_final.pkl'
    weights = {'backbone.bottom_up.stem.conv1.weight': np.zeros((2, 3), np.float32)}
    path.write_bytes(pickle.dumps(dict(model=weights), protocol))
    return str(path)


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_a_pickle_of_detectron2_is_told_from_a_damaged_checkpoint(tmp_path, protocol, recwarn):
    path = written_pickle(tmp_path, protocol)
    with pytest.raises(CheckpointError, match=NO_PICKLE_OF_TORCH):
        read_checkpoint(path)
    assert not recwarn  # torch's unpickler would warn of the protocol


def test_the_older_format_of_torch_is_read(tmp_path):
    path = tmp_path / 'old.pth'
    state = dict(weight=torch.arange(3.0))
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert torch.equal(read_checkpoint(path)['weight'], state['weight'])


def test_every_way_to_hand_over_a_pickle_tells_so(tmp_path):
    path = written_pickle(tmp_path)
    with pytest.raises(CheckpointError, match=NO_PICKLE_OF_TORCH):
        init_detector(OURS, path, device='cpu')
    with pytest.raises(CheckpointError, match=NO_PICKLE_OF_TORCH):
        DetInferencer(OURS, path, device='cpu')
    work_dir = ['--work-dir', str(tmp_path / 'work')]
    with pytest.raises(CheckpointError, match=NO_PICKLE_OF_TORCH):
        evaluate([OURS, path, *work_dir])
    with pytest.raises(CheckpointError, match=NO_PICKLE_OF_TORCH):
        train([OURS, *work_dir, '--cfg-options', f'load_from={path}'])


@pytest.mark.parametrize('toolbox', NAMES)
@pytest.mark.parametrize('nested', [False, True])
def test_names_of_another_toolbox_are_told(tmp_path, toolbox, nested):
    path = tmp_path / 'theirs.pth'
    name, command = NAMES[toolbox]
    state = {name: torch.zeros(2, 3)}
    torch.save(dict(model=state, iteration=7) if nested else state, path)
    with pytest.raises(CheckpointError) as caught:
        init_detector(OURS, path, device='cpu')
    assert str(caught.value).startswith(f'{path} has parameters of {toolbox}, as {name}: ')
    assert command in str(caught.value)


def test_another_model_of_ours_is_not_taken_for_a_foreign_one(tmp_path):
    path = tmp_path / 'yolox.pth'
    torch.save(dict(state_dict={'backbone.stem.conv.conv.weight': torch.zeros(2, 3)}), path)
    with pytest.raises(CheckpointError, match='It was made by another model or config'):
        init_detector(OURS, path, device='cpu')


def test_an_address_of_the_zoo_needs_the_config_of_the_zoo():
    address = 'detectron2://COCO-Detection/faster_rcnn_R_50_FPN_1x/137257794/model_final_b275ba.pkl'
    with pytest.raises(CheckpointError, match=rf'{address} is of Detectron2: give .* as the config.*convert-model'):
        init_detector(OURS, address, device='cpu')


def test_the_command_line_that_torchvisions_script_stores_is_read(tmp_path):
    path = tmp_path / 'model_25.pth'
    torch.save(dict(model={'weight': torch.ones(2)}, args=argparse.Namespace(lr=0.02, device='cuda')), path)
    assert read_checkpoint(path)['args'].lr == 0.02
