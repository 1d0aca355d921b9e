"""The semantic head of a Detectron2 config, alone or fused with instances: Panoptic FPN, arXiv 1901.02446.

Where a head shares its map with instances, Detectron2 numbers all things 0 and stuff from 1 on; here stuff comes first
and things last, and datasets number things first and stuff after them.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from mmdetlike.errors import ConfigError

from .backbone import feature_channels, has_pyramid, preprocessor
from .common import choose, norm_config
from .deeplab import IGNORED, deeplab_v3_head, deeplab_v3plus_head, things_first_labels
from .project_defaults import PANOPTIC_DEEPLAB


def segmentation_preprocessor(cfg: Mapping) -> dict:
    """How images and label maps are padded."""
    return dict(preprocessor(cfg), pad_seg=True, seg_pad_value=IGNORED)


def semantic_head(cfg: Mapping) -> dict:
    """The head of semantic segmentation alone, whose classes are numbered as theirs."""
    build = choose(cfg['MODEL']['SEM_SEG_HEAD']['NAME'], SEMANTIC_HEADS, 'MODEL.SEM_SEG_HEAD.NAME')
    return build(cfg)


def _pyramid_head(cfg: Mapping) -> dict:
    model = cfg['MODEL']
    return dict(type='SemanticFPNHead', num_classes=model['SEM_SEG_HEAD']['NUM_CLASSES'], **_layers(model))


SEMANTIC_HEADS = {
    'SemSegFPNHead': _pyramid_head,
    'DeepLabV3Head': deeplab_v3_head,
    'DeepLabV3PlusHead': deeplab_v3plus_head,
}


def panoptic_head(model: Mapping) -> dict:
    """The head of stuff, whose last class is things."""
    return dict(type='PanopticFPNHead', **_class_counts(model), **_layers(model))


def fusion_head(model: Mapping) -> dict:
    """What makes segments of masks and stuff."""
    return dict(type='HeuristicFusionHead', **_class_counts(model))


def fusion_testing(model: Mapping) -> dict:
    """``test_cfg.panoptic``."""
    combine = model['PANOPTIC_FPN']['COMBINE']
    return dict(
        score_thr=combine['INSTANCES_CONFIDENCE_THRESH'],
        mask_overlap=combine['OVERLAP_THRESH'],
        stuff_area_limit=combine['STUFF_AREA_LIMIT'],
        **({} if combine['ENABLED'] else dict(enabled=False)),
    )


def semantic_labels(labels: Tensor, cfg: Mapping) -> Tensor:
    """Detectron2's semantic labels in the numbers that the translated model is trained with.

    Args:
        labels: Class of each pixel, any shape, of type int64.
        cfg: The config as plain data with all keys.

    Returns:
        The same shape. For Panoptic FPN stuff follows the things, of which class 0 stands for all, as their kind is not
        in these labels; for Panoptic-DeepLab stuff follows the things; ignored pixels are 255.
    """
    model = cfg['MODEL']
    ignored = labels == model['SEM_SEG_HEAD']['IGNORE_VALUE']
    if model['META_ARCHITECTURE'] == 'PanopticFPN':
        labels = torch.where(labels > 0, labels - 1 + model['ROI_HEADS']['NUM_CLASSES'], 0)
    if model['META_ARCHITECTURE'] == PANOPTIC_DEEPLAB:
        labels = things_first_labels(labels, cfg)
    return torch.where(ignored, IGNORED, labels)


def _class_counts(model: Mapping) -> dict:
    """Classes of things and of stuff, among which theirs counts all things as one."""
    num_stuff = model['SEM_SEG_HEAD']['NUM_CLASSES'] - 1
    return dict(num_things_classes=model['ROI_HEADS']['NUM_CLASSES'], num_stuff_classes=num_stuff)


def _layers(model: Mapping) -> dict:
    settings = model['SEM_SEG_HEAD']
    choose(settings['NAME'], {'SemSegFPNHead': None}, 'MODEL.SEM_SEG_HEAD.NAME')
    if settings['NORM'] == '':
        raise ConfigError("MODEL.SEM_SEG_HEAD.NORM is '', which has no counterpart here: expected a norm, such as 'GN'")
    first, last = _levels(model)
    return dict(
        in_channels=feature_channels(model, settings['IN_FEATURES'][0]),
        inner_channels=settings['CONVS_DIM'],
        start_level=first,
        end_level=last + 1,
        norm_cfg=norm_config(settings['NORM'], 'MODEL.SEM_SEG_HEAD.NORM'),
        loss_seg=dict(
            type='CrossEntropyLoss', ignore_index=IGNORED, avg_non_ignore=True, loss_weight=settings['LOSS_WEIGHT']
        ),
    )


def _levels(model: Mapping) -> tuple[int, int]:
    """The first and the last level of the pyramid that the head takes.

    Raises:
        ConfigError: There is no pyramid, or the levels don't follow one another up from the common stride.
    """
    settings = model['SEM_SEG_HEAD']
    features = list(settings['IN_FEATURES'])
    finest = int(model['FPN']['IN_FEATURES'][0][-1]) if has_pyramid(model) else 0
    expected = [f'p{int(features[0][-1]) + i}' for i in range(len(features))]
    if features != expected or finest == 0 or settings['COMMON_STRIDE'] != 2**finest:
        raise ConfigError(
            f'MODEL.SEM_SEG_HEAD has IN_FEATURES {features} and COMMON_STRIDE {settings["COMMON_STRIDE"]}, which have '
            'no counterpart here: expected levels of an FPN that follow one another, and the stride of its finest level'
        )
    first = int(features[0][-1]) - finest
    return first, first + len(features) - 1
