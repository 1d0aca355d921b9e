"""Parameters, multiply-adds and activations, against numbers by hand."""

import json

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import mmdetlike_ops
import mmdetlike_ops.flops
from mmdetlike.apis.complexity import attributed, blank_batch, measure, with_all_objects
from mmdetlike.apis.configs import as_config
from mmdetlike.apis.detector import build_model
from mmdetlike.cli.flop_table import short
from mmdetlike.cli.get_flops import main
from tests.utils import tiny_config


def flops(function, *args, **kwargs) -> int:
    with FlopCounterMode(display=False) as counter:
        function(*args, **kwargs)
    return counter.get_total_flops()


def test_deformable_convolution():
    x = torch.zeros(2, 4, 5, 5)
    weight = torch.zeros(6, 4, 3, 3)
    offset = torch.zeros(2, 18, 5, 5)
    samples = 2 * 25 * 4 * 9
    convolution = 2 * (2 * 25 * 6 * 4 * 9)
    assert flops(mmdetlike_ops.deform_conv2d, x, offset, weight, padding=1) == 8 * samples + convolution
    mask = torch.ones(2, 9, 5, 5)
    found = flops(mmdetlike_ops.modulated_deform_conv2d, x, offset, mask, weight, padding=1)
    assert found == 9 * samples + convolution


def test_sampling_operators():
    x = torch.zeros(1, 3, 16, 16)
    rois = torch.tensor([[0, 0, 0, 8, 4.0], [0, 0, 0, 2, 2.0]])
    assert flops(mmdetlike_ops.roi_align, x, rois, 2, sampling_ratio=2) == 8 * 3 * 2 * 4 * 4
    # the first region has 2 x 4 samples a bin, the second 1 x 1
    assert flops(mmdetlike_ops.roi_align, x, rois, 2) == 8 * 3 * 4 * (8 + 1)
    assert flops(mmdetlike_ops.carafe, torch.zeros(1, 4, 3, 3), torch.zeros(1, 25, 6, 6), 5, 1, 2) == 2 * 4 * 36 * 25
    shapes = torch.tensor([[4, 4]])
    locations = torch.zeros(1, 7, 2, 1, 3, 2)
    attention = torch.zeros(1, 7, 2, 1, 3)
    value = torch.zeros(1, 16, 2, 8)
    found = flops(mmdetlike_ops.ms_deform_attn, value, shapes, torch.tensor([0]), locations, attention)
    assert found == 10 * 7 * 2 * 3 * 8


def test_attention_on_the_cpu():
    q = torch.zeros(1, 2, 5, 8)
    with torch.no_grad():
        assert flops(nn.functional.scaled_dot_product_attention, q, q, q) == 2 * 2 * (2 * 5 * 5 * 8)


class _Bypassed(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = nn.Module()
        self.part.layer = nn.Linear(3, 4)

    def forward(self, x):
        return self.part.layer(x) @ torch.zeros(4, 2)


def test_what_a_part_does_that_is_not_called_itself_is_its_own():
    model = _Bypassed()
    with FlopCounterMode(display=False) as counter, attributed(model, {'flops': counter}) as own:
        model(torch.zeros(5, 3))
    assert +own['flops'] == {'': 2 * 5 * 4 * 2, 'part.layer': 2 * 5 * 3 * 4}


@pytest.mark.slow
@pytest.mark.parametrize('name, regions', [('faster', 0), ('mask', 100)])
def test_r50_fpn_by_hand(name, regions):
    cfg = as_config(f'configs/{name}_rcnn/{name}-rcnn_r50_fpn_1x_coco.py')
    rows = {row.name: row for row in measure(build_model(with_all_objects(cfg)).eval(), blank_batch(800, 1280))}
    pixels = 64000 + 16000 + 4000 + 1000 + 260
    assert rows['rpn_head'].multiply_adds == pixels * (256 * 256 * 9 + 256 * 3 + 256 * 12)
    lateral = 64000 * 256 * 256 + 16000 * 512 * 256 + 4000 * 1024 * 256 + 1000 * 2048 * 256
    assert rows['neck'].multiply_adds == lateral + (pixels - 260) * 256 * 256 * 9
    box_head = 256 * 49 * 1024 + 1024 * 1024 + 1024 * (81 + 320)
    assert rows['roi_head.bbox_head'].multiply_adds == 1000 * box_head
    if regions:
        mask_head = 4 * 196 * 256 * 256 * 9 + 196 * 256 * 256 * 4 + 784 * 256 * 80
        assert rows['roi_head.mask_head'].multiply_adds == regions * mask_head
    # published: 207 G and 260 G
    assert rows[''].multiply_adds / 1e9 == pytest.approx(260 if regions else 207, abs=1)


def test_get_flops(tmp_path, capsys):
    config = tmp_path / 'tiny.py'
    tiny_config(tmp_path).dump(config)
    main([str(config), '--shape', '64', '96', '--depth', '1', '--out', str(tmp_path / 'flops.json')])
    out = capsys.readouterr().out
    assert 'an image of 64 x 96' in out and '| rpn_head | RPNHead' in out
    rows = {row['name']: row for row in json.loads((tmp_path / 'flops.json').read_text())}
    parts = ('backbone', 'neck', 'rpn_head', 'roi_head')
    for key in ('parameters', 'multiply_adds', 'activations'):
        assert rows[''][key] == sum(rows[part][key] for part in parts)
    # strides 8 to 32 of 64 x 96 pixels, 3 anchors each
    assert rows['rpn_head']['multiply_adds'] == (96 + 24 + 6) * (16 * 16 * 9 + 16 * 3 + 16 * 12)
    main([str(config), '--data', '--number', '2', '--depth', '0'])
    assert 'means over 2 pictures of' in capsys.readouterr().out


def test_a_parameter_that_is_handed_to_a_module_is_no_hindrance():
    cfg = as_config('detr_r18_shapes')
    model = build_model(cfg).eval()
    rows = {row.name: row for row in measure(model, blank_batch(64, 64))}
    assert rows['decoder'].multiply_adds > 0
    assert all(parameter.requires_grad for parameter in model.decoder.parameters())


@pytest.mark.parametrize('number, text', [(999, '999'), (206_482_837_504, '206.48 G'), (2500, '2.50 k')])
def test_units(number, text):
    assert short(number) == text


@pytest.mark.parametrize('wrong', [['--shape', '0'], ['--shape', '1', '2', '3'], ['--depth', '-1'], ['--number', '0']])
def test_wrong_arguments(wrong, capsys):
    with pytest.raises(SystemExit):
        main(['faster-rcnn_r18_fpn_shapes', *wrong])
    assert wrong[0] in capsys.readouterr().err
