"""Detectron2's TridentNet: its YAML file and a state dict, which has the names of a C4 detector."""

import re

import pytest
import torch

from mmdetlike.compat.detectron2 import convert_state_dict, model_config, read_config
from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample
from tests.models.reference_tools import FOLDER, load, module

TRIDENT = """
MODEL:
  META_ARCHITECTURE: "GeneralizedRCNN"
  BACKBONE: {NAME: "build_trident_resnet_backbone"}
  ROI_HEADS:
    NAME: "TridentRes5ROIHeads"
    POSITIVE_FRACTION: 0.5
    BATCH_SIZE_PER_IMAGE: 128
    PROPOSAL_APPEND_GT: False
  PROPOSAL_GENERATOR: {NAME: "TridentRPN"}
  RPN: {POST_NMS_TOPK_TRAIN: 500}
  TRIDENT: {NUM_BRANCH: 3, BRANCH_DILATIONS: [1, 2, 3], TEST_BRANCH_IDX: 1, TRIDENT_STAGE: "res4"}
"""


@pytest.fixture
def cfg(tmp_path):
    path = tmp_path / 'config.yaml'
    path.write_text(TRIDENT)
    return read_config(path)


def test_weights_of_a_c4_detector_are_those_of_each_branch(cfg):
    built = model_config(cfg)
    assert built['backbone']['trident_dilations'] == [1, 2, 3]
    assert built['train_cfg']['rcnn']['sampler']['add_gt_as_proposals'] is False
    state = module('fill_state').state(load('d2__COCO-Detection__faster_rcnn_R_50_C4_1x', FOLDER / 'foreign')['state'])
    model = MODELS.build(built)
    model.load_state_dict(convert_state_dict(state, model), strict=True)
    assert type(model).__name__ == 'TridentFasterRCNN'
    theirs = state['backbone.res4.1.conv2.weight']
    assert torch.equal(model.backbone.layer3[1].conv2.weight, theirs)
    sample = DetDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1.0, 1.0)))
    data = model.eval().data_preprocessor(dict(inputs=[torch.zeros(3, 64, 64)], data_samples=[sample]), False)
    with torch.no_grad():
        (found,) = model(**data, mode='predict')
    assert len(found.pred_instances.scores) <= 100


@pytest.mark.parametrize(
    ('part', 'key', 'value', 'message'),
    [
        ('TRIDENT', 'TRIDENT_STAGE', 'res3', "MODEL.TRIDENT.TRIDENT_STAGE is 'res3' with OUT_FEATURES ['res4']"),
        ('ROI_HEADS', 'NAME', 'Res5ROIHeads', 'expected TridentRPN with TridentRes5ROIHeads, or neither'),
        ('PROPOSAL_GENERATOR', 'NAME', 'RPN', 'expected TridentRPN with TridentRes5ROIHeads, or neither'),
    ],
)
def test_parts_that_do_not_go_together_are_refused(cfg, part, key, value, message):
    cfg['MODEL'][part][key] = value
    with pytest.raises(ConfigError, match=re.escape(message)):
        model_config(cfg)
