"""Losses of region heads that classify by a sigmoid a class."""

import pytest
import torch

from mmdetlike.models.losses import CrossEntropyCustomLoss, CrossEntropyLoss, FocalCustomLoss, FocalLoss
from mmdetlike.registry import MODELS
from tests.models.tiny import config, losses, make_sample, predict


@pytest.mark.parametrize(
    ('own', 'plain'),
    [
        (CrossEntropyCustomLoss(use_sigmoid=True, num_classes=4), CrossEntropyLoss(use_sigmoid=True)),
        (FocalCustomLoss(num_classes=4), FocalLoss()),
    ],
)
def test_the_loss_is_that_of_the_plain_one_and_background_is_no_class(own, plain):
    torch.manual_seed(0)
    logits = torch.randn(6, 4)
    labels = torch.tensor([0, 1, 2, 3, 4, 4])
    assert own.get_cls_channels(4) == 4
    torch.testing.assert_close(own(logits, labels, avg_factor=6), plain(logits, labels, avg_factor=6))
    scores = own.get_activation(logits)
    torch.testing.assert_close(scores[:, :4], logits.sigmoid())
    torch.testing.assert_close(scores[:, 4], 1 - logits.sigmoid().amax(1))


def test_a_softmax_has_a_channel_for_background():
    loss = CrossEntropyCustomLoss(num_classes=4)
    logits = torch.tensor([[0.0, 3, 0, 0, 9], [5, 0, 0, 0, 0], [0, 0, 0, 0, 1]])
    assert loss.get_cls_channels(4) == 5
    torch.testing.assert_close(loss.get_activation(logits), logits.softmax(1))
    # of the two objects one is right: the likeliest class counts, background doesn't
    assert loss.get_accuracy(logits, torch.tensor([1, 2, 4]))['acc_classes'].item() == 50


def test_what_does_not_fit_is_told():
    with pytest.raises(ValueError, match='made for num_classes=-1, but is used for 3'):
        CrossEntropyCustomLoss().get_cls_channels(3)
    with pytest.raises(ValueError, match='use_mask must be False'):
        CrossEntropyCustomLoss(use_mask=True)


@pytest.mark.parametrize('kind', ['CrossEntropyCustomLoss', 'FocalCustomLoss'])
def test_a_detector_trains_and_predicts(kind):
    torch.manual_seed(0)
    cfg = config('faster_rcnn')
    cfg['roi_head']['bbox_head']['loss_cls'] = dict(type=kind, use_sigmoid=True, num_classes=3)
    model = MODELS.build(cfg)
    assert model.roi_head.bbox_head.fc_cls.weight.shape[0] == 3
    total, logged = model.parse_losses(losses(model, [make_sample(3)]))
    assert 'acc_classes' in logged
    total.backward()
    assert bool(model.roi_head.bbox_head.fc_cls.weight.grad.any())
    result = predict(model, [make_sample(1)])[0].pred_instances
    assert len(result) > 0 and int(result.labels.max()) < 3
