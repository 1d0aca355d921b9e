"""torchvision's Faster, Mask and Keypoint R-CNN."""

from collections.abc import Sequence
from dataclasses import dataclass

from .common import (
    RESNET_CHANNELS,
    Arguments,
    anchors,
    assigner,
    coder,
    mobilenet,
    norm_layer,
    preprocessor,
    resnet50,
    sampler,
    trained_layers,
)

STRIDES = (4, 8, 16, 32)
RATIOS = (0.5, 1.0, 2.0)


@dataclass
class RegionArguments:
    """Arguments of ``FasterRCNN``, with its defaults.

    Attributes:
        rpn_pre_nms_top_n_train, rpn_pre_nms_top_n_test: Candidates of each level before suppression.
        rpn_post_nms_top_n_train, rpn_post_nms_top_n_test: Proposals of an image.
        rpn_nms_thresh: Overlap at which proposals are suppressed.
        rpn_fg_iou_thresh, rpn_bg_iou_thresh: Overlaps from which an anchor is positive, below which it is negative.
        rpn_batch_size_per_image, rpn_positive_fraction: Anchors to train on, and the share of positives.
        rpn_score_thresh: Proposals of a lower score are left out.
        box_score_thresh, box_nms_thresh, box_detections_per_img: Of results.
        box_fg_iou_thresh, box_bg_iou_thresh: Overlaps from which a proposal is positive, below which it is negative.
        box_batch_size_per_image, box_positive_fraction: Proposals to train on, and the share of positives.
    """

    rpn_pre_nms_top_n_train: int = 2000
    rpn_pre_nms_top_n_test: int = 1000
    rpn_post_nms_top_n_train: int = 2000
    rpn_post_nms_top_n_test: int = 1000
    rpn_nms_thresh: float = 0.7
    rpn_fg_iou_thresh: float = 0.7
    rpn_bg_iou_thresh: float = 0.3
    rpn_batch_size_per_image: int = 256
    rpn_positive_fraction: float = 0.5
    rpn_score_thresh: float = 0.0
    box_score_thresh: float = 0.05
    box_nms_thresh: float = 0.5
    box_detections_per_img: int = 100
    box_fg_iou_thresh: float = 0.5
    box_bg_iou_thresh: float = 0.5
    box_batch_size_per_image: int = 512
    box_positive_fraction: float = 0.25


def faster_rcnn(arguments: Arguments, regions: RegionArguments) -> dict:
    """``fasterrcnn_resnet50_fpn``."""
    return _detector(arguments, regions, box_head=_two_layers(), rpn_convs=1, norm_cfg=None)


def faster_rcnn_v2(arguments: Arguments, regions: RegionArguments) -> dict:
    """``fasterrcnn_resnet50_fpn_v2``: norms everywhere, convolutions before the boxes' linear layer."""
    return _detector(arguments, regions, box_head=_four_convolutions(), rpn_convs=2, norm_cfg=dict(type='BN'))


def faster_rcnn_mobilenet(arguments: Arguments, regions: RegionArguments) -> dict:
    """``fasterrcnn_mobilenet_v3_large_fpn`` and ``_320_fpn``: all maps have stride 32 or more."""
    backbone = mobilenet(trained_layers(arguments, most=6, usual=3), norm_layer(arguments.is_trained))
    # every size on every level
    generator = anchors((32, 32, 64), [[32, 64, 128, 256, 512]] * 3, RATIOS)
    return dict(
        type='FasterRCNN',
        data_preprocessor=preprocessor(),
        backbone=backbone,
        neck=dict(type='FPN', in_channels=[160, 960], out_channels=256, num_outs=3),
        rpn_head=_rpn_head(1, generator),
        # both maps that regions could be taken from have the same size, and all are taken from the first
        roi_head=_roi_head(arguments, _two_layers(), strides=(32,)),
        train_cfg=_training(regions),
        test_cfg=_testing(regions),
    )


def mask_rcnn(arguments: Arguments, regions: RegionArguments) -> dict:
    """``maskrcnn_resnet50_fpn``."""
    return _with_masks(faster_rcnn(arguments, regions), arguments, norm_cfg=None)


def mask_rcnn_v2(arguments: Arguments, regions: RegionArguments) -> dict:
    """``maskrcnn_resnet50_fpn_v2``."""
    return _with_masks(faster_rcnn_v2(arguments, regions), arguments, norm_cfg=dict(type='BN'))


def keypoint_rcnn(arguments: Arguments, regions: RegionArguments, num_keypoints: int = 17) -> dict:
    """``keypointrcnn_resnet50_fpn``."""
    detector = faster_rcnn(arguments, regions)
    detector['roi_head'].update(
        type='KeypointRoIHead',
        keypoint_roi_extractor=_extractor(14),
        keypoint_head=dict(type='DeconvKeypointHead', num_keypoints=num_keypoints, num_convs=8, in_channels=256),
    )
    return detector


def _detector(
    arguments: Arguments, regions: RegionArguments, box_head: dict, rpn_convs: int, norm_cfg: dict | None
) -> dict:
    """Faster R-CNN with what its two versions differ in."""
    return dict(
        type='FasterRCNN',
        data_preprocessor=preprocessor(),
        # the second version trains its norms from whatever weights it starts
        backbone=resnet50(arguments, out_indices=(0, 1, 2, 3), batch_norm=norm_cfg is not None),
        neck=dict(type='FPN', in_channels=list(RESNET_CHANNELS), out_channels=256, num_outs=5, norm_cfg=norm_cfg),
        rpn_head=_rpn_head(rpn_convs, anchors((*STRIDES, 64), [[32], [64], [128], [256], [512]], RATIOS)),
        roi_head=_roi_head(arguments, box_head, STRIDES),
        train_cfg=_training(regions),
        test_cfg=_testing(regions),
    )


def _roi_head(arguments: Arguments, box_head: dict, strides: Sequence[int]) -> dict:
    return dict(
        type='StandardRoIHead',
        bbox_roi_extractor=_extractor(7, strides),
        bbox_head=dict(box_head, num_classes=arguments.foreground),
    )


def _rpn_head(num_convs: int, generator: dict) -> dict:
    return dict(
        type='RPNHead',
        in_channels=256,
        feat_channels=256,
        num_convs=num_convs,
        anchor_generator=generator,
        bbox_coder=coder(),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
        loss_bbox=dict(type='SmoothL1Loss', beta=1 / 9),
    )


def _extractor(size: int, strides: Sequence[int] = STRIDES) -> dict:
    return dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=size, sampling_ratio=2, aligned=False),
        out_channels=256,
        featmap_strides=list(strides),
    )


def _box_head(layers: dict) -> dict:
    return dict(
        type='ConvFCBBoxHead',
        in_channels=256,
        roi_feat_size=7,
        fc_out_channels=1024,
        bbox_coder=coder((0.1, 0.1, 0.2, 0.2)),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
        loss_bbox=dict(type='SmoothL1Loss', beta=1 / 9),
        **layers,
    )


def _two_layers() -> dict:
    return _box_head(dict(num_shared_fcs=2))


def _four_convolutions() -> dict:
    return _box_head(dict(num_shared_convs=4, num_shared_fcs=1, conv_out_channels=256, norm_cfg=dict(type='BN')))


def _with_masks(detector: dict, arguments: Arguments, norm_cfg: dict | None) -> dict:
    detector['type'] = 'MaskRCNN'
    detector['data_preprocessor']['pad_mask'] = True
    detector['roi_head'].update(
        mask_roi_extractor=_extractor(14),
        mask_head=dict(
            type='FCNMaskHead',
            num_convs=4,
            in_channels=256,
            conv_out_channels=256,
            norm_cfg=norm_cfg,
            num_classes=arguments.foreground,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
        ),
    )
    detector['train_cfg']['rcnn']['mask_size'] = 28
    detector['test_cfg']['rcnn'].update(mask_thr_binary=0.5, paste_whole_pixels=True)
    return detector


def _proposing(regions: RegionArguments, phase: str) -> dict:
    return dict(
        nms_pre=getattr(regions, f'rpn_pre_nms_top_n_{phase}'),
        max_per_img=getattr(regions, f'rpn_post_nms_top_n_{phase}'),
        nms=dict(type='nms', iou_threshold=regions.rpn_nms_thresh),
        score_thr=regions.rpn_score_thresh,
        min_bbox_size=1e-3,
    )


def _training(regions: RegionArguments) -> dict:
    rpn = dict(
        assigner=assigner(regions.rpn_fg_iou_thresh, regions.rpn_bg_iou_thresh, low_quality=True),
        sampler=sampler(regions.rpn_batch_size_per_image, regions.rpn_positive_fraction, add_gt=False),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    )
    rcnn = dict(
        assigner=assigner(regions.box_fg_iou_thresh, regions.box_bg_iou_thresh, low_quality=False),
        sampler=sampler(regions.box_batch_size_per_image, regions.box_positive_fraction, add_gt=True),
        pos_weight=-1,
        debug=False,
    )
    return dict(rpn=rpn, rpn_proposal=_proposing(regions, 'train'), rcnn=rcnn)


def _testing(regions: RegionArguments) -> dict:
    rcnn = dict(
        score_thr=regions.box_score_thresh,
        nms=dict(type='nms', iou_threshold=regions.box_nms_thresh),
        max_per_img=regions.box_detections_per_img,
        min_bbox_size=1e-2,
    )
    return dict(rpn=_proposing(regions, 'test'), rcnn=rcnn)
