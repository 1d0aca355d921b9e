"""ConvNeXt and the plain vision transformer: arguments, and weights of other sizes."""

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones import ConvNeXt, ViT

VIT = dict(img_size=64, pretrain_img_size=64, patch_size=16, embed_dim=8, depth=2, num_heads=2)
ARCH = dict(depths=[1, 1, 2, 1], channels=[4, 8, 12, 16])


def test_outputs_of_convnext_are_maps_or_their_means():
    x = torch.rand(2, 3, 70, 64)
    maps = ConvNeXt(ARCH, out_indices=(1, -1), gap_before_final_norm=False)(x)
    assert [tuple(m.shape) for m in maps] == [(2, 8, 8, 8), (2, 16, 2, 2)]
    assert [tuple(m.shape) for m in ConvNeXt(ARCH)(x)] == [(2, 16)]


def test_frozen_stages_of_convnext_stay_as_they_are():
    model = ConvNeXt(ARCH, frozen_stages=2, drop_path_rate=0.5).train()
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert {name.split('.')[1] for name in frozen} == {'0', '1'}
    assert not model.stages[1].training and model.stages[2].training


@pytest.mark.parametrize('arch', ['small-ish', dict(depths=[1], channels=[4, 8]), dict(depths=[1])])
def test_unknown_architectures(arch):
    with pytest.raises(ConfigError, match=r"ConvNeXt has arch=.*expected one of \['atto', "):
        ConvNeXt(arch)


def test_attention_within_windows_does_not_look_beyond():
    model = ViT(**VIT, window_size=2, window_block_indexes=[0, 1], use_rel_pos=True, use_abs_pos=False).eval()
    x = torch.rand(1, 3, 64, 64)
    (before,) = model(x)
    x[..., 32:, 32:] = 0
    (after,) = model(x)
    same = torch.isclose(before, after).all(dim=1)[0]
    assert same[:2].all() and same[:, :2].all() and not same[2:, 2:].any()


def test_weights_of_an_autoencoder_are_resized(tmp_path):
    """As published: with class token and decoder, without relative positions, for images of another size."""
    trained = ViT(**{**VIT, 'pretrain_img_size': 32})
    torch.nn.init.normal_(trained.pos_embed)
    state = dict(trained.state_dict(), cls_token=torch.zeros(1, 1, 8), **{'norm.weight': torch.ones(8)})
    torch.save(dict(model=state), tmp_path / 'mae.pth')
    model = ViT(**VIT, use_rel_pos=True, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'mae.pth')))
    model.init_weights()
    torch.testing.assert_close(model.blocks[1].attn.qkv.weight, trained.blocks[1].attn.qkv.weight)
    grid = trained.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (2, 2))
    expected = torch.nn.functional.interpolate(grid, (4, 4), mode='bicubic').flatten(2).transpose(1, 2)
    torch.testing.assert_close(model.pos_embed[:, 1:], expected)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(num_heads=3), 'embed_dim=8; expected a multiple of num_heads=3'),
        (dict(window_size=2, window_block_indexes=[0, 5]), r'window_block_indexes \[5\]; expected blocks from 0 to 1'),
        (dict(window_block_indexes=[0]), 'window_size=0 and window_block_indexes; expected a size of 1'),
    ],
)
def test_blocks_that_cannot_be(changes, message):
    with pytest.raises(ConfigError, match=message):
        ViT(**{**VIT, **changes})
