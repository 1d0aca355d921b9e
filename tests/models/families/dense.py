"""Tiny configs of detectors with one dense head for boxes."""

from tests.models.tiny import BACKBONE

from .common import BCE, FOCAL, GROUPS, STDS, STRIDES, TEST, family, parts, three_stages


def dense(detector: str, head: dict, **changes) -> dict:
    """Config of a detector with one dense head on the maps of ``NECK``."""
    cfg = parts(**changes)
    train_cfg = head.pop('train_cfg', {})
    return dict(cfg, type=detector, bbox_head=head, train_cfg=train_cfg, test_cfg=changes.get('test_cfg', TEST))


def tower(kind: str, num_classes: int, **changes) -> dict:
    """Config of a head with towers of one convolution."""
    head = dict(type=kind, num_classes=num_classes, in_channels=8, feat_channels=8, stacked_convs=1)
    return dict(head, loss_cls=FOCAL, **changes)


def anchors(**changes) -> dict:
    """One square anchor at each cell."""
    square = dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=2, scales_per_octave=1, strides=STRIDES)
    return dict(square, **changes)


@family
def fcos(num_classes: int = 3) -> dict:
    ranges = [(-1, 16), (16, 32), (32, 1e8)]
    return dense('FCOS', tower('FCOSHead', num_classes, strides=STRIDES, regress_ranges=ranges, norm_cfg=GROUPS))


@family
def fcos_center(num_classes: int = 3) -> dict:
    cfg = fcos(num_classes)
    cfg['bbox_head'].update(center_sampling=True, norm_on_bbox=True, centerness_on_reg=True, conv_bias=True)
    return cfg


@family
def atss(num_classes: int = 3) -> dict:
    train = dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1)
    head = tower(
        'ATSSHead',
        num_classes,
        anchor_generator=anchors(),
        bbox_coder=STDS,
        norm_cfg=GROUPS,
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        train_cfg=train,
    )
    return dense('ATSS', head)


SSD_SIZES = dict(min_sizes=[12, 24, 40], max_sizes=[24, 40, 60])


def ssd_neck(channels: list[int], inputs: list[int], **changes) -> dict:
    """Config of an SSDNeck with extra levels."""
    extra = len(channels) - len(inputs)
    strides = dict(level_strides=(2,) * extra, level_paddings=(1,) * extra)
    return dict(type='SSDNeck', in_channels=inputs, out_channels=channels, **strides, **changes)


def ssd_head(num_classes: int, channels: list[int], **changes) -> dict:
    """Config of an SSDHead."""
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.0, gt_max_assign_all=False)
    train = dict(assigner=dict(assigner, ignore_iof_thr=0.5), sampler=dict(type='PseudoSampler'), smoothl1_beta=1.0)
    generator = dict(type='SSDAnchorGenerator', scale_major=False, **changes.pop('anchors'))
    return dict(
        type='SSDHead',
        num_classes=num_classes,
        in_channels=channels,
        anchor_generator=generator,
        bbox_coder=STDS,
        train_cfg=dict(train, allowed_border=-1, pos_weight=-1, neg_pos_ratio=3),
        **changes,
    )


@family
def ssd(num_classes: int = 3) -> dict:
    # VGG is wide at any depth: ResNet's maps in its place
    channels = [16, 32, 16]
    generator = dict(SSD_SIZES, strides=[8, 16, 32], ratios=[[2], [2, 3], [2]])
    return dense(
        'SingleStageDetector',
        ssd_head(num_classes, channels, anchors=generator),
        backbone=dict(BACKBONE, out_indices=(1, 2), **three_stages()),
        neck=ssd_neck(channels, [16, 32], l2_norm_scale=20),
    )


@family
def ssdlite(num_classes: int = 3) -> dict:
    channels, layer = [16, 1280, 16], dict(norm_cfg=dict(type='BN', eps=0.001), act_cfg=dict(type='ReLU6'))
    generator = dict(strides=[16, 32, 64], ratios=[[2, 3], [2, 3], [2, 3]], **SSD_SIZES)
    return dense(
        'SingleStageDetector',
        ssd_head(num_classes, channels, anchors=generator, use_depthwise=True, **layer),
        backbone=dict(type='MobileNetV2', widen_factor=0.125, out_indices=(4, 7)),
        neck=ssd_neck(channels, [16, 1280], l2_norm_scale=None, use_depthwise=True, **layer),
    )


@family
def yolov3(num_classes: int = 3) -> dict:
    sums = dict(reduction='sum')
    head = dict(
        type='YOLOV3Head',
        num_classes=num_classes,
        in_channels=[16, 8, 8],
        out_channels=[16, 8, 8],
        anchor_generator=dict(
            type='YOLOAnchorGenerator',
            base_sizes=[[(40, 40), (60, 30)], [(20, 20), (30, 15)], [(8, 8), (12, 6)]],
            strides=[32, 16, 8],
        ),
        bbox_coder=dict(type='YOLOBBoxCoder'),
        featmap_strides=[32, 16, 8],
        loss_cls=dict(BCE, **sums),
        loss_conf=dict(BCE, **sums),
        loss_xy=dict(BCE, loss_weight=2.0, **sums),
        loss_wh=dict(type='MSELoss', loss_weight=2.0, **sums),
        train_cfg=dict(assigner=dict(type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0)),
    )
    return dense(
        'YOLOV3',
        head,
        backbone=dict(BACKBONE, out_indices=(1, 2, 3)),
        neck=dict(type='YOLOV3Neck', num_scales=3, in_channels=[64, 32, 16], out_channels=[16, 8, 8]),
        test_cfg=dict(TEST, conf_thr=0.005),
    )


def aligned(kind: str, num_classes: int, assigner: dict, **changes) -> dict:
    """Config of a detector with a head of one anchor or point at each cell."""
    train = dict(assigner=assigner, allowed_border=-1, pos_weight=-1, **changes.pop('train_cfg', {}))
    loss_bbox = dict(type='GIoULoss', loss_weight=2.0)
    head = tower(f'{kind}Head', num_classes, norm_cfg=GROUPS, loss_bbox=loss_bbox, train_cfg=train)
    return dense(kind, dict(head, **changes))


NEAREST = dict(type='ATSSAssigner', topk=9)


@family
def gfl(num_classes: int = 3) -> dict:
    return aligned(
        'GFL',
        num_classes,
        NEAREST,
        anchor_generator=anchors(),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.25),
        reg_max=8,
    )


@family
def vfnet(num_classes: int = 3) -> dict:
    return aligned(
        'VFNet',
        num_classes,
        NEAREST,
        anchor_generator=anchors(),
        strides=STRIDES,
        regress_ranges=[(-1, 16), (16, 32), (32, 1e8)],
        loss_cls=dict(type='VarifocalLoss', use_sigmoid=True, alpha=0.75, gamma=2.0, iou_weighted=True),
        loss_bbox_refine=dict(type='GIoULoss', loss_weight=2.0),
    )


@family
def tood(num_classes: int = 3) -> dict:
    return aligned(
        'TOOD',
        num_classes,
        dict(type='TaskAlignedAssigner', topk=13),
        stacked_convs=3,
        anchor_type='anchor_free',
        anchor_generator=anchors(),
        bbox_coder=STDS,
        initial_loss_cls=dict(FOCAL, activated=True),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, activated=True, beta=2.0),
        train_cfg=dict(initial_epoch=4, initial_assigner=NEAREST, alpha=1, beta=6),
    )


@family
def tood_after_warmup(num_classes: int = 3) -> dict:
    cfg = tood(num_classes)
    cfg['train_cfg']['initial_epoch'] = 0
    return cfg


@family
def yolox(num_classes: int = 3) -> dict:
    layer, sums = (
        dict(norm_cfg=dict(type='BN', momentum=0.03, eps=0.001), act_cfg=dict(type='Swish')),
        dict(reduction='sum'),
    )
    head = dict(
        type='YOLOXHead',
        num_classes=num_classes,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        strides=STRIDES,
        loss_cls=dict(BCE, **sums),
        loss_bbox=dict(type='IoULoss', mode='square', eps=1e-16, loss_weight=5.0, **sums),
        loss_obj=dict(BCE, **sums),
        loss_l1=dict(type='L1Loss', loss_weight=1.0, **sums),
        train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
        **layer,
    )
    return dense(
        'YOLOX',
        head,
        backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.03125, out_indices=(2, 3, 4), **layer),
        neck=dict(type='YOLOXPAFPN', in_channels=[8, 16, 32], out_channels=8, num_csp_blocks=1, **layer),
        test_cfg=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.65)),
    )


@family
def centernet(num_classes: int = 3) -> dict:
    head = dict(
        type='CenterNetHead',
        num_classes=num_classes,
        in_channels=8,
        feat_channels=8,
        loss_center_heatmap=dict(type='GaussianFocalLoss', loss_weight=1.0),
        loss_wh=dict(type='L1Loss', loss_weight=0.1),
        loss_offset=dict(type='L1Loss', loss_weight=1.0),
    )
    return dense(
        'CenterNet',
        head,
        backbone=dict(BACKBONE, out_indices=(3,)),
        neck=dict(
            type='CTResNetNeck',
            in_channels=64,
            num_deconv_filters=(16, 8, 8),
            num_deconv_kernels=(4, 4, 4),
            use_dcn=True,
        ),
        test_cfg=dict(topk=20, local_maximum_kernel=3, max_per_img=20),
    )
