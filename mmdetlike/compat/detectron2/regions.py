"""Region heads of a Detectron2 config: boxes, masks, keypoints."""

from collections.abc import Mapping, Sequence

from mmdetlike.errors import ConfigError

from .backbone import backbone_channels, feature_channels, trident_branches
from .common import (
    assigner,
    box_loss,
    choose,
    coder,
    feature_stride,
    is_iou_loss,
    is_rotated,
    norm_config,
    sampler,
    suppression,
)
from .data import named_datasets

# the first version pools without the shift of half a pixel
POOLERS = {
    'ROIAlignV2': dict(type='RoIAlign', aligned=True),
    'ROIAlign': dict(type='RoIAlign', aligned=False),
    'ROIAlignRotated': dict(type='RoIAlignRotated', aligned=True, clockwise=True),
}
TRIDENT = 'TridentRes5ROIHeads'
C4_HEADS = ('Res5ROIHeads', TRIDENT)
HEADS = ('StandardROIHeads', *C4_HEADS, 'CascadeROIHeads', 'RROIHeads')


def roi_head(cfg: Mapping) -> dict:
    """The region head with all its branches.

    Raises:
        ConfigError: It is one that has no counterpart here.
    """
    model = cfg['MODEL']
    name = model['ROI_HEADS']['NAME']
    if name not in HEADS:
        raise ConfigError(f'MODEL.ROI_HEADS.NAME is {name!r}: expected one of {", ".join(HEADS)}')
    if model['ROI_BOX_HEAD']['TRAIN_ON_PRED_BOXES'] and name != 'StandardROIHeads':
        raise ConfigError(
            f'MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES is True with {name}: expected StandardROIHeads, or False'
        )
    if name == TRIDENT:
        return dict(_c4_head(cfg), type='TridentRoIHead', **trident_branches(model))
    if name in C4_HEADS:
        return _c4_head(cfg)
    if name == 'RROIHeads':
        _check_rotated(model)
    head = dict(
        type='StandardRoIHead',
        bbox_roi_extractor=_extractor(model, model['ROI_BOX_HEAD']),
        bbox_head=_box_head(cfg, model['ROI_BOX_HEAD']['BBOX_REG_WEIGHTS']),
    )
    if name == 'CascadeROIHeads':
        head.update(_cascade(cfg))
    head.update(_mask_parts(model))
    head.update(_keypoint_parts(model))
    return head


def _check_rotated(model: Mapping) -> None:
    """Rotated regions have boxes alone, and all parts must be for rotated ones."""
    expected = {
        'MODEL.PROPOSAL_GENERATOR.NAME': (model['PROPOSAL_GENERATOR']['NAME'], 'RRPN'),
        'MODEL.ROI_BOX_HEAD.POOLER_TYPE': (model['ROI_BOX_HEAD']['POOLER_TYPE'], 'ROIAlignRotated'),
        'MODEL.MASK_ON': (model['MASK_ON'], False),
        'MODEL.KEYPOINT_ON': (model['KEYPOINT_ON'], False),
    }
    for key, (value, wanted) in expected.items():
        if value != wanted:
            raise ConfigError(f'{key} is {value!r} with RROIHeads: expected {wanted!r}')


def _extractor(model: Mapping, branch: Mapping) -> dict:
    """Pooling of the regions of a branch."""
    features = model['ROI_HEADS']['IN_FEATURES']
    return dict(
        type='SingleRoIExtractor',
        roi_layer=dict(
            **choose(branch['POOLER_TYPE'], POOLERS, 'POOLER_TYPE'),
            output_size=branch['POOLER_RESOLUTION'],
            sampling_ratio=branch['POOLER_SAMPLING_RATIO'],
        ),
        out_channels=feature_channels(model, features[0]),
        featmap_strides=[feature_stride(feature, model['RESNETS']) for feature in features],
    )


def _box_head(cfg: Mapping, weights: Sequence[float]) -> dict:
    """Convolutions, linear layers and predictors of boxes."""
    model = cfg['MODEL']
    settings = model['ROI_BOX_HEAD']
    choose(settings['NAME'], {'FastRCNNConvFCHead': None}, 'MODEL.ROI_BOX_HEAD.NAME')
    return dict(
        type='ConvFCBBoxHead',
        num_shared_convs=settings['NUM_CONV'],
        num_shared_fcs=settings['NUM_FC'],
        conv_out_channels=settings['CONV_DIM'],
        fc_out_channels=settings['FC_DIM'],
        norm_cfg=norm_config(settings['NORM'], 'MODEL.ROI_BOX_HEAD.NORM'),
        in_channels=feature_channels(model, model['ROI_HEADS']['IN_FEATURES'][0]),
        roi_feat_size=settings['POOLER_RESOLUTION'],
        **_predictor(cfg, weights),
    )


def _predictor(cfg: Mapping, weights: Sequence[float]) -> dict:
    """What every box head says of its two last layers."""
    model = cfg['MODEL']
    settings = model['ROI_BOX_HEAD']
    kind = settings['BBOX_REG_LOSS_TYPE']
    key = 'MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE'
    weight = instance_loss_weight(model)
    return dict(
        num_classes=model['ROI_HEADS']['NUM_CLASSES'],
        bbox_coder=coder(weights),
        predict_box_type='rbox' if is_rotated(model) else 'hbox',
        reg_class_agnostic=settings['CLS_AGNOSTIC_BBOX_REG'],
        reg_decoded_bbox=is_iou_loss(kind),
        loss_cls=dict(_class_loss(cfg), loss_weight=weight),
        loss_bbox=box_loss(kind, settings['SMOOTH_L1_BETA'], weight * settings['BBOX_REG_LOSS_WEIGHT'], key),
    )


def _class_loss(cfg: Mapping) -> dict:
    settings = cfg['MODEL']['ROI_BOX_HEAD']
    num_classes = cfg['MODEL']['ROI_HEADS']['NUM_CLASSES']
    if settings['USE_FED_LOSS']:
        return _federated_loss(cfg, num_classes)
    if not settings['USE_SIGMOID_CE']:
        return dict(type='CrossEntropyLoss', use_sigmoid=False)
    return dict(type='CrossEntropyCustomLoss', use_sigmoid=True, num_classes=num_classes)


def _federated_loss(cfg: Mapping, num_classes: int) -> dict:
    """The loss of classes that an image is annotated for, and of others, drawn by how common they are.

    Raises:
        ConfigError: Classes have no sigmoid, or nothing says how common they are.
    """
    settings = cfg['MODEL']['ROI_BOX_HEAD']
    if not settings['USE_SIGMOID_CE']:
        raise ConfigError('MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE is False with USE_FED_LOSS: expected True')
    first = named_datasets(cfg, 'TRAIN')[0]
    if not first['type'].startswith('LVIS'):
        raise ConfigError(
            f'MODEL.ROI_BOX_HEAD.USE_FED_LOSS needs to know how frequent classes are, which is known of lvis_* alone, '
            f'not of DATASETS.TRAIN {list(cfg["DATASETS"]["TRAIN"])}: set it to False, and here '
            "loss_cls=dict(type='FederatedLoss', frequencies=...) of the bbox_head"
        )
    return dict(
        type='FederatedLoss',
        num_classes=num_classes,
        # whose categories have an image_count
        frequencies=first['data_root'] + first['ann_file'],
        num_sampled=settings['FED_LOSS_NUM_CLASSES'],
        power=settings['FED_LOSS_FREQ_WEIGHT_POWER'],
    )


def instance_loss_weight(model: Mapping) -> float:
    """The factor of all losses of regions, which only Panoptic FPN has."""
    is_panoptic = model['META_ARCHITECTURE'] == 'PanopticFPN'
    return model['PANOPTIC_FPN']['INSTANCE_LOSS_WEIGHT'] if is_panoptic else 1.0


def _c4_head(cfg: Mapping) -> dict:
    """The last stage of the ResNet on every region, then the predictors on its mean."""
    model = cfg['MODEL']
    resnets = model['RESNETS']
    settings = model['ROI_BOX_HEAD']
    if model['KEYPOINT_ON']:
        raise ConfigError('MODEL.KEYPOINT_ON is True with Res5ROIHeads, which predict no keypoints: set it to False')
    channels = backbone_channels(model, 'res5')
    head = dict(
        type='StandardRoIHead',
        shared_head=dict(
            type='ResLayer',
            depth=resnets['DEPTH'],
            stage=3,
            stride=2,
            style='caffe' if resnets['STRIDE_IN_1X1'] else 'pytorch',
            norm_cfg=norm_config(resnets['NORM'], 'MODEL.RESNETS.NORM'),
            norm_eval=False,
        ),
        bbox_roi_extractor=_extractor(model, settings),
        bbox_head=dict(
            type='BBoxHead',
            with_avg_pool=True,
            roi_feat_size=settings['POOLER_RESOLUTION'] // 2,
            in_channels=channels,
            **_predictor(cfg, settings['BBOX_REG_WEIGHTS']),
        ),
    )
    if model['MASK_ON']:
        # masks look at the features of boxes
        head['mask_head'] = _mask_head(model, channels)
    return head


def _mask_parts(model: Mapping) -> dict:
    if not model['MASK_ON']:
        return {}
    channels = feature_channels(model, model['ROI_HEADS']['IN_FEATURES'][0])
    return dict(
        mask_roi_extractor=_extractor(model, model['ROI_MASK_HEAD']),
        mask_head=_mask_head(model, channels),
    )


def _mask_head(model: Mapping, channels: int) -> dict:
    settings = model['ROI_MASK_HEAD']
    choose(settings['NAME'], {'MaskRCNNConvUpsampleHead': None}, 'MODEL.ROI_MASK_HEAD.NAME')
    return dict(
        type='FCNMaskHead',
        num_convs=settings['NUM_CONV'],
        in_channels=channels,
        conv_out_channels=settings['CONV_DIM'],
        norm_cfg=norm_config(settings['NORM'], 'MODEL.ROI_MASK_HEAD.NORM'),
        num_classes=model['ROI_HEADS']['NUM_CLASSES'],
        class_agnostic=settings['CLS_AGNOSTIC_MASK'],
        loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=instance_loss_weight(model)),
    )


def _keypoint_parts(model: Mapping) -> dict:
    if not model['KEYPOINT_ON']:
        return {}
    settings = model['ROI_KEYPOINT_HEAD']
    choose(settings['NAME'], {'KRCNNConvDeconvUpsampleHead': None}, 'MODEL.ROI_KEYPOINT_HEAD.NAME')
    widths = settings['CONV_DIMS']
    if len(set(widths)) > 1:
        raise ConfigError(
            f'MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS is {list(widths)}, which has no counterpart here: expected '
            'convolutions of one width'
        )
    regions = model['ROI_HEADS']
    # all keypoints that an image could have, if all its positives were sampled
    most = settings['NUM_KEYPOINTS'] * regions['BATCH_SIZE_PER_IMAGE'] * regions['POSITIVE_FRACTION']
    by_visible = settings['NORMALIZE_LOSS_BY_VISIBLE_KEYPOINTS']
    return dict(
        type='KeypointRoIHead',
        keypoint_roi_extractor=_extractor(model, settings),
        keypoint_head=dict(
            type='DeconvKeypointHead',
            num_keypoints=settings['NUM_KEYPOINTS'],
            num_convs=len(widths),
            in_channels=feature_channels(model, model['ROI_HEADS']['IN_FEATURES'][0]),
            conv_out_channels=widths[0],
            loss_keypoint=dict(
                type='CrossEntropyLoss',
                use_sigmoid=False,
                loss_weight=instance_loss_weight(model) * settings['LOSS_WEIGHT'],
            ),
            **({} if by_visible else dict(loss_normalizer=most)),
        ),
    )


def _cascade(cfg: Mapping) -> dict:
    """What makes a cascade of the head: stages with deltas of their own units."""
    model = cfg['MODEL']
    if not model['ROI_BOX_HEAD']['CLS_AGNOSTIC_BBOX_REG'] or model['KEYPOINT_ON']:
        raise ConfigError(
            'CascadeROIHeads need MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG=True, and have no counterpart here with '
            'MODEL.KEYPOINT_ON=True'
        )
    weights = model['ROI_BOX_CASCADE_HEAD']['BBOX_REG_WEIGHTS']
    return dict(
        type='SharedMaskCascadeRoIHead',
        num_stages=len(weights),
        stage_loss_weights=[1.0] * len(weights),
        bbox_head=[_box_head(cfg, of_stage) for of_stage in weights],
    )


def mask_size(model: Mapping) -> int:
    """Side of predicted masks, which is twice the side of what they are predicted from."""
    if model['ROI_HEADS']['NAME'] in C4_HEADS:
        return model['ROI_BOX_HEAD']['POOLER_RESOLUTION']
    return 2 * model['ROI_MASK_HEAD']['POOLER_RESOLUTION']


def region_training(model: Mapping) -> dict | list[dict]:
    """``train_cfg.rcnn``; of a cascade, that of each stage."""
    heads = model['ROI_HEADS']
    first = _stage_training(model)
    if heads['NAME'] != 'CascadeROIHeads':
        return first
    thresholds = model['ROI_BOX_CASCADE_HEAD']['IOUS']
    stages = [dict(first, assigner=assigner([iou], [0, 1], low_quality=False, key='IOUS')) for iou in thresholds]
    # only the first stage samples; later ones train on all that it hands on
    return [stages[0], *(dict(stage, sampler=dict(type='PseudoSampler')) for stage in stages[1:])]


def _stage_training(model: Mapping) -> dict:
    heads = model['ROI_HEADS']
    return dict(
        assigner=assigner(
            heads['IOU_THRESHOLDS'],
            heads['IOU_LABELS'],
            low_quality=False,
            key='MODEL.ROI_HEADS',
            rotated=is_rotated(model),
        ),
        sampler=sampler(heads['BATCH_SIZE_PER_IMAGE'], heads['POSITIVE_FRACTION'], heads['PROPOSAL_APPEND_GT']),
        mask_size=mask_size(model),
        pos_weight=-1,
        debug=False,
        **(dict(train_on_pred_boxes=True) if model['ROI_BOX_HEAD']['TRAIN_ON_PRED_BOXES'] else {}),
    )


def region_testing(cfg: Mapping) -> dict:
    """``test_cfg.rcnn``."""
    heads = cfg['MODEL']['ROI_HEADS']
    return dict(
        score_thr=heads['SCORE_THRESH_TEST'],
        nms=suppression(cfg['MODEL'], heads['NMS_THRESH_TEST']),
        max_per_img=cfg['TEST']['DETECTIONS_PER_IMAGE'],
        # what lies outside of the image takes its place among the best, and is left out then
        drop_small=0,
        mask_thr_binary=0.5,
    )
