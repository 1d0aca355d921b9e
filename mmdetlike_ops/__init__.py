"""Detection operators compiled once for every PyTorch from 2.10 on; imports torch and nothing of ours."""

from .active_rotated_filter import active_rotated_filter
from .adaptive_padding import Conv2dAdaptivePadding
from .batch_norm import FrozenBatchNorm2d, NaiveSyncBatchNorm, SyncBatchNorm, convert_frozen_batchnorm
from .bbox_overlaps import bbox_overlaps
from .border_align import BorderAlign, border_align
from .carafe import CARAFE, CARAFENaive, CARAFEPack, carafe, carafe_naive
from .context_block import ContextBlock
from .convex_overlaps import box_iou_quadri, box_iou_rotated, convex_iou
from .corner_pool import CornerPool
from .criss_cross_attention import CrissCrossAttention
from .deform_conv import DeformConv2d, DeformConv2dPack, ModulatedDeformConv2d, ModulatedDeformConv2dPack
from .deform_conv2d import deform_conv2d, modulated_deform_conv2d
from .deform_roi_pool import (
    DeformRoIPool,
    DeformRoIPoolPack,
    ModulatedDeformRoIPool,
    ModulatedDeformRoIPoolPack,
    deform_roi_pool,
)
from .generalized_attention import GeneralizedAttention
from .heatmap_peaks import heatmap_peaks
from .mask_iou import mask_iou
from .mask_matrix_nms import mask_matrix_nms
from .masked_conv import MaskedConv2d, masked_conv2d
from .ms_deform_attn import MultiScaleDeformableAttention, ms_deform_attn
from .nms import batched_nms, nms, nms_match
from .nms_rotated import nms_quadri, nms_rotated
from .non_local import NonLocal1d, NonLocal2d, NonLocal3d
from .paste_masks import paste_masks
from .point_sample import (
    SimpleRoIAlign,
    abs_img_point_to_rel_img_point,
    generate_grid,
    point_sample,
    rel_roi_point_to_abs_img_point,
    rel_roi_point_to_rel_img_point,
)
from .polygons import convex_giou, min_area_polygons, points_in_polygons
from .prroi_pool import PrRoIPool, prroi_pool
from .psa_mask import PSAMask, psa_mask
from .roi_align import RoIAlign, roi_align
from .roi_align_rotated import RoIAlignRotated, roi_align_rotated
from .roi_pool import RoIPool, roi_pool
from .rotated_boxes import rotated_boxes_from_detectron2, rotated_boxes_to_detectron2
from .rotated_feature_align import rotated_feature_align
from .saconv import ConvAWS2d, SAConv2d
from .sigmoid_focal_loss import SigmoidFocalLoss, sigmoid_focal_loss, sigmoid_focal_loss_star
from .soft_nms import soft_nms
from .softmax_focal_loss import SoftmaxFocalLoss, softmax_focal_loss
from .weighted_boxes_fusion import weighted_boxes_fusion
from .wrappers import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d, Linear, MaxPool2d, MaxPool3d

__all__ = [
    'Conv2d',
    'Conv2dAdaptivePadding',
    'Conv3d',
    'ConvTranspose2d',
    'ConvTranspose3d',
    'FrozenBatchNorm2d',
    'Linear',
    'MaxPool2d',
    'MaxPool3d',
    'NaiveSyncBatchNorm',
    'BorderAlign',
    'CARAFE',
    'CARAFENaive',
    'CARAFEPack',
    'ContextBlock',
    'CornerPool',
    'CrissCrossAttention',
    'GeneralizedAttention',
    'MultiScaleDeformableAttention',
    'NonLocal1d',
    'NonLocal2d',
    'NonLocal3d',
    'ConvAWS2d',
    'DeformConv2d',
    'DeformConv2dPack',
    'ModulatedDeformConv2d',
    'ModulatedDeformConv2dPack',
    'DeformRoIPool',
    'DeformRoIPoolPack',
    'MaskedConv2d',
    'ModulatedDeformRoIPool',
    'ModulatedDeformRoIPoolPack',
    'PSAMask',
    'PrRoIPool',
    'RoIAlign',
    'RoIAlignRotated',
    'RoIPool',
    'SAConv2d',
    'SigmoidFocalLoss',
    'SimpleRoIAlign',
    'SyncBatchNorm',
    'abs_img_point_to_rel_img_point',
    'active_rotated_filter',
    'SoftmaxFocalLoss',
    'batched_nms',
    'bbox_overlaps',
    'convert_frozen_batchnorm',
    'border_align',
    'carafe',
    'carafe_naive',
    'box_iou_quadri',
    'box_iou_rotated',
    'convex_giou',
    'convex_iou',
    'generate_grid',
    'heatmap_peaks',
    'mask_iou',
    'mask_matrix_nms',
    'min_area_polygons',
    'ms_deform_attn',
    'deform_conv2d',
    'modulated_deform_conv2d',
    'deform_roi_pool',
    'masked_conv2d',
    'nms',
    'nms_match',
    'nms_quadri',
    'nms_rotated',
    'paste_masks',
    'point_sample',
    'points_in_polygons',
    'prroi_pool',
    'psa_mask',
    'rel_roi_point_to_abs_img_point',
    'rel_roi_point_to_rel_img_point',
    'roi_align',
    'roi_align_rotated',
    'roi_pool',
    'rotated_boxes_from_detectron2',
    'rotated_boxes_to_detectron2',
    'rotated_feature_align',
    'sigmoid_focal_loss',
    'sigmoid_focal_loss_star',
    'soft_nms',
    'weighted_boxes_fusion',
    'softmax_focal_loss',
]
