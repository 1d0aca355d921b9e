"""Detectron2's ``MODEL`` -> our ``model``."""

from collections.abc import Mapping

from mmdetlike.errors import ConfigError

from .backbone import backbone, neck, preprocessor
from .common import choose
from .deeplab import center_fusion_head, center_fusion_testing, center_head, panoptic_semantic_head
from .dense import proposing, retina_head, retina_testing, retina_training, rpn_head, rpn_training
from .regions import TRIDENT, region_testing, region_training, roi_head
from .segmentation import fusion_head, fusion_testing, panoptic_head, segmentation_preprocessor, semantic_head


def model_config(cfg: Mapping) -> dict:
    """Translate a Detectron2 config to our ``model``, which computes the same from the same weights.

    Args:
        cfg: The config as plain data with all keys, as Detectron2 writes it to ``config.yaml``.

    Raises:
        ConfigError: A setting has no counterpart here, or a key is missing.
    """
    try:
        build = ARCHITECTURES.get(cfg['MODEL']['META_ARCHITECTURE'])
        if build is None:
            raise ConfigError(
                f'MODEL.META_ARCHITECTURE is {cfg["MODEL"]["META_ARCHITECTURE"]!r}: expected one of '
                f'{", ".join(ARCHITECTURES)}'
            )
        return build(cfg)
    except KeyError as error:
        raise ConfigError(
            f'the Detectron2 config has no key {error.args[0]!r}: expected all keys, as in the config.yaml that a run '
            'of Detectron2 writes'
        ) from error


GENERATORS = ('RPN', 'RRPN', 'TridentRPN')


def _common(cfg: Mapping) -> dict:
    """What all detectors have."""
    model = cfg['MODEL']
    parts = dict(data_preprocessor=preprocessor(cfg), backbone=backbone(model))
    built_neck = neck(model)
    return parts if built_neck is None else dict(parts, neck=built_neck)


def _retinanet(cfg: Mapping) -> dict:
    model = cfg['MODEL']
    return dict(
        type='RetinaNet',
        **_common(cfg),
        bbox_head=retina_head(model),
        train_cfg=retina_training(model),
        test_cfg=retina_testing(cfg),
    )


def _proposal_network(cfg: Mapping) -> dict:
    model = cfg['MODEL']
    return dict(
        type='RPN',
        **_common(cfg),
        rpn_head=rpn_head(model),
        train_cfg=dict(rpn=rpn_training(model)),
        test_cfg=dict(rpn=proposing(model, 'TEST')),
    )


def _two_stage(cfg: Mapping) -> dict:
    model = cfg['MODEL']
    detector = dict(_common(cfg), roi_head=roi_head(cfg))
    train_cfg = dict(rcnn=region_training(model))
    test_cfg = dict(rcnn=region_testing(cfg))
    generator = model['PROPOSAL_GENERATOR']['NAME']
    if generator == 'PrecomputedProposals':
        return dict(type='FastRCNN', **detector, train_cfg=train_cfg, test_cfg=test_cfg)
    if generator not in GENERATORS:
        raise ConfigError(
            f'MODEL.PROPOSAL_GENERATOR.NAME is {generator!r}: expected one of {", ".join(GENERATORS)} or '
            'PrecomputedProposals'
        )
    if (generator == 'TridentRPN') != (model['ROI_HEADS']['NAME'] == TRIDENT):
        raise ConfigError(
            f'MODEL.PROPOSAL_GENERATOR.NAME is {generator!r} with MODEL.ROI_HEADS.NAME {model["ROI_HEADS"]["NAME"]!r}: '
            f'expected TridentRPN with {TRIDENT}, or neither'
        )
    train_cfg.update(rpn=rpn_training(model), rpn_proposal=proposing(model, 'TRAIN'))
    test_cfg.update(rpn=proposing(model, 'TEST'))
    kind = 'MaskRCNN' if model['MASK_ON'] else 'FasterRCNN'
    if generator == 'TridentRPN':
        kind = choose(model['MASK_ON'], {False: 'TridentFasterRCNN'}, 'MODEL.MASK_ON')
    return dict(type=kind, **detector, rpn_head=rpn_head(model), train_cfg=train_cfg, test_cfg=test_cfg)


def _panoptic(cfg: Mapping) -> dict:
    model = cfg['MODEL']
    detector = _two_stage(cfg)
    if not model['MASK_ON']:
        raise ConfigError('MODEL.MASK_ON is False with PanopticFPN, which fuses masks: expected True')
    detector.update(
        type='PanopticFPN',
        data_preprocessor=segmentation_preprocessor(cfg),
        semantic_head=panoptic_head(model),
        panoptic_fusion_head=fusion_head(model),
    )
    detector['test_cfg']['panoptic'] = fusion_testing(model)
    return detector


def _semantic(cfg: Mapping) -> dict:
    parts = dict(_common(cfg), data_preprocessor=segmentation_preprocessor(cfg))
    return dict(type='SemanticSegmentor', **parts, semantic_head=semantic_head(cfg))


def _panoptic_deeplab(cfg: Mapping) -> dict:
    parts = dict(_common(cfg), data_preprocessor=segmentation_preprocessor(cfg))
    parts['data_preprocessor']['pad_mask'] = True
    if (divisor := cfg['MODEL']['PANOPTIC_DEEPLAB']['SIZE_DIVISIBILITY']) > 0:
        parts['data_preprocessor']['pad_size_divisor'] = divisor
    return dict(
        type='PanopticDeepLab',
        **parts,
        semantic_head=panoptic_semantic_head(cfg),
        center_head=center_head(cfg),
        panoptic_fusion_head=center_fusion_head(cfg),
        test_cfg=center_fusion_testing(cfg['MODEL']),
    )


ARCHITECTURES = {
    'GeneralizedRCNN': _two_stage,
    'RetinaNet': _retinanet,
    'ProposalNetwork': _proposal_network,
    'PanopticFPN': _panoptic,
    'SemanticSegmentor': _semantic,
    'PanopticDeepLab': _panoptic_deeplab,
}
