"""Queries made of noisy objects."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.models.heads.query import CdnQueryGenerator
from mmdetlike.structures.bbox import bbox_cxcywh_to_xyxy
from tests.models.tiny import make_sample


def generator(**cfg):
    torch.manual_seed(0)
    settings = dict(num_classes=3, embed_dims=4, num_matching_queries=5, group_cfg=dict(num_dn_queries=12))
    return CdnQueryGenerator(**{**settings, **cfg})


def test_attention_of_denoising_queries():
    queries = generator()([make_sample(2), make_sample(1, index=1)])
    assert (queries.num_groups, queries.max_objects, queries.count) == (6, 2, 24)
    for row, column in itertools.product(range(29), range(29)):
        same_group = row // 4 == column // 4 and row < 24
        hidden = column < 24 and not same_group
        assert bool(queries.attn_mask[row, column]) == hidden, (row, column)


def test_indices_of_positives():
    queries = generator(group_cfg=dict(num_dn_queries=6))([make_sample(3), make_sample(1, index=1)])
    assert queries.num_groups == 2
    indices, objects = queries.positives(3)
    assert indices.tolist() == [0, 1, 2, 6, 7, 8] and objects.tolist() == [0, 1, 2] * 2
    assert queries.positives(1)[0].tolist() == [0, 6]
    # where there is no object, neither content nor box
    filled = queries.content.abs().sum(-1) > 0
    assert filled[0].all() and filled[1].tolist() == [True, False, False] * 4


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 0.9))
def test_noise_of_boxes_is_bounded(seed, scale):
    make = generator(box_noise_scale=scale, group_cfg=dict(dynamic=False, num_groups=200))
    torch.manual_seed(seed)
    box = torch.tensor([0.4, 0.35, 0.6, 0.65])
    noisy = bbox_cxcywh_to_xyxy(make._noisy_boxes(box[None], 200).sigmoid()).unflatten(0, (200, 2))[:, :, 0]
    moved = (noisy - box).abs() / torch.tensor([0.1, 0.15, 0.1, 0.15]) / scale
    whole = (noisy[..., 2:] - noisy[..., :2] > 0.01).all(-1)  # others are squeezed to nothing
    positives, negatives = (moved[:, i][whole[:, i]] for i in (0, 1))
    assert len(positives) > 100 and bool((positives < 1.01).all()) and positives.max() > 0.9
    assert len(negatives) > 0 and bool(((negatives > 0.99) & (negatives < 2.01)).all())


def test_no_noise():
    make = generator(box_noise_scale=0.0, label_noise_scale=0.0)
    sample = make_sample([[8.0, 8, 24, 40]], shape=(64, 32))
    queries = make([sample])
    expected = torch.tensor([0.5, 0.375, 0.5, 0.5])
    torch.testing.assert_close(queries.boxes.sigmoid(), expected.expand(1, 24, 4))
    torch.testing.assert_close(queries.content, make.label_embedding.weight[0].expand(1, 24, 4))


def test_share_of_noisy_labels():
    torch.manual_seed(0)
    labels = torch.zeros(1, 20000, dtype=torch.long)
    noisy = generator(label_noise_scale=0.6)._noisy_labels(labels)
    assert float((noisy != 0).float().mean()) == pytest.approx(0.3 * 2 / 3, abs=0.02)
    assert sorted(noisy.unique().tolist()) == [0, 1, 2]


@pytest.mark.parametrize('objects, groups', [(1, 12), (5, 2), (12, 1), (30, 1), (0, 12)])
def test_dynamic_groups(objects, groups):
    assert generator().num_groups(objects) == groups
    assert generator(group_cfg=dict(dynamic=False, num_groups=4)).num_groups(objects) == 4


@pytest.mark.parametrize('group_cfg', [None, dict(num_groups=3), dict(dynamic=False), dict(num_dn_queries=0)])
def test_groups_need_their_number(group_cfg):
    with pytest.raises(ValueError, match='group_cfg needs num_dn_queries if dynamic, else num_groups'):
        generator(group_cfg=group_cfg)
