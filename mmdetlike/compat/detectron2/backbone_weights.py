"""Weights of ImageNet in Detectron2's zoo: backbones alone, some of them under Caffe2's names."""

import re
from collections.abc import Mapping

from torch import Tensor

CAFFE2_NAME = re.compile(r'\w+_(w|b|s|rm|riv)')
# the classifier, and what an optimizer has left
OTHERS = re.compile(r'(fc|fc1000|pred)[._]|lr$|.*_momentum$')
BRANCHES = {'1': 'shortcut', '2a': 'conv1', '2b': 'conv2', '2c': 'conv3'}
NORM_VALUES = {'s': 'weight', 'b': 'bias', 'rm': 'running_mean', 'riv': 'running_var'}


def has_caffe2_names(state: Mapping) -> bool:
    """Whether all weights have names as ``res2_0_branch2a_bn_s``."""
    names = [name for name in state if not OTHERS.match(name)]
    return bool(names) and all(CAFFE2_NAME.fullmatch(name) for name in names)


def from_caffe2(name: str) -> str | None:
    """Detectron2's name of a weight of a ResNet, as ``res2.0.conv1.norm.weight``; None if it is of something else."""
    stem = re.fullmatch(r'conv1_(w|b)|(?:res_)?conv1_(?:bn|gn)_(s|b|rm|riv)', name)
    if stem:
        return f'stem.conv1.{_value(stem[1], stem[2])}'
    block = re.fullmatch(r'res([2-5])_(\d+)_branch(1|2[abc])_(?:(w|b)|(?:bn|gn)_(s|b|rm|riv))', name)
    if block:
        return f'res{block[1]}.{block[2]}.{BRANCHES[block[3]]}.{_value(block[4], block[5])}'
    return None


def _value(of_layer: str | None, of_norm: str | None) -> str:
    if of_norm is not None:
        return f'norm.{NORM_VALUES[of_norm]}'
    return 'weight' if of_layer == 'w' else 'bias'


def in_a_detector(state: Mapping[str, Tensor], with_res5_in_head: bool) -> dict[str, Tensor]:
    """Weights of a backbone alone, ``stem.conv1.weight``, under their names in a detector; others as they are.

    Args:
        state: Tensors by Detectron2's names.
        with_res5_in_head: The last stage works on regions, as in C4 models.
    """
    named = {}
    for name, value in state.items():
        is_backbone = re.match(r'(stem|res[2-5])\.', name)
        if OTHERS.match(name):
            continue
        part = 'roi_heads.' if with_res5_in_head and name.startswith('res5.') else 'backbone.'
        named[part + name if is_backbone else name] = value
    return named
