"""What the configs of Detectron2's model zoo are made of: a base, and what each differs in.

Settings of parts that recorded configs have (``tests/data/reference/foreign``) are those of the recordings; the
others are what is generally known of the zoo.
"""

PYRAMID = ['res2', 'res3', 'res4', 'res5']
BOTTOM_UP = ['p2', 'p3', 'p4', 'p5']
UNIT_DEVIATIONS = [57.375, 57.12, 58.395]

BASES = {
    'C4': {
        'RPN.PRE_NMS_TOPK_TEST': 6000,
        'RPN.POST_NMS_TOPK_TEST': 1000,
        'ROI_HEADS.NAME': 'Res5ROIHeads',
    },
    'DC5': {
        'RESNETS.OUT_FEATURES': ['res5'],
        'RESNETS.RES5_DILATION': 2,
        'RPN.IN_FEATURES': ['res5'],
        'RPN.PRE_NMS_TOPK_TEST': 6000,
        'RPN.POST_NMS_TOPK_TEST': 1000,
        'ROI_HEADS.NAME': 'StandardROIHeads',
        'ROI_HEADS.IN_FEATURES': ['res5'],
        'ROI_BOX_HEAD.NAME': 'FastRCNNConvFCHead',
        'ROI_BOX_HEAD.NUM_FC': 2,
        'ROI_BOX_HEAD.POOLER_RESOLUTION': 7,
        'ROI_MASK_HEAD.NUM_CONV': 4,
    },
    'FPN': {
        'BACKBONE.NAME': 'build_resnet_fpn_backbone',
        'RESNETS.OUT_FEATURES': PYRAMID,
        'FPN.IN_FEATURES': PYRAMID,
        'ANCHOR_GENERATOR.SIZES': [[32], [64], [128], [256], [512]],
        'RPN.IN_FEATURES': [*BOTTOM_UP, 'p6'],
        'RPN.PRE_NMS_TOPK_TRAIN': 2000,
        'RPN.PRE_NMS_TOPK_TEST': 1000,
        # of an image, where Detectron counted 2000 of a batch of two
        'RPN.POST_NMS_TOPK_TRAIN': 1000,
        'RPN.POST_NMS_TOPK_TEST': 1000,
        'ROI_HEADS.NAME': 'StandardROIHeads',
        'ROI_HEADS.IN_FEATURES': BOTTOM_UP,
        'ROI_BOX_HEAD.NAME': 'FastRCNNConvFCHead',
        'ROI_BOX_HEAD.NUM_FC': 2,
        'ROI_BOX_HEAD.POOLER_RESOLUTION': 7,
        'ROI_MASK_HEAD.NUM_CONV': 4,
    },
    'RetinaNet': {
        'META_ARCHITECTURE': 'RetinaNet',
        'BACKBONE.NAME': 'build_retinanet_resnet_fpn_backbone',
        'RESNETS.OUT_FEATURES': PYRAMID[1:],
        'FPN.IN_FEATURES': PYRAMID[1:],
        'ANCHOR_GENERATOR.SIZES': [[side * 2 ** (third / 3) for third in range(3)] for side in (32, 64, 128, 256, 512)],
        'RETINANET.SMOOTH_L1_LOSS_BETA': 0.0,
        '/SOLVER.BASE_LR': 0.01,
    },
}
# all of the zoo; a key that begins with / is not below MODEL
COMMON = {
    'WEIGHTS': 'detectron2://ImageNetPretrained/MSRA/R-50.pkl',
    '/DATASETS.TRAIN': ['coco_2017_train'],
    '/DATASETS.TEST': ['coco_2017_val'],
    '/INPUT.MIN_SIZE_TRAIN': [640, 672, 704, 736, 768, 800],
    '/SOLVER.BASE_LR': 0.02,
    '/SOLVER.STEPS': [60000, 80000],
    '/SOLVER.MAX_ITER': 90000,
}
_PROPOSALS = 'detectron2://COCO-Detection/rpn_R_50_FPN_1x/137258492/coco_2017_{}_box_proposals_{}.pkl'
_LVIS = {
    'ROI_HEADS.SCORE_THRESH_TEST': 0.0001,
    '/TEST.DETECTIONS_PER_IMAGE': 300,
    '/DATALOADER.SAMPLER_TRAIN': 'RepeatFactorTrainingSampler',
    '/DATALOADER.REPEAT_THRESHOLD': 0.001,
}
_NINE_TIMES = {
    'WEIGHTS': '',
    'PIXEL_STD': UNIT_DEVIATIONS,
    'BACKBONE.FREEZE_AT': 0,
    'RESNETS.STRIDE_IN_1X1': False,
    '/SOLVER.IMS_PER_BATCH': 64,
    '/SOLVER.BASE_LR': 0.08,
    '/SOLVER.STEPS': [187500, 197500],
    '/SOLVER.MAX_ITER': 202500,
    '/TEST.EVAL_PERIOD': 2500,
}


def _norms_everywhere(norm: str) -> dict:
    """Norms of one kind in all parts, and convolutions before the linear layer of boxes."""
    return {
        'RESNETS.NORM': norm,
        'FPN.NORM': norm,
        'ROI_BOX_HEAD.NUM_CONV': 4,
        'ROI_BOX_HEAD.NUM_FC': 1,
        'ROI_BOX_HEAD.NORM': norm,
        'ROI_MASK_HEAD.NORM': norm,
    }


_LARGE_SCALE_JITTER = {
    **_norms_everywhere('SyncBN'),
    'WEIGHTS': '',
    'BACKBONE.FREEZE_AT': 0,
    'RPN.CONV_DIMS': [-1, -1],
    # no setting of theirs, whose programs name transforms; it takes the place of the sizes
    '/INPUT.MIN_SIZE_TRAIN': [800],
    '/INPUT.LARGE_SCALE_JITTER': {'SIZE': 1024, 'SCALES': [0.1, 2.0]},
    '/SOLVER.IMS_PER_BATCH': 64,
    '/SOLVER.BASE_LR': 0.1,
    '/SOLVER.WEIGHT_DECAY': 0.00004,
    '/SOLVER.WARMUP_ITERS': 500,
    '/SOLVER.WARMUP_FACTOR': 0.067,
    '/SOLVER.AMP.ENABLED': True,
    '/TEST.EVAL_PERIOD': 5000,
}


def _epochs_of_jitter(hundreds: float) -> dict:
    """A schedule of so many times 100 epochs, 184375 batches of 64 pictures."""
    return {
        '/SOLVER.STEPS': [int(163889 * hundreds), int(177546 * hundreds)],
        '/SOLVER.MAX_ITER': int(184375 * hundreds),
    }


PARTS = {
    # backbones
    'R_101': {'RESNETS.DEPTH': 101, 'WEIGHTS': 'detectron2://ImageNetPretrained/MSRA/R-101.pkl'},
    'X_101_32x8d': {
        'WEIGHTS': 'detectron2://ImageNetPretrained/FAIR/X-101-32x8d.pkl',
        'PIXEL_STD': UNIT_DEVIATIONS,
        'RESNETS.STRIDE_IN_1X1': False,
        'RESNETS.NUM_GROUPS': 32,
        'RESNETS.WIDTH_PER_GROUP': 8,
        'RESNETS.DEPTH': 101,
    },
    'dconv': {'RESNETS.DEFORM_ON_PER_STAGE': [False, True, True, True]},
    # other than ResNets, which only programs in Python have; the channels of their stages follow from the name
    'regnetx_4gf_dds': {
        'BACKBONE.NAME': 'build_regnet_fpn_backbone',
        'REGNET_ARCH': 'regnetx_4.0gf',
        'RESNETS.OUT_FEATURES': ['res4'],
        'PIXEL_STD': UNIT_DEVIATIONS,
    },
    'regnety_4gf_dds': {
        'BACKBONE.NAME': 'build_regnet_fpn_backbone',
        'REGNET_ARCH': 'regnety_4.0gf',
        'RESNETS.OUT_FEATURES': ['res4'],
        'PIXEL_STD': UNIT_DEVIATIONS,
    },
    # architectures
    'rpn': {'META_ARCHITECTURE': 'ProposalNetwork', 'RPN.POST_NMS_TOPK_TEST': 2000},
    'more candidates': {'RPN.PRE_NMS_TOPK_TEST': 12000},
    'fast': {
        'LOAD_PROPOSALS': True,
        'PROPOSAL_GENERATOR.NAME': 'PrecomputedProposals',
        '/DATASETS.PROPOSAL_FILES_TRAIN': [_PROPOSALS.format('train', '21bc3a')],
        '/DATASETS.PROPOSAL_FILES_TEST': [_PROPOSALS.format('val', 'ee0dad')],
        '/DATALOADER.NUM_WORKERS': 2,
    },
    'mask': {'MASK_ON': True},
    'cascade': {
        'ROI_HEADS.NAME': 'CascadeROIHeads',
        'ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG': True,
        'RPN.POST_NMS_TOPK_TRAIN': 2000,
    },
    'cls_agnostic': {'ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG': True, 'ROI_MASK_HEAD.CLS_AGNOSTIC_MASK': True},
    'giou': {
        'RPN.BBOX_REG_LOSS_TYPE': 'giou',
        'RPN.BBOX_REG_LOSS_WEIGHT': 2.0,
        'ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE': 'giou',
        'ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT': 10.0,
    },
    'gn': {
        **_norms_everywhere('GN'),
        'RESNETS.STRIDE_IN_1X1': False,
        'WEIGHTS': 'catalog://ImageNetPretrained/FAIR/R-50-GN',
    },
    'syncbn': {**_norms_everywhere('SyncBN'), '/TEST.PRECISE_BN.ENABLED': True},
    # programs in Python, whose settings are written here as those of a YAML file would be
    'lsj': _LARGE_SCALE_JITTER,
    '50ep': _epochs_of_jitter(0.5),
    '100ep': _epochs_of_jitter(1),
    '200ep': _epochs_of_jitter(2),
    '400ep': _epochs_of_jitter(4),
    'scratch': {'WEIGHTS': '', 'BACKBONE.FREEZE_AT': 0},
    '9x': _NINE_TIMES,
    'keypoint': {
        'KEYPOINT_ON': True,
        'ROI_HEADS.NUM_CLASSES': 1,
        'ROI_BOX_HEAD.SMOOTH_L1_BETA': 0.5,
        'RPN.POST_NMS_TOPK_TRAIN': 1500,
        '/DATASETS.TRAIN': ['keypoints_coco_2017_train'],
        '/DATASETS.TEST': ['keypoints_coco_2017_val'],
    },
    'semantic': {
        'META_ARCHITECTURE': 'SemanticSegmentor',
        '/DATASETS.TRAIN': ['coco_2017_train_panoptic_stuffonly'],
        '/DATASETS.TEST': ['coco_2017_val_panoptic_stuffonly'],
    },
    'panoptic': {
        'META_ARCHITECTURE': 'PanopticFPN',
        'MASK_ON': True,
        'SEM_SEG_HEAD.LOSS_WEIGHT': 0.5,
        '/DATASETS.TRAIN': ['coco_2017_train_panoptic_separated'],
        '/DATASETS.TEST': ['coco_2017_val_panoptic_separated'],
        '/DATALOADER.FILTER_EMPTY_ANNOTATIONS': False,
    },
    # norms but in the head of boxes, larger batches
    'panoptic_gn': {
        'WEIGHTS': 'catalog://ImageNetPretrained/FAIR/R-101-GN',
        'RESNETS.DEPTH': 101,
        'RESNETS.NORM': 'GN',
        'RESNETS.STRIDE_IN_1X1': False,
        'FPN.NORM': 'GN',
        'ROI_MASK_HEAD.NORM': 'GN',
        '/SOLVER.IMS_PER_BATCH': 32,
        '/SOLVER.BASE_LR': 0.04,
        '/SOLVER.STEPS': [105000, 125000],
        '/SOLVER.MAX_ITER': 135000,
    },
    'largest': {
        'WEIGHTS': 'catalog://ImageNetPretrained/FAIR/X-152-32x8d-IN5k',
        'RESNETS.STRIDE_IN_1X1': False,
        'RESNETS.NUM_GROUPS': 32,
        'RESNETS.WIDTH_PER_GROUP': 8,
        'RESNETS.DEPTH': 152,
        'ROI_BOX_HEAD.NUM_CONV': 4,
        'ROI_BOX_HEAD.NUM_FC': 1,
        'ROI_BOX_HEAD.NORM': 'GN',
        'ROI_MASK_HEAD.NUM_CONV': 8,
        'ROI_MASK_HEAD.NORM': 'GN',
        '/INPUT.MIN_SIZE_TRAIN': [640, 864],
        '/INPUT.MIN_SIZE_TRAIN_SAMPLING': 'range',
        '/INPUT.MAX_SIZE_TRAIN': 1440,
        '/INPUT.CROP.ENABLED': True,
        '/SOLVER.IMS_PER_BATCH': 128,
        '/SOLVER.BASE_LR': 0.16,
        '/SOLVER.STEPS': [35000, 45000],
        '/SOLVER.MAX_ITER': 50000,
        '/TEST.EVAL_PERIOD': 2500,
    },
    # as Detectron1 did
    'first': {
        'RPN.SMOOTH_L1_BETA': 0.1111,
        'ROI_BOX_HEAD.SMOOTH_L1_BETA': 1.0,
        'ROI_BOX_HEAD.POOLER_TYPE': 'ROIAlign',
        'ROI_BOX_HEAD.POOLER_SAMPLING_RATIO': 2,
    },
    'first masks': {'ROI_MASK_HEAD.POOLER_TYPE': 'ROIAlign', 'ROI_MASK_HEAD.POOLER_SAMPLING_RATIO': 2},
    'first keypoints': {'ROI_KEYPOINT_HEAD.POOLER_TYPE': 'ROIAlign', 'ROI_KEYPOINT_HEAD.POOLER_SAMPLING_RATIO': 2},
    'noaug': {'/INPUT.MIN_SIZE_TRAIN': [800]},
    # schedules and data
    '3x': {'/SOLVER.STEPS': [210000, 250000], '/SOLVER.MAX_ITER': 270000},
    'lvis_v0.5': {
        **_LVIS,
        'ROI_HEADS.NUM_CLASSES': 1230,
        '/DATASETS.TRAIN': ['lvis_v0.5_train'],
        '/DATASETS.TEST': ['lvis_v0.5_val'],
    },
    'lvis_v1': {
        **_LVIS,
        'ROI_HEADS.NUM_CLASSES': 1203,
        '/DATASETS.TRAIN': ['lvis_v1_train'],
        '/DATASETS.TEST': ['lvis_v1_val'],
        '/SOLVER.STEPS': [120000, 160000],
        '/SOLVER.MAX_ITER': 180000,
    },
    'cityscapes': {
        'WEIGHTS': 'detectron2://COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x/137849600/model_final_f10217.pkl',
        'ROI_HEADS.NUM_CLASSES': 8,
        '/DATASETS.TRAIN': ['cityscapes_fine_instance_seg_train'],
        '/DATASETS.TEST': ['cityscapes_fine_instance_seg_val'],
        '/INPUT.MIN_SIZE_TRAIN': [800, 832, 864, 896, 928, 960, 992, 1024],
        '/INPUT.MIN_SIZE_TEST': 1024,
        '/INPUT.MAX_SIZE_TRAIN': 2048,
        '/INPUT.MAX_SIZE_TEST': 2048,
        '/SOLVER.IMS_PER_BATCH': 8,
        '/SOLVER.BASE_LR': 0.01,
        '/SOLVER.STEPS': [18000],
        '/SOLVER.MAX_ITER': 24000,
        '/TEST.EVAL_PERIOD': 8000,
    },
    'voc': {
        'ROI_HEADS.NUM_CLASSES': 20,
        '/DATASETS.TRAIN': ['voc_2007_trainval', 'voc_2012_trainval'],
        '/DATASETS.TEST': ['voc_2007_test'],
        '/INPUT.MIN_SIZE_TRAIN': [480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800],
        '/SOLVER.STEPS': [12000, 16000],
        '/SOLVER.MAX_ITER': 18000,
        '/SOLVER.WARMUP_ITERS': 100,
    },
}

# name -> its base and its parts, of which later ones count
ZOO = {
    'COCO-Detection': {
        'fast_rcnn_R_50_FPN_1x': ('FPN', 'fast'),
        'faster_rcnn_R_50_C4_1x': ('C4',),
        'faster_rcnn_R_50_C4_3x': ('C4', '3x'),
        'faster_rcnn_R_101_C4_3x': ('C4', 'R_101', '3x'),
        'faster_rcnn_R_50_DC5_1x': ('DC5',),
        'faster_rcnn_R_50_DC5_3x': ('DC5', '3x'),
        'faster_rcnn_R_101_DC5_3x': ('DC5', 'R_101', '3x'),
        'faster_rcnn_R_50_FPN_1x': ('FPN',),
        'faster_rcnn_R_50_FPN_3x': ('FPN', '3x'),
        'faster_rcnn_R_101_FPN_3x': ('FPN', 'R_101', '3x'),
        'faster_rcnn_X_101_32x8d_FPN_3x': ('FPN', 'X_101_32x8d', '3x'),
        'retinanet_R_50_FPN_1x': ('RetinaNet',),
        'retinanet_R_50_FPN_3x': ('RetinaNet', '3x'),
        'retinanet_R_101_FPN_3x': ('RetinaNet', 'R_101', '3x'),
        'rpn_R_50_C4_1x': ('C4', 'rpn', 'more candidates'),
        'rpn_R_50_FPN_1x': ('FPN', 'rpn'),
    },
    'COCO-InstanceSegmentation': {
        'mask_rcnn_R_50_C4_1x': ('C4', 'mask'),
        'mask_rcnn_R_50_C4_3x': ('C4', 'mask', '3x'),
        'mask_rcnn_R_101_C4_3x': ('C4', 'mask', 'R_101', '3x'),
        'mask_rcnn_R_50_DC5_1x': ('DC5', 'mask'),
        'mask_rcnn_R_50_DC5_3x': ('DC5', 'mask', '3x'),
        'mask_rcnn_R_101_DC5_3x': ('DC5', 'mask', 'R_101', '3x'),
        'mask_rcnn_R_50_FPN_1x': ('FPN', 'mask'),
        'mask_rcnn_R_50_FPN_1x_giou': ('FPN', 'mask', 'giou'),
        'mask_rcnn_R_50_FPN_3x': ('FPN', 'mask', '3x'),
        'mask_rcnn_R_101_FPN_3x': ('FPN', 'mask', 'R_101', '3x'),
        'mask_rcnn_X_101_32x8d_FPN_3x': ('FPN', 'mask', 'X_101_32x8d', '3x'),
    },
    'COCO-Keypoints': {
        'keypoint_rcnn_R_50_FPN_1x': ('FPN', 'keypoint'),
        'keypoint_rcnn_R_50_FPN_3x': ('FPN', 'keypoint', '3x'),
        'keypoint_rcnn_R_101_FPN_3x': ('FPN', 'keypoint', 'R_101', '3x'),
        'keypoint_rcnn_X_101_32x8d_FPN_3x': ('FPN', 'keypoint', 'X_101_32x8d', '3x'),
    },
    'COCO-PanopticSegmentation': {
        'panoptic_fpn_R_50_1x': ('FPN', 'panoptic'),
        'panoptic_fpn_R_50_3x': ('FPN', 'panoptic', '3x'),
        'panoptic_fpn_R_101_3x': ('FPN', 'panoptic', 'R_101', '3x'),
    },
    'LVISv0.5-InstanceSegmentation': {
        'mask_rcnn_R_50_FPN_1x': ('FPN', 'mask', 'lvis_v0.5'),
        'mask_rcnn_R_101_FPN_1x': ('FPN', 'mask', 'lvis_v0.5', 'R_101'),
        'mask_rcnn_X_101_32x8d_FPN_1x': ('FPN', 'mask', 'lvis_v0.5', 'X_101_32x8d'),
    },
    'LVISv1-InstanceSegmentation': {
        'mask_rcnn_R_50_FPN_1x': ('FPN', 'mask', 'lvis_v1'),
        'mask_rcnn_R_101_FPN_1x': ('FPN', 'mask', 'lvis_v1', 'R_101'),
        'mask_rcnn_X_101_32x8d_FPN_1x': ('FPN', 'mask', 'lvis_v1', 'X_101_32x8d'),
    },
    'new_baselines': {
        f'mask_rcnn_{backbone}_FPN_{epochs}_LSJ': ('FPN', 'mask', *parts, 'lsj', epochs)
        for backbone, parts in {
            'R_50': (),
            'R_101': ('R_101',),
            'regnetx_4gf_dds': ('regnetx_4gf_dds',),
            'regnety_4gf_dds': ('regnety_4gf_dds',),
        }.items()
        for epochs in ('50ep', '100ep', '200ep', '400ep')
        if backbone == 'R_50' or epochs != '50ep'
    },
    'Cityscapes': {'mask_rcnn_R_50_FPN': ('FPN', 'mask', 'cityscapes')},
    'PascalVOC-Detection': {
        'faster_rcnn_R_50_C4': ('C4', 'voc'),
        'faster_rcnn_R_50_FPN': ('FPN', 'voc'),
    },
    'Detectron1-Comparisons': {
        'faster_rcnn_R_50_FPN_noaug_1x': ('FPN', 'first', 'noaug'),
        'mask_rcnn_R_50_FPN_noaug_1x': ('FPN', 'mask', 'first', 'first masks', 'noaug'),
        'keypoint_rcnn_R_50_FPN_1x': ('FPN', 'keypoint', 'first', 'first keypoints'),
    },
    'Misc': {
        'cascade_mask_rcnn_R_50_FPN_1x': ('FPN', 'mask', 'cascade'),
        'cascade_mask_rcnn_R_50_FPN_3x': ('FPN', 'mask', 'cascade', '3x'),
        'cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv': ('FPN', 'mask', 'cascade', 'largest', 'dconv'),
        'mask_rcnn_R_50_FPN_1x_cls_agnostic': ('FPN', 'mask', 'cls_agnostic'),
        'mask_rcnn_R_50_FPN_1x_dconv_c3-c5': ('FPN', 'mask', 'dconv'),
        'mask_rcnn_R_50_FPN_3x_dconv_c3-c5': ('FPN', 'mask', 'dconv', '3x'),
        'mask_rcnn_R_50_FPN_3x_gn': ('FPN', 'mask', 'gn', '3x'),
        'mask_rcnn_R_50_FPN_3x_syncbn': ('FPN', 'mask', 'syncbn', '3x'),
        'panoptic_fpn_R_101_dconv_cascade_gn_3x': ('FPN', 'panoptic', 'cascade', 'panoptic_gn', 'dconv'),
        'scratch_mask_rcnn_R_50_FPN_3x_gn': ('FPN', 'mask', 'gn', '3x', 'scratch'),
        'scratch_mask_rcnn_R_50_FPN_9x_gn': ('FPN', 'mask', 'gn', '9x'),
        'scratch_mask_rcnn_R_50_FPN_9x_syncbn': ('FPN', 'mask', 'syncbn', '9x'),
        'semantic_R_50_FPN_1x': ('FPN', 'semantic'),
    },
}
