"""Learning rates of layers, against the rates that the papers' code gives."""

import pytest
from torch import nn

from mmdetlike.engine.layer_decay import convnext_layer, convnext_stage, vit_layer
from mmdetlike.errors import ConfigError
from mmdetlike.registry import OPTIM_WRAPPER_CONSTRUCTORS


class ConvNeXt(nn.Module):
    """Named as the real one."""

    def __init__(self):
        super().__init__()
        self.downsample_layers = nn.ModuleList(nn.Sequential(nn.Conv2d(1, 1, 1)) for _ in range(4))
        self.stages = nn.ModuleList(nn.Sequential(*(nn.Linear(1, 1) for _ in range(n))) for n in (3, 3, 27, 3))
        self.norm3 = nn.LayerNorm(1)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.deep, self.shallow = nn.Linear(1, 1), nn.Linear(1, 1)

    @staticmethod
    def layer_of_parameter(name, num_layers):
        return 1 if name.startswith('deep') else num_layers


class Model(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(1, 1)


def groups(backbone, **paramwise_cfg):
    model = Model(backbone)
    optimizer = dict(type='AdamW', lr=0.1, weight_decay=0.05)
    config = dict(type='OptimWrapper', optimizer=optimizer)
    kind = dict(type='LearningRateDecayOptimizerConstructor', optim_wrapper_cfg=config, paramwise_cfg=paramwise_cfg)
    wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(kind)(model)
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[p]: group for group in wrapper.optimizer.param_groups for p in group['params']}


def test_rates_of_a_convnext():
    found = groups(ConvNeXt(), num_layers=12, decay_rate=0.5)
    rates = {
        'backbone.downsample_layers.0.0.weight': 0.1 * 0.5**13,
        'backbone.stages.0.2.weight': 0.1 * 0.5**12,
        'backbone.downsample_layers.1.0.weight': 0.1 * 0.5**11,
        'backbone.stages.2.0.weight': 0.1 * 0.5**10,
        'backbone.stages.2.26.weight': 0.1 * 0.5**2,
        'backbone.stages.3.0.weight': 0.1 * 0.5,
        'backbone.norm3.weight': 0.1,
        'head.weight': 0.1,
    }
    assert {name: found[name]['lr'] for name in rates} == pytest.approx(rates)
    assert found['head.weight']['weight_decay'] == 0.05
    assert found['head.bias']['weight_decay'] == found['backbone.norm3.weight']['weight_decay'] == 0
    assert len(found) == len(list(Model(ConvNeXt()).parameters()))


def test_layers_are_counted_as_in_the_papers():
    assert [convnext_layer(f'stages.2.{block}.w', 6) for block in (0, 2, 3, 8)] == [3, 3, 4, 5]
    assert [convnext_layer(name, 6) for name in ('downsample_layers.3.1.w', 'stages.3.0.w')] == [6, 6]
    assert [convnext_stage(name, 4) for name in ('downsample_layers.2.0.w', 'stages.0.0.w', 'norm0.w')] == [0, 1, 5]
    names = ['pos_embed', 'patch_embed.proj.weight', 'blocks.0.norm1.weight', 'layers.11.ln1.bias', 'norm.weight']
    assert [vit_layer(name, 12) for name in names] == [0, 0, 1, 12, 13]


def test_stages_have_one_rate_each():
    found = groups(ConvNeXt(), num_layers=4, decay_rate=0.5, decay_type='stage_wise')
    rates = [found[f'backbone.stages.2.{block}.weight']['lr'] for block in range(27)]
    assert rates == pytest.approx([0.1 / 4] * 27)


def test_frozen_parameters_are_in_no_group_and_a_backbone_may_count_its_layers():
    backbone = Own()
    backbone.shallow.weight.requires_grad = False
    found = groups(backbone, num_layers=3, decay_rate=0.5)
    assert found['backbone.deep.weight']['lr'] == pytest.approx(0.1 / 8)
    assert found['backbone.shallow.bias']['lr'] == pytest.approx(0.1 / 2)
    assert 'backbone.shallow.weight' not in found


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        (dict(decay_rate=0.7), 'num_layers=None; expected how many layers the backbone has'),
        (dict(num_layers=6, decay_rate=7), 'decay_rate=7; expected a number above 0, up to 1'),
        (dict(num_layers=6, decay_rate=0.7, decay_type='x'), "decay_type='x'; expected one of .*'stage_wise'"),
        (dict(num_layers=6, decay_rate=0.7), 'has the backbone Linear, whose layers .* expected ConvNeXt, ViT'),
    ],
)
def test_wrong_settings(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        groups(nn.Linear(1, 1), **settings)


def test_it_has_two_names():
    names = ('LearningRateDecayOptimizerConstructor', 'LayerDecayOptimizerConstructor')
    assert len({OPTIM_WRAPPER_CONSTRUCTORS.get(name) for name in names}) == 1
