"""Backbones made of transformers, and reading the weights that their authors published."""

import copy
import re
import sys
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdetlike.apis.detector import _without_pretrained
from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones import (
    PyramidVisionTransformer,
    PyramidVisionTransformerV2,
    SwinTransformer,
    TIMMBackbone,
)
from mmdetlike.models.backbones.pretrained import convert_swin, interleave_neighbors
from mmdetlike.models.backbones.staged import linear_drop_path
from mmdetlike.models.backbones.timm_backbone import MissingTimmError
from mmdetlike.models.layers import PatchMerging

SWIN = dict(embed_dims=8, depths=(2, 2), num_heads=(1, 2), strides=(4, 2), window_size=3, out_indices=(0, 1))
PVT = dict(embed_dims=8, num_stages=2, num_layers=(1, 2), num_heads=(1, 2), out_indices=(0, 1), pretrain_img_size=32)


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with every parameter drawn anew, tables and embeddings too, ready for inference."""
    torch.manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


# -- Swin ------------------------------------------------------------------------------------------------------------


def test_swin_has_the_documented_maps():
    model = SwinTransformer(depths=(1, 1, 1, 1), out_indices=(1, 2, 3)).eval()
    maps = model(torch.rand(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(2, 192, 8, 12), (2, 384, 4, 6), (2, 768, 2, 3)]
    assert all(m.is_contiguous(memory_format=torch.channels_last) for m in maps)
    assert [n for n, _ in model.named_children()][-3:] == ['norm1', 'norm2', 'norm3']


def test_swin_takes_images_of_any_size():
    model = randomised(SwinTransformer(**SWIN))
    maps = model(torch.rand(1, 3, 50, 41))
    assert [tuple(m.shape[2:]) for m in maps] == [(13, 11), (7, 6)]
    assert all(bool(torch.isfinite(m).all()) for m in maps)


def plain_window_attention(block, x, hw):
    """Shifted window attention of one image, pixel by pixel, without any mask or roll."""
    msa, size, shift = block.attn.w_msa, block.attn.window_size, block.attn.shift_size
    h, w = (-(-n // size) * size for n in hw)
    grid = torch.zeros(h, w, x.shape[-1])
    grid[: hw[0], : hw[1]] = x.view(*hw, -1)
    q, k, v = msa.qkv(grid).view(h, w, 3, msa.num_heads, -1).unbind(2)
    out = torch.zeros_like(grid)
    for y, xx in ((y, xx) for y in range(h) for xx in range(w)):
        # the window of a pixel, in the coordinates of the shifted grid, cut where the map ends
        top, left = ((y - shift) // size) * size + shift, ((xx - shift) // size) * size + shift
        rows, cols = range(max(top, 0), min(top + size, h)), range(max(left, 0), min(left + size, w))
        logits = torch.stack([(q[y, xx] * k[r, c]).sum(-1) * q.shape[-1] ** -0.5 for r in rows for c in cols])
        offsets = [(y - r + size - 1) * (2 * size - 1) + xx - c + size - 1 for r in rows for c in cols]
        weights = (logits + msa.relative_position_bias_table[offsets]).softmax(0)
        values = torch.stack([v[r, c] for r in rows for c in cols])
        out[y, xx] = (weights[..., None] * values).sum(0).flatten()
    return msa.proj(out)[: hw[0], : hw[1]].reshape(1, -1, x.shape[-1])


@pytest.mark.parametrize('hw', [(6, 9), (7, 5), (2, 3)])
@pytest.mark.parametrize('shifted', [False, True])
@torch.no_grad()
def test_window_attention_against_a_loop_over_pixels(hw, shifted):
    block = randomised(SwinTransformer(**SWIN)).stages[0].blocks[int(shifted)]
    assert block.attn.shift_size == int(shifted)
    x = torch.randn(1, hw[0] * hw[1], 8)
    torch.testing.assert_close(block.attn(x, hw), plain_window_attention(block, x, hw), rtol=1e-4, atol=1e-5)
    # images of a batch don't mix
    both = block.attn(torch.cat([x, x.flip(1)]), hw)
    torch.testing.assert_close(both[:1], block.attn(x, hw), rtol=1e-4, atol=1e-5)


def test_swin_compiles_to_one_graph():
    torch._dynamo.reset()
    model = randomised(SwinTransformer(**SWIN))
    x = torch.rand(1, 3, 40, 32)
    compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
    with torch.no_grad():
        for a, b in zip(model(x), compiled(x)):
            torch.testing.assert_close(b, a)
    torch._dynamo.reset()


def test_swin_with_checkpointing_has_the_same_gradients():
    x = torch.rand(1, 3, 24, 24)
    grads = []
    for with_cp in (False, True):
        model = randomised(SwinTransformer(**SWIN, with_cp=with_cp, drop_path_rate=0.0)).train()
        sum(m.square().mean() for m in model(x)).backward()
        grads.append({name: p.grad for name, p in model.named_parameters()})
    assert all(g is not None and bool(g.any()) for g in grads[0].values())
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, msg=name)


def test_swin_freezes():
    model = SwinTransformer(**SWIN, frozen_stages=1, use_abs_pos_embed=True, pretrain_img_size=24).train()
    trainable = {name.split('.')[0] + name.split('.')[1] for name, p in model.named_parameters() if p.requires_grad}
    assert trainable == {'stages1', 'norm1weight', 'norm1bias'}
    assert not model.stages[0].training and model.stages[1].training
    assert all(p.requires_grad for p in SwinTransformer(**SWIN).train().parameters())


def test_swin_resizes_absolute_positions():
    model = randomised(SwinTransformer(**SWIN, use_abs_pos_embed=True, pretrain_img_size=(24, 36)))
    assert model.absolute_pos_embed.shape == (1, 54, 8)
    x = torch.rand(1, 3, 48, 36)
    grid = model.absolute_pos_embed.view(1, 6, 9, 8).permute(0, 3, 1, 2)
    resized = F.interpolate(grid, (12, 9), mode='bicubic', align_corners=False).flatten(2).transpose(1, 2)
    larger = SwinTransformer(**SWIN, use_abs_pos_embed=True, pretrain_img_size=(48, 36)).eval()
    larger.load_state_dict({**model.state_dict(), 'absolute_pos_embed': resized})
    for a, b in zip(model(x), larger(x)):
        torch.testing.assert_close(a, b)


def test_drop_path_rises_over_all_stages():
    assert linear_drop_path(0.3, (1, 3)) == [[0.0], [pytest.approx(v) for v in (0.1, 0.2, 0.3)]]
    model = SwinTransformer(**SWIN, drop_path_rate=0.3)
    assert [b.ffn.dropout_layer.drop_prob for s in model.stages for b in s.blocks] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert [b.attn.drop.drop_prob for s in model.stages for b in s.blocks] == pytest.approx([0, 0.1, 0.2, 0.3])


def test_swin_draws_its_weights():
    model = SwinTransformer(**SWIN)
    model.init_weights()
    table = model.stages[0].blocks[0].attn.w_msa.relative_position_bias_table
    assert 0.005 < float(table.detach().std()) < 0.05
    assert 0.01 < float(model.stages[1].blocks[0].ffn.layers[1].weight.detach().std()) < 0.03
    assert not model.stages[1].blocks[0].ffn.layers[1].bias.any()


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(num_heads=(1, 2, 4)), r'one value of each setting, but got depths=\(2, 2\), num_heads=\(1, 2, 4\)'),
        (dict(out_indices=(0, 2)), r'out_indices must be stages in \[0, 2\), but got \(0, 2\)'),
        (dict(patch_size=2), r'strides\[0\]=4 must be patch_size=2'),
        (dict(num_heads=(3, 2)), r'embed_dims must be a multiple of num_heads, but got 8 and 3'),
        (
            dict(init_cfg=dict(type='Kaiming')),
            r"that names a checkpoint, or none, but got \{'type': 'Kaiming'",
        ),
        (dict(init_cfg=dict(checkpoint='a'), pretrained='b'), 'either init_cfg or pretrained, not both'),
    ],
)
def test_swin_refuses(wrong, message):
    with pytest.raises(ConfigError, match=message):
        SwinTransformer(**{**SWIN, **wrong})


# -- PVT -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('cls', [PyramidVisionTransformer, PyramidVisionTransformerV2])
def test_pvt_has_the_documented_maps(cls):
    model = cls(num_layers=(1, 1, 1, 1), embed_dims=16).eval()
    maps = model(torch.rand(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(2, 16, 16, 24), (2, 32, 8, 12), (2, 80, 4, 6), (2, 128, 2, 3)]


def official_pvt_layer(state, prefix, x, hw, heads, sr):
    """A layer of PVT v2 by its authors' parameters, in plain operations."""
    p = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}

    def norm(name, y):
        return F.layer_norm(
            y, y.shape[-1:], p[f'{name}.weight'], p[f'{name}.bias'], 1e-6 if name != 'attn.norm' else 1e-5
        )

    def linear(name, y):
        return F.linear(y, p[f'{name}.weight'], p[f'{name}.bias'])

    y = norm('norm1', x)
    small = F.conv2d(y.transpose(1, 2).reshape(1, -1, *hw), p['attn.sr.weight'], p['attn.sr.bias'], stride=sr)
    small = F.layer_norm(
        small.flatten(2).transpose(1, 2), y.shape[-1:], p['attn.norm.weight'], p['attn.norm.bias'], 1e-6
    )
    q = linear('attn.q', y).unflatten(-1, (heads, -1)).transpose(1, 2)
    k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in linear('attn.kv', small).chunk(2, -1))
    attended = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v
    x = x + linear('attn.proj', attended.transpose(1, 2).flatten(2))
    hidden = linear('mlp.fc1', norm('norm2', x))
    image = hidden.transpose(1, 2).reshape(1, -1, *hw)
    image = F.conv2d(
        image, p['mlp.dwconv.dwconv.weight'], p['mlp.dwconv.dwconv.bias'], padding=1, groups=hidden.shape[-1]
    )
    return x + linear('mlp.fc2', F.gelu(image.flatten(2).transpose(1, 2)))


PVT_NAMES = [  # ours -> the authors'
    (r'^layers\.(\d)\.0\.projection', lambda m: f'patch_embed{int(m[1]) + 1}.proj'),
    (r'^layers\.(\d)\.0\.norm', lambda m: f'patch_embed{int(m[1]) + 1}.norm'),
    (r'^layers\.(\d)\.2\.', lambda m: f'norm{int(m[1]) + 1}.'),
    (r'^layers\.(\d)\.1\.0\.pos_embed', lambda m: f'pos_embed{int(m[1]) + 1}'),
    (r'attn\.out_proj', lambda m: 'proj'),
    (r'ffn\.layers\.0', lambda m: 'mlp.fc1'),
]


def as_published_by_pvt(model) -> dict:
    """A state dict as the authors of PVT name it."""
    v2, published = isinstance(model, PyramidVisionTransformerV2), {}
    names = PVT_NAMES + [(r'^layers\.(\d)\.1\.(\d)', lambda m: f'block{int(m[1]) + 1}.{int(m[2]) - (not v2)}')]
    names += [(r'ffn\.layers\.1', lambda m: 'mlp.dwconv.dwconv'), (r'ffn\.layers\.[34]', lambda m: 'mlp.fc2')]
    for key, value in model.state_dict().items():
        for pattern, name in names:
            key = re.sub(pattern, name, key)
        if 'in_proj' in key:
            q, kv = value.split([len(value) // 3, 2 * len(value) // 3])
            published[key.replace('attn.in_proj_', 'q.')] = q
            published[key.replace('attn.in_proj_', 'kv.')] = kv
        else:
            published[key] = value[:, :, 0, 0] if re.search(r'fc[12]\.weight', key) else value
    return published


@pytest.mark.parametrize('cls', [PyramidVisionTransformer, PyramidVisionTransformerV2])
def test_pvt_reads_the_weights_of_its_authors(cls, tmp_path):
    model = randomised(cls(**PVT))
    published = as_published_by_pvt(model)
    assert 'block2.1.attn.kv.weight' in published and 'patch_embed1.proj.weight' in published
    assert ('pos_embed2' in published) == (cls is PyramidVisionTransformer)
    assert ('norm2.weight' in published) == (cls is PyramidVisionTransformerV2)
    published.update({'head.weight': torch.zeros(10, 16), 'cls_token': torch.zeros(1, 1, 16)})
    torch.save(published, tmp_path / 'pvt.pth')
    loaded = cls(**PVT, init_cfg=dict(checkpoint=str(tmp_path / 'pvt.pth')))
    loaded.init_weights()
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


@torch.no_grad()
def test_pvt_v2_layer_computes_what_its_authors_weights_mean():
    model = randomised(PyramidVisionTransformerV2(**PVT))
    hw, x = (16, 8), torch.randn(1, 128, 8)
    expected = official_pvt_layer(as_published_by_pvt(model), 'block1.0.', x, hw, heads=1, sr=8)
    torch.testing.assert_close(model.layers[0][1][0](x, hw), expected, rtol=1e-3, atol=1e-4)


def test_pvt_resizes_positions_of_the_pretraining(tmp_path):
    model = randomised(PyramidVisionTransformer(**PVT))
    published = as_published_by_pvt(model)
    # the last stage has a class token before its pixels
    published['pos_embed2'] = torch.cat([torch.zeros(1, 1, 16), published['pos_embed2']], dim=1)
    torch.save(dict(model=published), tmp_path / 'pvt.pth')
    same = PyramidVisionTransformer(**PVT, pretrained=str(tmp_path / 'pvt.pth'))
    same.init_weights()
    torch.testing.assert_close(same.layers[1][1][0].pos_embed, model.layers[1][1][0].pos_embed)
    larger = PyramidVisionTransformer(**{**PVT, 'pretrain_img_size': 64}, pretrained=str(tmp_path / 'pvt.pth'))
    larger.init_weights()
    grid = model.layers[0][1][0].pos_embed.view(1, 8, 8, 8).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, (16, 16), mode='bicubic', align_corners=False).flatten(2).transpose(1, 2)
    torch.testing.assert_close(larger.layers[0][1][0].pos_embed, expected)


def test_pvt_draws_its_weights_and_refuses():
    model = PyramidVisionTransformer(**PVT)
    model.init_weights()
    assert 0.01 < float(model.layers[0][1][0].pos_embed.detach().std()) < 0.03
    conv = model.layers[0][1][1].ffn.layers[0]
    assert float(conv.weight.detach().std()) == pytest.approx((2 / conv.out_channels) ** 0.5, rel=0.2)
    with pytest.raises(ConfigError, match=r'num_layers=\(1,\)'):
        PyramidVisionTransformer(**{**PVT, 'num_layers': (1,)})
    with pytest.raises(ConfigError, match=r'out_indices must be stages in \[0, 2\)'):
        PyramidVisionTransformerV2(**{**PVT, 'out_indices': (0, 2)})


# -- the authors' weights of Swin ------------------------------------------------------------------------------------


def as_published_by_swin(model) -> dict:
    """A state dict as the authors of Swin name it, their merged patches one neighbor after the other."""
    published = {}
    for key, value in model.state_dict().items():
        if 'downsample' in key:  # (channel, row, column) -> (column, row, channel)
            value = value.unflatten(-1, (-1, 2, 2)).transpose(-1, -3).flatten(-3)
        key = key.replace('stages.', 'layers.').replace('attn.w_msa.', 'attn.').replace('.projection.', '.proj.')
        published[key.replace('ffn.layers.0.0', 'mlp.fc1').replace('ffn.layers.1', 'mlp.fc2')] = value
    return published


def test_swin_reads_the_weights_of_its_authors(tmp_path):
    model = randomised(SwinTransformer(**SWIN))
    published = as_published_by_swin(model)
    extra = {'head.weight': torch.zeros(10, 16), 'norm.weight': torch.ones(16)}
    extra['layers.0.blocks.1.attn_mask'] = torch.zeros(4, 9, 9)
    torch.save(dict(model={**published, **extra}), tmp_path / 'swin.pth')
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'swin.pth'))
    loaded = SwinTransformer(**SWIN, convert_weights=True, init_cfg=pretrained)
    loaded.init_weights()
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    # a checkpoint in our own names passes through the conversion, also that of a whole detector
    own = {f'backbone.{key}': value for key, value in model.state_dict().items()}
    torch.save(dict(state_dict={**own, 'neck.x': torch.zeros(1)}), tmp_path / 'swin.pth')
    again = SwinTransformer(**SWIN, convert_weights=True, init_cfg=pretrained)
    again.init_weights()
    assert all(torch.equal(again.state_dict()[name], value) for name, value in model.state_dict().items())


@torch.no_grad()
def test_converted_merging_computes_what_its_authors_weights_mean():
    """They concatenate the neighbors (0, 0), (1, 0), (0, 1), (1, 1) of (row, column)."""
    torch.manual_seed(0)
    norm, weight, x = torch.randn(12), torch.randn(6, 12), torch.randn(1, 4, 6, 3)
    merged = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1).flatten(1, 2)
    expected = F.linear(F.layer_norm(merged, (12,), norm, norm), weight)
    merging = PatchMerging(3, 6)
    converted = convert_swin({'layers.0.downsample.norm.weight': norm, 'layers.0.downsample.reduction.weight': weight})
    assert torch.equal(converted['stages.0.downsample.norm.weight'], interleave_neighbors(norm))
    merging.norm.weight.data = merging.norm.bias.data = converted['stages.0.downsample.norm.weight']
    merging.reduction.weight.data = converted['stages.0.downsample.reduction.weight']
    torch.testing.assert_close(merging(x.flatten(1, 2), (4, 6))[0], expected, rtol=1e-4, atol=1e-5)


def test_swin_resizes_tables_to_its_windows_and_images(tmp_path):
    model = randomised(SwinTransformer(**SWIN, use_abs_pos_embed=True, pretrain_img_size=24))
    published = as_published_by_swin(model)
    table = published['layers.0.blocks.0.attn.relative_position_bias_table']
    published['absolute_pos_embed'] = published['absolute_pos_embed'].transpose(1, 2).view(1, 8, 6, 6)
    torch.save(published, tmp_path / 'swin.pth')
    settings = dict(SWIN, window_size=5, use_abs_pos_embed=True, pretrain_img_size=48)
    larger = SwinTransformer(**settings, convert_weights=True, pretrained=str(tmp_path / 'swin.pth'))
    index = larger.stages[0].blocks[0].attn.w_msa.relative_position_index.clone()
    larger.init_weights()
    msa = larger.stages[0].blocks[0].attn.w_msa
    expected = F.interpolate(table.t().view(1, 1, 5, 5), (9, 9), mode='bicubic', align_corners=False)
    torch.testing.assert_close(msa.relative_position_bias_table, expected.view(1, 81).t())
    assert torch.equal(msa.relative_position_index, index)
    grid = model.absolute_pos_embed.transpose(1, 2).view(1, 8, 6, 6)
    expected = F.interpolate(grid, (12, 12), mode='bicubic', align_corners=False).flatten(2).transpose(1, 2)
    torch.testing.assert_close(larger.absolute_pos_embed, expected)


def test_inference_does_not_fetch_pretrained_weights():
    cfg = dict(type='RetinaNet', backbone=dict(type='PyramidVisionTransformer', init_cfg=dict(checkpoint='https://x')))
    assert _without_pretrained(cfg)['backbone']['init_cfg'] is None


# -- timm ------------------------------------------------------------------------------------------------------------


class _FakeTimmModel(nn.Module):
    def __init__(self, in_chans, features_only):
        super().__init__()
        self.stem, self.fc = nn.Conv2d(in_chans, 4, 3, stride=2, padding=1), nn.Linear(4, 10)
        self.features_only = features_only

    def reset_classifier(self, classes):
        assert classes == 0
        self.fc = nn.Identity()

    def forward_features(self, x):
        return self.stem(x)

    def forward(self, x):
        return [x, self.stem(x)] if self.features_only else self.fc(self.stem(x).mean((2, 3)))


@pytest.fixture
def fake_timm(monkeypatch):
    calls = []

    def create_model(name, **kwargs):
        calls.append((name, kwargs))
        return _FakeTimmModel(kwargs['in_chans'], kwargs['features_only'])

    fake = types.SimpleNamespace(create_model=create_model, list_models=lambda: ['resnet18', 'resnet34'])
    fake.is_model = lambda name: name in fake.list_models()
    monkeypatch.setitem(sys.modules, 'timm', fake)
    return calls


def test_timm_backbone(fake_timm):
    model = TIMMBackbone('resnet18', in_channels=2, out_indices=(1, 2), norm_layer='LN2d', init_cfg=None)
    name, kwargs = fake_timm[0]
    assert name == 'resnet18' and kwargs['out_indices'] == (1, 2) and kwargs['norm_layer'].__name__ == 'LayerNorm2d'
    assert (kwargs['features_only'], kwargs['pretrained'], kwargs['checkpoint_path']) == (True, False, '')
    maps = model(torch.rand(1, 2, 8, 8))
    assert isinstance(maps, tuple) and [tuple(m.shape) for m in maps] == [(1, 2, 8, 8), (1, 4, 4, 4)]
    assert next(iter(model.state_dict())) == 'timm_model.stem.weight'
    last = TIMMBackbone('resnet18', features_only=False)
    assert [tuple(m.shape) for m in last(torch.rand(1, 3, 8, 8))] == [(1, 4, 4, 4)]
    assert list(last.state_dict()) == ['timm_model.stem.weight', 'timm_model.stem.bias']


@pytest.mark.parametrize('pretrained', [True, False])
def test_timm_weights_are_kept(fake_timm, pretrained):
    model = TIMMBackbone('resnet18', pretrained=pretrained, init_cfg=dict(type='Constant', val=7, layer='Conv2d'))
    before = copy.deepcopy(model.state_dict())
    model.init_weights()
    assert torch.equal(before['timm_model.stem.weight'], model.timm_model.stem.weight) == pretrained


def test_models_that_timm_lacks(fake_timm):
    with pytest.raises(ConfigError, match=r"one of timm.list_models\(\), got 'resnet-18'; close to it are resnet18"):
        TIMMBackbone('resnet-18')


def test_settings_that_timm_refuses(fake_timm, monkeypatch):
    def refuse(name, **settings):
        raise TypeError("unexpected keyword 'depths'")

    monkeypatch.setattr(sys.modules['timm'], 'create_model', refuse)
    with pytest.raises(ConfigError, match=r"timm refuses resnet18 with .*depths=3: unexpected keyword 'depths'"):
        TIMMBackbone('resnet18', depths=3)


def test_sizes_that_timm_refuses(fake_timm, monkeypatch):
    def refuse(x):
        raise AssertionError("Input height (8) doesn't match model (224).")

    model = TIMMBackbone('resnet18')
    monkeypatch.setattr(model.timm_model, 'forward', refuse)
    with pytest.raises(ConfigError, match=r'resnet18 of timm refuses images of 8 x 16 pixels: .*\(224\)\. Transform'):
        model(torch.rand(1, 3, 8, 16))


def test_timm_that_cannot_be_imported_is_told_apart(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, 'timm', raising=False)
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    with pytest.raises(MissingTimmError, match='timm, which is not installed: pip install timm'):
        TIMMBackbone('resnet18')
    (tmp_path / 'timm.py').write_text('import torchvision_that_is_not_there')
    with pytest.raises(MissingTimmError, match=r'importing it fails: ModuleNotFoundError.*needs a torchvision'):
        TIMMBackbone('resnet18')
