"""Weights of Hugging Face's D-FINE, converted: our detector then computes what ``transformers`` does."""

import dataclasses

import pytest
import torch
from mmengine.config import ConfigDict

from mmdetlike.models.heads.query import QueryContext
from mmdetlike.registry import MODELS
from mmdetlike.utils.config import load_config
from tests.tools import huggingface_record as recorder
from tests.tools.test_huggingface import ROOT, drawn_state, recording, samples, tool  # noqa: F401  a fixture

ARCH = dict(stem=(8, 16), stages=((8, 24, 1), (8, 32, 1), (12, 48, 2), (16, 64, 1)), depth=2)


def small_config(name: str) -> ConfigDict:
    """The shipped config, as small as what is recorded."""
    cfg = load_config(ROOT / 'configs/dfine/dfine_l_8xb4-80e_coco.py').model
    attention = dict(embed_dims=32, num_heads=4)
    cfg.num_queries = 12
    cfg.backbone.update(arch=ARCH, frozen_stages=-1)
    cfg.neck.update(in_channels=[32, 48, 64], out_channels=32, num_heads=4, feedforward_channels=48)
    cfg.decoder.num_layers = 3
    cfg.bbox_head.update(num_classes=3, embed_dims=32)
    layer = cfg.decoder.layer_cfg
    layer.self_attn_cfg.update(attention)
    layer.cross_attn_cfg.update(attention, num_points=[2, 3, 2])
    layer.ffn_cfg.update(embed_dims=32, feedforward_channels=48)
    if name == 'd_fine_narrow':
        cfg.update(num_feature_levels=2, neck_channels=64)
        cfg.backbone.update(out_indices=(2, 3), affine=True)
        cfg.neck.update(in_channels=[48, 64], out_channels=64, encode_levels=[1], num_blocks=2, expansion=0.34)
        layer.cross_attn_cfg.update(num_levels=2, num_points=[3, 2])
        cfg.bbox_head.reg_scale = 8.0
    return cfg


@pytest.fixture(scope='module', params=recorder.D_FINE)
def converted(request, tool):  # noqa: F811
    """Our detector with the weights of a recording, and the recording."""
    recorded = recording(request.param)
    model = MODELS.build(small_config(request.param))
    model.load_state_dict(tool.convert_state(drawn_state(recorded), recorded['config']))
    return model.eval(), recorded


def assert_close(ours: torch.Tensor, recorded: list) -> None:
    torch.testing.assert_close(ours, torch.tensor(recorded), rtol=1e-5, atol=1e-5)


def test_predictions_are_those_of_transformers(converted):
    model, recorded = converted
    with torch.no_grad():
        layers = model(recorder.images(), mode='tensor')
    assert len(layers) == 3
    for i, (logits, boxes) in enumerate(layers):
        # recorded are (images, layers, queries, numbers), first the boxes before edges are refined
        assert_close(logits, torch.tensor(recorded['logits'])[:, i + 1].tolist())
        assert_close(boxes, torch.tensor(recorded['boxes'])[:, i + 1].tolist())
    assert_close(layers[-1][0], recorded['last_logits'])
    assert_close(layers[-1][1], recorded['last_boxes'])


@pytest.fixture
def outputs(converted, monkeypatch):
    """Head, raw outputs of the transformer in training, and the recording."""
    model, recorded = converted
    recorder.train_but_norms(model)
    # denoising draws at random
    monkeypatch.setattr(model, 'add_denoising', lambda queries, context: queries)
    feats = model.extract_feat(recorder.images())
    return model.bbox_head, model.forward_transformer(feats, QueryContext(samples())), recorded


def test_boxes_of_the_first_layer_before_edges_are_those_of_transformers(outputs):
    head, outs, recorded = outputs
    logits, boxes, refined = head.all_predictions(outs)[-1]
    assert refined is None
    assert_close(logits, torch.tensor(recorded['logits'])[:, 0].tolist())
    assert_close(boxes, torch.tensor(recorded['boxes'])[:, 0].tolist())


def test_class_losses_are_those_of_transformers(outputs):
    head, outs, recorded = outputs
    ours = {name: value.item() for name, value in head.loss(outs).items() if name.endswith('loss_cls')}
    ours.pop(
        'd1.loss_cls'
    )  # transformers takes the unrefined boxes for the first layer, and leaves out the last but one
    names = {'pre.': '_aux_0', 'd0.': '_aux_1', '': '', 'enc_': '_aux_2'}
    theirs = {f'{ours}loss_cls': recorded['losses'][f'loss_vfl{suffix}'] for ours, suffix in names.items()}
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_losses_of_edges_are_those_of_transformers(outputs):
    head, outs, recorded = outputs
    *layers, unrefined = head.all_predictions(outs)
    before = [unrefined, *layers]
    for i in range(2):
        # transformers weights a layer's distributions by the boxes of the layer before, and matches by them
        logits, boxes, _ = before[i]
        targets = head.match(logits, boxes, None, outs.context)
        refined = dataclasses.replace(layers[i][2], boxes=boxes)
        terms = head.edge_terms(refined, layers[-1], targets)
        assert float(terms['edges']) == pytest.approx(recorded['losses'][f'loss_fgl_aux_{i}'], rel=1e-4)
        assert float(terms['distill']) == pytest.approx(recorded['losses'][f'loss_ddf_aux_{i}'], rel=1e-4)


@pytest.mark.parametrize(
    ('published', 'ours'),
    [
        ('model.decoder.layers.2.fc1.weight', 'decoder.layers.2.ffn.layers.0.0.weight'),
        ('model.decoder.layers.2.self_attn.out_proj.bias', 'decoder.layers.2.self_attn.attn.out_proj.bias'),
        ('model.encoder.encoder.0.layers.0.fc2.bias', 'neck.encoders.0.layers.0.ffn.layers.1.bias'),
        ('model.decoder.bbox_embed.1.layers.2.weight', 'bbox_head.reg_branches.1.4.weight'),
    ],
)
def test_older_names(tool, published, ours):  # noqa: F811
    assert tool.rename(published, tool.D_FINE, 3) == ours


def test_settings_that_no_shape_tells_are_said(tool):  # noqa: F811
    note = tool.settings_note(dict(model_type='d_fine', up=0.5, reg_scale=8.0))
    assert 'bbox_head=dict(up=0.5, reg_scale=8.0)' in note
    assert tool.settings_note(dict(model_type='rt_detr')) is None


@pytest.mark.slow
@pytest.mark.parametrize('name', recorder.D_FINE)
def test_recordings_are_what_transformers_computes_today(name):
    pytest.importorskip('transformers', reason='only needed to make the recordings')
    today = recorder.record_dfine(name)
    stored = recording(name)
    assert today['config'] == stored['config'] and today['state'] == stored['state']
    assert_close(torch.tensor(today['logits']), stored['logits'])
    assert_close(torch.tensor(today['boxes']), stored['boxes'])
    assert today['losses'] == pytest.approx(stored['losses'], rel=1e-4)


@pytest.mark.parametrize(('size', 'millions'), [('n_8xb16-160e', 4), ('s_8xb4-132e', 10), ('l_8xb4-80e', 31)])
def test_shipped_sizes_have_the_parameters_of_the_paper(size, millions):
    model = MODELS.build(load_config(ROOT / f'configs/dfine/dfine_{size}_coco.py').model)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.5)
