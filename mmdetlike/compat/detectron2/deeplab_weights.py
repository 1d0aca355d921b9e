"""Names of DeepLab's and Panoptic-DeepLab's parameters in Detectron2 -> ours."""

import re
from collections.abc import Callable, Mapping

from torch import Tensor

from mmdetlike.compat.rename import Rule

# their heads -> ours, with the towers between decoder and predictions
HEADS = {
    'sem_seg_head': ('semantic_head', {'head': 'tower'}),
    'ins_embed_head': ('center_head', {'center_head': 'center_tower', 'offset_head': 'offset_tower'}),
}
# layers here that hold a convolution and its norm
DEEPLAB_CONV_MODULES = (
    r'(?:semantic|center)_head\.(?:decoder\.(?:projections|fusions)|tower|center_tower|offset_tower)\.\d'
    r'(?:\.\d)?(?:\.(?:depthwise|pointwise)_conv)?'
)


def deeplab_stem_rules() -> list[Rule]:
    """Names of a stem of three convolutions, which here are one sequence with their norms and activations."""
    return [
        (r'^backbone\.stem\.conv(\d)\.norm\.', lambda m: f'backbone.stem.{3 * int(m[1]) - 2}.'),
        (r'^backbone\.stem\.conv(\d)\.', lambda m: f'backbone.stem.{3 * int(m[1]) - 3}.'),
    ]


def deeplab_rules(state: Mapping[str, Tensor]) -> list[Rule]:
    """Names of the heads of a state dict; none where it has no such heads."""
    return [rule for theirs in HEADS for rule in _head_rules(theirs, state)]


def _head_rules(theirs: str, state: Mapping[str, Tensor]) -> list[Rule]:
    ours, towers = HEADS[theirs]
    levels = sorted({m[1] for name in state if (m := re.match(rf'{theirs}\.decoder\.(res\d)\.', name))})
    places = {level: place for place, level in enumerate(levels)}
    rules = [(rf'^{theirs}\.aspp\.', f'{ours}.aspp.')]
    if levels:
        # the coarsest map is pooled where others are narrowed
        rules.append((rf'^{theirs}\.decoder\.{levels[-1]}\.project_conv\.', f'{ours}.decoder.aspp.'))
        level = rf'^{theirs}\.decoder\.(res\d)\.'
        rules.append((level + r'project_conv\.', _numbered(f'{ours}.decoder.projections', places)))
        rules.append((level + r'fuse_conv\.', _numbered(f'{ours}.decoder.fusions', places)))
    rules += [(rf'^{theirs}\.{tower}\.', f'{ours}.{name}.') for tower, name in towers.items()]
    rules.append((rf'^{theirs}\.(center|offset)_predictor\.', rf'{ours}.conv_\1.'))
    return [*rules, *_layer_rules(ours)]


def _numbered(prefix: str, places: Mapping[str, int]) -> Callable[[re.Match], str]:
    return lambda m: f'{prefix}.{places[m[1]]}.'


def _layer_rules(ours: str) -> list[Rule]:
    return [
        # the branch of the mean: averaging, then a convolution
        (rf'^({ours}\.(?:decoder\.)?aspp\.convs\.4)\.1\.', r'\1.'),
        (rf'^({ours}\.(?:decoder\.)?aspp\.convs\.\d)\.depthwise\.', r'\1.0.'),
        (rf'^({ours}\.(?:decoder\.)?aspp\.convs\.\d)\.pointwise\.', r'\1.1.'),
        # a separable convolution is the only layer of its sequence here
        (rf'^({ours}\.(?:decoder\.fusions\.\d|\w*tower))\.(depthwise|pointwise)\.', r'\1.0.\2_conv.'),
    ]
