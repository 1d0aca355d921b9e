"""The region proposal network and RetinaNet's head of a Detectron2 config."""

from collections.abc import Mapping

from mmdetlike.errors import ConfigError

from .anchors import anchor_generator
from .backbone import feature_channels
from .common import assigner, box_loss, choose, coder, is_iou_loss, is_rotated, norm_config, sampler, suppression


def rpn_head(model: Mapping) -> dict:
    """The head that proposes regions."""
    rpn = model['RPN']
    choose(rpn['HEAD_NAME'], {'StandardRPNHead': None}, 'MODEL.RPN.HEAD_NAME')
    features = rpn['IN_FEATURES']
    channels = feature_channels(model, features[0])
    widths = [channels if width == -1 else width for width in rpn['CONV_DIMS']]
    if len(set(widths)) != 1:
        raise ConfigError(
            f'MODEL.RPN.CONV_DIMS is {list(rpn["CONV_DIMS"])}, which has no counterpart here: expected convolutions of '
            'one width, of which -1 stands for that of the feature maps'
        )
    kind = rpn['BBOX_REG_LOSS_TYPE']
    # theirs weighs boxes by both factors
    weight = rpn['LOSS_WEIGHT'] * rpn['BBOX_REG_LOSS_WEIGHT']
    return dict(
        type='RPNHead',
        in_channels=channels,
        num_convs=len(widths),
        feat_channels=widths[0],
        anchor_generator=anchor_generator(model, features),
        bbox_coder=coder(rpn['BBOX_REG_WEIGHTS']),
        reg_decoded_bbox=is_iou_loss(kind),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=rpn['LOSS_WEIGHT']),
        loss_bbox=box_loss(kind, rpn['SMOOTH_L1_BETA'], weight, 'MODEL.RPN.BBOX_REG_LOSS_TYPE'),
    )


def rpn_training(model: Mapping) -> dict:
    """``train_cfg.rpn``."""
    rpn = model['RPN']
    return dict(
        assigner=assigner(
            rpn['IOU_THRESHOLDS'], rpn['IOU_LABELS'], low_quality=True, key='MODEL.RPN', rotated=is_rotated(model)
        ),
        sampler=sampler(rpn['BATCH_SIZE_PER_IMAGE'], rpn['POSITIVE_FRACTION'], add_gt=False),
        allowed_border=rpn['BOUNDARY_THRESH'],
        pos_weight=-1,
        debug=False,
    )


def proposing(model: Mapping, phase: str) -> dict:
    """``train_cfg.rpn_proposal`` or ``test_cfg.rpn``, by ``phase``: ``'TRAIN'`` or ``'TEST'``."""
    rpn = model['RPN']
    return dict(
        nms_pre=rpn[f'PRE_NMS_TOPK_{phase}'],
        max_per_img=rpn[f'POST_NMS_TOPK_{phase}'],
        nms=suppression(model, rpn['NMS_THRESH']),
        min_bbox_size=model['PROPOSAL_GENERATOR']['MIN_SIZE'],
    )


def retina_head(model: Mapping) -> dict:
    """RetinaNet's head."""
    retina = model['RETINANET']
    kind = retina['BBOX_REG_LOSS_TYPE']
    channels = feature_channels(model, retina['IN_FEATURES'][0])
    return dict(
        type='RetinaHead',
        num_classes=retina['NUM_CLASSES'],
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=retina['NUM_CONVS'],
        norm_cfg=norm_config(retina['NORM'], 'MODEL.RETINANET.NORM'),
        anchor_generator=anchor_generator(model, retina['IN_FEATURES']),
        # boxes are suppressed whole and cut to the image last
        bbox_coder=dict(coder(retina['BBOX_REG_WEIGHTS']), clip_border=False),
        reg_decoded_bbox=is_iou_loss(kind),
        loss_cls=dict(
            type='FocalLoss',
            use_sigmoid=True,
            alpha=retina['FOCAL_LOSS_ALPHA'],
            gamma=retina['FOCAL_LOSS_GAMMA'],
            loss_weight=1.0,
        ),
        loss_bbox=box_loss(kind, retina['SMOOTH_L1_LOSS_BETA'], 1.0, 'MODEL.RETINANET.BBOX_REG_LOSS_TYPE'),
    )


def retina_training(model: Mapping) -> dict:
    """``train_cfg`` of RetinaNet."""
    retina = model['RETINANET']
    return dict(
        assigner=assigner(retina['IOU_THRESHOLDS'], retina['IOU_LABELS'], low_quality=True, key='MODEL.RETINANET'),
        sampler=dict(type='PseudoSampler'),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    )


def retina_testing(cfg: Mapping) -> dict:
    """``test_cfg`` of RetinaNet."""
    retina = cfg['MODEL']['RETINANET']
    return dict(
        nms_pre=retina['TOPK_CANDIDATES_TEST'],
        min_bbox_size=-1,
        score_thr=retina['SCORE_THRESH_TEST'],
        nms=dict(type='nms', iou_threshold=retina['NMS_THRESH_TEST']),
        max_per_img=cfg['TEST']['DETECTIONS_PER_IMAGE'],
        clip_kept=True,
        # theirs suppresses by a stable sort
        ties='given',
    )
