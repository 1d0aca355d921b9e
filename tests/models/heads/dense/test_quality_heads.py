"""GFL, VFNet and TOOD: their layers, losses on paper, degenerate images, wrong settings."""

import pytest
import torch
from mmengine.logging import MessageHub

from mmdetlike.models.heads.dense import Integral, TaskDecomposition
from mmdetlike.models.heads.dense.tood_head import (
    alignment_of_positives,
    geometric_mean_of_sigmoids,
    sample_sides,
)
from mmdetlike.models.heads.dense.vfnet_head import star_offsets
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.task_modules.assigners import AssignResult
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import bbox_overlaps
from tests.models import tiny_quality
from tests.models.test_degenerate import check_predictions, check_training
from tests.models.test_families import BATCHES, make_samples
from tests.models.tiny import batch, losses, make_sample, predict
from tests.models.tiny_quality import KINDS, detector

LOSS_KEYS = dict(
    gfl={'loss_cls', 'loss_bbox', 'loss_dfl'},
    vfnet={'loss_cls', 'loss_bbox', 'loss_bbox_rf'},
    tood={'loss_cls', 'loss_bbox'},
)
BF16 = dict(device_type='cpu', dtype=torch.bfloat16)


def keys(kind):
    return LOSS_KEYS[kind.split()[0]]


def total(value):
    return float(sum(value).detach() if isinstance(value, list) else value.detach())


# -- whole detectors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', BATCHES)
def test_training_and_testing(kind, name):
    model = detector(kind)
    check_training(model, make_samples(name), keys(kind))
    check_predictions(model, make_samples(name), num_classes=3, clipped='tood' not in kind)


@pytest.mark.parametrize('kind', KINDS)
def test_one_class(kind):
    model = detector(kind, num_classes=1)
    check_training(model, [make_sample(3, num_classes=1)], keys(kind))
    results = check_predictions(model, [make_sample(3, num_classes=1)], 1, clipped='tood' not in kind)
    assert len(results[0].pred_instances) > 0


@pytest.mark.parametrize('kind', KINDS)
def test_only_objects_make_box_losses(kind):
    empty, full = losses(detector(kind), [make_sample(0)]), losses(detector(kind), [make_sample([[8, 8, 50, 50]])])
    for name in keys(kind):
        assert (total(empty[name]) == 0) == (name != 'loss_cls'), name
        assert total(full[name]) > 0, name


@pytest.mark.parametrize('kind', ['vfnet', 'vfnet fcos'])
def test_images_of_a_batch_share_their_mean(kind):
    model = detector(kind)
    one, two = (losses(model, [make_sample([[8, 8, 50, 50]])] * count) for count in (1, 2))
    # the images are random and differ, so do the losses, but not by a factor of two
    assert total(two['loss_bbox']) == pytest.approx(total(one['loss_bbox']), rel=0.2)


@pytest.mark.parametrize('kind', KINDS)
def test_losses_are_computed_in_float32_under_autocast(kind):
    model = detector(kind).train()
    data = batch(model, [make_sample(3, index=0), make_sample(0, index=1)], training=True)
    exact, _ = model.parse_losses(model(**data, mode='loss'))
    with torch.autocast(**BF16):
        terms = model(**data, mode='loss')
    values = [v for value in terms.values() for v in (value if isinstance(value, list) else [value])]
    assert {value.dtype for value in values} == {torch.float32}
    half, _ = model.parse_losses(terms)
    assert float(half.detach()) == pytest.approx(float(exact.detach()), rel=0.1)
    half.backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.parameters())


@pytest.mark.parametrize('kind', KINDS)
def test_model_in_half_precision_predicts(kind):
    model = detector(kind)
    exact = predict(model, [make_sample(1)])[0].pred_instances
    data = batch(model, [make_sample(1)])
    with torch.no_grad():
        inputs = data['inputs'].to(torch.bfloat16)
        result = model.to(torch.bfloat16)(inputs, data['data_samples'], mode='predict')[0].pred_instances
    count = min(len(result), len(exact), 5)
    assert count > 0 and result.scores.dtype == torch.float32
    torch.testing.assert_close(result.scores[:count], exact.scores[:count], atol=0.03, rtol=0)


@pytest.mark.parametrize('kind', ['gfl', 'vfnet', 'tood'])
def test_several_anchors_at_a_cell_are_refused(kind):
    anchors = dict(tiny_quality.ANCHORS, ratios=[0.5, 1.0])
    cfg = tiny_quality.config(kind)
    cfg['bbox_head']['anchor_generator'] = anchors
    with pytest.raises(ValueError, match=r'needs one anchor at a cell, but anchor_generator makes \[2, 2, 2\]'):
        MODELS.build(cfg)


@pytest.mark.parametrize(
    'kind, settings, message',
    [
        ('vfnet', dict(bbox_norm_type='log'), "bbox_norm_type must be 'reg_denom' or 'stride', got 'log'"),
        ('vfnet', dict(reg_decoded_bbox=False), 'reg_decoded_bbox must be True'),
        ('tood', dict(anchor_type='points'), "anchor_type must be 'anchor_free' or 'anchor_based', got 'points'"),
        ('gfl', dict(num_classes=0), 'num_classes must be at least 1, got 0'),
    ],
)
def test_wrong_settings(kind, settings, message):
    cfg = tiny_quality.config(kind)
    cfg['bbox_head'].update(settings)
    with pytest.raises(ValueError, match=message):
        MODELS.build(cfg)


# -- GFL -------------------------------------------------------------------------------------------------------------


def test_integral():
    integral = Integral(4)
    assert list(integral.state_dict()) == ['project']
    torch.testing.assert_close(integral(torch.zeros(2, 20)), torch.full((2, 4), 2.0))
    sure = torch.full((4, 5), -50.0)
    sure[torch.arange(4), torch.tensor([0, 3, 4, 1])] = 50.0
    torch.testing.assert_close(integral(sure.reshape(1, 20)), torch.tensor([[0.0, 3.0, 4.0, 1.0]]))
    assert integral(torch.zeros(0, 20)).shape == (0, 4)


def test_gfl_decodes_in_strides():
    head = detector('gfl').bbox_head
    cls_scores, logits = head([torch.zeros(1, 8, 8 // s, 8 // s) for s in (1, 2, 4)])
    preds = head.flatten((cls_scores, [torch.zeros_like(m) for m in logits]))
    boxes = head.decode(preds, 0, torch.tensor([0, 64, 80]), None)
    # the mean of 0 ... 7 is 3.5 strides to each side of the first cells' centers at (0, 0)
    torch.testing.assert_close(boxes, torch.tensor([8.0, 16.0, 32.0])[:, None] * torch.tensor([-3.5, -3.5, 3.5, 3.5]))


# -- VFNet -----------------------------------------------------------------------------------------------------------


def test_star_offsets():
    distances = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1, 1).requires_grad_()
    offsets = star_offsets(distances, 0.1)
    places = offsets.reshape(9, 2) + torch.tensor([(y, x) for y in (-1.0, 0, 1) for x in (-1.0, 0, 1)])
    expected = [(-2, -1), (-2, 0), (-2, 3), (0, -1), (0, 0), (0, 3), (4, -1), (4, 0), (4, 3)]
    torch.testing.assert_close(places, torch.tensor(expected, dtype=torch.float32))
    offsets.sum().backward()
    # three taps lie on each side; those to the left and the top count negatively
    torch.testing.assert_close(distances.grad.flatten(), 0.1 * torch.tensor([-3.0, -3.0, 3.0, 3.0]))


def test_points_of_vfnet():
    shapes = [torch.zeros(1, 8, 8 // s, 8 // s) for s in (1, 2, 4)]
    for kind, first in (('vfnet', 0.0), ('vfnet fcos', 0.5)):
        head = detector(kind).bbox_head
        points = head.flatten(head(shapes)).priors.points
        expected = torch.tensor([8.0, 16.0, 32.0])[:, None].expand(3, 2) * first
        torch.testing.assert_close(points[[0, 64, 80]], expected)


def test_units_of_vfnet():
    assert detector('vfnet').bbox_head.units == [32, 48, 96]
    assert detector('vfnet fcos').bbox_head.units == [8, 16, 32]


# -- TOOD ------------------------------------------------------------------------------------------------------------


def test_geometric_mean_of_sigmoids():
    x, y = torch.randn(6, dtype=torch.double), torch.randn(6, dtype=torch.double)
    expected = (x.sigmoid() * y.sigmoid()).sqrt()
    torch.testing.assert_close(geometric_mean_of_sigmoids(x, y), expected)
    far = torch.tensor([-500.0, 500.0], requires_grad=True)
    geometric_mean_of_sigmoids(far, far.flip(0)).sum().backward()
    assert bool(torch.isfinite(far.grad).all())


def test_decomposition_weights_the_layers():
    torch.manual_seed(0)
    module = TaskDecomposition(4, 3, 2, norm_cfg=dict(type='GN', num_groups=2))
    feat = torch.randn(2, 12, 5, 6)
    attention = module.layer_attention(feat.mean((2, 3), keepdim=True))
    expected = module.reduction_conv(feat * attention.repeat_interleave(4, dim=1))
    torch.testing.assert_close(module(feat), expected)


def test_sides_are_taken_from_nearby():
    boxes = torch.arange(3.0).expand(1, 4, 1, 3) + torch.tensor([0.0, 0, 10, 10]).reshape(1, 4, 1, 1)
    offsets = torch.zeros(1, 8, 1, 3)
    torch.testing.assert_close(sample_sides(boxes, offsets), boxes)
    offsets[0, 1, 0, 0] = 1.5  # the left side of the first cell, from between the second and the third
    sampled = sample_sides(boxes, offsets)
    assert sampled[0, :, 0, 0].tolist() == [1.5, 0, 10, 10]
    torch.testing.assert_close(sampled[..., 1:], boxes[..., 1:])
    offsets[0, 5, 0, 0] = 50.0  # beyond the map the right side is 0, left of 1.5: the box stays what it was
    assert sample_sides(boxes, offsets)[0, :, 0, 0].tolist() == [0, 0, 10, 10]


def test_alignment_of_positives():
    assigned = AssignResult(
        num_gts=3,
        gt_inds=torch.tensor([1, 0, 1, 3]),
        max_overlaps=torch.tensor([0.5, 0.0, 0.8, 0.6]),
        labels=torch.tensor([0, -1, 0, 2]),
        assign_metrics=torch.tensor([0.2, 0.0, 0.1, 0.4]),
    )
    places = torch.tensor([0, 2, 3])
    boxes = torch.zeros(3, 4)
    sampling = SamplingResult(places, torch.tensor([1]), torch.zeros(4, 4), boxes, assigned, torch.zeros(4).bool())
    # the best aligned prior of each object gets the object's largest IoU
    torch.testing.assert_close(alignment_of_positives(sampling), torch.tensor([0.8, 0.4, 0.6]), atol=1e-5, rtol=0)


def test_assignment_of_tood_changes_with_the_epoch():
    head = detector('tood initial').bbox_head
    assert not head.initial_assigner.needs_predictions and head.assigner.needs_predictions
    assert (head.assigner.alpha, head.assigner.beta) == (1, 2)


@pytest.mark.parametrize('epoch, initial', [(0, True), (3, True), (4, False), (7, False)])
def test_losses_of_tood_change_with_the_epoch(epoch, initial):
    model = detector('tood initial').train()
    head, samples = model.bbox_head, [make_sample([[8, 8, 50, 50]])]
    x = model.extract_feat(batch(model, samples, training=True)['inputs'])
    preds = head.flatten(head(x))
    hub = MessageHub.get_current_instance()
    known = hub.get_info('epoch', 0)
    hub.update_info('epoch', epoch)
    try:
        terms = head.loss(x, samples)
    finally:
        hub.update_info('epoch', known)
    first = head.initial_losses(preds, head.targets(preds, samples, assigner=head.initial_assigner))
    later = head.target_losses(preds, head.targets(preds, samples), samples)
    expected, other = (first, later) if initial else (later, first)
    assert total(terms['loss_cls']) == pytest.approx(total(expected['cls']))
    assert total(terms['loss_bbox']) == pytest.approx(total(expected['bbox']))
    assert total(terms['loss_cls']) != pytest.approx(total(other['cls']))
    assert total(terms['loss_bbox']) > 0


@pytest.mark.parametrize('anchor_type', ['anchor_free', 'anchor_based'])
def test_cell_boxes_of_tood(anchor_type):
    head = detector('tood', anchor_type=anchor_type).bbox_head
    boxes = head.cell_boxes(1, torch.zeros(2, 4, 1, 2))
    # exp(0) = 1 stride to each side of the centre, or the anchors of 4 strides as they are
    half = 1.0 if anchor_type == 'anchor_free' else 2.0
    first = torch.tensor([-half, -half, half, half])
    expected = torch.stack([first, first + torch.tensor([1.0, 0, 1, 0])], dim=1).reshape(4, 1, 2)
    torch.testing.assert_close(boxes, expected.expand(2, 4, 1, 2))


def test_aligned_losses_of_tood():
    model = detector('tood').train()
    head, data = model.bbox_head, batch(model, [make_sample([[8, 8, 50, 50]]), make_sample(0)], training=True)
    preds = head.flatten(head(model.extract_feat(data['inputs'])))
    targets = head.targets(preds, data['data_samples'])
    terms = {name: total(value) for name, value in head.target_losses(preds, targets, data['data_samples']).items()}
    places, scores = targets.pos_inds, preds.cls_score.detach().flatten(0, 1).double()
    assert 0 < len(places) <= 5 and bool((places < len(preds.priors)).all())
    boxes = head.decode(preds.detach(), 0, places, None)
    ious, metrics = bbox_overlaps(boxes, targets.pos_gt_bboxes, is_aligned=True), scores[places, 0]
    weight = metrics * ious**2
    weight = weight / weight.max() * ious.max()
    wanted = torch.zeros_like(scores)
    wanted[places, 0] = weight
    entropy = -(wanted * scores.log() + (1 - wanted) * (1 - scores).log())
    divisor = max(float(weight.sum()), 1.0)
    assert terms['cls'] == pytest.approx(float((entropy * (wanted - scores) ** 2).sum()) / divisor, rel=1e-4)
    strides = torch.tensor([8.0] * 64 + [16.0] * 16 + [32.0] * 4)[places, None]
    giou = bbox_overlaps(boxes / strides, targets.pos_gt_bboxes / strides, mode='giou', is_aligned=True)
    assert terms['bbox'] == pytest.approx(2 * float((weight * (1 - giou)).sum()) / divisor, rel=1e-4)
