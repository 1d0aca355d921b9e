"""DeepLab's and Panoptic-DeepLab's heads of a Detectron2 config: arXiv 1706.05587, 1802.02611 and 1911.10194."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mmdetlike.errors import ConfigError

from .backbone import backbone_channels
from .common import choose, feature_stride, norm_config

# what losses here leave out
IGNORED = 255
# theirs asks the data set for it: what its name begins with -> numbers of things and stuff
CLASS_COUNTS = {'coco_2017_': (80, 53), 'cityscapes_fine_panoptic_': (8, 11)}
# where theirs number stuff first; here things come first, as in COCO
STUFF_FIRST = (8, 11)
HARDEST_SHARE = 0.2


def deeplab_v3_head(cfg: Mapping) -> dict:
    """The head on one feature map.

    Raises:
        ConfigError: There are several, or a setting has no counterpart here.
    """
    model = cfg['MODEL']
    settings = model['SEM_SEG_HEAD']
    features = _features(model, 'SEM_SEG_HEAD')
    if len(features) > 1:
        raise ConfigError(f'MODEL.SEM_SEG_HEAD.IN_FEATURES is {features} with DeepLabV3Head: expected one feature map')
    return dict(
        type='DeepLabV3Head',
        num_classes=settings['NUM_CLASSES'],
        in_channels=backbone_channels(model, features[0]),
        in_index=_indices(model, features)[0],
        channels=settings['ASPP_CHANNELS'],
        loss_seg=_pixel_loss(settings),
        **_pooling(cfg, 'SEM_SEG_HEAD', features[-1]),
    )


def deeplab_v3plus_head(cfg: Mapping) -> dict:
    """The head with a decoder."""
    settings = cfg['MODEL']['SEM_SEG_HEAD']
    return dict(
        type='DeepLabV3PlusHead',
        num_classes=settings['NUM_CLASSES'],
        loss_seg=_pixel_loss(settings),
        **_decoder(cfg, 'SEM_SEG_HEAD', settings['USE_DEPTHWISE_SEPARABLE_CONV']),
    )


def panoptic_semantic_head(cfg: Mapping) -> dict:
    """Panoptic-DeepLab's head of classes."""
    settings = cfg['MODEL']['SEM_SEG_HEAD']
    inputs = cfg['INPUT']
    choose(settings['NAME'], {'PanopticDeepLabSemSegHead': None}, 'MODEL.SEM_SEG_HEAD.NAME')
    return dict(
        type='PanopticDeepLabSemanticHead',
        num_classes=settings['NUM_CLASSES'],
        head_channels=settings['HEAD_CHANNELS'],
        small_area=inputs['SMALL_INSTANCE_AREA'],
        small_weight=inputs['SMALL_INSTANCE_WEIGHT'],
        loss_seg=_pixel_loss(settings),
        **_decoder(cfg, 'SEM_SEG_HEAD', settings['USE_DEPTHWISE_SEPARABLE_CONV']),
    )


def center_head(cfg: Mapping) -> dict:
    """Panoptic-DeepLab's head of centers and of ways to them."""
    settings = cfg['MODEL']['INS_EMBED_HEAD']
    choose(settings['NAME'], {'PanopticDeepLabInsEmbedHead': None}, 'MODEL.INS_EMBED_HEAD.NAME')
    choose(cfg['INPUT']['IGNORE_STUFF_IN_OFFSET'], {True: None}, 'INPUT.IGNORE_STUFF_IN_OFFSET')
    return dict(
        type='CenterOffsetHead',
        head_channels=settings['HEAD_CHANNELS'],
        # the bell ends at three deviations
        radius=3 * cfg['INPUT']['GAUSSIAN_SIGMA'],
        ignore_index=IGNORED,
        # theirs never splits the convolutions between decoder and centers
        center_separable=False,
        loss_center=dict(type='MSELoss', loss_weight=settings['CENTER_LOSS_WEIGHT']),
        loss_offset=dict(type='L1Loss', loss_weight=settings['OFFSET_LOSS_WEIGHT']),
        **_decoder(cfg, 'INS_EMBED_HEAD', cfg['MODEL']['PANOPTIC_DEEPLAB']['USE_DEPTHWISE_SEPARABLE_CONV']),
    )


def center_fusion_head(cfg: Mapping) -> dict:
    """What makes segments of classes, centers and ways."""
    things, stuff = class_counts(cfg)
    return dict(type='CenterFusionHead', num_things_classes=things, num_stuff_classes=stuff)


def center_fusion_testing(model: Mapping) -> dict:
    """``test_cfg`` of Panoptic-DeepLab."""
    settings = model['PANOPTIC_DEEPLAB']
    return dict(
        center_thr=settings['CENTER_THRESHOLD'],
        center_kernel=settings['NMS_KERNEL'],
        max_per_img=settings['TOP_K_INSTANCE'],
        stuff_area_limit=settings['STUFF_AREA'],
    )


def class_counts(cfg: Mapping) -> tuple[int, int]:
    """Numbers of things and of stuff, which a Detectron2 config leaves to the data set.

    Raises:
        ConfigError: The data set is unknown, or has other classes than the head.
    """
    names = [*cfg['DATASETS']['TRAIN'], *cfg['DATASETS']['TEST']]
    total = cfg['MODEL']['SEM_SEG_HEAD']['NUM_CLASSES']
    for begin, counts in CLASS_COUNTS.items():
        if names and names[0].startswith(begin) and sum(counts) == total:
            return counts
    known = ', '.join(f'{begin}* with {sum(counts)} classes' for begin, counts in CLASS_COUNTS.items())
    raise ConfigError(
        f'DATASETS {names} with MODEL.SEM_SEG_HEAD.NUM_CLASSES={total} does not say which classes are things: expected '
        f'one of {known}'
    )


def things_first(rows: Tensor, num_things: int, num_stuff: int) -> Tensor:
    """The rows (C, ...) of Panoptic-DeepLab's classifier in our order, in which things come first."""
    return rows.roll(num_things, 0) if (num_things, num_stuff) == STUFF_FIRST else rows


def things_first_labels(labels: Tensor, cfg: Mapping) -> Tensor:
    """Detectron2's labels (any shape) in our order, in which things come first."""
    counts = class_counts(cfg)
    known = labels < sum(counts)
    shift = counts[0] if counts == STUFF_FIRST else 0
    return torch.where(known, (labels + shift) % sum(counts), labels)


def _features(model: Mapping, head: str) -> list[str]:
    """Names of the feature maps of a head, the finest first.

    Raises:
        ConfigError: Its results are of another size than the finest.
    """
    settings = model[head]
    features = sorted(settings['IN_FEATURES'])
    missing = [feature for feature in features if feature not in model['RESNETS']['OUT_FEATURES']]
    finest = feature_stride(features[0], model['RESNETS'])
    if missing or settings['COMMON_STRIDE'] != finest:
        raise ConfigError(
            f'MODEL.{head} has IN_FEATURES {features} and COMMON_STRIDE {settings["COMMON_STRIDE"]}: expected some of '
            f'MODEL.RESNETS.OUT_FEATURES {list(model["RESNETS"]["OUT_FEATURES"])}, and {finest}, the stride of the '
            'finest'
        )
    return features


def _indices(model: Mapping, features: list[str]) -> list[int]:
    """Places of feature maps among those of the backbone."""
    given = sorted(model['RESNETS']['OUT_FEATURES'])
    return [given.index(feature) for feature in features]


def _decoder(cfg: Mapping, head: str, separable: bool) -> dict:
    """``in_channels`` and ``decoder`` of a head.

    Raises:
        ConfigError: The maps that are narrowed are not all but the coarsest.
    """
    model = cfg['MODEL']
    settings = model[head]
    features = _features(model, head)
    *finer, coarsest = features
    if sorted(settings['PROJECT_FEATURES']) != finer or len(settings['PROJECT_CHANNELS']) != len(finer):
        raise ConfigError(
            f'MODEL.{head} has PROJECT_FEATURES {list(settings["PROJECT_FEATURES"])} and PROJECT_CHANNELS '
            f'{list(settings["PROJECT_CHANNELS"])}: expected all of IN_FEATURES but {coarsest}, with a number each'
        )
    return dict(
        in_channels=[backbone_channels(model, feature) for feature in features],
        decoder=dict(
            in_indices=_indices(model, features),
            project_channels=list(settings['PROJECT_CHANNELS']),
            channels=[settings['CONVS_DIM']] * len(finer),
            aspp_channels=settings['ASPP_CHANNELS'],
            separable=separable,
            **_pooling(cfg, head, coarsest),
        ),
    )


def _pooling(cfg: Mapping, head: str, feature: str) -> dict:
    """Settings of the atrous pooling of a feature map."""
    settings = cfg['MODEL'][head]
    return dict(
        dilations=list(settings['ASPP_DILATIONS']),
        dropout=settings['ASPP_DROPOUT'],
        pool_kernel_size=_pooled_window(cfg, feature_stride(feature, cfg['MODEL']['RESNETS'])),
        norm_cfg=norm_config(settings['NORM'], f'MODEL.{head}.NORM'),
    )


def _pooled_window(cfg: Mapping, stride: int) -> list[int] | None:
    """Height and width of what is averaged: as much as a training crop shows; None for the whole map.

    Raises:
        ConfigError: Crops are not of one size, or the stride doesn't divide them.
    """
    crop = cfg['INPUT']['CROP']
    if not crop['ENABLED']:
        return None
    if crop['TYPE'] != 'absolute' or any(side % stride for side in crop['SIZE']):
        raise ConfigError(
            f"INPUT.CROP has TYPE {crop['TYPE']!r} and SIZE {list(crop['SIZE'])} with DeepLab's head: expected "
            f"'absolute' and sides that the stride {stride} divides"
        )
    return [side // stride for side in crop['SIZE']]


def _pixel_loss(settings: Mapping) -> dict:
    kinds = {
        'cross_entropy': dict(type='CrossEntropyLoss', avg_non_ignore=True),
        'hard_pixel_mining': dict(type='HardPixelLoss', kept_share=settings.get('LOSS_TOP_K', HARDEST_SHARE)),
    }
    kind = choose(settings['LOSS_TYPE'], kinds, 'MODEL.SEM_SEG_HEAD.LOSS_TYPE')
    return dict(kind, ignore_index=IGNORED, loss_weight=settings['LOSS_WEIGHT'])
