"""Configs of other toolboxes where a config of ours may stand."""

import pytest
import torch
from mmengine.config import Config

from mmdetlike.apis import DetInferencer
from mmdetlike.apis.foreign import foreign_detector, translated_checkpoint, translated_config
from mmdetlike.cli.config import main as print_config
from mmdetlike.cli.foreign import checkpoint_file, config_file
from mmdetlike.registry import MODELS
from tests.apis.helpers import CONFIG, picture

NAME = 'torchvision://retinanet_resnet50_fpn?num_classes=4'


def test_the_inferencer_takes_a_name_of_torchvision():
    with pytest.warns(UserWarning, match='no weights were given'):
        inferencer = DetInferencer(NAME, show_progress=False, device='cpu')
    assert inferencer.model.bbox_head.num_classes == 3  # torchvision counts the background
    (found,) = inferencer(picture(1, 90, 120))['predictions']
    assert {'bboxes', 'scores', 'labels'} <= set(found)


def test_a_translation_is_a_config_file_of_ours(capsys):
    path = translated_config(NAME)
    assert path.name == 'retinanet_resnet50_fpn.py'
    assert Config.fromfile(path).model == foreign_detector(NAME).config.model
    assert config_file(NAME) == path
    assert translated_config(CONFIG) is None
    print_config([NAME])
    assert "type='RetinaNet'" in capsys.readouterr().out


def test_checkpoints_get_our_names(tmp_path):
    ours = MODELS.build(foreign_detector(NAME).config.model).state_dict()
    torch.save(dict(state_dict=ours, meta={}), tmp_path / 'ours.pth')
    # of a config of ours there is nothing to translate
    assert checkpoint_file(str(tmp_path / 'ours.pth'), CONFIG) == str(tmp_path / 'ours.pth')
    assert checkpoint_file(None, NAME) is None
    assert translated_checkpoint(tmp_path / 'ours.pth', CONFIG) == str(tmp_path / 'ours.pth')
