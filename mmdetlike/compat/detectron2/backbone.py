"""ResNet and FPN of a Detectron2 config."""

from collections.abc import Mapping, Sequence

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones.regnet import RegNet, stages_of

from .common import choose, norm_config
from .project_defaults import DEEPLAB_BACKBONE, TRIDENT_BACKBONE

# theirs has no name for configs: only programs in Python build it
REGNET_PYRAMID = 'build_regnet_fpn_backbone'
PYRAMIDS = ('build_resnet_fpn_backbone', 'build_retinanet_resnet_fpn_backbone', REGNET_PYRAMID)
BACKBONES = ('build_resnet_backbone', DEEPLAB_BACKBONE, TRIDENT_BACKBONE, *PYRAMIDS)
USUAL_STEM_CHANNELS = 64
# channels of the first stage of ResNets without bottlenecks
FIRST_WIDTHS = {18: 64, 34: 64}


def preprocessor(cfg: Mapping) -> dict:
    """How images are normalized and padded.

    Raises:
        ConfigError: ``INPUT.FORMAT`` is neither BGR nor RGB.
    """
    model = cfg['MODEL']
    order = cfg['INPUT']['FORMAT']
    if order not in ('BGR', 'RGB'):
        raise ConfigError(f"INPUT.FORMAT is {order!r}: expected 'BGR' or 'RGB'")
    return dict(
        type='DetDataPreprocessor',
        mean=list(model['PIXEL_MEAN']),
        std=list(model['PIXEL_STD']),
        bgr_to_rgb=order == 'RGB',
        pad_mask=bool(model['MASK_ON']),
        # only a pyramid needs sides that its levels divide
        pad_size_divisor=32 if has_pyramid(model) else 1,
    )


def has_pyramid(model: Mapping) -> bool:
    """Whether the backbone ends in an FPN."""
    return model['BACKBONE']['NAME'] in PYRAMIDS


def backbone(model: Mapping) -> dict:
    """The ResNet, ResNeXt or RegNet.

    Raises:
        ConfigError: The backbone is another one.
    """
    name = model['BACKBONE']['NAME']
    if name not in BACKBONES:
        raise ConfigError(f'MODEL.BACKBONE.NAME is {name!r}: expected one of {", ".join(BACKBONES)}')
    if name == REGNET_PYRAMID:
        return _regnet(model)
    resnets = model['RESNETS']
    first_width = FIRST_WIDTHS.get(resnets['DEPTH'], 256)
    choose(resnets['RES2_OUT_CHANNELS'], {first_width: None}, 'MODEL.RESNETS.RES2_OUT_CHANNELS')
    stages = sorted(int(feature[-1]) - 2 for feature in resnets['OUT_FEATURES'])
    num_stages = stages[-1] + 1
    dilations = [1, 1, 1, resnets['RES5_DILATION']]
    if name == DEEPLAB_BACKBONE:
        dilations[2] = resnets['RES4_DILATION']
    # a stage that is dilated doesn't stride
    strides = [1, *(2 if dilation == 1 else 1 for dilation in dilations[1:])]
    built = dict(
        type='ResNet',
        depth=resnets['DEPTH'],
        num_stages=num_stages,
        strides=strides[:num_stages],
        dilations=dilations[:num_stages],
        out_indices=stages,
        # theirs counts the stem as 1 and nothing as 0
        frozen_stages=model['BACKBONE']['FREEZE_AT'] - 1,
        norm_cfg=norm_config(resnets['NORM'], 'MODEL.RESNETS.NORM'),
        # theirs are trained like any other layer; those that are frozen are constants
        norm_eval=False,
        style='caffe' if resnets['STRIDE_IN_1X1'] else 'pytorch',
    )
    if name == DEEPLAB_BACKBONE:
        built.update(_deeplab_parts(resnets, dilations, num_stages))
    if resnets['STEM_OUT_CHANNELS'] != USUAL_STEM_CHANNELS:
        built['stem_channels'] = resnets['STEM_OUT_CHANNELS']
    built.update(_widths(resnets))
    built.update(_deformable(resnets, num_stages))
    if name == TRIDENT_BACKBONE:
        built.update(_trident_parts(model))
    return built


def _regnet(model: Mapping) -> dict:
    return dict(
        type='RegNet',
        arch=model['REGNET_ARCH'],
        frozen_stages=model['BACKBONE']['FREEZE_AT'] - 1,
        norm_cfg=norm_config(model['RESNETS']['NORM'], 'MODEL.RESNETS.NORM'),
        norm_eval=False,
    )


def trident_branches(model: Mapping) -> dict:
    """What the backbone and the region head of TridentNet know of its branches."""
    settings = model['TRIDENT']
    return dict(num_branch=settings['NUM_BRANCH'], test_branch_idx=settings['TEST_BRANCH_IDX'])


def _trident_parts(model: Mapping) -> dict:
    settings = model['TRIDENT']
    features = list(model['RESNETS']['OUT_FEATURES'])
    if features != [settings['TRIDENT_STAGE']] or model['RESNETS']['NUM_GROUPS'] != 1:
        raise ConfigError(
            f'MODEL.TRIDENT.TRIDENT_STAGE is {settings["TRIDENT_STAGE"]!r} with OUT_FEATURES {features} and NUM_GROUPS '
            f'{model["RESNETS"]["NUM_GROUPS"]} of MODEL.RESNETS: expected that stage alone, and one group'
        )
    dilations = list(settings['BRANCH_DILATIONS'])
    return dict(type='TridentResNet', trident_dilations=dilations, **trident_branches(model))


def _deeplab_parts(resnets: Mapping, dilations: Sequence[int], num_stages: int) -> dict:
    """A stem of three convolutions, and dilations that grow within the last stage."""
    deep = choose(resnets['STEM_TYPE'], {'deeplab': True, 'basic': False}, 'MODEL.RESNETS.STEM_TYPE')
    grid = tuple(dilations[3] * factor for factor in resnets['RES5_MULTI_GRID'])
    return dict(deep_stem=deep, dilations=[*dilations[:3], grid][:num_stages])


def _widths(resnets: Mapping) -> dict:
    groups = resnets['NUM_GROUPS']
    if groups == 1 and resnets['WIDTH_PER_GROUP'] == 64:
        return {}
    return dict(type='ResNeXt', groups=groups, base_width=resnets['WIDTH_PER_GROUP'])


def _deformable(resnets: Mapping, num_stages: int) -> dict:
    deformed = list(resnets['DEFORM_ON_PER_STAGE'])[:num_stages]
    if not any(deformed):
        return {}
    kind = 'DCNv2' if resnets['DEFORM_MODULATED'] else 'DCN'
    # only the block that is built has the convolution, so stages without it need no layer of their own
    return dict(dcn=dict(type=kind, deform_groups=resnets['DEFORM_NUM_GROUPS']), stage_with_dcn=deformed)


def backbone_channels(model: Mapping, feature: str) -> int:
    """Channels of the feature map ``res2`` to ``res5``."""
    stage = int(feature[-1]) - 2
    if model['BACKBONE']['NAME'] == REGNET_PYRAMID:
        return stages_of(RegNet.arch_settings[model['REGNET_ARCH']])[stage]['channels']
    resnets = model['RESNETS']
    narrow = resnets['DEPTH'] < 50
    first = 64 if narrow else resnets['RES2_OUT_CHANNELS']
    return first * 2**stage


def neck(model: Mapping) -> dict | None:
    """The FPN; None where there is none.

    Raises:
        ConfigError: It fuses its levels in a way that is unknown.
    """
    if not has_pyramid(model):
        return None
    fpn = model['FPN']
    fuse_type = fpn['FUSE_TYPE']
    if fuse_type not in ('sum', 'avg'):
        raise ConfigError(f"MODEL.FPN.FUSE_TYPE is {fuse_type!r}, 'sum' or 'avg' is expected")
    retina = model['BACKBONE']['NAME'] == 'build_retinanet_resnet_fpn_backbone'
    levels = list(fpn['IN_FEATURES'])
    built = dict(
        type='FPN',
        in_channels=[backbone_channels(model, feature) for feature in levels],
        out_channels=fpn['OUT_CHANNELS'],
        norm_cfg=norm_config(fpn['NORM'], 'MODEL.FPN.NORM'),
        num_outs=len(levels) + (2 if retina else 1),
    )
    if fuse_type != 'sum':
        built['fuse_type'] = fuse_type
    if retina:
        built.update(add_extra_convs='on_input', relu_before_extra_convs=True)
    return built


def feature_channels(model: Mapping, feature: str) -> int:
    """Channels of a feature map that heads look at."""
    return model['FPN']['OUT_CHANNELS'] if feature.startswith('p') else backbone_channels(model, feature)
