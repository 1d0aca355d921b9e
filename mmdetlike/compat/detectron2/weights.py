"""Names of Detectron2's parameters -> ours."""

import re
from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from mmdetlike.compat.rename import Rule, add_batch_counters, rename_all
from mmdetlike.structures.bbox import geometry

from .backbone_weights import in_a_detector
from .deeplab import things_first
from .deeplab_weights import DEEPLAB_CONV_MODULES, deeplab_rules, deeplab_stem_rules

# constants, which our models make themselves
BOX_CLASSES = re.compile(r'^roi_heads\.box_predictor\.(\d\.)?cls_score\.')
SEMANTIC_LOGITS = re.compile(r'sem_seg_head\.predictor\.')
DELTAS = re.compile(r'\.(anchor_deltas|bbox_pred)\.')
CONSTANTS = re.compile(r'(^|\.)(pixel_mean|pixel_std)$|anchor_generator\.|\.num_batches_tracked$')


def convert_state_dict(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The entries of a Detectron2 checkpoint under our names; they load with ``strict=True``.

    Args:
        state: Its ``model``, tensors by name; those of a backbone alone are a part of the result.
        model: Ours, built from ``model_config`` of the same config.
    """
    state = in_a_detector(state, getattr(getattr(model, 'roi_head', None), 'shared_head', None) is not None)
    kept = {name: value for name, value in state.items() if not CONSTANTS.search(name)}
    if hasattr(model, 'panoptic_fusion_head'):
        in_order = _class_order(model)
        kept = {name: in_order(value) if SEMANTIC_LOGITS.match(name) else value for name, value in kept.items()}
    if getattr(model, 'rpn_head', None) is not None and model.rpn_head.bbox_coder.box_dim == geometry.ROTATED:
        kept = {name: turned_back(value) if DELTAS.search(name) else value for name, value in kept.items()}
    if _classifies_by_sigmoid(model):
        # their layer has a channel for background even where no loss and no prediction looks at it
        kept = {name: value[:-1] if BOX_CLASSES.search(name) else value for name, value in kept.items()}
    return add_batch_counters(rename_all(kept, rules(state, model)), model)


def _class_order(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """What puts the rows of a panoptic model's semantic classifier in our order."""
    if not hasattr(model, 'center_head'):
        return things_last
    fusion = model.panoptic_fusion_head
    return partial(things_first, num_things=fusion.num_things_classes, num_stuff=fusion.num_stuff_classes)


def _classifies_by_sigmoid(model: nn.Module) -> bool:
    heads = [part for name, part in model.named_modules() if re.fullmatch(r'roi_head\.bbox_head(\.0)?', name)]
    return any(getattr(getattr(head, 'loss_cls', None), 'use_sigmoid', False) for head in heads)


def things_last(rows: Tensor) -> Tensor:
    """The rows (C, ...) of Panoptic FPN's semantic classifier, whose first class, things, is our last one."""
    return rows.roll(-1, 0)


def turned_back(rows: Tensor) -> Tensor:
    """The rows (5 * k, ...) of a regressor of rotated boxes, whose angles turn the other way round here."""
    signs = rows.new_tensor([1.0, 1.0, 1.0, 1.0, -1.0])
    return (rows.unflatten(0, (-1, 5)) * signs.view(5, *[1] * (rows.dim() - 1))).flatten(0, 1)


def rules(state: Mapping[str, Tensor], model: nn.Module) -> list[Rule]:
    """Replacements for the names of this model; those of norm layers and levels differ between models."""
    first_level = min((int(name[20]) for name in state if name.startswith('backbone.fpn_lateral')), default=2)
    num_lateral = len({name[20] for name in state if name.startswith('backbone.fpn_lateral')})
    return [
        *_regnet_rules(),
        *(deeplab_stem_rules() if getattr(model.backbone, 'deep_stem', False) else ()),
        *_resnet_rules(_norm_abbreviation(model.backbone)),
        (r'^backbone\.fpn_lateral(\d)\.', lambda m: f'neck.lateral_convs.{int(m[1]) - first_level}.'),
        (r'^backbone\.fpn_output(\d)\.', lambda m: f'neck.fpn_convs.{int(m[1]) - first_level}.'),
        (r'^backbone\.top_block\.p(\d)\.', lambda m: f'neck.fpn_convs.{int(m[1]) - 6 + num_lateral}.'),
        *_rpn_rules(),
        *_retina_rules(),
        *_region_rules(),
        *_semantic_rules(first_level),
        *deeplab_rules(state),
        # their layers are convolutions that hold a norm, ours are modules that hold both
        (rf'^({CONV_MODULES})\.norm\.', lambda m: f'{m[1]}.{_norm_abbreviation(model.get_submodule(m[1]))}.'),
        (rf'^({CONV_MODULES})\.(weight|bias)$', r'\1.conv.\2'),
    ]


CONV_MODULES = (
    r'neck\.(?:lateral|fpn)_convs\.\d|roi_head\.\w+\.(?:shared_convs|convs)\.\d+|bbox_head\.(?:cls|reg)_convs\.\d+'
    rf'|rpn_head\.rpn_conv\.\d+|semantic_head\.conv_upsample_layers\.\d\.conv\.\d|{DEEPLAB_CONV_MODULES}'
)


def _norm_abbreviation(part: nn.Module) -> str:
    """``'gn'`` where a part of the model has group norms, else ``'bn'``; no part has both."""
    return 'gn' if any(isinstance(module, nn.GroupNorm) for module in part.modules()) else 'bn'


def _resnet_rules(norm: str) -> list[Rule]:
    return [
        (r'^backbone\.(bottom_up\.)?stem\.(?!\d)', 'backbone.'),
        (r'^backbone\.(?:bottom_up\.)?res(\d)\.', lambda m: f'backbone.layer{int(m[1]) - 1}.'),
        (r'^roi_heads\.res5\.', 'roi_head.shared_head.layer4.'),
        (r'^((?:backbone|roi_head\.shared_head)\..*)conv(\d)\.norm\.', rf'\1{norm}\2.'),
        (r'\.conv2_offset\.', '.conv2.conv_offset.'),
        (r'\.shortcut\.norm\.', '.downsample.1.'),
        (r'\.shortcut\.', '.downsample.0.'),
    ]


def _regnet_rules() -> list[Rule]:
    block = r'^backbone\.bottom_up\.s(\d)\.b(\d+)\.'
    part = r'^(backbone\.layer\d\.\d+\.)'
    return [
        (r'^backbone\.bottom_up\.stem\.(conv|bn)\.', r'backbone.\g<1>1.'),
        (block, lambda m: f'backbone.layer{m[1]}.{int(m[2]) - 1}.'),
        (part + r'proj\.', r'\1downsample.0.'),
        (part + r'bn\.', r'\1downsample.1.'),
        # the three convolutions are called a, b and c
        *((part + rf'f\.{letter}_bn\.', rf'\g<1>bn{i}.') for i, letter in enumerate('abc', start=1)),
        *((part + rf'f\.{letter}\.', rf'\g<1>conv{i}.') for i, letter in enumerate('abc', start=1)),
        (part + r'f\.se\.f_ex\.0\.', r'\1se.conv1.conv.'),
        (part + r'f\.se\.f_ex\.2\.', r'\1se.conv2.conv.'),
    ]


def _rpn_rules() -> list[Rule]:
    return [
        (r'^proposal_generator\.rpn_head\.conv\.conv(\d)\.', r'rpn_head.rpn_conv.\1.'),
        (r'^proposal_generator\.rpn_head\.conv\.', 'rpn_head.rpn_conv.'),
        (r'^proposal_generator\.rpn_head\.objectness_logits\.', 'rpn_head.rpn_cls.'),
        (r'^proposal_generator\.rpn_head\.anchor_deltas\.', 'rpn_head.rpn_reg.'),
    ]


def _retina_rules() -> list[Rule]:
    # their towers are flat: convolution, activation, convolution, ...
    return [
        (r'^head\.cls_subnet\.(\d+)\.', lambda m: f'bbox_head.cls_convs.{int(m[1]) // 2}.'),
        (r'^head\.bbox_subnet\.(\d+)\.', lambda m: f'bbox_head.reg_convs.{int(m[1]) // 2}.'),
        (r'^head\.cls_score\.', 'bbox_head.retina_cls.'),
        (r'^head\.bbox_pred\.', 'bbox_head.retina_reg.'),
    ]


def _region_rules() -> list[Rule]:
    return [
        # a cascade numbers its stages
        (r'^roi_heads\.box_(head|predictor)\.(\d)\.', r'roi_heads.box_\1.stage\2.'),
        (r'^roi_heads\.box_(?:head|predictor)\.(?:stage(\d)\.)?', lambda m: f'roi_head.bbox_head.{_stage(m[1])}'),
        (r'^(roi_head\.bbox_head\.(?:\d\.)?)fc(\d)\.', lambda m: f'{m[1]}shared_fcs.{int(m[2]) - 1}.'),
        (r'^(roi_head\.bbox_head\.(?:\d\.)?)conv(\d)\.', lambda m: f'{m[1]}shared_convs.{int(m[2]) - 1}.'),
        (r'^(roi_head\.bbox_head\.(?:\d\.)?)cls_score\.', r'\1fc_cls.'),
        (r'^(roi_head\.bbox_head\.(?:\d\.)?)bbox_pred\.', r'\1fc_reg.'),
        (r'^roi_heads\.mask_head\.mask_fcn(\d)\.', lambda m: f'roi_head.mask_head.convs.{int(m[1]) - 1}.'),
        (r'^roi_heads\.mask_head\.deconv\.', 'roi_head.mask_head.upsample.'),
        (r'^roi_heads\.mask_head\.predictor\.', 'roi_head.mask_head.conv_logits.'),
        (r'^roi_heads\.keypoint_head\.conv_fcn(\d)\.', lambda m: f'roi_head.keypoint_head.convs.{int(m[1]) - 1}.'),
        (r'^roi_heads\.keypoint_head\.score_lowres\.', 'roi_head.keypoint_head.deconv.'),
    ]


def _semantic_rules(first_level: int) -> list[Rule]:
    def layer(m: re.Match) -> str:
        # convolutions and upsamplings take turns
        return f'semantic_head.conv_upsample_layers.{int(m[1]) - first_level}.conv.{int(m[2]) // 2}.'

    return [
        (r'^sem_seg_head\.p(\d)\.(\d)\.', layer),
        (r'^sem_seg_head\.predictor\.', 'semantic_head.conv_logits.'),
    ]


def _stage(number: str | None) -> str:
    return '' if number is None else f'{number}.'
