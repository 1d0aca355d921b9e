"""Tiny configs of detectors whose masks don't come from regions: by dynamic kernels and by grid cells."""

from tests.models.tiny import PREPROCESSOR

from .common import GROUPS, STDS, STRIDES, TEST, family, parts
from .dense import tower

DICE = dict(type='DiceLoss', use_sigmoid=True, loss_weight=3.0)
MASKS = dict(PREPROCESSOR, pad_mask=True)
ON_REG = dict(norm_on_bbox=True, centerness_on_reg=True, center_sampling=True, conv_bias=True)


def instance_segmentor(kind: str, test_cfg: dict, **heads) -> dict:
    """Config of a single-stage instance segmentor on the maps of ``NECK``."""
    return parts(type=kind, data_preprocessor=MASKS, train_cfg={}, test_cfg=test_cfg, **heads)


@family
def condinst(num_classes: int = 3) -> dict:
    features = dict(in_channels=8, feat_channels=8, start_level=0, end_level=2, out_channels=8, mask_stride=8)
    bbox_head = tower(
        'CondInstBboxHead',
        num_classes,
        num_params=169,
        strides=STRIDES,
        regress_ranges=[(-1, 16), (16, 32), (32, 1e8)],
        norm_cfg=GROUPS,
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
        **ON_REG,
    )
    mask_head = dict(
        type='CondInstMaskHead',
        num_layers=3,
        feat_channels=8,
        size_of_interest=8,
        mask_out_stride=4,
        max_masks_to_train=20,
        mask_feature_head=dict(features, num_stacked_convs=1, norm_cfg=dict(type='BN')),
        loss_mask=dict(type='DiceLoss', use_sigmoid=True, activate=True, eps=5e-6),
    )
    return instance_segmentor('CondInst', dict(TEST, mask_thr=0.5), bbox_head=bbox_head, mask_head=mask_head)


@family
def boxinst(num_classes: int = 3) -> dict:
    cfg = condinst(num_classes)
    preprocessor = dict(PREPROCESSOR, type='BoxInstDataPreprocessor')
    cfg['bbox_head'].update(type='BoxInstBboxHead')
    del cfg['mask_head']['max_masks_to_train']
    # at the first iteration, which tests look at, the loss of pairs has its full weight
    cfg['mask_head'].update(type='BoxInstMaskHead', topk_masks_per_img=20, warmup_iters=0)
    return dict(cfg, type='BoxInst', data_preprocessor=preprocessor)


@family
def yolact(num_classes: int = 3) -> dict:
    bbox_head = dict(
        type='YOLACTHead',
        num_classes=num_classes,
        in_channels=8,
        feat_channels=8,
        num_protos=4,
        anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=2, scales_per_octave=1, ratios=[0.5, 1.0, 2.0], strides=STRIDES
        ),
        bbox_coder=STDS,
    )
    mask_head = dict(
        type='YOLACTProtonet',
        num_classes=num_classes,
        in_channels=8,
        proto_channels=(8, None, 8, 4),
        proto_kernel_sizes=(3, -2, 3, 1),
        num_protos=4,
        max_masks_to_train=20,
    )
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.3, neg_iou_thr=0.2, gt_max_assign_all=False)
    test_cfg = dict(nms_pre=100, score_thr=0.05, mask_thr=0.5, iou_thr=0.5, top_k=50, max_per_img=20)
    cfg = instance_segmentor('YOLACT', test_cfg, bbox_head=bbox_head, mask_head=mask_head)
    return dict(cfg, train_cfg=dict(assigner=assigner, allowed_border=-1, pos_weight=-1, neg_pos_ratio=3))


GRIDS = dict(
    strides=STRIDES,
    scale_ranges=((1, 24), (12, 48), (32, 128)),
    pos_scale=0.2,
    num_grids=[8, 6, 4],
    cls_down_index=0,
    loss_mask=DICE,
    norm_cfg=GROUPS,
)
MATRIX = dict(nms_pre=50, score_thr=0.1, mask_thr=0.2, filter_thr=0.01, kernel='gaussian', sigma=2.0, max_per_img=20)


@family
def solo(num_classes: int = 3) -> dict:
    return instance_segmentor('SOLO', MATRIX, mask_head=dict(tower('SOLOHead', num_classes), **GRIDS))


@family
def decoupled_solo(num_classes: int = 3) -> dict:
    return instance_segmentor('SOLO', MATRIX, mask_head=dict(tower('DecoupledSOLOHead', num_classes), **GRIDS))


@family
def decoupled_solo_light(num_classes: int = 3) -> dict:
    return instance_segmentor('SOLO', MATRIX, mask_head=dict(tower('DecoupledSOLOLightHead', num_classes), **GRIDS))


@family
def solov2(num_classes: int = 3) -> dict:
    features = dict(feat_channels=8, start_level=0, end_level=2, out_channels=8, mask_stride=8, norm_cfg=GROUPS)
    head = dict(tower('SOLOV2Head', num_classes), mask_feature_head=features, **GRIDS)
    return instance_segmentor('SOLOv2', MATRIX, mask_head=head)


def cspnext(head: dict, num_classes: int, test_cfg: dict) -> dict:
    """Config of an RTMDet on a narrow CSPNeXt."""
    layer = dict(norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU', inplace=True))
    widths = [8, 16, 32]
    common = dict(
        num_classes=num_classes,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        share_conv=True,
        pred_kernel_size=1,
        anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides=STRIDES),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        **layer,
    )
    return parts(
        type='RTMDet',
        data_preprocessor=MASKS,
        backbone=dict(type='CSPNeXt', deepen_factor=0.17, widen_factor=0.03125, **layer),
        neck=dict(type='CSPNeXtPAFPN', in_channels=widths, out_channels=8, num_csp_blocks=1, expand_ratio=0.5, **layer),
        bbox_head=dict(common, **head),
        train_cfg=dict(assigner=dict(type='DynamicSoftLabelAssigner', topk=13), allowed_border=-1, pos_weight=-1),
        test_cfg=test_cfg,
    )


@family
def rtmdet(num_classes: int = 3) -> dict:
    return cspnext(dict(type='RTMDetSepBNHead', with_objectness=False, exp_on_reg=True), num_classes, TEST)


@family
def rtmdet_ins(num_classes: int = 3) -> dict:
    loss_mask = dict(type='DiceLoss', loss_weight=2.0, eps=5e-6)
    return cspnext(dict(type='RTMDetInsSepBNHead', loss_mask=loss_mask), num_classes, dict(TEST, mask_thr_binary=0.5))
