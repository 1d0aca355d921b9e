"""Losses of class scores, heat maps and masks, and accuracy."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.errors import ConfigError
from mmdetlike.models.losses import (
    Accuracy,
    CrossEntropyLoss,
    DiceLoss,
    DistributionFocalLoss,
    FocalLoss,
    GaussianFocalLoss,
    QualityFocalLoss,
    VarifocalLoss,
    accuracy,
    one_hot_labels,
    weighted_loss,
)
from mmdetlike.registry import MODELS

LOG2 = math.log(2)


def _logit(p):
    return math.log(p / (1 - p))


def test_softmax_cross_entropy_by_hand():
    pred = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    label = torch.tensor([0, 1])
    assert CrossEntropyLoss(reduction='none')(pred, label).tolist() == pytest.approx([math.log(4 / 3), LOG2])
    assert CrossEntropyLoss(loss_weight=2.0)(pred, label).item() == pytest.approx(math.log(4 / 3) + LOG2)
    weighted = CrossEntropyLoss(class_weight=[3.0, 0.5], reduction='none')(pred, label)
    assert weighted.tolist() == pytest.approx([3 * math.log(4 / 3), LOG2 / 2])


def test_ignored_labels():
    pred, label = torch.zeros(4, 2), torch.tensor([0, 1, 255, 255])
    assert CrossEntropyLoss(ignore_index=255)(pred, label).item() == pytest.approx(LOG2 / 2)
    assert CrossEntropyLoss(ignore_index=255, avg_non_ignore=True)(pred, label).item() == pytest.approx(LOG2)
    assert CrossEntropyLoss()(pred, label, ignore_index=255).item() == pytest.approx(LOG2 / 2)
    binary = CrossEntropyLoss(use_sigmoid=True, ignore_index=255, avg_non_ignore=True)
    assert binary(pred, label).item() == pytest.approx(LOG2)


def test_cross_entropy_of_maps():
    pred, label = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    torch.testing.assert_close(CrossEntropyLoss()(pred, label), F.cross_entropy(pred, label))
    binary = CrossEntropyLoss(use_sigmoid=True)(pred, label)
    expected = F.binary_cross_entropy_with_logits(pred, F.one_hot(label, 3).permute(0, 3, 1, 2).float())
    torch.testing.assert_close(binary, expected)


def test_binary_cross_entropy_of_maps_takes_a_weight_per_pixel():
    pred, label = torch.zeros(1, 3, 3, 2), torch.zeros(1, 3, 2, dtype=torch.long)
    weight = torch.arange(6.0).view(1, 3, 2)
    loss = CrossEntropyLoss(use_sigmoid=True, reduction='none')(pred, label, weight)
    torch.testing.assert_close(loss, LOG2 * weight.unsqueeze(1).expand(1, 3, 3, 2))


def test_binary_cross_entropy_of_labels():
    """Label 2 is background; label -1 is ignored."""
    pred = torch.tensor([[_logit(0.25), 0.0]] * 3)
    loss = CrossEntropyLoss(use_sigmoid=True, reduction='none')(pred, torch.tensor([0, 2, -1]))
    expected = [[-math.log(0.25), LOG2], [-math.log(0.75), LOG2], [0.0, 0.0]]
    torch.testing.assert_close(loss, torch.tensor(expected))


def test_binary_cross_entropy_of_one_logit_per_anchor():
    pred = torch.tensor([[_logit(0.25)], [_logit(0.25)]])
    loss = CrossEntropyLoss(use_sigmoid=True)(pred, torch.tensor([0, 1]), torch.tensor([1.0, 0.5]), avg_factor=2)
    assert loss.item() == pytest.approx((-math.log(0.25) - 0.5 * math.log(0.75)) / 2)


def test_binary_cross_entropy_of_dense_targets():
    pred, target = torch.zeros(2, 3), torch.tensor([[0.0, 0.5, 1.0], [-1.0, -1.0, 1.0]])
    loss = CrossEntropyLoss(use_sigmoid=True, reduction='none')
    torch.testing.assert_close(loss(pred, target), LOG2 * (target >= 0))
    torch.testing.assert_close(
        loss(pred, target, torch.tensor([1.0, 2.0])), LOG2 * torch.tensor([[1.0, 1, 1], [0, 0, 2]])
    )


def test_binary_class_weight_counts_for_positives():
    loss = CrossEntropyLoss(use_sigmoid=True, class_weight=[5.0, 7.0], reduction='none')
    torch.testing.assert_close(loss(torch.zeros(1, 2), torch.tensor([1])), torch.tensor([[LOG2, 7 * LOG2]]))


WEIGHTS = [2.0, 0.0, 5.0]
QUALITY = torch.tensor([[0.7, 0, 0], [0, 0.2, 0], [0, 0, 0.9], [0, 0, 0]])


@pytest.mark.parametrize(
    ('cls', 'target'),
    [
        (FocalLoss, torch.tensor([0, 1, 2, 3])),
        (FocalLoss, (QUALITY > 0).float()),
        (QualityFocalLoss, (torch.tensor([0, 1, 2, 3]), QUALITY.amax(1))),
        (QualityFocalLoss, QUALITY),
        (VarifocalLoss, QUALITY),
    ],
)
def test_class_weight_counts_for_positives_of_each_class(cls, target):
    pred = torch.linspace(-2, 2, 12).view(4, 3)
    plain = cls(reduction='none')(pred, target)
    weighted = cls(reduction='none', class_weight=WEIGHTS)(pred, target)
    assert weighted[3].equal(plain[3])  # background
    one_hot = torch.eye(3)
    for row, weight in enumerate(WEIGHTS):
        alone = cls(reduction='none', class_weight=(1 - one_hot[row]).tolist())(pred, target)
        of_positive = plain[row] - alone[row]  # with the weight 0, the part of the positive is missing
        torch.testing.assert_close(weighted[row], alone[row] + weight * of_positive)
        assert of_positive.sum() > 0
    assert 'class_weight' not in cls(class_weight=WEIGHTS).state_dict()


def test_class_weight_is_not_in_the_state_dict():
    assert CrossEntropyLoss(class_weight=[1.0, 2.0]).state_dict() == {}


def test_mask_cross_entropy_takes_the_own_class():
    pred = torch.full((2, 3, 4, 4), 50.0)
    pred[0, 2] = pred[1, 0] = 0.0
    loss = CrossEntropyLoss(use_mask=True)
    target = torch.randint(0, 2, (2, 4, 4))
    labels = torch.tensor([2, 0])
    assert loss(pred, target, region_labels=labels).item() == pytest.approx(LOG2)
    assert loss(pred, target, torch.tensor([1.0, 0.0]), region_labels=labels).item() == pytest.approx(LOG2 / 2)
    empty = pred[:0].requires_grad_()
    assert loss(empty, target[:0], region_labels=labels[:0]).item() == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(-2, 8))
def test_one_hot_of_any_label(num_classes, label):
    row = one_hot_labels(torch.tensor([label]), num_classes)[0]
    assert row.tolist() == [c == label for c in range(num_classes)]


def test_focal_loss_by_hand():
    """p = 0.25 for a positive: 0.25 * 0.75 ** 2 * -log 0.25; p = 0.5 for a negative: 0.75 * 0.5 ** 2 * log 2."""
    pred = torch.tensor([[_logit(0.25), 0.0]])
    expected = torch.tensor([[0.25 * 0.75**2 * -math.log(0.25), 0.75 * 0.25 * LOG2]])
    for target in (torch.tensor([0]), torch.tensor([[1, 0]]), torch.tensor([[1.0, 0.0]])):
        torch.testing.assert_close(FocalLoss(reduction='none')(pred, target), expected)
    activated = FocalLoss(reduction='none', activated=True)(pred.sigmoid(), torch.tensor([0]))
    torch.testing.assert_close(activated, expected)


def test_focal_loss_of_labels_uses_the_kernel():
    label = torch.tensor([0, 2])
    loss = FocalLoss()(torch.zeros(2, 2, requires_grad=True), label)
    names = {edge.name() for edge in _graph(loss.grad_fn)}
    assert not any('BinaryCrossEntropy' in name for name in names), names


def _graph(node):
    return {node} | {found for child, _ in node.next_functions if child for found in _graph(child)}


def test_focal_loss_weights_rows_even_in_a_square():
    pred, label = torch.zeros(2, 2), torch.tensor([2, 2])
    loss = FocalLoss(reduction='none', alpha=0.5, gamma=0.0)(pred, label, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(loss, torch.tensor([[LOG2 / 2, LOG2 / 2], [0, 0]]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 9), st.integers(1, 5), st.floats(0, 3), st.floats(0.1, 0.9), st.integers(0, 999))
def test_focal_kernel_of_labels_is_the_plain_formula_of_one_hot_targets(n, classes, gamma, alpha, seed):
    generator = torch.Generator().manual_seed(seed)
    pred = torch.randn(n, classes, generator=generator, dtype=torch.double) * 3
    label = torch.randint(0, classes + 1, (n,), generator=generator)
    results = []
    for function in (
        lambda x: FocalLoss(gamma=gamma, alpha=alpha, reduction='none')(x, label),
        lambda x: FocalLoss(gamma=gamma, alpha=alpha, reduction='none')(x, one_hot_labels(label, classes)),
    ):
        leaf = pred.clone().requires_grad_()
        loss = function(leaf)
        results.append((loss, *torch.autograd.grad(loss.sum(), leaf)))
    torch.testing.assert_close(*results)


def test_quality_focal_loss_by_hand():
    pred = torch.tensor([[_logit(0.25), 0.0], [0.0, 0.0]])
    quality = 0.75
    entropy = -quality * math.log(0.25) - (1 - quality) * math.log(0.75)
    expected = [entropy * 0.5**2 + LOG2 * 0.25, 2 * LOG2 * 0.25]
    target = (torch.tensor([0, 2]), torch.tensor([quality, 0.0]))
    loss = QualityFocalLoss(reduction='none')
    assert loss(pred, target).tolist() == pytest.approx(expected)
    assert loss(pred, torch.tensor([[quality, 0.0], [0.0, 0.0]])).tolist() == pytest.approx(expected)
    activated = QualityFocalLoss(reduction='none', activated=True)(pred.sigmoid(), target)
    assert activated.tolist() == pytest.approx(expected)
    assert loss(pred, target, torch.tensor([2.0, 0.0])).tolist() == pytest.approx([2 * expected[0], 0])


def test_distribution_focal_loss_by_hand():
    pred = torch.log(torch.tensor([[0.1, 0.2, 0.7]])).repeat(3, 1)
    loss = DistributionFocalLoss(reduction='none')(pred, torch.tensor([0.25, 1.0, 2.0]))
    expected = [-0.75 * math.log(0.1) - 0.25 * math.log(0.2), -math.log(0.2), -math.log(0.7)]
    assert loss.tolist() == pytest.approx(expected)


def test_varifocal_loss_by_hand():
    pred, target = torch.tensor([[_logit(0.25), 0.0]]), torch.tensor([[0.75, 0.0]])
    entropy = -0.75 * math.log(0.25) - 0.25 * math.log(0.75)
    loss = VarifocalLoss(reduction='none')(pred, target)
    torch.testing.assert_close(loss, torch.tensor([[0.75 * entropy, 0.75 * 0.25 * LOG2]]))
    unweighted = VarifocalLoss(reduction='none', iou_weighted=False)(pred, target)
    torch.testing.assert_close(unweighted, torch.tensor([[entropy, 0.75 * 0.25 * LOG2]]))


def test_gaussian_focal_loss_by_hand():
    pred, target = torch.tensor([0.25, 0.25, 0.25]), torch.tensor([1.0, 0.5, 0.0])
    positive, negative = -math.log(0.25) * 0.75**2, -math.log(0.75) * 0.25**2
    loss = GaussianFocalLoss(reduction='none')
    assert loss(pred, target).tolist() == pytest.approx([positive, negative / 16, negative])
    weighted = GaussianFocalLoss(reduction='none', pos_weight=2.0, neg_weight=3.0)
    assert weighted(pred, target).tolist() == pytest.approx([2 * positive, 3 * negative / 16, 3 * negative])


def test_gaussian_focal_loss_of_saturated_half_precision_is_finite():
    pred, target = torch.tensor([0.0, 1.0], dtype=torch.float16), torch.tensor([1.0, 0.0], dtype=torch.float16)
    loss = GaussianFocalLoss(reduction='none')(pred, target)
    assert loss.tolist() == pytest.approx([-math.log(1e-12)] * 2)


def test_dice_loss_by_hand():
    pred, target = torch.tensor([[[1.0, 0.5], [0.0, 0.0]]]), torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    squares = DiceLoss(activate=False, eps=1e-6)(pred, target)
    sums = DiceLoss(activate=False, naive_dice=True, eps=1.0)(pred, target)
    assert squares.item() == pytest.approx(1 - 3 / 3.25, abs=1e-5)
    assert sums.item() == pytest.approx(1 - 4 / 4.5)
    logits = DiceLoss(naive_dice=True, eps=1.0)(torch.zeros(1, 4), torch.ones(1, 4))
    assert logits.item() == pytest.approx(1 - 5 / 7)
    assert DiceLoss(reduction='none')(torch.zeros(3, 4), torch.ones(3, 4), torch.tensor([1.0, 0, 0]))[1:].sum() == 0


def _soft(n, c):
    return torch.rand(n, c, dtype=torch.double)


@pytest.mark.parametrize(
    'loss, target',
    [
        (CrossEntropyLoss(class_weight=[1.0, 2.0, 3.0]), torch.tensor([0, 2, 1, 0])),
        (CrossEntropyLoss(use_sigmoid=True), torch.tensor([0, 3, -1, 1])),
        (FocalLoss(), torch.tensor([0, 3, 1, 1])),
        (FocalLoss(), _soft(4, 3)),
        (QualityFocalLoss(beta=3.0), (torch.tensor([0, 3, 1, 1]), _soft(4, 1)[:, 0])),
        (DistributionFocalLoss(), _soft(4, 1)[:, 0] * 2),
        (VarifocalLoss(), _soft(4, 3)),
        (DiceLoss(), _soft(4, 3)),
    ],
)
def test_gradcheck(loss, target):
    torch.manual_seed(0)
    pred = torch.randn(4, 3, dtype=torch.double, requires_grad=True)
    torch.autograd.gradcheck(lambda x: loss.double()(x, target), pred)


def test_gradcheck_gaussian():
    pred = (torch.rand(6, dtype=torch.double) * 0.8 + 0.1).requires_grad_()
    target = torch.tensor([1.0, 1.0, 0.5, 0.2, 0.0, 0.0], dtype=torch.double)
    torch.autograd.gradcheck(lambda x: GaussianFocalLoss()(x, target), pred)


@pytest.mark.parametrize('cls', [CrossEntropyLoss, FocalLoss, DistributionFocalLoss])
def test_no_rows(cls):
    pred = torch.zeros(0, 3, requires_grad=True)
    loss = cls()(pred, torch.zeros(0, dtype=torch.long), torch.zeros(0))
    loss.backward()
    assert loss.item() == 0
    assert pred.grad.shape == (0, 3)


@pytest.mark.parametrize(
    'loss, target',
    [
        (CrossEntropyLoss(class_weight=[1.0, 2.0, 3.0]), torch.tensor([0, 2])),
        (CrossEntropyLoss(use_sigmoid=True, class_weight=[1.0, 2.0, 3.0]), torch.tensor([0, 3])),
        (FocalLoss(), torch.tensor([0, 3])),
        (QualityFocalLoss(), (torch.tensor([0, 3]), torch.tensor([0.5, 0.0]))),
        (VarifocalLoss(), torch.tensor([[0.5, 0, 0], [0, 0, 1]])),
        (DiceLoss(), torch.tensor([[1, 0, 0], [0, 0, 1]])),
    ],
)
def test_bfloat16_is_near_float32(loss, target):
    pred = torch.tensor([[0.5, -1.0, 2.0], [0.25, 0.0, -3.0]])
    half = loss(pred.bfloat16(), target)
    assert half.item() == pytest.approx(loss(pred, target).item(), rel=0.02)


@pytest.mark.parametrize(
    'build, message',
    [
        (lambda: CrossEntropyLoss(use_sigmoid=True, use_mask=True), 'exclude each other'),
        (lambda: CrossEntropyLoss(use_mask=True, ignore_index=1), 'neither ignore_index'),
        (
            lambda: CrossEntropyLoss(use_mask=True)(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2)),
            'needs region_labels, the class of each region',
        ),
        (lambda: FocalLoss(use_sigmoid=False), 'use_sigmoid must be True'),
        (lambda: QualityFocalLoss(use_sigmoid=False), 'use_sigmoid must be True'),
        (lambda: VarifocalLoss(use_sigmoid=False), 'use_sigmoid must be True'),
        (lambda: VarifocalLoss(alpha=-1.0), 'alpha >= 0, but got -1.0'),
        (lambda: DiceLoss(use_sigmoid=False), 'activate by sigmoid only'),
        (lambda: accuracy(torch.zeros(2, 3), torch.zeros(2), topk=4), 'topk=4 exceeds the number of classes, 3'),
        (lambda: accuracy(torch.zeros(2, 3), torch.zeros(3)), r'but got \(2, 3\) and \(3,\)'),
    ],
)
def test_messages(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_losses_are_built_from_configs_of_the_alias_scope():
    loss = MODELS.build({'type': 'mmdet.FocalLoss', 'gamma': 3.0})
    assert loss.gamma == 3.0
    assert 'gamma=3.0' in repr(loss)
    with pytest.raises(ConfigError, match="did you mean 'alpha'"):
        MODELS.build({'type': 'FocalLoss', 'alfa': 0.1})


def test_accuracy_by_hand():
    pred = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.4, 0.3], [0.2, 0.3, 0.5]])
    target = torch.tensor([0, 2, 1, 0])
    assert accuracy(pred, target).item() == 50
    assert [a.item() for a in accuracy(pred, target, topk=(1, 2, 3))] == [50, 75, 100]
    assert accuracy(pred, target, thresh=0.5).item() == 25
    assert accuracy(pred[:0], target[:0]).item() == 0
    assert [a.item() for a in Accuracy(topk=(2,))(pred, target)] == [75]


def test_a_loss_of_ones_own():
    @weighted_loss
    def squared(pred, target, power=2):
        return (pred - target) ** power

    pred, target = torch.tensor([1.0, 2.0, 4.0]), torch.zeros(3)
    assert squared(pred, target, reduction='none', power=3).tolist() == [1, 8, 64]
    assert squared(pred, target, torch.tensor([1.0, 0.0, 2.0]), avg_factor=3).item() == pytest.approx(11)
