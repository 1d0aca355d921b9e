"""What can't be translated from a Detectron2 config is refused by its key; names of parameters that differ."""

import copy
import re

import pytest
import torch

from mmdetlike.compat.detectron2 import convert_state_dict, model_config
from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from tests.models.reference_tools import FOLDER, load, module

MASK = load('d2__COCO-InstanceSegmentation__mask_rcnn_R_50_FPN_1x', FOLDER / 'foreign')


def changed(path, value):
    cfg = copy.deepcopy(MASK['cfg'])
    *parents, key = path.split('.')
    settings = cfg
    for parent in parents:
        settings = settings[parent]
    settings[key] = value
    return cfg


@pytest.mark.parametrize(
    ('path', 'value', 'message'),
    [
        ('MODEL.META_ARCHITECTURE', 'DensePose', "MODEL.META_ARCHITECTURE is 'DensePose': expected one of"),
        ('MODEL.BACKBONE.NAME', 'build_mvit', "MODEL.BACKBONE.NAME is 'build_mvit': expected one of"),
        ('MODEL.RESNETS.NORM', 'LN', "MODEL.RESNETS.NORM is 'LN', which has no counterpart here: expected one of"),
        ('MODEL.FPN.FUSE_TYPE', 'avg', "MODEL.FPN.FUSE_TYPE is 'avg'"),
        ('MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE', True, 'MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE'),
        ('MODEL.ROI_HEADS.IOU_LABELS', [1, 0], 'MODEL.ROI_HEADS.IOU_LABELS is [1, 0]'),
        ('MODEL.ANCHOR_GENERATOR.SIZES', [[32], [64]], 'MODEL.ANCHOR_GENERATOR.SIZES has 2 lists'),
        ('INPUT.FORMAT', 'YUV', "INPUT.FORMAT is 'YUV': expected 'BGR' or 'RGB'"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_its_key(path, value, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        model_config(changed(path, value))


def test_missing_key_is_named():
    cfg = copy.deepcopy(MASK['cfg'])
    del cfg['MODEL']['RPN']
    with pytest.raises(ConfigError, match="no key 'RPN'"):
        model_config(cfg)


@pytest.mark.parametrize('depth', [18, 34, 50])
def test_values_go_to_the_layers_of_the_same_place(depth):
    cfg = changed('MODEL.RESNETS.DEPTH', depth)
    cfg['MODEL']['RESNETS']['RES2_OUT_CHANNELS'] = 64 if depth < 50 else 256
    built = model_config(cfg)
    assert built['neck']['in_channels'][0] == cfg['MODEL']['RESNETS']['RES2_OUT_CHANNELS']


def test_state_dict_loads_strictly_and_keeps_values():
    state = module('fill_state').state(MASK['state'])
    model = MODELS.build(model_config(MASK['cfg']))
    converted = convert_state_dict({**state, 'pixel_mean': torch.zeros(3, 1, 1)}, model)
    model.load_state_dict(converted, strict=True)
    theirs = state['backbone.bottom_up.res3.0.shortcut.norm.running_var']
    assert torch.equal(model.backbone.layer2[0].downsample[1].running_var, theirs)
    assert torch.equal(model.neck.fpn_convs[2].conv.bias, state['backbone.fpn_output4.bias'])
    assert torch.equal(model.roi_head.mask_head.upsample.weight, state['roi_heads.mask_head.deconv.weight'])
