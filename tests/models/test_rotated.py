"""Rotated boxes in models: coders, anchors, and detectors made of the same heads as those of axis-aligned boxes."""

import copy
import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData

from mmdetlike.errors import ConfigError
from mmdetlike.models.task_modules import DeltaXYWHHBBoxCoder, DeltaXYWHTHBBoxCoder, DeltaXYWHTRBBoxCoder
from mmdetlike.registry import MODELS, TASK_UTILS
from mmdetlike.structures.bbox import RotatedBoxes, geometry
from tests.models import tiny

VERSIONS = sorted(geometry.ANGLE_VERSIONS)
ROTATED_NMS = dict(type='nms_rotated', iou_threshold=0.1)


@st.composite
def rotated_tensors(draw, count=3):
    side = st.floats(2, 60)
    box = st.tuples(st.floats(0, 100), st.floats(0, 100), side, side, st.floats(-3, 3))
    return torch.tensor(draw(st.lists(box, min_size=count, max_size=count)))


def assert_same_shapes(boxes, expected):
    """The sets of corners are equal."""
    a, b = geometry.corners(boxes), geometry.corners(expected)
    distances = torch.cdist(a, b)
    assert distances.amin(1).max() < 1e-2 and distances.amin(2).max() < 1e-2


@pytest.mark.parametrize(('version', 'edge_swap', 'proj_xy'), [*product(VERSIONS, (False, True), (False, True))])
@settings(max_examples=15, deadline=None)
@given(rotated_tensors(), rotated_tensors())
def test_decoding_inverts_encoding(version, edge_swap, proj_xy, priors, boxes):
    coder = DeltaXYWHTRBBoxCoder(
        target_stds=(0.1, 0.1, 0.2, 0.2, 0.1),
        angle_version=version,
        norm_factor=2,
        edge_swap=edge_swap,
        proj_xy=proj_xy,
    )
    assert_same_shapes(coder.decode(priors, coder.encode(priors, boxes)), boxes)
    against_upright = DeltaXYWHTHBBoxCoder(angle_version=version, edge_swap=edge_swap)
    upright = geometry.to_horizontal(priors)
    assert_same_shapes(against_upright.decode(upright, against_upright.encode(upright, boxes)), boxes)


def test_deltas_are_measured_along_the_sides_of_the_prior():
    prior = torch.tensor([[50.0, 50, 20, 10, math.pi / 2]])
    target = torch.tensor([[50.0, 60, 40, 10, math.pi / 2 + 0.2]])
    deltas = DeltaXYWHTRBBoxCoder(angle_version='le135', proj_xy=True).encode(prior, target)
    # 10 pixels down the image are half the width of a box that stands on end
    assert torch.allclose(deltas, torch.tensor([[0.5, 0, math.log(2), 0, 0.2]]), atol=1e-5)
    deltas = DeltaXYWHTRBBoxCoder(angle_version='le135').encode(prior, target)
    assert torch.allclose(deltas[:, :2], torch.tensor([[0.0, 1.0]]), atol=1e-5)


def test_exchanged_sides_turn_less():
    prior = torch.tensor([[50.0, 50, 10, 40, 0]])
    target = torch.tensor([[50.0, 50, 40, 10, math.pi / 2 - 0.1]])
    deltas = DeltaXYWHTRBBoxCoder(angle_version='le90', edge_swap=True).encode(prior, target)
    assert torch.allclose(deltas, torch.tensor([[0, 0, 0, 0, -0.1]]), atol=1e-5)


def test_several_boxes_of_a_prior():
    coder = DeltaXYWHTHBBoxCoder(angle_version='le90')
    proposals = torch.tensor([[0.0, 0, 20, 10], [5, 5, 15, 25]])
    deltas = torch.zeros(2, 15)
    deltas[:, 9] = 0.3
    boxes = coder.decode(proposals, deltas, max_shape=(8, 8)).reshape(2, 3, 5)
    assert boxes[0].tolist()[0] == [10, 5, 20, 10, 0]
    assert boxes[:, 1, 4].tolist() == pytest.approx([0.3, 0.3])
    assert coder.decode(proposals[:0], deltas[:0]).shape == (0, 15)


def test_shifts_can_be_bounded():
    coder = DeltaXYWHTRBBoxCoder(add_ctr_clamp=True, ctr_clamp=5)
    box = coder.decode(torch.tensor([[50.0, 50, 20, 20, 0]]), torch.tensor([[1.0, -1, 9, 0, 0]]))
    assert box[0].tolist() == pytest.approx([55, 45, 20 * 1000 / 16, 20, 0])


def test_proposals_learn_enclosing_boxes():
    priors = torch.tensor([[0.0, 0, 20, 20]])
    target = torch.tensor([[10.0, 10, 20, 10, math.pi / 2]])
    coder = DeltaXYWHHBBoxCoder()
    around = torch.tensor([[5.0, 0, 15, 20]])
    assert torch.allclose(coder.decode(priors, coder.encode(priors, target)), around, atol=1e-4)


def test_wrong_settings_of_coders():
    with pytest.raises(ValueError, match="angle_version='le60' is unknown"):
        DeltaXYWHTRBBoxCoder(angle_version='le60')
    with pytest.raises(ValueError, match='target_stds needs 5 numbers, one a delta'):
        DeltaXYWHTHBBoxCoder(target_stds=(1.0, 1.0, 1.0, 1.0))
    with pytest.raises(ConfigError, match=r'DeltaXYWHTHBBoxCoder takes axis-aligned boxes, .* got 5'):
        DeltaXYWHTHBBoxCoder().encode(torch.zeros(1, 5), torch.zeros(1, 5))
    with pytest.raises(ConfigError, match=r'DeltaXYWHTRBBoxCoder takes rotated boxes, .* got 4'):
        DeltaXYWHTRBBoxCoder().encode(torch.zeros(1, 5), torch.zeros(1, 4))


def test_anchors_are_those_of_other_detectors_at_angle_zero():
    settings = dict(strides=[8, 16], ratios=[0.5, 2.0], scales=[4])
    plain = TASK_UTILS.build(dict(type='AnchorGenerator', **settings))
    rotated = TASK_UTILS.build(dict(type='FakeRotatedAnchorGenerator', angle_version='le90', **settings))
    sizes = [(4, 3), (2, 2)]
    expected = plain.priors(sizes, 'cpu')
    priors = rotated.priors(sizes, 'cpu')
    assert torch.equal(priors.boxes, geometry.to_rotated(expected.boxes))
    assert torch.allclose(priors.points, expected.points)
    rotated.use_box_type = True
    assert isinstance(rotated.grid_priors(sizes, device='cpu')[0], RotatedBoxes)
    with pytest.raises(ValueError, match="angle_version='le60' is unknown"):
        TASK_UTILS.build(dict(type='FakeRotatedAnchorGenerator', angle_version='le60', **settings))


def rotated_retinanet():
    cfg = copy.deepcopy(tiny.config('retinanet'))
    cfg['bbox_head']['anchor_generator'].update(type='FakeRotatedAnchorGenerator', angle_version='le90')
    cfg['bbox_head']['bbox_coder'] = dict(
        type='DeltaXYWHTRBBoxCoder', angle_version='le90', edge_swap=True, proj_xy=True
    )
    cfg['train_cfg']['assigner']['iou_calculator'] = dict(type='RBboxOverlaps2D')
    cfg['test_cfg']['nms'] = ROTATED_NMS
    return cfg


def rotated_faster_rcnn():
    cfg = copy.deepcopy(tiny.config('faster_rcnn'))
    cfg['roi_head']['bbox_head'].update(
        bbox_coder=dict(
            type='DeltaXYWHTHBBoxCoder',
            angle_version='le90',
            norm_factor=2,
            edge_swap=True,
            target_stds=[0.1, 0.1, 0.2, 0.2, 0.1],
        ),
        predict_box_type='rbox',
    )
    cfg['test_cfg']['rcnn'] = dict(cfg['test_cfg']['rcnn'], nms=ROTATED_NMS)
    return cfg


ROTATED = dict(retinanet=rotated_retinanet, faster_rcnn=rotated_faster_rcnn)


def detector(kind):
    torch.manual_seed(0)
    return MODELS.build(ROTATED[kind]())


def rotated_sample(count=3, **settings):
    sample = tiny.make_sample(tiny.random_boxes(count, seed=1), **settings)
    for name in ('gt_instances', 'ignored_instances'):
        instances = sample.get(name)
        boxes = geometry.to_rotated(geometry.to_horizontal(getattr(instances.bboxes, 'tensor', instances.bboxes)))
        boxes[:, 4] = torch.linspace(-1, 1, len(boxes)) if len(boxes) else 0
        instances.bboxes = RotatedBoxes(boxes)
    return sample


@pytest.mark.parametrize('kind', sorted(ROTATED))
def test_rotated_detectors_learn_and_detect(kind):
    model = detector(kind)
    samples = [rotated_sample(), rotated_sample(0)]
    terms = tiny.losses(model, samples)
    total = sum(sum(v) if isinstance(v, list) else v for name, v in terms.items() if 'loss' in name)
    total.backward()
    assert total.isfinite()
    box_loss = terms['loss_bbox']
    assert (sum(box_loss) if isinstance(box_loss, list) else box_loss) > 0
    results = tiny.predict(model, samples)
    for result in results:
        found = result.pred_instances
        assert found.bboxes.shape == (len(found.scores), 5)
    # scores are scores, not angles
    assert all(((r.pred_instances.scores > 0) & (r.pred_instances.scores <= 1)).all() for r in results)
    assert sum(len(result.pred_instances) for result in results) > 0


@pytest.mark.parametrize('kind', sorted(ROTATED))
def test_predictions_are_scaled_to_the_original_image(kind):
    model = detector(kind)
    plain = tiny.predict(model, [rotated_sample()])[0].pred_instances
    scaled = tiny.predict(model, [rotated_sample(scale_factor=(2.0, 2.0))])[0].pred_instances
    assert torch.allclose(scaled.bboxes[:, :4] * 2, plain.bboxes[:, :4], rtol=1e-4, atol=1e-3)
    assert torch.allclose(scaled.bboxes[:, 4], plain.bboxes[:, 4], atol=1e-5)


def test_proposals_enclose_rotated_objects():
    model = detector('faster_rcnn')
    sample = rotated_sample()
    boxes = model.rpn_head.gt_instances(sample).bboxes
    assert torch.allclose(boxes, geometry.to_horizontal(sample.gt_instances.bboxes.tensor))


def test_regions_are_assigned_by_enclosing_boxes_and_learn_rotated_ones():
    model = detector('faster_rcnn')
    sample = rotated_sample()
    truth = sample.gt_instances.bboxes.tensor
    stage = model.roi_head.stage(0, training=True)
    proposals = [InstanceData(bboxes=geometry.to_horizontal(truth))]
    (sampled,) = stage.sample(None, proposals, [sample])
    assert sampled.priors.shape[-1] == 4 and len(sampled.pos_inds) > 0
    assert torch.equal(sampled.pos_gt_bboxes, truth[sampled.pos_assigned_gt_inds])


@pytest.mark.parametrize('kind', ['retinanet', 'faster_rcnn', 'rpn'])
def test_heads_of_axis_aligned_boxes_refuse_rotated_objects(kind):
    model = tiny.detector(kind)
    if kind == 'rpn':  # proposes the boxes around them
        assert tiny.losses(model, [rotated_sample()])
        return
    with pytest.raises(ConfigError, match=r'takes axis-aligned boxes, 4 numbers each, but got 5 numbers \(rotated'):
        tiny.losses(model, [rotated_sample()])


def test_a_head_of_rotated_boxes_refuses_axis_aligned_objects():
    with pytest.raises(ConfigError, match=r'RetinaHead with DeltaXYWHTRBBoxCoder takes rotated boxes, .* got 4'):
        tiny.losses(detector('retinanet'), [tiny.make_sample(tiny.random_boxes(2))])


def test_masks_and_cascades_are_refused_for_rotated_regions():
    cfg = rotated_faster_rcnn()
    cfg['roi_head']['mask_head'] = dict(type='FCNMaskHead', in_channels=8, conv_out_channels=8, num_classes=3)
    sentence = (
        'StandardRoIHead: the branch of mask takes axis-aligned boxes, but Shared2FCBBoxHead predicts rotated boxes'
    )
    with pytest.raises(ConfigError, match=sentence):
        MODELS.build(cfg)
    cfg = rotated_faster_rcnn()['roi_head']
    heads = [copy.deepcopy(cfg['bbox_head']) for _ in range(2)]
    cfg.update(type='CascadeRoIHead', num_stages=2, stage_loss_weights=[1, 0.5], bbox_head=heads)
    with pytest.raises(ConfigError, match='CascadeRoIHead: the next stage takes axis-aligned boxes'):
        MODELS.build(cfg)
