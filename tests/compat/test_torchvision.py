"""Arguments of torchvision's functions, and the order of its classes."""

import re

import pytest
import torch

from mmdetlike import model_zoo
from mmdetlike.compat.torchvision import convert_state_dict, model_config
from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from mmdetlike.utils.published import find_published
from tests.models.reference_tools import FOLDER, load, module


def test_unknown_function_and_argument_are_refused_by_name():
    with pytest.raises(ConfigError, match='fasterrcnn_resnet152 has no counterpart here: expected fasterrcnn_resnet50'):
        model_config('fasterrcnn_resnet152')
    with pytest.raises(ConfigError, match=re.escape('has no argument box_nms_tresh here')):
        model_config('fasterrcnn_resnet50_fpn', box_nms_tresh=0.3)
    with pytest.raises(ConfigError, match='trainable_backbone_layers must be 0 to 5, got 7'):
        model_config('fasterrcnn_resnet50_fpn', trainable_backbone_layers=7)


@pytest.mark.parametrize(
    ('name', 'arguments', 'norm', 'frozen_stages'),
    [
        ('fasterrcnn_resnet50_fpn', {}, dict(type='BN'), -1),
        ('fasterrcnn_resnet50_fpn', dict(weights='COCO_V1'), dict(type='FrozenBN', eps=0.0), 1),
        ('fasterrcnn_resnet50_fpn', dict(weights_backbone='IMAGENET1K_V1'), dict(type='FrozenBN'), 1),
        ('fasterrcnn_resnet50_fpn_v2', dict(weights='COCO_V1'), dict(type='BN'), 1),
        ('fasterrcnn_resnet50_fpn', dict(weights='COCO_V1', trainable_backbone_layers=0), None, 4),
    ],
)
def test_weights_to_start_from_decide_what_is_frozen(name, arguments, norm, frozen_stages):
    backbone = model_config(name, **arguments)['backbone']
    assert backbone['frozen_stages'] == frozen_stages
    if norm is not None:
        assert backbone['norm_cfg'] == norm


def test_arguments_reach_their_settings():
    built = model_config('keypointrcnn_resnet50_fpn', num_keypoints=4, box_score_thresh=0.3, rpn_nms_thresh=0.6)
    assert built['roi_head']['keypoint_head']['num_keypoints'] == 4
    assert built['roi_head']['bbox_head']['num_classes'] == 1
    assert built['test_cfg']['rcnn']['score_thr'] == 0.3
    assert built['test_cfg']['rpn']['nms']['iou_threshold'] == 0.6


def test_background_is_moved_from_the_first_to_the_last_class():
    recording = load('tv__maskrcnn_resnet50_fpn', FOLDER / 'foreign')
    state = module('fill_state').state(recording['state'])
    model = MODELS.build(model_config('maskrcnn_resnet50_fpn'))
    converted = convert_state_dict(state, model)
    model.load_state_dict(converted, strict=True)
    theirs = state['roi_heads.box_predictor.cls_score.weight']
    ours = model.roi_head.bbox_head.fc_cls.weight
    assert torch.equal(ours[-1], theirs[0])
    assert torch.equal(ours[:-1], theirs[1:])
    masks = state['roi_heads.mask_predictor.mask_fcn_logits.weight']
    assert torch.equal(model.roi_head.mask_head.conv_logits.weight, masks[1:])


def test_published_weights_are_found_by_the_function():
    name = 'keypointrcnn_resnet50_fpn'
    assert find_published(f'torchvision://{name}').url.endswith(f'{name}_coco-fc266e95.pth')
    assert find_published(f'torchvision://{name}?weights=COCO_LEGACY').url.endswith(f'{name}_coco-9f466800.pth')
    config = model_zoo.get_config('fcos_resnet50_fpn.COCO_V1', trained=True)
    assert config.load_from.endswith('fcos_resnet50_fpn_coco-99b0c9b7.pth')
    assert config.model.backbone.norm_cfg == dict(type='FrozenBN', eps=0.0)
