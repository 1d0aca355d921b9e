"""HGNetV2; its numbers are held by tests/tools/test_huggingface_dfine.py."""

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones import HGNetV2
from tests.models.backbone_checks import dead_parameters, in_training, run, shapes, trainable

SMALL = dict(stem=(8, 8), stages=((4, 8, 1), (4, 16, 1), (4, 32, 2), (8, 32, 1)), depth=2)


def test_maps_halve_from_stage_to_stage():
    maps = run(HGNetV2('B0', affine=True, out_indices=(0, 1, 2, 3)), 64, 96)
    assert shapes(maps) == [(64, 16, 24), (256, 8, 12), (512, 4, 6), (1024, 2, 3)]


def test_frozen_stages():
    model = HGNetV2(SMALL, frozen_stages=1).train()
    assert trainable(model) == {'stage2', 'stage3', 'stage4'} == in_training(model)
    assert not in_training(HGNetV2(SMALL, norm_eval=True).train())


@pytest.mark.parametrize('affine', [False, True])
def test_every_parameter_learns(affine):
    assert dead_parameters(HGNetV2(SMALL, affine=affine)) == []


def test_two_numbers_follow_activations():
    names = [name for name, _ in HGNetV2(SMALL, affine=True).named_parameters() if name.endswith(('scale', 'offset'))]
    assert 'stage3.blocks.0.layers.0.1.scale' in names  # not the 1x1 convolution before it, which isn't activated
    assert not any('layers.0.0.' in name for name in names if name.startswith('stage3'))
    plain, affine = HGNetV2(SMALL), HGNetV2(SMALL, affine=True)
    affine.load_state_dict(plain.state_dict(), strict=False)
    for a, b in zip(run(plain), run(affine)):
        torch.testing.assert_close(a, b)


def test_sizes_that_there_are_not():
    with pytest.raises(ConfigError, match=r"one of \['B0', 'B2', 'B4', 'B5'\] or a dict .*, got 'B9'"):
        HGNetV2('B9')
    with pytest.raises(ConfigError, match='4 stages'):
        HGNetV2(dict(SMALL, stages=SMALL['stages'][:3]))
    with pytest.raises(ValueError, match='out_indices'):
        HGNetV2(SMALL, out_indices=(4,))
