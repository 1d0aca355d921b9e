"""What can't be translated from a Detectron2 config is refused by its key; names of parameters that differ."""

import copy
import math
import re

import pytest
import torch

from mmdetlike.compat.detectron2 import convert_state_dict, model_config, semantic_labels
from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from tests.models.reference_tools import FOLDER, load, module

ROTATED = load('d2__Rotated__faster_rcnn_R_50_FPN_rotated', FOLDER / 'foreign')
PANOPTIC = load('d2__COCO-PanopticSegmentation__panoptic_fpn_R_50_1x', FOLDER / 'foreign')
MASK = load('d2__COCO-InstanceSegmentation__mask_rcnn_R_50_FPN_1x', FOLDER / 'foreign')


def changed(path, value, recording=MASK):
    cfg = copy.deepcopy(recording['cfg'])
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
        ('MODEL.FPN.FUSE_TYPE', 'max', "MODEL.FPN.FUSE_TYPE is 'max', 'sum' or 'avg' is expected"),
        ('MODEL.ROI_BOX_HEAD.USE_FED_LOSS', True, 'USE_SIGMOID_CE is False with USE_FED_LOSS: expected True'),
        ('MODEL.ROI_HEADS.IOU_LABELS', [1, 0], 'MODEL.ROI_HEADS.IOU_LABELS is [1, 0]'),
        ('MODEL.ANCHOR_GENERATOR.SIZES', [[32], [64]], 'MODEL.ANCHOR_GENERATOR.SIZES has 2 lists'),
        ('MODEL.RPN.CONV_DIMS', [256, 128], 'MODEL.RPN.CONV_DIMS is [256, 128]'),
        ('INPUT.FORMAT', 'YUV', "INPUT.FORMAT is 'YUV': expected 'BGR' or 'RGB'"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_its_key(path, value, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        model_config(changed(path, value))


@pytest.mark.parametrize(
    ('path', 'value', 'message'),
    [
        ('MODEL.MASK_ON', False, 'MODEL.MASK_ON is False with PanopticFPN'),
        ('MODEL.SEM_SEG_HEAD.NORM', '', "MODEL.SEM_SEG_HEAD.NORM is ''"),
        ('MODEL.SEM_SEG_HEAD.NAME', 'DeepLabV3Head', "MODEL.SEM_SEG_HEAD.NAME is 'DeepLabV3Head'"),
        ('MODEL.SEM_SEG_HEAD.IN_FEATURES', ['p2', 'p4'], "MODEL.SEM_SEG_HEAD has IN_FEATURES ['p2', 'p4']"),
        ('MODEL.SEM_SEG_HEAD.COMMON_STRIDE', 8, 'COMMON_STRIDE 8, which have no counterpart'),
    ],
)
def test_segmentation_without_counterpart_is_refused_by_its_key(path, value, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        model_config(changed(path, value, PANOPTIC))


def test_pyramids_that_average():
    assert model_config(changed('MODEL.FPN.FUSE_TYPE', 'avg'))['neck']['fuse_type'] == 'avg'


def test_settings_of_panoptic_fpn_are_kept():
    built = model_config(changed('MODEL.PANOPTIC_FPN.INSTANCE_LOSS_WEIGHT', 0.25, PANOPTIC))
    box_head = built['roi_head']['bbox_head']
    assert [box_head['loss_cls']['loss_weight'], box_head['loss_bbox']['loss_weight']] == [0.25, 0.25]
    assert built['roi_head']['mask_head']['loss_mask']['loss_weight'] == 0.25
    assert built['semantic_head']['loss_seg']['loss_weight'] == 0.5
    assert built['test_cfg']['panoptic'] == dict(score_thr=0.5, mask_overlap=0.5, stuff_area_limit=4096)
    higher = model_config(changed('MODEL.SEM_SEG_HEAD.IN_FEATURES', ['p3', 'p4', 'p5'], PANOPTIC))
    assert (higher['semantic_head']['start_level'], higher['semantic_head']['end_level']) == (1, 4)


def test_semantic_labels_are_numbered_as_our_model_learns_them():
    theirs = torch.tensor([0, 1, 53, 255])
    assert semantic_labels(theirs, PANOPTIC['cfg']).tolist() == [0, 80, 132, 255]
    ignored = changed('MODEL.SEM_SEG_HEAD.IGNORE_VALUE', 53, PANOPTIC)
    assert semantic_labels(theirs[1:3], ignored).tolist() == [80, 255]
    alone = changed('MODEL.META_ARCHITECTURE', 'SemanticSegmentor', PANOPTIC)
    assert semantic_labels(theirs, alone).tolist() == [0, 1, 53, 255]


def test_things_are_the_last_class_of_stuff():
    state = module('fill_state').state(PANOPTIC['state'])
    model = MODELS.build(model_config(PANOPTIC['cfg']))
    model.load_state_dict(convert_state_dict(state, model), strict=True)
    theirs = state['sem_seg_head.predictor.weight']
    assert torch.equal(model.semantic_head.conv_logits.weight[-1], theirs[0])
    assert torch.equal(model.semantic_head.conv_logits.weight[0], theirs[1])
    # the second convolution of p4, after the first one's upsampling
    second = model.semantic_head.conv_upsample_layers[2].conv[1]
    assert torch.equal(second.gn.weight, state['sem_seg_head.p4.2.norm.weight'])


@pytest.mark.parametrize(
    ('path', 'value', 'message'),
    [
        ('MODEL.MASK_ON', True, 'MODEL.MASK_ON is True with RROIHeads: expected False'),
        ('MODEL.PROPOSAL_GENERATOR.NAME', 'RPN', "MODEL.PROPOSAL_GENERATOR.NAME is 'RPN' with RROIHeads"),
        ('MODEL.ROI_BOX_HEAD.POOLER_TYPE', 'ROIAlignV2', "POOLER_TYPE is 'ROIAlignV2' with RROIHeads"),
        ('MODEL.ANCHOR_GENERATOR.ANGLES', [[0], [90]], 'MODEL.ANCHOR_GENERATOR.ANGLES has 2 lists'),
        ('MODEL.ANCHOR_GENERATOR.NAME', 'GridAnchors', "MODEL.ANCHOR_GENERATOR.NAME is 'GridAnchors'"),
    ],
)
def test_rotated_parts_that_do_not_go_together_are_refused(path, value, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        model_config(changed(path, value, ROTATED))


def test_angles_turn_the_other_way_round():
    state = module('fill_state').state(ROTATED['state'])
    model = MODELS.build(model_config(ROTATED['cfg']))
    model.load_state_dict(convert_state_dict(state, model), strict=True)
    theirs = state['roi_heads.box_predictor.bbox_pred.bias'].view(-1, 5)
    ours = model.roi_head.bbox_head.fc_reg.bias.detach().view(-1, 5)
    assert torch.equal(ours[:, :4], theirs[:, :4])
    assert torch.equal(ours[:, 4], -theirs[:, 4])
    # theirs are -60, 0 and 60 degrees counter-clockwise
    angles = model.rpn_head.prior_generator.base_anchors[0][:3, 4]
    assert angles.tolist() == pytest.approx([math.pi / 3, 0, -math.pi / 3])


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


def test_masks_trained_at_predicted_boxes():
    cfg = changed('MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES', True)
    assert model_config(cfg)['train_cfg']['rcnn']['train_on_pred_boxes'] is True
    assert 'train_on_pred_boxes' not in model_config(MASK['cfg'])['train_cfg']['rcnn']
    cfg['MODEL']['ROI_HEADS']['NAME'] = 'Res5ROIHeads'
    with pytest.raises(ConfigError, match='TRAIN_ON_PRED_BOXES is True with Res5ROIHeads'):
        model_config(cfg)


def test_how_instances_and_stuff_are_combined():
    combine = dict(ENABLED=False, INSTANCES_CONFIDENCE_THRESH=0.3, OVERLAP_THRESH=0.4, STUFF_AREA_LIMIT=7)
    panoptic = model_config(changed('MODEL.PANOPTIC_FPN.COMBINE', combine, PANOPTIC))['test_cfg']['panoptic']
    assert panoptic == dict(enabled=False, score_thr=0.3, mask_overlap=0.4, stuff_area_limit=7)
    combine['ENABLED'] = True
    panoptic = model_config(changed('MODEL.PANOPTIC_FPN.COMBINE', combine, PANOPTIC))['test_cfg']['panoptic']
    assert 'enabled' not in panoptic


def test_several_convolutions_propose():
    head = model_config(changed('MODEL.RPN.CONV_DIMS', [-1, -1, -1]))['rpn_head']
    assert (head['num_convs'], head['feat_channels']) == (3, 256)
    head = model_config(changed('MODEL.RPN.CONV_DIMS', [64, 64]))['rpn_head']
    assert (head['num_convs'], head['feat_channels']) == (2, 64)


def test_levels_fused_by_their_mean():
    assert model_config(changed('MODEL.FPN.FUSE_TYPE', 'avg'))['neck']['fuse_type'] == 'avg'
    assert 'fuse_type' not in model_config(MASK['cfg'])['neck']


def test_classes_by_sigmoids_have_no_background():
    cfg = changed('MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE', True)
    model = MODELS.build(model_config(cfg))
    state = module('fill_state').state(MASK['state'])
    model.load_state_dict(convert_state_dict(state, model), strict=True)
    theirs = state['roi_heads.box_predictor.cls_score.weight']
    assert torch.equal(model.roi_head.bbox_head.fc_cls.weight, theirs[:-1]) and len(theirs) == 81
    probabilities = model.roi_head.bbox_head.probabilities(torch.zeros(1, 80))
    assert (probabilities[:, :80] == 0.5).all()


def test_keypoints_weighed_by_all_that_could_be_there():
    keypoints = load('d2__COCO-Keypoints__keypoint_rcnn_R_50_FPN_1x', FOLDER / 'foreign')
    cfg = changed('MODEL.ROI_KEYPOINT_HEAD.NORMALIZE_LOSS_BY_VISIBLE_KEYPOINTS', False, keypoints)
    head = model_config(cfg)['roi_head']['keypoint_head']
    heads = cfg['MODEL']['ROI_HEADS']
    assert head['loss_normalizer'] == 17 * heads['BATCH_SIZE_PER_IMAGE'] * heads['POSITIVE_FRACTION']
    assert 'loss_normalizer' not in model_config(keypoints['cfg'])['roi_head']['keypoint_head']
    cfg['MODEL']['ROI_KEYPOINT_HEAD']['CONV_DIMS'] = [512, 256]
    with pytest.raises(ConfigError, match='CONV_DIMS is \\[512, 256\\]'):
        model_config(cfg)
