"""HRNet and its pyramid HRFPN: parallel branches, what crosses between them, every option."""

import copy
import doctest

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdetlike.models.backbones import HRNet, hrnet
from mmdetlike.models.backbones.hrnet import HRModule
from mmdetlike.models.backbones.resnet import BasicBlock, Bottleneck
from mmdetlike.models.necks import HRFPN
from tests.models.backbone_checks import dead_parameters, in_training, run, shapes


def settings(width=4, modules=(1, 1, 2, 1), blocks=1, block='BASIC'):
    """``extra`` of a small network."""
    extra = dict(stage1=dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=[2], num_channels=[8]))
    for i in (2, 3, 4):
        channels = [width * 2**j for j in range(i)]
        extra[f'stage{i}'] = dict(
            num_modules=modules[i - 1], num_branches=i, block=block, num_blocks=[blocks] * i, num_channels=channels
        )
    return extra


def test_docstring_example():
    results = doctest.testmod(hrnet)
    assert results.attempted >= 1 and results.failed == 0


@pytest.mark.parametrize('block, expansion', [('BASIC', 1), ('BOTTLENECK', 4)])
def test_maps(block, expansion):
    maps = run(HRNet(settings(block=block)), 64, 96)
    assert shapes(maps) == [(4 * expansion * 2**i, 16 // 2**i, 24 // 2**i) for i in range(4)]
    assert all(float(m.min()) >= 0 < float(m.max()) for m in maps)


def test_sides_that_do_not_halve():
    # what is smaller is stretched to the size of the finer map, also where that is odd
    assert [s[1:] for s in shapes(run(HRNet(settings()), 52, 36))] == [(13, 9), (7, 5), (4, 3), (2, 2)]


def test_only_the_finest_map():
    every, finest = HRNet(settings()), HRNet(settings(), multiscale_output=False)
    assert len(finest.stage4[-1].fuse_layers) == 1 and len(finest.stage3[-1].fuse_layers) == 3
    finest.load_state_dict(every.state_dict(), strict=False)
    out = run(finest)
    assert len(out) == 1
    torch.testing.assert_close(out[0], run(every)[0], rtol=0, atol=0)


def test_module_adds_what_the_other_branches_found():
    module = HRModule(BasicBlock, (1, 1, 1), (4, 6, 8)).eval()
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.uniform_(m.bias, -0.5, 0.5)
    inputs = [torch.rand(1, 4, 8, 8), torch.rand(1, 6, 4, 4), torch.rand(1, 8, 2, 2)]
    a, b, c = (branch(x) for branch, x in zip(module.branches, inputs))
    fuse = module.fuse_layers
    up = lambda x, factor: x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)  # noqa: E731
    outs = module(inputs)
    torch.testing.assert_close(outs[0], torch.relu(a + up(fuse[0][1](b), 2) + up(fuse[0][2](c), 4)))
    torch.testing.assert_close(outs[1], torch.relu(fuse[1][0](a) + b + up(fuse[1][2](c), 2)))
    torch.testing.assert_close(outs[2], torch.relu(fuse[2][0](a) + fuse[2][1](b) + c))
    # two steps down: a ReLU between them and none after
    (conv1, norm1, relu), (conv2, norm2) = fuse[2][0]
    assert isinstance(relu, nn.ReLU) and (conv1.stride, conv2.stride) == ((2, 2), (2, 2))
    assert (conv1.out_channels, conv2.out_channels) == (4, 8)
    torch.testing.assert_close(fuse[2][0](a), norm2(conv2(torch.relu(norm1(conv1(a))))))


def test_a_module_of_one_branch_is_its_branch():
    module, x = HRModule(Bottleneck, (2,), (4,)).eval(), torch.rand(1, 16, 4, 4)
    torch.testing.assert_close(module([x])[0], module.branches[0](x))


def test_a_new_branch_starts_from_the_coarsest_one():
    model = HRNet(settings())
    assert [isinstance(path, nn.Identity) for path in model.transition2] == [True, True, False]
    (conv, _, relu) = model.transition2[2][0]
    assert (conv.in_channels, conv.out_channels, conv.stride) == (8, 16, (2, 2)) and isinstance(relu, nn.ReLU)
    # a branch that changes its width gets a convolution
    extra = settings()
    extra['stage3']['num_channels'] = [6, 8, 16]
    changed = HRNet(extra).transition2[0][0]
    assert (changed.in_channels, changed.out_channels, changed.stride) == (4, 6, (1, 1))


def test_norms_and_gradients():
    assert in_training(HRNet(settings()).train()) == set()
    model = HRNet(settings(), norm_eval=False).train()
    assert {'layer1', 'stage2', 'transition3'} <= in_training(model)
    assert model.bn1.training and not model.eval().bn1.training
    assert dead_parameters(HRNet(settings())) == []


def test_checkpointing_changes_nothing():
    plain, saving = HRNet(settings()), HRNet(settings(), with_cp=True)
    saving.load_state_dict(plain.state_dict())
    image, gradients = torch.rand(1, 3, 64, 64), []
    for model in (plain, saving):
        sum(m.square().sum() for m in model.train()(image)).backward()
        gradients.append([p.grad for p in model.parameters()])
    for plain_grad, saving_grad in zip(*gradients):
        torch.testing.assert_close(plain_grad, saving_grad)


@pytest.mark.parametrize('zero', [False, True])
def test_zero_init_residual(zero):
    model = HRNet(settings(), zero_init_residual=zero)
    model.init_weights()
    expected = 0.0 if zero else 1.0
    for block in (model.layer1[0].bn3, model.stage3[1].branches[2][0].bn2):
        assert float(block.weight.detach().min()) == float(block.weight.detach().max()) == expected


@pytest.mark.parametrize(
    'key, value, message',
    [
        ('stage5', {}, 'extra must have the keys stage1, stage2, stage3, stage4, got .*stage5'),
        ('stage3.block', 'BASIS', r"extra\['stage3'\]: block must be one of BASIC, BOTTLENECK, got 'BASIS'"),
        ('stage3.num_blocks', [4, 4], r'num_branches=3 branches, got \[4, 4\] and \[4, 8, 16\]'),
        ('stage2.branches', 2, r"extra\['stage2'\] must have the keys num_modules, .*branches"),
    ],
)
def test_wrong_settings(key, value, message):
    extra = copy.deepcopy(settings())
    *path, last = key.split('.')
    (extra[path[0]] if path else extra)[last] = value
    with pytest.raises(ValueError, match=message):
        HRNet(extra)


# -- HRFPN -----------------------------------------------------------------------------------------------------------


def maps(sizes=(16, 8, 4)):
    torch.manual_seed(0)
    return [torch.rand(1, c, s, s) for c, s in zip((4, 6, 8), sizes)]


@pytest.mark.parametrize('pooling, function', [('AVG', F.avg_pool2d), ('MAX', F.max_pool2d)])
def test_hrfpn_pools_the_joined_maps(pooling, function):
    neck, inputs = HRFPN([4, 6, 8], 5, num_outs=4, pooling_type=pooling), maps()
    outs = neck(inputs)
    up = [F.interpolate(x, scale_factor=2**i, mode='bilinear') for i, x in enumerate(inputs) if i]
    joined = neck.reduction_conv.conv(torch.cat([inputs[0], *up], 1))
    torch.testing.assert_close(outs[0], neck.fpn_convs[0].conv(joined))
    for i in (1, 2, 3):
        torch.testing.assert_close(outs[i], neck.fpn_convs[i].conv(function(joined, 2**i)))


def test_hrfpn_stride_norm_and_odd_sizes():
    neck = HRFPN([4, 6, 8], 5, num_outs=2, stride=2, norm_cfg=dict(type='BN'))
    assert {'reduction_conv.bn.weight', 'fpn_convs.1.bn.bias'} <= set(neck.state_dict())
    assert [o.shape[-1] for o in neck(maps((13, 7, 4)))] == [7, 3]


def test_hrfpn_checkpointing_changes_nothing():
    plain, saving = HRFPN([4, 6, 8], 5), HRFPN([4, 6, 8], 5, with_cp=True)
    saving.load_state_dict(plain.state_dict())
    inputs = [x.requires_grad_() for x in maps()]
    for a, b in zip(plain(inputs), saving(inputs)):
        torch.testing.assert_close(a, b)
        ours, theirs = (torch.autograd.grad(x.sum(), inputs, retain_graph=True)[2] for x in (a, b))
        torch.testing.assert_close(ours, theirs)


def test_hrfpn_wrong_use():
    with pytest.raises(ValueError, match="pooling_type must be one of AVG, MAX, got 'SUM'"):
        HRFPN([4], 5, pooling_type='SUM')
    with pytest.raises(ValueError, match='HRFPN was built for 3 maps, got 2'):
        HRFPN([4, 6, 8], 5)(maps()[:2])
