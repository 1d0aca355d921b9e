"""Configs and checkpoints of other toolboxes where a command line or the inferencer takes ours."""

import pytest
import torch
from mmengine.config import Config

from mmdetlike.apis import DetInferencer
from mmdetlike.cli.foreign import checkpoint_file, config_file

RETINANET = """
MODEL:
  META_ARCHITECTURE: "RetinaNet"
  BACKBONE: {NAME: "build_retinanet_resnet_fpn_backbone"}
  RESNETS: {DEPTH: 18, RES2_OUT_CHANNELS: 64, OUT_FEATURES: ["res3", "res4", "res5"]}
  FPN: {IN_FEATURES: ["res3", "res4", "res5"], OUT_CHANNELS: 16}
  RETINANET: {NUM_CONVS: 1}
"""


@pytest.fixture
def yaml(tmp_path):
    path = tmp_path / 'retina.yaml'
    path.write_text(RETINANET)
    return path


@pytest.mark.filterwarnings('ignore:not translated')
def test_a_yaml_file_stands_for_a_config_of_ours(yaml):
    path = config_file(yaml)
    assert path.name == 'retina.py'
    cfg = Config.fromfile(path)
    assert cfg.model.type == 'RetinaNet'
    assert cfg.val_evaluator.ann_file == 'data/coco/annotations/instances_val2017.json'
    assert config_file('torchvision://fcos_resnet50_fpn?score_thresh=0.3').name == 'fcos_resnet50_fpn.py'


def test_configs_and_checkpoints_of_ours_stay(tmp_path):
    assert config_file('faster-rcnn_r50_fpn_1x_coco').name == 'faster-rcnn_r50_fpn_1x_coco.py'
    assert checkpoint_file('x.pth', 'faster-rcnn_r50_fpn_1x_coco') == 'x.pth'
    with pytest.raises(FileNotFoundError, match=r'nowhere\.yaml does not exist'):
        config_file(tmp_path / 'nowhere.yaml')


@pytest.mark.filterwarnings('ignore:not translated')
def test_the_inferencer_takes_a_yaml_file_and_its_own_checkpoint_stays(yaml, tmp_path):
    with pytest.warns(UserWarning, match='no weights were given'):
        inferencer = DetInferencer(str(yaml), device='cpu')
    assert type(inferencer.model).__name__ == 'RetinaNet'
    ours = tmp_path / 'ours.pth'
    torch.save(dict(state_dict=inferencer.model.state_dict(), meta={}), ours)
    assert checkpoint_file(str(ours), yaml) == str(ours)
