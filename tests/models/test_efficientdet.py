"""EfficientDet against what the package ``effdet`` computes (tests/data/reference/record_effdet.py), and its parts."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmdetlike.errors import ConfigError
from mmdetlike.models.necks import BiFPN
from mmdetlike.models.necks.bifpn import EPS, fusion, halved
from mmdetlike.registry import MODELS
from tests.models.tiny import make_sample

REFERENCE = Path(__file__).parents[1] / 'data/reference'
# the node of a cell, in the package's order, whose result our convolution makes
NODES = ['conv6_up', 'conv5_up', 'conv4_up', 'conv3_up', 'conv4_down', 'conv5_down', 'conv6_down', 'conv7_down']
WEIGHTS = ['p6_w1', 'p5_w1', 'p4_w1', 'p3_w1', 'p4_w2', 'p5_w2', 'p6_w2', 'p7_w2']
LATERALS = {
    'p5_to_p6.0': 'resample.3.conv',
    'p5_down_channel': 'cell.0.fnode.1.combine.resample.2.conv',
    'p4_down_channel': 'cell.0.fnode.2.combine.resample.1.conv',
    'p3_down_channel': 'cell.0.fnode.3.combine.resample.0.conv',
    'p4_level_connection': 'cell.0.fnode.4.combine.resample.1.conv',
    'p5_level_connection': 'cell.0.fnode.5.combine.resample.2.conv',
}
SEPARABLE = {'depthwise_conv': 'conv_dw', 'pointwise_conv': 'conv_pw', 'bn': 'bn'}


@pytest.fixture(scope='module')
def recorder():
    spec = importlib.util.spec_from_file_location('record_effdet', REFERENCE / 'record_effdet.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def recorded():
    return {name: torch.from_numpy(values) for name, values in np.load(REFERENCE / 'effdet.npz').items()}


def neck_name(ours: str) -> str:
    """The package's name of a value of the neck."""
    _, stage, part = ours.split('.', 2)
    if part in WEIGHTS:
        return f'cell.{stage}.fnode.{WEIGHTS.index(part)}.combine.edge_weights'
    for lateral, theirs in LATERALS.items():
        if part.startswith(f'{lateral}.'):
            return f'{theirs}.{part.removeprefix(f"{lateral}.").replace("down_conv", "conv")}'
    node, layer, value = part.split('.')
    return f'cell.{stage}.fnode.{NODES.index(node)}.after_combine.conv.{SEPARABLE[layer]}.{value}'


def head_name(ours: str) -> str:
    """The package's name of a value of the head; both of its nets have the same names."""
    part, rest = ours.split('.', 1)
    if part.endswith('_bn_list'):
        conv, level, value = rest.split('.')
        return f'bn_rep.{conv}.{level}.bn.{value}'
    *index, layer, value = rest.split('.')
    place = f'conv_rep.{index[0]}' if index else 'predict'
    return f'{place}.{SEPARABLE[layer]}.{value}'


def fill(module, name_of, recorder):
    state = module.state_dict()
    values = {name: recorder.draw(name_of(name), tuple(x.shape)) for name, x in state.items() if x.ndim}
    module.load_state_dict(values, strict=False)
    return module.eval()


def test_pyramid_and_heads_agree_with_the_package(recorder, recorded):
    neck = fill(BiFPN(num_stages=2, in_channels=[40, 112, 320], out_channels=8), neck_name, recorder)
    head = MODELS.build(
        dict(
            type='EfficientDetSepBNHead',
            num_classes=3,
            num_ins=5,
            in_channels=8,
            feat_channels=8,
            stacked_convs=2,
            anchor_generator=dict(
                type='AnchorGenerator',
                octave_base_scale=4,
                scales_per_octave=1,
                ratios=[1.0, 0.5, 2.0],
                strides=[8, 16, 32, 64, 128],
            ),
        )
    )
    fill(head, head_name, recorder)
    with torch.no_grad():
        pyramid = neck(recorder.draw_maps())
        classes, deltas = head(pyramid)
    assert [tuple(x.shape[2:]) for x in pyramid] == [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    for name, maps in dict(pyramid=pyramid, classes=classes, deltas=deltas).items():
        for level, x in enumerate(maps):
            torch.testing.assert_close(x, recorded[f'{name}_{level}'], rtol=1e-4, atol=1e-4)


def test_a_fusion_is_a_weighted_mean_without_negative_weights():
    first, second = torch.rand(2, 1, 2, 3, 3).unbind()
    expected = F.silu(3 * first / (3 + EPS))
    torch.testing.assert_close(fusion(torch.tensor([3.0, -1.0]), first, second), expected)


def test_halving_pads_with_nothing():
    x = -torch.arange(1.0, 13.0).view(1, 1, 3, 4)  # all negative: zeros of a padding would win
    assert halved(x)[0, 0].tolist() == [[-1.0, -3.0], [-5.0, -7.0]]
    assert halved(x[..., :1, :1]).tolist() == [[[[-1.0]]]]


def test_other_numbers_of_backbone_maps_are_refused():
    with pytest.raises(ConfigError, match=r'3 backbone maps.*leave 4'):
        BiFPN(num_stages=1, in_channels=[8, 16, 32, 64], out_channels=8)


def test_more_maps_than_norm_layers_are_refused():
    head = MODELS.build(
        dict(type='EfficientDetSepBNHead', num_classes=1, num_ins=4, in_channels=8, feat_channels=8, stacked_convs=1)
    )
    with pytest.raises(ValueError, match='num_ins=4 maps, got map 5'):
        head(tuple(torch.rand(1, 8, 4, 4) for _ in range(5)))


def test_the_loss_of_a_box_is_the_mean_of_its_deltas():
    head = dict(type='EfficientDetSepBNHead', num_classes=1, num_ins=1, in_channels=4, feat_channels=4, stacked_convs=0)
    anchors = dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[8])
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5)
    head = MODELS.build(
        dict(
            head,
            anchor_generator=anchors,
            loss_bbox=dict(type='HuberLoss', beta=0.1, loss_weight=50.0),
            train_cfg=dict(assigner=assigner),
        )
    )
    torch.nn.init.zeros_(head.reg_header.pointwise_conv.weight)
    torch.nn.init.constant_(head.reg_header.pointwise_conv.bias, 0.5)
    # an object with the box of an anchor: all four deltas should be 0 and are 0.5
    sample = make_sample([[4, 4, 12, 12]], (16, 16), num_classes=1)
    losses = head.loss((torch.rand(1, 4, 2, 2),), [sample])
    expected = 50 * 0.1 * (0.5 - 0.1 / 2)
    assert sum(losses['loss_bbox']).item() == pytest.approx(expected, rel=1e-5)
