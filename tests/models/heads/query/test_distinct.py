"""Distinct queries: who suppresses whom, and who may look at whom."""

import torch

from mmdetlike.models.heads.query import DistinctQueries, QueryContext, distinct
from tests.models.tiny import make_sample
from tests.models.tiny_queries import dino, features

NMS = dict(type='nms', iou_threshold=0.5)
# the first and the third are alike, so are the second and the fourth
BOXES = torch.tensor([[0.2, 0.2, 0.1, 0.1], [0.7, 0.7, 0.2, 0.2], [0.2, 0.2, 0.1, 0.11], [0.7, 0.7, 0.2, 0.21]])
LOGITS = torch.tensor([[3.0, -9], [0, -9], [-9, 2.0], [1, -9]])


def test_the_better_one_suppresses_whatever_the_class():
    assert distinct(LOGITS[None], BOXES[None], NMS).tolist() == [[True, False, False, True]]
    candidates = torch.tensor([[False, True, True, False]])
    # others suppress nothing and are none
    assert distinct(LOGITS[None], BOXES[None], NMS, candidates).tolist() == [[False, True, True, False]]


def selection(logits, present=None, **cfg):
    present = torch.ones(1, 6, dtype=torch.bool) if present is None else present
    settings = dict(
        classify=lambda layer, query: logits, nms_cfg=NMS, num_heads=2, matching=slice(1, 5), present=present,
        attn_mask=torch.zeros(6, 6, dtype=torch.bool),
    )  # fmt: skip
    return DistinctQueries(**{**settings, **cfg})


def references():
    return torch.cat([torch.rand(1, 1, 4), BOXES[None], torch.rand(1, 1, 4)], dim=1)


def test_suppressed_queries_do_not_see_each_other():
    select = selection(LOGITS[None])
    assert not select(0, torch.zeros(1, 6, 8), references()).any()
    mask = select(1, torch.zeros(1, 6, 8), references())
    assert mask.shape == (2, 6, 6) and torch.equal(mask[0], mask[1])
    # the second and third of those to match
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[2:4, 2:4] = True
    assert torch.equal(mask[0], expected)
    # the first query is kept: all may be objects
    assert select.candidates[1].tolist() == [[True] * 4]


def test_suppressed_queries_are_no_objects_where_the_first_is_suppressed():
    select = selection(LOGITS[None, [2, 1, 0, 3]])
    select(0, torch.zeros(1, 6, 8), references())
    select(1, torch.zeros(1, 6, 8), references())
    assert select.candidates[1].tolist() == [[False, False, True, True]]


def test_padding_is_seen_by_nothing_and_is_no_object():
    present = torch.tensor([[True, True, True, True, False, True]])
    select = selection(LOGITS[None], present)
    mask = select(0, torch.zeros(1, 6, 8), references())[0]
    others = [0, 1, 2, 3, 5]
    assert mask[others, 4].all() and not mask[4].any() and not mask[others][:, others].any()
    assert select.candidates[0].tolist() == [[True, True, True, False]]


def ddq(**cfg):
    head = dict(type='DDQDETRHead', num_classes=3, embed_dims=16, loss_cls=dict(type='FocalLoss', use_sigmoid=True))
    return dino(type='DDQDETR', bbox_head=head, dqs_cfg=NMS, **cfg)


def test_dense_queries_are_there_in_training_alone():
    model, samples = ddq(), [make_sample(2), make_sample(1, index=1)]
    outs = model.forward_transformer(features(), QueryContext(samples))
    assert outs.hidden_states[0].shape == (2, 6, 16) and not outs.dense_hidden_states
    outs = model.train().forward_transformer(features(), QueryContext(samples))
    assert outs.hidden_states[0].shape == (2, outs.num_denoising + 6, 16)
    assert [hidden.shape for hidden in outs.dense_hidden_states] == [(2, 9, 16)] * 2


def test_distinct_and_denoising_queries_do_not_see_dense_ones():
    model, samples = ddq().train(), [make_sample(2), make_sample(1, index=1)]
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    torch.manual_seed(0)
    full = model.forward_transformer(features(), QueryContext(samples))
    model.dense_topk_ratio = 0.5
    torch.manual_seed(0)
    few = model.forward_transformer(features(), QueryContext(samples))
    assert few.dense_hidden_states[0].shape[1] == 3
    torch.testing.assert_close(few.hidden_states, full.hidden_states)


def test_terms_of_dense_queries_have_a_value_for_each_image():
    model, samples = ddq().train(), [make_sample(2), make_sample(0, index=1)]
    terms = model.bbox_head.loss(model.forward_transformer(features(), QueryContext(samples)))
    names = [name for name in terms if 'aux' in name]
    layers = ('0_aux_', '1_aux_', 'aux_enc_')
    assert sorted(names) == sorted(f'{layer}aux_loss_{name}' for layer in layers for name in ('cls', 'bbox'))
    assert all(len(terms[name]) == 2 for name in names)
    assert terms['0_aux_aux_loss_bbox'][1] == 0 and terms['0_aux_aux_loss_cls'][1] > 0
