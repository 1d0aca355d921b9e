"""ResNet and ResNetV1d: parameter names and shapes, what trains and what doesn't, and every option."""

import pytest
import torch
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones import ResNet, ResNetV1d
from mmdetlike.models.heads.roi.shared_heads import ResLayer
from mmdetlike.registry import MODELS

STAGE_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
NORM_KEYS = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')


@pytest.fixture
def registered():
    """Register classes for one test."""
    names = []

    def register(cls):
        names.append(cls.__name__)
        MODELS.register_module(module=cls)
        return cls

    yield register
    for name in names:
        del MODELS.module_dict[name]


def tiny(depth=18, **kwargs):
    return ResNet(depth, base_channels=8, **kwargs)


def filled(model, seed=0):
    """The model with random weights and non-trivial statistics, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(noise + 0.5 if 'running_var' in name else (noise - 0.5) / max(tensor[0].numel(), 4) ** 0.5)
    return model.eval()


def expected_shapes(depth, base=8):
    """Keys and shapes of a pytorch-style ResNet as checkpoints have them."""
    kernels = (3, 3) if depth < 50 else (1, 3, 1)
    expansion = 1 if depth < 50 else 4

    def norm(name, channels):
        return {f'{name}.{key}': () if key == 'num_batches_tracked' else (channels,) for key in NORM_KEYS}

    shapes = {'conv1.weight': (base, 3, 7, 7), **norm('bn1', base)}
    channels = base
    for stage, blocks in enumerate(STAGE_BLOCKS[depth]):
        width = base * 2**stage
        for block in range(blocks):
            prefix, inputs = f'layer{stage + 1}.{block}', channels
            for i, kernel in enumerate(kernels, 1):
                outputs = width * expansion if i == len(kernels) else width
                shapes[f'{prefix}.conv{i}.weight'] = (outputs, inputs, kernel, kernel)
                shapes.update(norm(f'{prefix}.bn{i}', outputs))
                inputs = outputs
            if block == 0 and (stage > 0 or channels != inputs):
                shapes[f'{prefix}.downsample.0.weight'] = (inputs, channels, 1, 1)
                shapes.update(norm(f'{prefix}.downsample.1', inputs))
            channels = inputs
    return shapes


@pytest.mark.parametrize('depth', STAGE_BLOCKS)
def test_parameter_names_and_shapes(depth):
    state = ResNet(depth, base_channels=8).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == expected_shapes(depth)


def test_default_widths_are_those_of_the_paper():
    with torch.device('meta'):
        model = ResNet(50)
    assert sum(p.numel() for p in model.parameters()) == 23_508_032  # 25.56 M less the classifier's 2.05 M
    assert model.layer4[2].conv3.weight.shape == (2048, 512, 1, 1)
    assert model.feat_dim == 2048


@pytest.mark.parametrize('depth, expansion', [(18, 1), (50, 4)])
def test_output_shapes(depth, expansion):
    outs = tiny(depth)(torch.zeros(1, 3, 64, 64))
    assert [tuple(o.shape) for o in outs] == [(1, 8 * expansion * 2**i, 16 // 2**i, 16 // 2**i) for i in range(4)]


def test_odd_image_sides_round_up():
    outs = tiny()(torch.zeros(1, 3, 65, 33))
    assert [tuple(o.shape[2:]) for o in outs] == [(17, 9), (9, 5), (5, 3), (3, 2)]


def test_out_indices_pick_the_same_maps():
    x = torch.rand(1, 3, 32, 32)
    every = filled(tiny())
    some = tiny(out_indices=(1, 3))
    some.load_state_dict(every.state_dict())
    outs, chosen = every(x), some.eval()(x)
    assert len(chosen) == 2
    torch.testing.assert_close(chosen, (outs[1], outs[3]), rtol=0, atol=0)


def test_fewer_stages():
    model = tiny(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(1,))
    assert not hasattr(model, 'layer3')
    assert model(torch.zeros(1, 3, 32, 32))[0].shape == (1, 16, 4, 4)


def test_strides_and_dilations():
    model = tiny(50, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
    assert [o.shape[-1] for o in model(torch.zeros(1, 3, 64, 64))] == [16, 8, 4, 4]
    assert all(b.conv2.dilation == (2, 2) and b.conv2.padding == (2, 2) for b in model.layer4)
    assert all(b.conv2.dilation == (1, 1) for b in model.layer3)
    # a stage that neither strides nor widens would need no shortcut; this one widens
    assert model.layer4[0].downsample[0].stride == (1, 1)


@pytest.mark.parametrize('style, strides', [('pytorch', ((1, 1), (2, 2))), ('caffe', ((2, 2), (1, 1)))])
def test_style_places_the_stride(style, strides):
    block = tiny(50, style=style).layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == strides
    assert block.downsample[0].stride == (2, 2)
    assert block(torch.zeros(1, 32, 8, 8)).shape == (1, 64, 4, 4)


def test_v1d_keys_and_layers():
    model = ResNetV1d(depth=50, base_channels=8, stem_channels=16)
    state = model.state_dict()
    assert state['stem.0.weight'].shape == (8, 3, 3, 3)
    assert state['stem.3.weight'].shape == (8, 8, 3, 3)
    assert state['stem.6.weight'].shape == (16, 8, 3, 3)
    assert state['layer1.0.downsample.1.weight'].shape == (32, 16, 1, 1)
    assert 'layer1.0.downsample.2.running_mean' in state
    assert not [key for key in state if key.startswith(('conv1', 'bn1')) or 'downsample.0' in key]
    pool, conv = model.layer2[0].downsample[:2]
    assert isinstance(pool, nn.AvgPool2d) and conv.stride == (1, 1)
    assert [m.stride for m in model.stem if isinstance(m, nn.Conv2d)] == [(2, 2), (1, 1), (1, 1)]
    assert model(torch.zeros(1, 3, 64, 64))[-1].shape == (1, 256, 2, 2)
    # where a side is odd, pooling rounds up as the strided convolution beside it does
    assert [tuple(o.shape[2:]) for o in model.eval()(torch.zeros(1, 3, 65, 33))] == [(17, 9), (9, 5), (5, 3), (3, 2)]


def test_block_computes_residual_sum():
    model = filled(tiny())
    block, x = model.layer2[0], torch.rand(1, 8, 6, 6)
    inner = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
    torch.testing.assert_close(block(x), torch.relu(inner + block.downsample(x)), rtol=0, atol=0)


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 3])
@pytest.mark.parametrize('deep_stem', [False, True])
def test_frozen_stages(frozen_stages, deep_stem):
    model = tiny(frozen_stages=frozen_stages, norm_eval=False, deep_stem=deep_stem).train()
    frozen = {'conv1', 'bn1', 'stem'} if frozen_stages >= 0 else set()
    frozen |= {f'layer{i}' for i in range(1, frozen_stages + 1)}
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (name.split('.')[0] not in frozen), name
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.training == (name.split('.')[0] not in frozen), name


def test_frozen_statistics_stay():
    model = tiny(frozen_stages=1, norm_eval=False).train()
    model(torch.rand(2, 3, 32, 32))
    assert model.bn1.num_batches_tracked == 0 and torch.equal(model.bn1.running_mean, torch.zeros(8))
    assert model.layer2[0].bn1.num_batches_tracked == 1


@pytest.mark.parametrize('norm_eval', [True, False])
def test_norm_eval(norm_eval):
    model = tiny(norm_eval=norm_eval).train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {m.training for m in norms} == {not norm_eval}
    assert model.training and model.layer1.training
    assert all(p.requires_grad for p in model.parameters())
    assert not any(m.training for m in model.eval().modules())


def test_requires_grad_of_norm_cfg():
    model = tiny(norm_cfg=dict(type='BN', requires_grad=False))
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == ('bn' not in name and 'downsample.1' not in name), name


def test_group_norm_names():
    state = ResNet(50, base_channels=32, norm_cfg=dict(type='GN', num_groups=32)).state_dict()
    assert {'gn1.weight', 'layer1.0.gn3.bias', 'layer1.0.downsample.1.weight'} <= set(state)
    assert not any('bn' in key or 'running' in key for key in state)


def test_checkpointing_gives_equal_gradients():
    x = torch.rand(2, 3, 32, 32)
    grads = []
    for with_cp in (False, True):
        model = filled(tiny(50, with_cp=with_cp)).train()
        model(x)[-1].square().sum().backward()
        grads.append({name: p.grad for name, p in model.named_parameters()})
    assert grads[0].keys() == grads[1].keys() and float(grads[0]['conv1.weight'].abs().max()) > 0
    for name in grads[0]:
        torch.testing.assert_close(grads[0][name], grads[1][name], msg=name)


def test_checkpointing_recomputes_the_blocks(registered):
    calls = []

    class CountCalls(nn.Module):
        def __init__(self, in_channels):
            super().__init__()

        def forward(self, x):
            calls.append(1)
            return x

    registered(CountCalls)
    plugins = [dict(cfg=dict(type='CountCalls'), position='after_conv1')]
    model = tiny(with_cp=True, plugins=plugins).train()
    model(torch.rand(1, 3, 32, 32))[-1].sum().backward()
    assert len(calls) == 16  # 8 blocks, forward and again for backward


@pytest.mark.parametrize(
    'position, channels, calls_before',
    [('after_conv1', 16, ['conv1']), ('after_conv2', 16, ['conv1', 'conv2']), ('after_conv3', 64, None)],
)
def test_plugins(registered, position, channels, calls_before):
    class AddTwo(nn.Module):
        def __init__(self, in_channels, value=2.0):
            super().__init__()
            self.in_channels = in_channels
            self.weight = nn.Parameter(torch.full((in_channels,), value))

        def forward(self, x):
            return x + self.weight[:, None, None]

    registered(AddTwo)
    plugins = [dict(cfg=dict(type='AddTwo', postfix='_x'), stages=(False, True, False, True), position=position)]
    model = filled(tiny(50, plugins=plugins))
    keys = [key for key in model.state_dict() if 'add_two' in key]
    assert keys == [f'layer{s}.{b}.add_two_x.weight' for s, n in ((2, 4), (4, 3)) for b in range(n)]
    block, x = model.layer2[1], torch.rand(1, 64, 4, 4)
    assert block.add_two_x.in_channels == channels
    h = x
    for i in (1, 2, 3):
        h = getattr(block, f'bn{i}')(getattr(block, f'conv{i}')(h))
        h = torch.relu(h) if i < 3 else h
        h = block.add_two_x(h) if position == f'after_conv{i}' else h
    torch.testing.assert_close(block(x), torch.relu(h + x))


def test_unknown_plugin_positions():
    with pytest.raises(ValueError, match=r"after_conv3.*'after_conv4'"):
        tiny(50, plugins=[dict(cfg=dict(type='ContextBlock'), position='after_conv4')])
    # a basic block has no third convolution: a plugin there would never run
    with pytest.raises(ValueError, match=r"\('after_conv1', 'after_conv2'\), got 'after_conv3'"):
        tiny(18, plugins=[dict(cfg=dict(type='ContextBlock'), position='after_conv3')])


def test_dcn(registered):
    class ToyDeformConv(nn.Conv2d):
        def __init__(self, *args, deform_groups=1, **kwargs):
            super().__init__(*args, **kwargs)
            self.deform_groups = deform_groups

    registered(ToyDeformConv)
    dcn = dict(type='ToyDeformConv', deform_groups=2, fallback_on_stride=False)
    model = tiny(50, dcn=dcn, stage_with_dcn=(False, True, False, True))
    for i, expected in enumerate((False, True, False, True), 1):
        for block in getattr(model, f'layer{i}'):
            assert isinstance(block.conv2, ToyDeformConv) == expected
            assert not isinstance(block.conv1, ToyDeformConv) and not isinstance(block.conv3, ToyDeformConv)
    assert model.layer2[0].conv2.deform_groups == 2 and model.layer2[0].conv2.stride == (2, 2)
    assert dcn == dict(type='ToyDeformConv', deform_groups=2, fallback_on_stride=False)
    with pytest.raises(ValueError, match='dcn needs the bottleneck block'):
        tiny(18, dcn=dcn, stage_with_dcn=(True,) * 4)
    fallen_back = tiny(50, dcn=dict(dcn, fallback_on_stride=True), stage_with_dcn=(True,) * 4)
    assert not any(isinstance(m, ToyDeformConv) for m in fallen_back.modules())


@pytest.fixture(params=['DCN', 'DCNv2'])
def deformable(request):
    dcn = dict(type=request.param, deform_groups=1, fallback_on_stride=False)
    return tiny(50, dcn=dcn, stage_with_dcn=(False, True, True, True))


def test_deformable_convolutions_start_on_the_regular_grid(deformable):
    deformable.init_weights()
    offsets = {name: p for name, p in deformable.named_parameters() if 'conv_offset' in name}
    assert len(offsets) == 2 * (4 + 6 + 3)
    assert not any(p.any() for p in offsets.values())
    assert all(p.any() for name, p in deformable.named_parameters() if name.endswith('conv2.weight'))
    deformable(torch.rand(1, 3, 64, 64))[-1].sum().backward()
    assert all(p.grad is not None for p in offsets.values())


def test_old_names_of_predicted_offsets(deformable):
    state = filled(deformable).state_dict()
    old = {key.replace('conv2.conv_offset.', 'conv2_offset.'): value for key, value in state.items()}
    assert old.keys() != state.keys()
    fresh = ResNet(50, base_channels=8, dcn=deformable.layer2[0].dcn, stage_with_dcn=(False, True, True, True))
    fresh.load_state_dict(old)
    assert all(torch.equal(value, state[key]) for key, value in fresh.state_dict().items())


@pytest.mark.parametrize('depth, last', [(18, 'bn2'), (50, 'bn3')])
@pytest.mark.parametrize('zero', [True, False])
def test_zero_init_residual(depth, last, zero):
    model = tiny(depth, zero_init_residual=zero)
    model.init_weights()
    expected = torch.zeros if zero else torch.ones
    for layer in ('layer1', 'layer2', 'layer3', 'layer4'):
        for block in getattr(model, layer):
            weight = getattr(block, last).weight
            assert torch.equal(weight, expected(len(weight)))
    assert torch.equal(model.bn1.weight, torch.ones(8))
    assert torch.equal(model.layer1[0].bn1.weight, torch.ones(8))


def test_init_is_kaiming():
    torch.manual_seed(0)
    model = ResNet(18, base_channels=32)
    model.init_weights()
    weight = model.layer3[0].conv2.weight  # 128 -> 128, fan out 1152
    assert weight.std().item() == pytest.approx((2 / 1152) ** 0.5, rel=0.02)


def test_pretrained_weights_win_over_zero_init(tmp_path):
    source = filled(tiny())
    torch.save(source.state_dict(), tmp_path / 'r18.pth')
    for settings in (
        dict(pretrained=str(tmp_path / 'r18.pth')),
        dict(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'r18.pth'))),
    ):
        model = tiny(**settings)
        model.init_weights()
        for key, value in model.state_dict().items():
            assert torch.equal(value, source.state_dict()[key]), key


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(depth=20), r'depth must be one of \[18, 34, 50, 101, 152\], got 20'),
        (dict(depth=18, num_stages=3), r'num_stages=3, strides=\(1, 2, 2, 2\)'),
        (dict(depth=18, num_stages=5), r'num_stages \(1 to 4\)'),
        (dict(depth=18, num_stages=1, strides=(1,), dilations=(1,)), r'out_indices must be below num_stages=1'),
        (dict(depth=18, style='tensorflow'), "style must be 'pytorch' or 'caffe', got 'tensorflow'"),
        (dict(depth=18, pretrained='a.pth', init_cfg=dict(type='Normal', layer='Conv2d')), 'not both'),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ResNet(base_channels=8, **settings)


def test_misspelled_argument_names_the_right_one():
    with pytest.raises(ConfigError, match="'frozen_stage' is not an argument; did you mean 'frozen_stages'"):
        MODELS.build(dict(type='ResNet', depth=18, frozen_stage=1))


def test_res_layer_is_the_last_stage_of_a_resnet():
    layer, backbone = ResLayer(18, stage=3, stride=2), ResNet(18)
    assert set(layer.state_dict()) == {key for key in backbone.state_dict() if key.startswith('layer4.')}
    layer.load_state_dict(backbone.state_dict(), strict=False)
    x = torch.rand(2, 256, 4, 4)
    torch.testing.assert_close(layer.eval()(x), backbone.eval().layer4(x), rtol=0, atol=0)
    assert not any(m.training for m in layer.train().modules() if isinstance(m, nn.BatchNorm2d))
    norms = ResLayer(18, norm_eval=False).train().modules()
    assert all(m.training for m in norms if isinstance(m, nn.BatchNorm2d))


def test_res_layer_of_an_unknown_depth():
    with pytest.raises(ValueError, match=r'depth must be one of \[18, 34, 50, 101, 152\], got 20'):
        ResLayer(20)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (
            dict(plugins=[dict(cfg=dict(type='ContextBlock', ratio=0.5))]),
            "a plugin must be a dict with 'cfg', 'position'",
        ),
        (
            dict(plugins=[dict(cfg=dict(type='ContextBlock', ratio=0.5), position='after_conv3', stages=(True,))]),
            'stages of a plugin',
        ),
        (
            dict(dcn=dict(type='DCN'), stage_with_dcn=(False, True)),
            r'stage_with_dcn must have a flag for each stage .* got \(False, True\)',
        ),
    ],
)
def test_settings_of_stages_are_complete(settings, message):
    with pytest.raises(ValueError, match=message):
        ResNet(50, **settings)


def test_blocks_of_a_stage_may_have_dilations_of_their_own():
    model = tiny(strides=(1, 2, 2, 1), dilations=(1, 1, 1, (2, 4)))
    assert [block.conv1.dilation for block in model.layer4] == [(2, 2), (4, 4)]
    assert [block.conv1.dilation for block in model.layer3] == [(1, 1), (1, 1)]
    assert [m.shape[-1] for m in model(torch.rand(1, 3, 64, 64))] == [16, 8, 4, 4]
    with pytest.raises(ValueError, match=r'a stage of 2 blocks needs as many dilations, got \[2, 4, 8\]'):
        tiny(dilations=(1, 1, 1, (2, 4, 8)))
