"""torchvision's RetinaNet, FCOS and SSD."""

from dataclasses import dataclass

from .common import (
    RESNET_CHANNELS,
    Arguments,
    anchors,
    assigner,
    coder,
    mobilenet,
    preprocessor,
    resnet50,
    trained_layers,
)

STRIDES = (8, 16, 32, 64, 128)
SSD_DEVIATIONS = (0.1, 0.1, 0.2, 0.2)
GROUP_NORM = dict(type='GN', num_groups=32)


@dataclass
class RetinaArguments:
    """Arguments of ``RetinaNet``, with its defaults.

    Attributes:
        score_thresh, nms_thresh, detections_per_img: Of results.
        fg_iou_thresh, bg_iou_thresh: Overlaps from which an anchor is positive, below which it is negative.
        topk_candidates: Candidates of each level before suppression.
    """

    score_thresh: float = 0.05
    nms_thresh: float = 0.5
    detections_per_img: int = 300
    fg_iou_thresh: float = 0.5
    bg_iou_thresh: float = 0.4
    topk_candidates: int = 1000


@dataclass
class FCOSArguments:
    """Arguments of ``FCOS``, with its defaults.

    Attributes:
        center_sampling_radius: How far in strides a point may lie from the center of its object.
        score_thresh, nms_thresh, detections_per_img: Of results.
        topk_candidates: Candidates of each level before suppression.
    """

    center_sampling_radius: float = 1.5
    score_thresh: float = 0.2
    nms_thresh: float = 0.6
    detections_per_img: int = 100
    topk_candidates: int = 1000


@dataclass
class SSDArguments:
    """Arguments of ``SSD``, with its defaults.

    Attributes:
        score_thresh, nms_thresh, detections_per_img: Of results.
        iou_thresh: Overlap from which an anchor is positive.
        topk_candidates: Candidates of each class before suppression.
    """

    score_thresh: float = 0.01
    nms_thresh: float = 0.45
    detections_per_img: int = 200
    iou_thresh: float = 0.5
    topk_candidates: int = 400


def retinanet(arguments: Arguments, settings: RetinaArguments) -> dict:
    """``retinanet_resnet50_fpn``."""
    loss = dict(type='L1Loss')
    return _retinanet(arguments, settings, extra='on_output', head=dict(loss_bbox=loss))


def retinanet_v2(arguments: Arguments, settings: RetinaArguments) -> dict:
    """``retinanet_resnet50_fpn_v2``: group norms in the head, GIoU, one more level from the backbone itself."""
    head = dict(norm_cfg=GROUP_NORM, reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss'))
    return _retinanet(arguments, settings, extra='on_input', head=head)


def _pyramid(arguments: Arguments, extra: str, **norms: bool) -> dict:
    """Backbone and neck with the levels P3 to P7; ``norms`` are those of ``resnet50``."""
    return dict(
        data_preprocessor=preprocessor(),
        backbone=resnet50(arguments, out_indices=(1, 2, 3), **norms),
        neck=dict(
            type='FPN',
            in_channels=list(RESNET_CHANNELS[1:]),
            out_channels=256,
            num_outs=5,
            add_extra_convs=extra,
            relu_before_extra_convs=True,
        ),
    )


def _retinanet(arguments: Arguments, settings: RetinaArguments, extra: str, head: dict) -> dict:
    # sizes of an octave in whole pixels, rounded down
    sizes = [[size, int(size * 2 ** (1 / 3)), int(size * 2 ** (2 / 3))] for size in (32, 64, 128, 256, 512)]
    return dict(
        type='RetinaNet',
        **_pyramid(arguments, extra, batch_norm=extra == 'on_input'),
        bbox_head=dict(
            type='RetinaHead',
            num_classes=arguments.foreground,
            in_channels=256,
            anchor_generator=anchors(STRIDES, sizes, (0.5, 1.0, 2.0)),
            bbox_coder=coder(),
            loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
            **head,
        ),
        train_cfg=dict(
            assigner=assigner(settings.fg_iou_thresh, settings.bg_iou_thresh, low_quality=True),
            sampler=dict(type='PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        test_cfg=_testing(settings),
    )


def fcos(arguments: Arguments, settings: FCOSArguments) -> dict:
    """``fcos_resnet50_fpn``."""
    return dict(
        type='FCOS',
        **_pyramid(arguments, extra='on_output', published_without_eps=False),
        bbox_head=dict(
            type='FCOSHead',
            num_classes=arguments.foreground,
            in_channels=256,
            strides=list(STRIDES),
            center_sampling=True,
            center_sample_radius=settings.center_sampling_radius,
            norm_on_bbox=True,
            centerness_on_reg=True,
            rank_by_centerness=True,
            conv_bias=True,
            norm_cfg=GROUP_NORM,
            # points lie at the corners of cells
            prior_generator=dict(type='MlvlPointGenerator', strides=list(STRIDES), offset=0.0),
            loss_bbox=dict(type='GIoULoss'),
        ),
        test_cfg=_testing(settings),
    )


def ssd300(arguments: Arguments, settings: SSDArguments) -> dict:
    """``ssd300_vgg16``."""
    channels = (512, 1024, 512, 256, 256, 256)
    sizes = [300 * scale for scale in (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)]
    return dict(
        type='SingleStageDetector',
        data_preprocessor=dict(
            type='FixedSizeDataPreprocessor',
            size=(300, 300),
            # the means of the original VGG, and pixels from 0 to 255
            mean=[255 * value for value in (0.48235, 0.45882, 0.40784)],
            std=[1.0, 1.0, 1.0],
            bgr_to_rgb=True,
        ),
        backbone=dict(type='SSDVGG', depth=16, ceil_mode=True, out_feature_indices=(22, 34)),
        neck=dict(
            type='SSDNeck',
            in_channels=channels[:2],
            out_channels=channels,
            level_strides=(2, 2, 1, 1),
            level_paddings=(1, 1, 0, 0),
        ),
        bbox_head=dict(
            type='SSDHead',
            num_classes=arguments.foreground,
            in_channels=channels,
            anchor_generator=dict(
                type='SSDAnchorGenerator',
                scale_major=False,
                strides=[8, 16, 32, 64, 100, 300],
                ratios=[[2], [2, 3], [2, 3], [2, 3], [2], [2]],
                min_sizes=sizes[:-1],
                max_sizes=sizes[1:],
                largest_side=300,
            ),
            bbox_coder=coder(SSD_DEVIATIONS),
        ),
        train_cfg=_ssd_training(settings),
        test_cfg=_ssd_testing(settings),
    )


def ssdlite320(arguments: Arguments, settings: SSDArguments) -> dict:
    """``ssdlite320_mobilenet_v3_large``, whose network is narrower unless its backbone starts from weights."""
    reduced = arguments.weights_backbone is None
    channels = (672, 480 if reduced else 960, 512, 256, 256, 128)
    norm = dict(type='BN', eps=0.001, momentum=0.03)
    activation = dict(type='ReLU6')
    sides = [320 * (0.2 + 0.15 * level) for level in range(6)]
    trainable = trained_layers(arguments, most=6, usual=6)
    return dict(
        type='SingleStageDetector',
        data_preprocessor=dict(
            type='FixedSizeDataPreprocessor', size=(320, 320), mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True
        ),
        backbone=mobilenet(trainable, norm, expanded_indices=[13], reduced_tail=reduced),
        neck=dict(
            type='SSDNeck',
            in_channels=channels[:2],
            out_channels=channels,
            level_strides=(2, 2, 2, 2),
            level_paddings=(1, 1, 1, 1),
            l2_norm_scale=None,
            use_depthwise=True,
            norm_cfg=norm,
            act_cfg=activation,
        ),
        bbox_head=dict(
            type='SSDHead',
            num_classes=arguments.foreground,
            in_channels=channels,
            use_depthwise=True,
            norm_cfg=norm,
            act_cfg=activation,
            anchor_generator=dict(
                type='SSDAnchorGenerator',
                scale_major=False,
                strides=[320 / cells for cells in (20, 10, 5, 3, 2, 1)],
                ratios=[[2, 3]] * 6,
                min_sizes=sides,
                max_sizes=[*sides[1:], 320],
                largest_side=320,
            ),
            bbox_coder=coder(SSD_DEVIATIONS),
        ),
        train_cfg=_ssd_training(settings),
        test_cfg=_ssd_testing(settings),
    )


def _ssd_training(settings: SSDArguments) -> dict:
    return dict(
        assigner=assigner(settings.iou_thresh, settings.iou_thresh, low_quality=True),
        sampler=dict(type='PseudoSampler'),
        smoothl1_beta=1.0,
        allowed_border=-1,
        pos_weight=-1,
        neg_pos_ratio=3,
        debug=False,
    )


def _ssd_testing(settings: SSDArguments) -> dict:
    of_class = dict(nms_pre_of_class=settings.topk_candidates, nms_pre=-1, ties='torchvision')
    return dict(_testing(settings), min_bbox_size=-1, **of_class)


def _testing(settings: RetinaArguments | FCOSArguments | SSDArguments) -> dict:
    return dict(
        nms_pre=settings.topk_candidates,
        min_bbox_size=-1,
        score_thr=settings.score_thresh,
        nms=dict(type='nms', iou_threshold=settings.nms_thresh),
        max_per_img=settings.detections_per_img,
    )
