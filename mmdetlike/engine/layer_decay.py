"""Layer-wise decay of learning rates, from the head of a network down to its first layer, for fine-tuning backbones.

Layers are counted from 0, the stem. The last one keeps the full rate times ``decay_rate``, the one before it times
``decay_rate`` squared, and so on (BEiT, arXiv:2106.08254; ConvNeXt, arXiv:2201.03545).
"""

import re
from collections.abc import Callable, Sequence

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import OPTIM_WRAPPER_CONSTRUCTORS

_TOKENS = ('cls_token', 'mask_token', 'pos_embed')
_DECAY_TYPES = ('layer_wise', 'stage_wise')
# a block of the third stage for every three of its layers: it has 9 or 27 of them, the other stages 3
_BLOCKS_A_LAYER = 3


def convnext_layer(name: str, num_layers: int) -> int:
    """The layer of a parameter of a ConvNeXt: 0 for the stem, ``num_layers`` for the last stage.

    Args:
        name: The parameter's name in the backbone.
        num_layers: 6 for the smallest, 12 for the larger ones.
    """
    if name.startswith(_TOKENS):
        return 0
    kind, stage, *rest = name.split('.')
    layer_of_stage = [1, 2, 3, num_layers]
    if kind == 'downsample_layers':
        return [0, 2, 3, num_layers][int(stage)]
    if kind != 'stages':
        return num_layers + 1
    first = layer_of_stage[int(stage)]
    return first + int(rest[0]) // _BLOCKS_A_LAYER if stage == '2' else first


def convnext_stage(name: str, num_layers: int) -> int:
    """The stage of a parameter of a ConvNeXt, from 1 on; 0 for stem and downsampling."""
    if name.startswith((*_TOKENS, 'downsample_layers')):
        return 0
    kind, stage, *_ = name.split('.')
    return int(stage) + 1 if kind == 'stages' else num_layers + 1


def vit_layer(name: str, num_layers: int) -> int:
    """The layer of a parameter of a plain vision transformer: 0 for its embeddings, then the blocks."""
    if name.startswith((*_TOKENS, 'patch_embed')):
        return 0
    block = re.match(r'(?:blocks|layers)\.(\d+)\.', name)
    return int(block.group(1)) + 1 if block else num_layers + 1


# by what the class of a backbone is called, or its name contains
_LAYERS: dict[str, dict[str, Callable[[str, int], int]]] = {
    'ConvNeXt': dict(layer_wise=convnext_layer, stage_wise=convnext_stage),
    'ViT': dict(layer_wise=vit_layer),
    'VisionTransformer': dict(layer_wise=vit_layer),
    'BEiT': dict(layer_wise=vit_layer),
}


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(
    name=['LearningRateDecayOptimizerConstructor', 'LayerDecayOptimizerConstructor']
)
class LearningRateDecayOptimizerConstructor(DefaultOptimWrapperConstructor):
    """Gives each layer of the backbone its own learning rate, the smaller the deeper; everything else the full one.

    Biases and all parameters of one dimension, as those of norms, have no weight decay.

    It knows ConvNeXt and plain vision transformers. Another backbone may say so itself by a method
    ``layer_of_parameter(name, num_layers)``: 0 for the stem, up to ``num_layers``.

    Args:
        optim_wrapper_cfg: Config of the optimizer wrapper, whose ``optimizer`` has ``lr``.
        paramwise_cfg: ``num_layers``, how many layers or stages the backbone has; ``decay_rate``, by how much each has
            less than the one above it; ``decay_type``, 'layer_wise' (default) or 'stage_wise'.

    Raises:
        ConfigError: A setting is missing or wrong, or the backbone is unknown.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        settings = self.paramwise_cfg
        num_layers = settings.get('num_layers')
        decay_rate = settings.get('decay_rate')
        if type(num_layers) is not int or num_layers < 1:
            raise ConfigError(
                f'paramwise_cfg has num_layers={num_layers!r}; expected how many layers the backbone has.'
            )
        if not isinstance(decay_rate, (int, float)) or not 0 < decay_rate <= 1:
            raise ConfigError(f'paramwise_cfg has decay_rate={decay_rate!r}; expected a number above 0, up to 1.')
        self.decay_type = settings.get('decay_type', 'layer_wise')
        if self.decay_type not in _DECAY_TYPES:
            raise ConfigError(f'paramwise_cfg has decay_type={self.decay_type!r}; expected one of {_DECAY_TYPES}.')
        if self.base_lr is None:
            raise ConfigError('The optimizer has no lr, which the learning rates of layers are shares of.')

    def add_params(self, params: list[dict], module: nn.Module, **kwargs) -> None:
        """Append groups of parameters, one for each layer with and one without weight decay.

        Args:
            params: The groups.
            module: The model, with ``backbone``.
            kwargs: What mmengine's constructor hands down; unused.
        """
        num_layers = self.paramwise_cfg['num_layers']
        layer_of = self._layer_function(getattr(module, 'backbone', None), module)
        groups: dict[str, dict] = {}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            of_backbone = name.startswith('backbone.')
            layer = layer_of(name.removeprefix('backbone.'), num_layers) if of_backbone else num_layers + 1
            decays = parameter.ndim > 1 and not name.endswith(('.bias', *_TOKENS))
            group_name = f'layer_{layer}_{"decay" if decays else "no_decay"}'
            group = groups.setdefault(group_name, self._group(group_name, layer, decays))
            group['params'].append(parameter)
        params.extend(groups.values())

    def _group(self, name: str, layer: int, decays: bool) -> dict:
        scale = self.paramwise_cfg['decay_rate'] ** (self.paramwise_cfg['num_layers'] + 1 - layer)
        group = {'params': [], 'group_name': name, 'lr_scale': scale, 'lr': scale * self.base_lr}
        if self.base_wd is not None or not decays:
            group['weight_decay'] = self.base_wd if decays else 0.0
        return group

    def _layer_function(self, backbone: nn.Module | None, model: nn.Module) -> Callable[[str, int], int]:
        if hasattr(backbone, 'layer_of_parameter'):
            return backbone.layer_of_parameter
        kind = type(backbone).__name__
        for known, functions in _LAYERS.items():
            if known in kind and self.decay_type in functions:
                return functions[self.decay_type]
        known = _names_of(self.decay_type)
        raise ConfigError(
            f'{type(model).__name__} has the backbone {kind}, whose layers LearningRateDecayOptimizerConstructor does '
            f'not know with decay_type={self.decay_type!r}; expected {", ".join(known)}, or a backbone with a method '
            f'layer_of_parameter(name, num_layers).'
        )


def _names_of(decay_type: str) -> Sequence[str]:
    return [name for name, functions in _LAYERS.items() if decay_type in functions]
