"""Detectors of masks and centres of a few thousand parameters, and samples with masks."""

import numpy as np
import torch

import mmdetlike.models  # noqa: F401  registers the models
from mmdetlike.registry import MODELS
from mmdetlike.structures import BitmapMasks
from tests.models.tiny import BACKBONE, make_sample

PREPROCESSOR = dict(
    type='DetDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True, pad_size_divisor=32, pad_mask=True
)
NECK = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=8, num_outs=4)
GN = dict(type='GN', num_groups=4)
GRIDS = dict(
    in_channels=8,
    feat_channels=8,
    stacked_convs=2,
    strides=[8, 8, 16, 16],
    scale_ranges=[(1, 24), (12, 48), (24, 96), (48, 200)],
    num_grids=[10, 8, 6, 4],
    norm_cfg=GN,
)
GRID_TEST = dict(nms_pre=50, score_thr=0.1, mask_thr=0.5, filter_thr=0.05, kernel='gaussian', sigma=2.0, max_per_img=30)
BOX_TEST = dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=20, nms_pre=100, mask_thr=0.5)
PLAIN_DICE = dict(type='DiceLoss', use_sigmoid=True, activate=False, loss_weight=3.0)
FEATURES = dict(feat_channels=8, start_level=0, end_level=2, out_channels=8)
MASK_KINDS = ('solo', 'decoupled', 'light', 'solov2', 'condinst')
KINDS = (*MASK_KINDS, 'centernet')


def grid_head(kind: str, num_classes: int = 3, **kwargs) -> dict:
    """Config of a head of masks at grids for the maps of ``NECK``."""
    own = dict(
        solo=dict(type='SOLOHead'),
        decoupled=dict(type='DecoupledSOLOHead', loss_mask=PLAIN_DICE),
        light=dict(type='DecoupledSOLOLightHead', loss_mask=PLAIN_DICE),
        solov2=dict(type='SOLOV2Head', mask_feature_head=dict(FEATURES, norm_cfg=GN)),
    )[kind]
    return dict(GRIDS, num_classes=num_classes, **{**own, **kwargs})


def condinst_heads(num_classes: int = 3, **kwargs) -> dict:
    """Configs of both heads of CondInst for levels of strides 8, 16 and 32; ``kwargs`` are for the mask head."""
    box = dict(
        type='CondInstBboxHead',
        num_classes=num_classes,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        strides=[8, 16, 32],
        regress_ranges=((-1, 16), (16, 32), (32, 1e8)),
        norm_cfg=GN,
        norm_on_bbox=True,
        centerness_on_reg=True,
        center_sampling=True,
        conv_bias=True,
        loss_bbox=dict(type='GIoULoss'),
        num_params=169,
    )
    features = dict(in_channels=8, mask_stride=8, num_stacked_convs=1, norm_cfg=dict(type='BN'))
    mask = dict(type='CondInstMaskHead', mask_feature_head={**FEATURES, **features})
    return dict(bbox_head=box, mask_head={**mask, **kwargs})


def config(kind: str, num_classes: int = 3) -> dict:
    """Config of a detector, one of ``KINDS``."""
    parts = dict(backbone=BACKBONE, data_preprocessor=PREPROCESSOR)
    if kind == 'centernet':
        neck = dict(type='CTResNetNeck', in_channels=64, num_deconv_filters=[16, 8, 8], num_deconv_kernels=[4, 4, 4])
        head = dict(type='CenterNetHead', in_channels=8, feat_channels=8, num_classes=num_classes)
        test = dict(topk=30, local_maximum_kernel=3, max_per_img=20)
        return dict(parts, type='CenterNet', neck=dict(neck, use_dcn=False), bbox_head=head, test_cfg=test)
    if kind == 'condinst':
        neck = dict(NECK, start_level=1, num_outs=3)
        return dict(parts, type='CondInst', neck=neck, **condinst_heads(num_classes), test_cfg=BOX_TEST)
    # random products of two probabilities seldom exceed a half
    test = dict(GRID_TEST, mask_thr=0.2 if kind in ('decoupled', 'light') else 0.5)
    name = 'SOLOv2' if kind == 'solov2' else 'SOLO'
    return dict(parts, type=name, neck=NECK, mask_head=grid_head(kind, num_classes), test_cfg=test)


def detector(kind: str, num_classes: int = 3, seed: int = 0):
    """A detector with PyTorch's random weights, so that its scores are far from 0 and 1."""
    torch.manual_seed(seed)
    return MODELS.build(config(kind, num_classes))


def masked_sample(boxes, shape=(64, 64), **kwargs):
    """A sample whose masks are the pixels that its boxes cover for the most part, at least one each."""
    sample = make_sample(boxes, shape, **kwargs)
    masks = np.zeros((len(sample.gt_instances), *shape), np.uint8)
    for mask, box in zip(masks, sample.gt_instances.bboxes.round().int().tolist()):
        mask[
            min(box[1], shape[0] - 1) : max(box[3], box[1] + 1), min(box[0], shape[1] - 1) : max(box[2], box[0] + 1)
        ] = 1
    sample.gt_instances.masks = BitmapMasks(masks, *shape)
    return sample


def prepared(samples, shape=(64, 64)):
    """Samples as the preprocessor would leave them, of images of ``shape``."""
    for sample in samples:
        sample.set_metainfo(dict(pad_shape=shape, batch_input_shape=shape))
    return samples
