"""DDOD: two assigners, and levels that weigh more the fewer positives they have had."""

import copy

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from tests.models.families import FAMILIES, build
from tests.models.tiny import losses, make_sample


def test_levels_with_few_positives_weigh_more():
    model = build('ddod')
    head, samples = model.bbox_head, [make_sample(5)]
    with torch.no_grad():
        preds = head.flatten(head(model.extract_feat(torch.rand(1, 3, 64, 64))))
    targets = head.targets(preds, samples)
    levels = preds.priors.level_ids[targets.pos_inds]
    head.seen_positives += torch.tensor([100.0, 50.0, 0.0])
    seen = torch.tensor([100.0, 50.0, 0.0]) + levels.bincount(minlength=3)
    weights = head.level_weights(preds, targets)
    torch.testing.assert_close(head.seen_positives, seen)
    torch.testing.assert_close(weights, 2 - (seen - seen.min()) / (seen.max() - seen.min()))


def test_classes_and_boxes_have_assigners_of_their_own():
    model = build('ddod')
    expected = losses(model, [make_sample(5)])
    changed = copy.deepcopy(model)
    changed.bbox_head.seen_positives.zero_()
    changed.bbox_head.reg_assigner.topk = 1
    got = losses(changed, [make_sample(5)])
    torch.testing.assert_close(torch.stack(got['loss_cls']), torch.stack(expected['loss_cls']))
    assert float(sum(got['loss_bbox']).detach()) != pytest.approx(float(sum(expected['loss_bbox']).detach()), rel=1e-3)


def test_a_missing_assigner_of_boxes_is_named():
    cfg = FAMILIES['ddod']()
    del cfg['train_cfg']['reg_assigner']
    with pytest.raises(ConfigError, match=r"train_cfg needs reg_assigner beside assigner, got \['allowed_border', "):
        MODELS.build(cfg)
