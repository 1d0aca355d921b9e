"""PAFPN and BFP: what each level is made of, their options and their parameters' names."""

import pytest
import torch
import torch.nn.functional as F

from mmdetlike.models.necks import BFP, FPN, PAFPN

CHANNELS = [2, 4, 8, 16]


def maps(sizes=(16, 8, 4, 2), channels=CHANNELS, wider=1):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, c, s, s + wider, generator=generator) for c, s in zip(channels, sizes)]


# -- PAFPN -----------------------------------------------------------------------------------------------------------


def test_pafpn_goes_down_and_up_again():
    neck, inputs = PAFPN(CHANNELS, 6, num_outs=4), maps()
    pyramid = FPN(CHANNELS, 6, num_outs=4)
    pyramid.load_state_dict(neck.state_dict(), strict=False)
    outs, below = neck(inputs), pyramid(inputs)
    merged = [below[0]]
    for i in (1, 2, 3):
        merged.append(below[i] + neck.downsample_convs[i - 1](merged[-1]))
        torch.testing.assert_close(outs[i], neck.pafpn_convs[i - 1](merged[i]))
    torch.testing.assert_close(outs[0], below[0])


def test_pafpn_names():
    state = PAFPN(CHANNELS, 6, num_outs=5, start_level=1, add_extra_convs='on_output').state_dict()
    lists = {}
    for key in state:
        name, index, *rest = key.split('.')
        assert rest in (['conv', 'weight'], ['conv', 'bias'])
        lists.setdefault(name, set()).add(int(index))
    assert {name: len(indices) for name, indices in lists.items()} == dict(
        lateral_convs=3, fpn_convs=5, downsample_convs=2, pafpn_convs=2
    )


@pytest.mark.parametrize('mode', [False, 'on_input', 'on_lateral', 'on_output'])
def test_pafpn_extra_levels(mode):
    neck, inputs = PAFPN(CHANNELS, 6, 6, add_extra_convs=mode, relu_before_extra_convs=True), maps((32, 16, 8, 4))
    outs = neck(inputs)
    assert [o.shape[2] for o in outs] == [32, 16, 8, 4, 2, 1]
    if not mode:
        assert torch.equal(outs[4], outs[3][..., ::2, ::2])
        return
    # the last output is that of the second pathway
    sources = dict(on_input=inputs[3], on_lateral=neck.lateral_convs[3](inputs[3]), on_output=outs[3])
    torch.testing.assert_close(outs[4], neck.fpn_convs[4](sources[mode]))
    torch.testing.assert_close(outs[5], neck.fpn_convs[5](F.relu(outs[4])))


def test_pafpn_norm_and_activation():
    layers = dict(norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'), no_norm_on_lateral=True)
    neck = PAFPN(CHANNELS, 6, num_outs=4, **layers)
    state = neck.state_dict()
    assert {'downsample_convs.0.bn.weight', 'pafpn_convs.2.bn.weight', 'lateral_convs.0.conv.bias'} <= set(state)
    assert 'lateral_convs.0.bn.weight' not in state
    assert all(float(o.detach().min()) == 0 for o in neck(maps()))


def test_pafpn_odd_sizes():
    assert [o.shape[2] for o in PAFPN(CHANNELS, 6, num_outs=4)(maps((13, 7, 4, 2), wider=0))] == [13, 7, 4, 2]


def test_pafpn_wrong_use():
    with pytest.raises(ValueError, match='num_outs=3 does not fit 4 backbone levels'):
        PAFPN(CHANNELS, 6, num_outs=3)
    with pytest.raises(ValueError, match='PAFPN was built for 4 maps, got 3'):
        PAFPN(CHANNELS, 6, num_outs=4)(maps()[:3])


# -- BFP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('refine_type', [None, 'conv', 'non_local'])
def test_bfp_adds_the_refined_mean(refine_type):
    inputs = maps((16, 8, 4, 2), [4] * 4)
    neck = BFP(4, num_levels=4, refine_level=1, refine_type=refine_type).eval()
    size = inputs[1].shape[2:]
    small, *large = (F.interpolate(x, size=size) for x in inputs)
    small = F.adaptive_max_pool2d(inputs[0], size)
    refined = neck.refine((small + sum(large)) / 4)
    outs = neck(inputs)
    torch.testing.assert_close(outs[0], inputs[0] + F.interpolate(refined, size=inputs[0].shape[2:]))
    torch.testing.assert_close(outs[1], inputs[1] + refined)
    for i in (2, 3):
        torch.testing.assert_close(outs[i], inputs[i] + F.adaptive_max_pool2d(refined, inputs[i].shape[2:]))


def test_bfp_names():
    assert list(BFP(4, 4).state_dict()) == []
    assert list(BFP(4, 4, refine_type='conv').state_dict()) == ['refine.conv.weight', 'refine.conv.bias']
    names = {
        f'refine.{layer}.conv.{kind}' for layer in ('g', 'theta', 'phi', 'conv_out') for kind in ('weight', 'bias')
    }
    state = BFP(4, 4, refine_type='non_local').state_dict()
    assert set(state) == names and state['refine.g.conv.weight'].shape == (4, 4, 1, 1)


def test_bfp_starts_without_attention():
    neck = BFP(4, 4, refine_type='non_local')
    neck.init_weights()
    assert float(neck.refine.conv_out.conv.weight.detach().abs().max()) == 0


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(refine_type='nonlocal'), r"refine_type must be one of \(None, 'conv', 'non_local'\), got 'nonlocal'"),
        (dict(refine_level=4), 'refine_level must be in 0 to num_levels - 1 = 3, got 4'),
    ],
)
def test_bfp_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        BFP(4, num_levels=4, **settings)


def test_bfp_wrong_number_of_maps():
    with pytest.raises(ValueError, match='BFP was built for 4 maps, got 3'):
        BFP(4, num_levels=4)(maps((8, 4, 2), [4] * 3))
