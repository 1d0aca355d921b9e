"""Weights of Hugging Face's backbones, converted: ours then compute what ``transformers`` does."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mmdetlike.models.backbones import ConvNeXt, ViT
from tests.tools import huggingface_backbones as recorder
from tests.tools.huggingface_record import drawn, images
from tests.tools.test_huggingface import drawn_state, recording

ROOT = Path(__file__).parents[2]
SIZES = dict(arch=dict(depths=[2, 1, 2, 1], channels=[8, 12, 16, 20]), out_indices=(0, 1, 2, 3))


def convnext(**settings) -> ConvNeXt:
    return ConvNeXt(**SIZES, gap_before_final_norm=False, **settings)


def second_version(**settings) -> ConvNeXt:
    return convnext(use_grn=True, layer_scale_init_value=0, **settings)


def vit() -> ViT:
    sizes = dict(img_size=64, pretrain_img_size=32, patch_size=8, embed_dim=16, depth=3, num_heads=2)
    return ViT(**sizes, window_size=5, window_block_indexes=[0, 2], use_rel_pos=True)


def converted(name: str) -> dict[str, torch.Tensor]:
    spec = importlib.util.spec_from_file_location('huggingface', ROOT / 'tools/model_converters/huggingface.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    recorded = recording(name)
    state = tool.convert_state(drawn_state(recorded), recorded['config'])
    return {key.removeprefix('backbone.'): value for key, value in state.items()}


@pytest.mark.parametrize(('name', 'build'), [('convnext', convnext), ('convnextv2', second_version), ('vitdet', vit)])
def test_maps_are_those_of_transformers(name, build):
    model = build().eval()
    model.load_state_dict(converted(name))
    maps = model(images())
    recorded = recording(name)['maps']
    assert len(maps) == len(recorded)
    for ours, theirs in zip(maps, recorded):
        torch.testing.assert_close(ours, torch.tensor(theirs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('build', [convnext, second_version])
def test_pointwise_convolutions_compute_what_linear_layers_do(build):
    linear = build().eval()
    convolved = build(linear_pw_conv=False, with_cp=True).eval()
    for name, parameter in linear.named_parameters():
        parameter.data = drawn(name, list(parameter.shape))
    convolved.load_state_dict({k: v.view_as(convolved.state_dict()[k]) for k, v in linear.state_dict().items()})
    for one, other in zip(linear(images()), convolved(images())):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('name', recorder.BACKBONES)
def test_recordings_are_what_transformers_computes_today(name):
    pytest.importorskip('transformers', reason='only needed to make the recordings')
    today = recorder.record(name)
    stored = recording(name)
    assert today['config'] == stored['config'] and today['state'] == stored['state']
    for ours, theirs in zip(today['maps'], stored['maps']):
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=1e-4, atol=1e-5)
