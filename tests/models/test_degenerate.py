"""What training and testing on empty and crowded images come to in RPN, RetinaNet, Fast and Faster R-CNN.

That all families survive such images is asserted in test_families.py.
"""

import pytest
import torch
from mmengine.structures import InstanceData

from tests.models.tiny import KINDS, detector, losses, make_sample, predict, random_boxes

LOSS_KEYS = {
    'rpn': {'loss_rpn_cls', 'loss_rpn_bbox'},
    'retinanet': {'loss_cls', 'loss_bbox'},
    'faster_rcnn': {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'acc'},
    'fast_rcnn': {'loss_cls', 'loss_bbox', 'acc'},
}


def check_training(model, samples, keys):
    terms = losses(model, samples)
    assert set(terms) == keys
    loss, log = model.parse_losses(terms)
    assert bool(torch.isfinite(loss)), log
    loss.backward()
    for name, parameter in model.named_parameters():
        # a parameter without a gradient stops distributed training
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
    return terms


def check_predictions(model, samples, num_classes, clipped=True):
    results = predict(model, samples)
    assert len(results) == len(samples)
    for sample in results:
        pred = sample.pred_instances
        height, width = sample.img_shape
        assert pred.bboxes.shape == (len(pred), 4) and pred.labels.dtype == torch.long
        assert bool((pred.scores[:-1] >= pred.scores[1:]).all())
        assert bool(((pred.scores > 0) & (pred.scores <= 1)).all())
        assert bool(((pred.labels >= 0) & (pred.labels < num_classes)).all())
        limit = torch.tensor([width, height, width, height])
        assert bool(torch.isfinite(pred.bboxes).all())
        if clipped:
            assert bool((pred.bboxes >= 0).all()) and bool((pred.bboxes <= limit).all())
        assert len(pred) <= 30
    return results


@pytest.mark.parametrize('kind', KINDS)
def test_images_without_objects_have_no_box_loss(kind):
    terms = losses(detector(kind), [make_sample(0)])
    for name, value in terms.items():
        if name == 'acc':
            continue
        loss = float(sum(value).detach() if isinstance(value, list) else value.detach())
        assert (loss == 0) == name.endswith('bbox'), name


@pytest.mark.parametrize('kind', KINDS)
def test_images_of_a_batch_do_not_see_each_other(kind):
    # same size, so that padding is equal; norms are on their running statistics
    model = detector(kind)
    together = predict(model, [make_sample(1, index=i) for i in range(3)])
    for i in (0, 2):
        samples = [make_sample(1, index=j) for j in range(i + 1)]
        alone = predict(model, samples)[i].pred_instances
        torch.testing.assert_close(together[i].pred_instances.bboxes, alone.bboxes, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(together[i].pred_instances.scores, alone.scores, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('kind', ['rpn', 'retinanet', 'faster_rcnn'])
def test_ignored_instances_take_priors_out_of_the_loss(kind):
    def avg_factor_and_weights(ignored):
        model = detector(kind)
        head = model.rpn_head if kind == 'faster_rcnn' else model.bbox_head
        if kind != 'retinanet':
            head.sampler.num = 1000  # all of them
        kept = []
        original = head.targets
        head.targets = lambda *args: kept.append(original(*args)) or kept[-1]
        terms = losses(model, [make_sample([[2, 2, 18, 18]], ignored=ignored)])
        assert bool(torch.isfinite(model.parse_losses(terms)[0]))
        return kept[0]

    plain, crowded = avg_factor_and_weights([]), avg_factor_and_weights([[0, 0, 64, 64]])
    assert int((plain.label_weights > 0).sum()) > 0
    # the whole image is a crowd: only anchors that leave it by half their area still count
    anchors = crowded.label_weights[0] > 0
    assert 0 < int(anchors.sum()) < int((plain.label_weights > 0).sum())
    assert len(crowded.pos_inds) < len(plain.pos_inds)


def test_ignored_instances_take_proposals_out_of_the_second_stage():
    model = detector('fast_rcnn')
    sample = make_sample(0, ignored=[[0, 0, 64, 64]])
    terms = losses(model, [sample])
    assert float(terms['loss_cls']) == 0  # every proposal lies in the crowd
    assert float(losses(model, [make_sample(0)])['loss_cls']) > 0


@pytest.mark.parametrize('objects', [0, 2])
def test_no_proposals(objects):
    model = detector('fast_rcnn')
    sample = make_sample(objects)
    sample.proposals = InstanceData(bboxes=torch.zeros(0, 4))
    check_training(model, [sample], LOSS_KEYS['fast_rcnn'])
    result = predict(model, [sample])[0].pred_instances
    assert result.bboxes.shape == (0, 4) and len(result.scores) == len(result.labels) == 0


def test_no_proposals_in_one_image_of_two():
    model = detector('fast_rcnn')
    samples = [make_sample(2, index=0), make_sample(2, index=1)]
    samples[0].proposals = InstanceData(bboxes=torch.zeros(0, 4))
    results = predict(model, samples)
    assert len(results[0].pred_instances) == 0 and len(results[1].pred_instances) > 0


def test_proposals_without_area():
    model = detector('fast_rcnn')
    sample = make_sample(1)
    points = random_boxes(5)
    sample.proposals = InstanceData(bboxes=torch.cat([points[:, :2], points[:, :2]], dim=1))
    check_training(model, [sample], LOSS_KEYS['fast_rcnn'])
    check_predictions(model, [sample], num_classes=3)
