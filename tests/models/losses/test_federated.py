"""The federated loss, by hand."""

import json

import pytest
import torch
import torch.nn.functional as F

from mmdetlike.errors import ConfigError
from mmdetlike.models.losses import FederatedLoss
from mmdetlike.registry import MODELS
from tests.models.tiny import config, losses, make_sample, predict


def test_classes_that_are_not_drawn_have_no_loss():
    loss = FederatedLoss(num_classes=4, frequencies=[1, 0, 0, 9], num_sampled=2, power=1)
    logits = torch.tensor([[1.0, 2, 3, 4], [4.0, 3, 2, 1]])
    target = torch.tensor([2, 4])  # an object of class 2, and background
    torch.manual_seed(0)
    counted = loss.counted_classes(target)
    torch.manual_seed(0)
    value = loss(logits, target, avg_factor=2)
    # class 2 is there, one of 0 and 3 is drawn, class 1 never occurs
    assert counted[2] and not counted[1] and int(counted.sum()) == 2
    truth = torch.zeros(2, 4)
    truth[0, 2] = 1
    each = F.binary_cross_entropy_with_logits(logits, truth, reduction='none')
    torch.testing.assert_close(value, (each * counted).sum() / 2)


def test_classes_are_drawn_by_their_frequency():
    loss = FederatedLoss(num_classes=3, frequencies=[1, 100, 0], num_sampled=1, power=0.5)
    target = torch.tensor([3])
    torch.manual_seed(0)
    drawn = torch.stack([loss.counted_classes(target) for _ in range(2000)]).float().mean(0)
    assert drawn[2] == 0 and float(drawn[1]) == pytest.approx(10 / 11, abs=0.03)
    # as many as can be drawn, where there are fewer than wanted
    many = FederatedLoss(num_classes=3, frequencies=[1, 100, 0], num_sampled=50)
    assert many.counted_classes(target).tolist() == [True, True, False]
    assert many.counted_classes(torch.tensor([2])).all()


def test_a_weight_of_a_region_is_for_all_classes():
    loss = FederatedLoss(num_classes=2, frequencies=[1, 1])
    logits = torch.zeros(2, 2)
    value = loss(logits, torch.tensor([0, 1]), torch.tensor([1.0, 0.0]), avg_factor=1)
    torch.testing.assert_close(value, 2 * torch.tensor(2.0).log())


def test_frequencies_of_a_file(tmp_path):
    path = tmp_path / 'lvis.json'
    path.write_text(json.dumps(dict(categories=[dict(id=2, image_count=4), dict(id=1, image_count=9)])))
    assert FederatedLoss(2, str(path)).chances().tolist() == [3, 2]
    path.write_text('[1, 4]')
    assert FederatedLoss(2, str(path)).chances().tolist() == [1, 2]
    with pytest.raises(ConfigError, match=r'lvis\.json\): frequencies should be 3 numbers of 0 or more.* got 2'):
        FederatedLoss(3, str(path)).chances()
    path.write_text(json.dumps(dict(categories=[dict(id=1, name='x')])))
    with pytest.raises(ConfigError, match=r'lvis\.json: expected a list of numbers, or categories with an image_count'):
        FederatedLoss(1, str(path)).chances()
    with pytest.raises(ConfigError, match='FederatedLoss: frequencies should be 2 numbers'):
        FederatedLoss(2, [1, -1])


def test_in_a_region_head():
    cfg = config('faster_rcnn')
    cfg['roi_head']['bbox_head']['loss_cls'] = dict(type='FederatedLoss', num_classes=3, frequencies=[5, 2, 1])
    model = MODELS.build(cfg)
    assert model.roi_head.bbox_head.fc_cls.out_features == 3
    terms = losses(model, [make_sample(3)])
    assert torch.isfinite(terms['loss_cls']) and float(terms['loss_cls'].detach()) > 0
    assert 'pred_instances' in predict(model, [make_sample(3)])[0]
