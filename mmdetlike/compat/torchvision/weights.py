"""Names of torchvision's parameters -> ours; background, their first class, is our last one."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdetlike.compat.rename import Rule, add_batch_counters, rename_all
from mmdetlike.models.backbones import MobileNetV3


def convert_state_dict(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The entries of a torchvision checkpoint under our names; they load with ``strict=True``.

    Args:
        state: Tensors by name.
        model: Ours, built from ``model_config`` of the same function.
    """
    # counters of batches that frozen norms don't have, and those that are added below
    kept = {name: value for name, value in state.items() if not name.endswith('.num_batches_tracked')}
    reordered = {name: reorder_classes(name, value, model) for name, value in kept.items()}
    renamed = rename_all(reordered, rules(model))
    for name, value in model.state_dict().items():
        # FCOS multiplies distances of each level by a learned factor, which torchvision's doesn't have
        if name.startswith('bbox_head.scales.'):
            renamed[name] = torch.ones_like(value)
    return add_batch_counters(renamed, model)


def reorder_classes(name: str, value: Tensor, model: nn.Module) -> Tensor:
    """The rows of a predictor in our order of classes."""
    if re.search(r'box_predictor\.cls_score\.', name):
        return value.roll(-1, 0)
    if re.search(r'box_predictor\.bbox_pred\.', name):
        return value[4:]  # boxes of background
    if re.search(r'mask_predictor\.mask_fcn_logits\.', name):
        return value[1:]
    of_level = re.match(r'head\.classification_head\.module_list\.(\d)\.(1\.)?(weight|bias)', name)
    if of_level:
        return _of_anchors(value, model, int(of_level[1])).roll(-1, 1).flatten(0, 1)
    if name.startswith('head.classification_head.cls_logits.'):
        return _of_anchors(value, model, 0)[:, 1:].flatten(0, 1)
    return value


def _of_anchors(value: Tensor, model: nn.Module, level: int) -> Tensor:
    """Rows (A * C, ...) of a dense classifier as (A, C, ...), of C classes with background, not always the model's."""
    return value.unflatten(0, (model.bbox_head.prior_generator.num_base_priors[level], -1))


RESNET: list[Rule] = [
    (r'^backbone\.body\.', 'backbone.'),
]
FPN: list[Rule] = [
    (r'^backbone\.fpn\.inner_blocks\.(\d)\.0\.', r'neck.lateral_convs.\1.conv.'),
    (r'^backbone\.fpn\.inner_blocks\.(\d)\.1\.', r'neck.lateral_convs.\1.bn.'),
    (r'^backbone\.fpn\.layer_blocks\.(\d)\.0\.', r'neck.fpn_convs.\1.conv.'),
    (r'^backbone\.fpn\.layer_blocks\.(\d)\.1\.', r'neck.fpn_convs.\1.bn.'),
    # after the three levels of the backbone
    (r'^backbone\.fpn\.extra_blocks\.p6\.', 'neck.fpn_convs.3.conv.'),
    (r'^backbone\.fpn\.extra_blocks\.p7\.', 'neck.fpn_convs.4.conv.'),
]
REGIONS: list[Rule] = [
    (r'^roi_heads\.box_head\.fc([67])\.', lambda m: f'roi_head.bbox_head.shared_fcs.{int(m[1]) - 6}.'),
    (r'^roi_heads\.box_head\.(\d)\.0\.', r'roi_head.bbox_head.shared_convs.\1.conv.'),
    (r'^roi_heads\.box_head\.(\d)\.1\.', r'roi_head.bbox_head.shared_convs.\1.bn.'),
    # after four convolutions and a flattening
    (r'^roi_heads\.box_head\.5\.', 'roi_head.bbox_head.shared_fcs.0.'),
    (r'^roi_heads\.box_predictor\.cls_score\.', 'roi_head.bbox_head.fc_cls.'),
    (r'^roi_heads\.box_predictor\.bbox_pred\.', 'roi_head.bbox_head.fc_reg.'),
    (r'^roi_heads\.mask_head\.(\d)\.0\.', r'roi_head.mask_head.convs.\1.conv.'),
    (r'^roi_heads\.mask_head\.(\d)\.1\.', r'roi_head.mask_head.convs.\1.bn.'),
    (r'^roi_heads\.mask_predictor\.conv5_mask\.', 'roi_head.mask_head.upsample.'),
    (r'^roi_heads\.mask_predictor\.mask_fcn_logits\.', 'roi_head.mask_head.conv_logits.'),
    # convolutions and activations take turns
    (r'^roi_heads\.keypoint_head\.(\d+)\.', lambda m: f'roi_head.keypoint_head.convs.{int(m[1]) // 2}.conv.'),
    (r'^roi_heads\.keypoint_predictor\.kps_score_lowres\.', 'roi_head.keypoint_head.deconv.'),
]
TOWERS: list[Rule] = [
    (r'^head\.classification_head\.conv\.', 'bbox_head.cls_convs.'),
    (r'^head\.regression_head\.conv\.', 'bbox_head.reg_convs.'),
    # RetinaNet's are modules of a convolution and perhaps a norm
    (r'^(bbox_head\.(?:cls|reg)_convs\.\d)\.0\.', r'\1.conv.'),
    (r'^(bbox_head\.(?:cls|reg)_convs\.\d)\.1\.', r'\1.gn.'),
    # FCOS's are flat: convolution, norm, activation, convolution, ...
    (r'^(bbox_head\.(?:cls|reg)_convs)\.(\d+)\.(weight|bias)$', lambda m: f'{m[1]}.{_third(m[2])}.{m[3]}'),
]


def _third(number: str) -> str:
    """Place of a layer of a flat tower, as that of its module and its name there."""
    module, layer = divmod(int(number), 3)
    return f'{module}.{("conv", "gn")[layer]}'


SSD: list[Rule] = [
    (r'^backbone\.scale_weight$', 'neck.l2_norm.weight'),
    # the rest of VGG, after its last map that is put out: poolings and activations count as layers
    (r'^backbone\.extra\.0\.([135])\.', lambda m: f'backbone.features.{23 + int(m[1])}.'),
    (r'^backbone\.extra\.0\.7\.([13])\.', lambda m: f'backbone.features.{30 + int(m[1])}.'),
    (r'^backbone\.extra\.(\d)\.([02])\.', lambda m: f'neck.extra_layers.{int(m[1]) - 1}.{int(m[2]) // 2}.conv.'),
    (r'^head\.classification_head\.module_list\.(\d)\.(weight|bias)', r'bbox_head.cls_convs.\1.0.\2'),
    (r'^head\.regression_head\.module_list\.(\d)\.(weight|bias)', r'bbox_head.reg_convs.\1.0.\2'),
]
SSDLITE: list[Rule] = [
    (r'^backbone\.extra\.(\d)\.0\.', r'neck.extra_layers.\1.0.'),
    (r'^backbone\.extra\.(\d)\.1\.', r'neck.extra_layers.\1.1.depthwise_conv.'),
    (r'^backbone\.extra\.(\d)\.2\.', r'neck.extra_layers.\1.1.pointwise_conv.'),
    (r'^head\.classification_head\.module_list\.', 'bbox_head.cls_convs.'),
    (r'^head\.regression_head\.module_list\.', 'bbox_head.reg_convs.'),
    # a depthwise convolution with its norm, then the convolution that predicts
    (r'^((?:bbox_head\.(?:cls|reg)_convs\.\d|neck\.extra_layers\.\d)\..*)0\.(weight|bias)$', r'\1conv.\2'),
    (r'^(neck\.extra_layers\.\d\..*)1\.(\w+)$', r'\1bn.\2'),
    (r'^(bbox_head\.(?:cls|reg)_convs\.\d\.0\.)1\.(\w+)$', r'\1bn.\2'),
]


def rules(model: nn.Module) -> list[Rule]:
    """Replacements for the names of a model; predictors are called otherwise in RetinaNet and in FCOS."""
    prefix = 'retina' if hasattr(getattr(model, 'bbox_head', None), 'retina_cls') else 'conv'
    predictors = [
        (r'^head\.classification_head\.cls_logits\.', f'bbox_head.{prefix}_cls.'),
        (r'^head\.regression_head\.bbox_reg\.', f'bbox_head.{prefix}_reg.'),
        (r'^head\.regression_head\.bbox_ctrness\.', 'bbox_head.conv_centerness.'),
    ]
    if isinstance(model.backbone, MobileNetV3):
        single_stage = hasattr(model, 'bbox_head')
        others = SSDLITE if single_stage else [*_rpn(model), *FPN, *REGIONS]
        return [*others, *_mobilenet(model.backbone)]
    return [*_rpn(model), *SHARED, *predictors, *SSD]


def _mobilenet(backbone: MobileNetV3) -> list[Rule]:
    """Names of layers: as a list, or, in SSDLite, in two lists, the first of which ends within layer 13."""

    def part(m: re.Match) -> str:
        layer = backbone.get_submodule(f'layer{m[1]}')
        names = list(getattr(layer, 'part_names', []))
        return f'backbone.layer{m[1]}.{names[int(m[2])]}.'

    return [
        (r'^backbone\.features\.0\.13\.', 'backbone.body.13.block.0.'),
        (r'^backbone\.features\.0\.', 'backbone.body.'),
        (r'^backbone\.features\.1\.0\.', 'backbone.body.13.block.'),
        (r'^backbone\.features\.1\.(\d)\.', lambda m: f'backbone.body.{13 + int(m[1])}.'),
        (r'^backbone\.body\.(\d+)\.block\.(\d)\.', part),
        (r'^backbone\.body\.(\d+)\.', r'backbone.layer\1.'),
        (r'^(backbone\..*\.)fc([12])\.', r'\1conv\2.conv.'),
        # a convolution and its norm
        (r'^(backbone\..*\.)0\.(\w+)$', r'\1conv.\2'),
        (r'^(backbone\..*\.)1\.(\w+)$', r'\1bn.\2'),
    ]


def _rpn(model: nn.Module) -> list[Rule]:
    """A single convolution is no module of convolution and activation here, several are."""
    several = isinstance(getattr(getattr(model, 'rpn_head', None), 'rpn_conv', None), nn.Sequential)
    return [
        (r'^rpn\.head\.conv\.(\d)\.0\.', r'rpn_head.rpn_conv.\1.conv.' if several else 'rpn_head.rpn_conv.'),
        (r'^rpn\.head\.cls_logits\.', 'rpn_head.rpn_cls.'),
        (r'^rpn\.head\.bbox_pred\.', 'rpn_head.rpn_reg.'),
    ]


SHARED = [*RESNET, *FPN, *REGIONS, *TOWERS]
