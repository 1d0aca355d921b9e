"""Losses that weigh elements by how many are alike: GHM and seesaw."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from mmdetlike.models.losses import GHMC, GHMR, CrossEntropyLoss, SeesawLoss
from mmdetlike.registry import MODELS
from tests.models.tiny import config, losses, make_sample, predict


def weights_by_loop(gradient, valid, edges, counts=None):
    """Each range's weight is (valid elements) / (elements of the range) / (ranges that hold any)."""
    weight, filled = torch.zeros_like(gradient), 0
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = (gradient >= low) & (gradient < high) & valid
        if inside.any():
            filled += 1
            weight[inside] = valid.sum() / (inside.sum() if counts is None else counts[i])
    return weight / max(filled, 1)


@pytest.mark.parametrize('bins', [1, 5, 30])
def test_ghmc_against_a_loop_over_ranges(bins):
    torch.manual_seed(0)
    pred, labels = 3 * torch.randn(50, 4), torch.randint(0, 5, (50,))
    label_weight = (torch.rand(50) > 0.3).float()
    loss = GHMC(bins=bins, loss_weight=2.0)
    target = F.one_hot(labels, 5)[:, :4].float()
    valid = label_weight[:, None].expand(50, 4) > 0
    weight = weights_by_loop((pred.sigmoid() - target).abs(), valid, loss.edges)
    expected = F.binary_cross_entropy_with_logits(pred, target, weight, reduction='sum') / valid.sum()
    torch.testing.assert_close(loss(pred, labels, label_weight), 2 * expected)
    torch.testing.assert_close(loss(pred, target, valid.float()), 2 * expected)
    torch.testing.assert_close(loss(pred, labels), loss(pred, labels, torch.ones(50)))


def test_ghmr_against_a_loop_over_ranges():
    torch.manual_seed(0)
    pred, target, label_weight = torch.randn(40, 4), torch.randn(40, 4) / 10, (torch.rand(40, 4) > 0.5).float()
    pred[:5] = target[:5] + 100
    loss = GHMR(mu=0.1, bins=7)
    length = ((pred - target) ** 2 + 0.01).sqrt()
    weight = weights_by_loop(((pred - target) / length).abs(), label_weight > 0, loss.edges)
    expected = ((length - 0.1) * weight).sum() / label_weight.sum()
    torch.testing.assert_close(loss(pred, target, label_weight, avg_factor=123), expected)
    assert loss(pred, target, label_weight, reduction_override='none').shape == (40, 4)


def test_ghm_moving_average():
    loss = GHMC(bins=2, momentum=0.75)
    assert list(loss.state_dict()) == ['edges', 'acc_sum']
    pred, ones = torch.tensor([[-2.0], [-2.0], [-2.0], [2.0]]), torch.ones(4)
    background = torch.ones(4).long()
    loss(pred, background, ones)
    assert loss.acc_sum.tolist() == [0.75, 0.25]
    value = loss(pred[:3], background[:3], ones[:3])  # no element in the second range, whose count stays
    assert loss.acc_sum.tolist() == [0.75 * 0.75 + 0.25 * 3, 0.25]
    expected = 3 / (0.75 * 0.75 + 0.75) * math.log(1 + math.exp(-2))
    assert value.item() == pytest.approx(expected)


def test_ghm_gradients_and_nothing_to_learn_from():
    pred = torch.randn(6, 3, requires_grad=True)
    loss = GHMC()(pred, torch.zeros(6).long(), torch.zeros(6))
    loss.backward()
    assert loss.item() == 0 and not pred.grad.any()
    assert GHMC()(torch.zeros(0, 3), torch.zeros(0).long(), torch.zeros(0)).item() == 0
    assert GHMR()(torch.zeros(0, 4), torch.zeros(0, 4), torch.zeros(0, 4)).item() == 0
    GHMC()(pred, torch.zeros(6).long(), torch.ones(6)).backward()
    assert bool(pred.grad.all())


def test_detector_with_ghm_losses():
    torch.manual_seed(0)
    cfg = config('retinanet')
    cfg['bbox_head'].update(
        loss_cls=dict(type='GHMC', bins=30, momentum=0.75), loss_bbox=dict(type='GHMR', momentum=0.7)
    )
    model = MODELS.build(cfg)
    total, _ = model.parse_losses(losses(model, [make_sample(3)]))
    total.backward()
    assert bool(torch.isfinite(total)) and bool(model.bbox_head.retina_reg.weight.grad.any())
    assert float(model.bbox_head.loss_cls.acc_sum.sum()) > 0


def test_ghm_refuses():
    with pytest.raises(ValueError, match='use_sigmoid must be True'):
        GHMC(use_sigmoid=False)
    with pytest.raises(ValueError, match='bins must be at least 1, but got 0'):
        GHMR(bins=0)


# -- seesaw ----------------------------------------------------------------------------------------------------------


def test_seesaw_by_hand():
    """Eight samples of class 0 and one of class 2 so far; this batch brings one more of class 2."""
    loss = SeesawLoss(num_classes=3, p=0.5, q=2.0)
    loss.cum_samples += torch.tensor([8.0, 0.0, 1.0, 5.0])
    z = torch.tensor([[1.0, 2.0, 0.5, 0.3, -0.2], [0.0, 0.0, 0.0, 0.1, 0.4]])
    terms = loss(z, torch.tensor([2, 3]))
    assert loss.cum_samples.tolist() == [8, 0, 2, 6]
    e = [math.exp(v) for v in (1.0, 2.0, 0.5)]
    # class 0 has more samples than 2: no mitigation; class 1 has none, which counts as 1: (1 / 2) ** 0.5
    compensation = [(math.exp(v - 0.5)) ** 2 for v in (1.0, 2.0)]
    denominator = e[0] * compensation[0] + e[1] * 0.5**0.5 * compensation[1] + e[2]
    assert terms['loss_cls_classes'].item() == pytest.approx(-math.log(e[2] / denominator), rel=1e-5)
    objectness = F.cross_entropy(z[:, 3:], torch.tensor([0, 1]))
    torch.testing.assert_close(terms['loss_cls_objectness'], objectness)


def test_seesaw_without_exponents_is_cross_entropy():
    torch.manual_seed(0)
    z, labels, weights = torch.randn(7, 6), torch.randint(0, 5, (7,)), torch.rand(7)
    labels[:2] = 4
    loss = SeesawLoss(p=0, q=0, num_classes=4, loss_weight=3.0)
    terms = loss(z, labels, weights, avg_factor=5)
    chosen = labels < 4
    expected = 3 * CrossEntropyLoss()(z[chosen, :4], labels[chosen], weights[chosen], avg_factor=5)
    torch.testing.assert_close(terms['loss_cls_classes'], expected)
    loss.return_dict = False
    torch.testing.assert_close(loss(z, labels, weights, avg_factor=5), sum(terms.values()))


def test_seesaw_protects_rare_classes():
    """A sample of a frequent class hardly pushes a rare one down."""
    loss = SeesawLoss(num_classes=2)
    loss.cum_samples += torch.tensor([1000.0, 1.0, 0.0])
    z = torch.tensor([[2.0, 0.0, 0.0, 0.0]], requires_grad=True)
    loss(z, torch.tensor([0]))['loss_cls_classes'].backward()
    rare = z.grad[0, 1].item()
    plain = 1 / (1 + math.exp(2))
    assert 0 < rare < 0.02 * plain


def test_seesaw_activation_and_accuracy():
    loss = SeesawLoss(num_classes=2)
    z = torch.tensor([[2.0, 0.0, 1.0, 0.0], [0.0, 3.0, 0.0, 5.0]])
    scores = loss.get_activation(z)
    assert loss.get_cls_channels(2) == 4 and scores.shape == (2, 3)
    torch.testing.assert_close(scores.sum(1), torch.ones(2))
    objectness = 1 / (1 + math.exp(-1))
    assert scores[0, 0].item() == pytest.approx(objectness / (1 + math.exp(-2)))
    accuracy = loss.get_accuracy(z, torch.tensor([1, 2]))
    assert accuracy['acc_objectness'].item() == 100 and accuracy['acc_classes'].item() == 0
    with pytest.raises(ValueError, match='made for num_classes=2, but is used for 3'):
        loss.get_cls_channels(3)
    with pytest.raises(ValueError, match='use_sigmoid must be False'):
        SeesawLoss(use_sigmoid=True)


def test_seesaw_of_background_only():
    loss = SeesawLoss(num_classes=2)
    z = torch.randn(3, 4, requires_grad=True)
    terms = loss(z, torch.full((3,), 2), torch.ones(3), avg_factor=3)
    assert terms['loss_cls_classes'].item() == 0
    sum(terms.values()).backward()
    assert not z.grad[:, :2].any() and bool(z.grad[:, 2:].all())


def test_detector_with_seesaw_loss_and_normed_predictor():
    torch.manual_seed(0)
    cfg = config('faster_rcnn')
    head = cfg['roi_head']['bbox_head']
    head['loss_cls'] = dict(type='SeesawLoss', num_classes=3, loss_weight=1.0)
    head['cls_predictor_cfg'] = dict(type='NormedLinear', tempearture=20)
    model = MODELS.build(cfg)
    assert model.roi_head.bbox_head.fc_cls.weight.shape == (5, 16)
    terms = losses(model, [make_sample(3)])
    assert {'loss_cls_objectness', 'loss_cls_classes', 'acc_objectness', 'acc_classes'} <= set(terms)
    assert 'loss_cls' not in terms and 'acc' not in terms
    total, logged = model.parse_losses(terms)
    assert 'acc_classes' in logged
    total.backward()
    assert bool(model.roi_head.bbox_head.fc_cls.weight.grad.any())
    result = predict(model, [make_sample(1)])[0].pred_instances
    assert len(result) > 0 and int(result.labels.max()) < 3
