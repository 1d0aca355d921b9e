"""The pipeline of dense heads: order of flat predictions, targets, loss terms, selection, suppression."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmdetlike.models.heads.dense import AnchorHead, RetinaHead, RPNHead
from mmdetlike.models.heads.dense.predictions import top_scores
from mmdetlike.registry import MODELS
from tests.models.tiny import DETECT, L1, RPN_TRAIN, flat_predictions, make_sample, retina_head

STRIDES = [8, 16]
ANCHORS = dict(type='AnchorGenerator', scales=[2], ratios=[0.5, 1.0], strides=STRIDES)
ASSIGN = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0)
SIGMOID = dict(type='CrossEntropyLoss', use_sigmoid=True)
SOFTMAX = dict(type='CrossEntropyLoss', use_sigmoid=False)


def anchor_head(num_classes=3, train_cfg=None, test_cfg=None, loss_cls=SIGMOID, loss_bbox=L1, **kwargs):
    torch.manual_seed(0)
    train_cfg = dict(dict(assigner=ASSIGN, allowed_border=-1, pos_weight=-1), **(train_cfg or {}))
    test_cfg = dict(dict(DETECT, nms_pre=100, min_bbox_size=0), **(test_cfg or {}))
    return AnchorHead(
        num_classes,
        4,
        anchor_generator=ANCHORS,
        loss_cls=loss_cls,
        loss_bbox=loss_bbox,
        train_cfg=train_cfg,
        test_cfg=test_cfg,
        **kwargs,
    )


def maps(batch=2, size=64, channels=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, channels, size // s, size // s, generator=generator) for s in STRIDES]


def prepared(sample, pad_shape=(64, 64), batch_shape=(64, 64)):
    sample.set_metainfo(dict(pad_shape=pad_shape, batch_input_shape=batch_shape))
    return sample


def samples(count=2, **kwargs):
    return [prepared(make_sample([[0, 0, 16, 16], [20, 20, 50, 50]], index=i, **kwargs)) for i in range(count)]


def flat(head, **tensors):
    """Flat predictions for 64 x 64 images with the given maps (B, N, c)."""
    return flat_predictions(head, [(8, 8), (4, 4)], [128, 32], **tensors)


# -- forward and flatten ---------------------------------------------------------------------------------------------


def test_forward_shapes():
    cls_scores, bbox_preds = anchor_head()(maps())
    assert [tuple(m.shape) for m in cls_scores] == [(2, 6, 8, 8), (2, 6, 4, 4)]
    assert [tuple(m.shape) for m in bbox_preds] == [(2, 8, 8, 8), (2, 8, 4, 4)]


def test_flat_predictions_stand_in_the_order_of_the_priors():
    head = anchor_head()
    cls_scores, bbox_preds = outs = head(maps())
    preds = head.flatten(outs)
    assert preds.cls_score.shape == (2, 160, 3) and preds.bbox_pred.shape == (2, 160, 4)
    assert preds.featmap_sizes == [(8, 8), (4, 4)] and preds.num_priors == [128, 32]
    priors = preds.priors.boxes
    for level, y, x, a in ((0, 0, 0, 0), (0, 3, 5, 1), (1, 2, 1, 0), (1, 3, 3, 1)):
        width = (8, 4)[level]
        place = level * 128 + (y * width + x) * 2 + a
        torch.testing.assert_close(preds.cls_score[1, place], cls_scores[level][1, 3 * a : 3 * a + 3, y, x])
        torch.testing.assert_close(preds.bbox_pred[1, place], bbox_preds[level][1, 4 * a : 4 * a + 4, y, x])
        center = (priors[place, :2] + priors[place, 2:]) / 2
        assert center.tolist() == [x * STRIDES[level], y * STRIDES[level]]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_flat_predictions_are_at_least_float32(dtype):
    head = anchor_head()
    outs = [[m.to(dtype) for m in levels] for levels in head(maps())]
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert {m.dtype for m in head.flatten(outs).maps.values()} == {expected}


def test_unknown_map():
    preds = flat(None, cls_score=torch.zeros(1, 160, 3))
    with pytest.raises(AttributeError, match=r"this head predicts \['cls_score'\], not 'centerness'"):
        _ = preds.centerness


def test_detach():
    preds = flat(None, cls_score=torch.zeros(1, 160, 3, requires_grad=True))
    assert not preds.detach().cls_score.requires_grad and preds.cls_score.requires_grad
    assert preds.detach().num_priors == preds.num_priors


def test_priors_are_kept_by_size():
    head = anchor_head()
    first, other = head.flatten(head(maps())), head.flatten(head(maps(size=32)))
    assert first.priors is head.flatten(head(maps(seed=1))).priors
    assert other.priors.boxes.shape == (40, 4)
    assert torch.equal(first.priors.boxes, torch.cat(head.prior_generator.grid_priors([(8, 8), (4, 4)], device='cpu')))
    for size in range(16, 16 * 30, 16):  # the memory of many sizes does not grow for ever
        head.flatten(head(maps(batch=1, size=size)))
    assert len(head._priors_cache) <= 8
    assert not any('prior' in key for key in head.state_dict())


# -- targets ---------------------------------------------------------------------------------------------------------


def targets_of(head, batch):
    preds = head.flatten(head(maps(len(batch))))
    return head.targets(preds, batch), preds.priors.boxes


def test_targets():
    head, batch = anchor_head(), samples()
    targets, priors = targets_of(head, batch)
    for i, sample in enumerate(batch):
        assigned = head.assigner.assign(InstanceData(priors=priors), sample.gt_instances)
        expected = torch.where(assigned.gt_inds > 0, assigned.labels, 3)
        assert torch.equal(targets.labels[i], expected)
        assert torch.equal(targets.label_weights[i], (assigned.gt_inds >= 0).float())
        mine = targets.pos_inds[(targets.pos_inds >= i * 160) & (targets.pos_inds < (i + 1) * 160)] - i * 160
        assert torch.equal(mine, (assigned.gt_inds > 0).nonzero().squeeze(1)) and len(mine) > 0
    assert torch.equal(targets.pos_priors.boxes, priors[targets.pos_inds % 160])
    assert targets.pos_gt_bboxes.unique(dim=0).tolist() == [[0, 0, 16, 16], [20, 20, 50, 50]]
    assert targets.avg_factor == len(targets.pos_inds)


def test_weight_of_positives():
    targets, _ = targets_of(anchor_head(train_cfg=dict(pos_weight=2.5)), samples())
    positive = targets.labels < 3
    assert bool((targets.label_weights[positive] == 2.5).all())
    assert set(targets.label_weights[~positive].tolist()) <= {0.0, 1.0}


def test_allowed_border():
    targets, priors = targets_of(anchor_head(train_cfg=dict(allowed_border=0)), samples(1))
    inside = (priors[:, :2] >= 0).all(1) & (priors[:, 2:] < 64).all(1)
    assert bool((targets.label_weights[0][~inside] == 0).all()) and bool((targets.labels[0][~inside] == 3).all())
    assert bool((targets.label_weights[0][inside] > 0).any())
    assert bool(inside[targets.pos_inds].all()) and len(targets.pos_inds) > 0


def test_anchors_on_padding_do_not_count():
    sample = prepared(make_sample([[0, 0, 16, 16]], shape=(30, 40)), pad_shape=(32, 48))
    targets, _ = targets_of(anchor_head(), [sample])
    weights = targets.label_weights[0][:128].reshape(8, 8, 2)
    assert bool((weights[4:] == 0).all()) and bool((weights[:, 6:] == 0).all())
    assert bool((weights[1:4, 3:6] == 1).all())
    weights = targets.label_weights[0][128:].reshape(4, 4, 2)
    assert bool((weights[2:] == 0).all()) and bool((weights[:, 3:] == 0).all()) and bool((weights[:2, :3] == 1).any())


def test_no_anchor_inside():
    head = anchor_head(train_cfg=dict(allowed_border=0))
    sample = prepared(make_sample(1, shape=(6, 6)), pad_shape=(6, 6))
    terms = head.loss(maps(1), [sample])
    assert all(float(value.detach()) == 0 for values in terms.values() for value in values)


def test_random_sampling():
    head = anchor_head(train_cfg=dict(sampler=dict(RPN_TRAIN['sampler'], num=12)))
    targets, _ = targets_of(head, samples())
    assert (targets.label_weights > 0).sum(1).tolist() == [12, 12]
    assert targets.avg_factor == 24


# -- losses ----------------------------------------------------------------------------------------------------------


def test_loss_terms_are_sums_over_levels():
    head, batch, x = anchor_head(), samples(), maps()
    terms = head.loss(x, batch)
    assert set(terms) == {'loss_cls', 'loss_bbox'} and all(len(value) == 2 for value in terms.values())
    preds = head.flatten(head(x))
    targets = head.targets(preds, batch)
    one_hot = F.one_hot(targets.labels, 4)[..., :3].float()
    entropy = F.binary_cross_entropy_with_logits(preds.cls_score, one_hot, reduction='none')
    entropy = entropy * targets.label_weights[..., None] / targets.avg_factor
    expected = torch.stack([part.sum() for part in entropy.split([128, 32], dim=1)])
    torch.testing.assert_close(torch.stack(terms['loss_cls']), expected)
    deltas = head.bbox_coder.encode(targets.pos_priors.boxes, targets.pos_gt_bboxes)
    error = (preds.bbox_pred.flatten(0, 1)[targets.pos_inds] - deltas).abs().sum(1) / targets.avg_factor
    fine = targets.pos_inds % 160 < 128
    torch.testing.assert_close(torch.stack(terms['loss_bbox']), torch.stack([error[fine].sum(), error[~fine].sum()]))
    assert bool(fine.any()) and bool((~fine).any())


@pytest.mark.parametrize('place, level', [(0, 0), (127, 0), (128, 1), (159, 1)])
def test_a_positive_counts_in_its_level(place, level):
    head = anchor_head()
    preds = head.flatten(head(maps()))
    box = preds.priors.boxes[place].tolist()
    batch = [prepared(make_sample([])), prepared(make_sample([box]))]
    # only exact matches are positive
    head.assigner.pos_iou_thr = 0.99
    targets = head.targets(preds, batch)
    assert targets.pos_inds.tolist() == [160 + place]
    terms = head.loss(maps(), batch)['loss_bbox']
    assert [float(term.detach()) > 0 for term in terms] == [level == 0, level == 1]


def test_softmax_classes():
    head, batch, x = anchor_head(loss_cls=SOFTMAX), samples(), maps()
    assert head.conv_cls.out_channels == 2 * 4
    preds = head.flatten(head(x))
    targets = head.targets(preds, batch)
    entropy = F.cross_entropy(preds.cls_score.flatten(0, 1), targets.labels.flatten(), reduction='none')
    expected = (entropy * targets.label_weights.flatten()).sum() / targets.avg_factor
    torch.testing.assert_close(sum(head.loss(x, batch)['loss_cls']), expected)
    torch.testing.assert_close(head.scores(preds), preds.cls_score.softmax(-1)[..., :3])


def test_loss_on_decoded_boxes():
    head = anchor_head(reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss'))
    batch, x = samples(), maps()
    preds = head.flatten(head(x))
    targets = head.targets(preds, batch)
    boxes = head.bbox_coder.decode(targets.pos_priors.boxes, preds.bbox_pred.flatten(0, 1)[targets.pos_inds])
    expected = MODELS.build(dict(type='GIoULoss'))(boxes, targets.pos_gt_bboxes, avg_factor=targets.avg_factor)
    torch.testing.assert_close(sum(head.loss(x, batch)['loss_bbox']), expected)


def test_loss_and_predict_is_both():
    head, batch, x = anchor_head(), samples(), maps()
    terms, boxes = head.loss_and_predict(x, batch)
    assert {k: [float(t.detach()) for t in v] for k, v in terms.items()} == {
        k: [float(t.detach()) for t in v] for k, v in head.loss(x, batch).items()
    }
    for got, expected in zip(boxes, head.predict(x, batch)):
        torch.testing.assert_close(got.bboxes, expected.bboxes)
        assert not got.bboxes.requires_grad
    _, few = head.loss_and_predict(x, batch, proposal_cfg=ConfigDict(DETECT, max_per_img=2))
    assert [len(b) for b in few] == [2, 2]


@pytest.mark.parametrize('default', [True, False])
def test_focal_loss_is_sigmoid(default):
    head = anchor_head(loss_cls=dict(type='FocalLoss') if default else dict(type='FocalLoss', use_sigmoid=True))
    assert head.use_sigmoid_cls and head.conv_cls.out_channels == 2 * 3


# -- predictions -----------------------------------------------------------------------------------------------------


def test_top_scores():
    scores = torch.tensor([[0.1, 0.9], [0.5, 0.3], [0.7, 0.0]])
    values, rows, columns = top_scores(scores, 0.3, -1)
    assert values.tolist() == pytest.approx([0.9, 0.7, 0.5])
    assert rows.tolist() == [0, 2, 1] and columns.tolist() == [1, 0, 0]
    assert [len(t) for t in top_scores(scores, 0.0, 2)] == [2, 2, 2]
    assert top_scores(scores, 0.0, 2)[0].tolist() == pytest.approx([0.9, 0.7])
    assert [len(t) for t in top_scores(scores, 0.95, 2)] == [0, 0, 0]


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(0, 30), st.integers(2, 5)),
    most=st.integers(0, 9),
    limit=st.integers(-1, 40),
    threshold=st.floats(-4, 4),
    seed=st.integers(0, 99),
)
def test_top_scores_are_those_of_a_stable_sort(size, most, limit, threshold, seed):
    # few different values, of which the outer ones become equal, as a sigmoid saturates: many ties
    values = torch.randint(-most, most + 1, size, generator=torch.Generator().manual_seed(seed))
    scores, rows, columns = top_scores(values, threshold, limit, lambda x: x.clamp(-3, 3))
    best = values.clamp(-3, 3).flatten().sort(descending=True, stable=True)
    expected = best.indices[best.values > threshold][: limit if limit >= 0 else None]
    assert (rows * size[1] + columns).tolist() == expected.tolist()
    assert scores.tolist() == best.values[: len(expected)].tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9), st.floats(0, 1), st.integers(0, 99))
def test_points_that_cannot_reach_the_threshold_are_skipped_without_a_difference(most, threshold, seed):
    torch.manual_seed(seed)
    head = MODELS.build(dict(type='YOLOXHead', num_classes=3, in_channels=4, feat_channels=4))
    maps = dict(cls_score=most * torch.randn(1, 20, 3), objectness=most * torch.randn(1, 20, 1))
    preds = flat_predictions(None, [(4, 5)], [20], **maps)
    found = head.find_candidates(preds, ConfigDict(score_thr=threshold))
    expected = head.select(head.scores(preds)[0], [20], ConfigDict(score_thr=threshold))
    assert found.prior_inds.tolist() == expected.prior_inds.tolist()
    assert found.labels.tolist() == expected.labels.tolist()
    torch.testing.assert_close(found.scores, expected.scores)


def test_a_head_with_scores_of_its_own_is_asked_for_them():
    class Halved(AnchorHead):
        def scores(self, preds):
            return super().scores(preds) / 2

    head = anchor_head()
    head.__class__ = Halved
    preds = flat_predictions(None, [(1, 2)], [2], cls_score=torch.full((1, 2, 1), 9.0))
    found = head.find_candidates(preds, ConfigDict(score_thr=0.1))
    assert found.scores.tolist() == pytest.approx([0.5, 0.5], abs=1e-3)


def test_selection_is_level_by_level():
    head = anchor_head()
    scores = torch.zeros(160, 3)
    scores[:128, 0] = 0.5 + torch.arange(128) / 1000
    scores[130, 2] = 0.2
    chosen = head.select(scores, [128, 32], ConfigDict(score_thr=0.05, nms_pre=3))
    assert chosen.prior_inds.tolist() == [127, 126, 125, 130]
    assert chosen.labels.tolist() == [0, 0, 0, 2]
    torch.testing.assert_close(chosen.scores, torch.tensor([0.627, 0.626, 0.625, 0.2]))


def detections(head, logits, deltas=None, rescale=False, **meta):
    sample = prepared(make_sample(0, **meta))
    preds = flat(head, cls_score=logits[None], bbox_pred=torch.zeros(1, 160, 4) if deltas is None else deltas[None])
    return head.predict_flat(preds, [sample], head.test_cfg, rescale)[0]


def logits_of(**places):
    """Logits (160, 3), very low but at ``p<place>_<class>``."""
    logits = torch.full((160, 3), -20.0)
    for key, value in places.items():
        place, label = key[1:].split('_')
        logits[int(place), int(label)] = value
    return logits


def test_prediction_numbers():
    # anchor 19: cell (1, 1) of stride 8, ratio 1, centre (8, 8), side 16; anchor 128 + 11: cell (1, 1) of stride 16
    deltas = torch.zeros(160, 4)
    deltas[139] = torch.tensor([0.25, 0, 0, 0])
    pred = detections(anchor_head(), logits_of(p19_1=2.0, p139_0=1.0), deltas)
    assert pred.labels.tolist() == [1, 0]
    torch.testing.assert_close(pred.scores, torch.tensor([2.0, 1.0]).sigmoid())
    assert pred.bboxes.tolist() == [[0, 0, 16, 16], [8, 0, 40, 32]]


def test_boxes_are_clipped_then_rescaled():
    head = anchor_head()
    logits = logits_of(p1_0=3.0)  # centre (0, 0), side 16
    assert detections(head, logits).bboxes.tolist() == [[0, 0, 8, 8]]
    assert detections(head, logits, rescale=True, scale_factor=(0.5, 0.25)).bboxes.tolist() == [[0, 0, 16, 32]]
    assert detections(head, logits, shape=(5, 6)).bboxes.tolist() == [[0, 0, 6, 5]]


def test_suppression_within_classes():
    head = anchor_head()
    deltas = torch.zeros(160, 4)
    deltas[19] = torch.tensor([3.0, 3.0, 0, 0])
    deltas[21] = torch.tensor([2.5 + 0.1, 3.0, 0, 0])  # one cell on, 1.6 pixels from the former
    same = detections(head, logits_of(p19_0=2.0, p21_0=1.0), deltas)
    other = detections(head, logits_of(p19_0=2.0, p21_1=1.0), deltas)
    assert len(same) == 1 and len(other) == 2
    assert same.scores.tolist() == pytest.approx([float(torch.tensor(2.0).sigmoid())])


def test_limits():
    everywhere = torch.full((160, 3), -20.0)
    everywhere[:, 0] = torch.linspace(-1, 1, 160)
    nms = dict(type='nms', iou_threshold=0.99)
    assert len(detections(anchor_head(test_cfg=dict(nms=nms, max_per_img=7)), everywhere)) == 7
    every = detections(anchor_head(test_cfg=dict(nms=nms, max_per_img=-1, nms_pre=-1)), everywhere)
    assert 100 < len(every) <= 160
    few = detections(anchor_head(test_cfg=dict(nms=nms, nms_pre=5, max_per_img=-1)), everywhere)
    assert len(few) <= 10
    high = detections(anchor_head(test_cfg=dict(nms=nms, score_thr=0.6, max_per_img=-1)), everywhere)
    assert 0 < len(high) < 60 and float(high.scores.min()) > 0.6


def test_small_boxes_are_dropped():
    deltas = torch.zeros(160, 4)
    deltas[19] = torch.tensor([0, 0, 0.0, -2.0])  # 16 x 2.2 pixels
    logits = logits_of(p19_0=2.0, p139_0=1.0)
    assert len(detections(anchor_head(test_cfg=dict(min_bbox_size=2)), logits, deltas)) == 2
    large = detections(anchor_head(test_cfg=dict(min_bbox_size=3)), logits, deltas)
    assert large.bboxes.tolist() == [[0, 0, 32, 32]]
    # sizes count in the image that boxes are put out for
    head = anchor_head(test_cfg=dict(min_bbox_size=3))
    assert len(detections(head, logits, deltas, rescale=True, scale_factor=(0.5, 0.5))) == 2
    assert len(detections(anchor_head(test_cfg=dict(min_bbox_size=-1)), logits, deltas)) == 2


# -- the heads -------------------------------------------------------------------------------------------------------


def rpn_head(**kwargs):
    torch.manual_seed(0)
    settings = dict(anchor_generator=ANCHORS, feat_channels=6, train_cfg=RPN_TRAIN, test_cfg=dict(DETECT, nms_pre=50))
    return RPNHead(4, **{**settings, **kwargs})


def test_rpn_parameters():
    shapes = {key: tuple(value.shape) for key, value in rpn_head().state_dict().items()}
    assert shapes == {
        'rpn_conv.weight': (6, 4, 3, 3),
        'rpn_conv.bias': (6,),
        'rpn_cls.weight': (2, 6, 1, 1),
        'rpn_cls.bias': (2,),
        'rpn_reg.weight': (8, 6, 1, 1),
        'rpn_reg.bias': (8,),
    }
    deep = rpn_head(num_convs=2).state_dict()
    assert deep['rpn_conv.0.conv.weight'].shape == (6, 4, 3, 3) and deep['rpn_conv.1.conv.weight'].shape == (6, 6, 3, 3)


@pytest.mark.parametrize('num_convs', [1, 2])
def test_rpn_forward(num_convs):
    head, x = rpn_head(num_convs=num_convs), maps()
    cls_scores, bbox_preds = head(x)
    hidden = torch.relu(head.rpn_conv(x[1]))
    torch.testing.assert_close(cls_scores[1], head.rpn_cls(hidden))
    torch.testing.assert_close(bbox_preds[1], head.rpn_reg(hidden))


def test_rpn_knows_one_class():
    with pytest.raises(ValueError, match='num_classes must be 1, got 3'):
        RPNHead(4, num_classes=3)
    head = rpn_head()
    instances = head.gt_instances(make_sample(5))
    assert instances.labels.tolist() == [0] * 5
    terms = head.loss(maps(), samples())
    assert set(terms) == {'loss_rpn_cls', 'loss_rpn_bbox'}


def test_proposals_of_different_levels_do_not_suppress_each_other():
    head = rpn_head(test_cfg=dict(nms_pre=-1, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10))
    logits, deltas = torch.full((160, 1), -120.0), torch.zeros(160, 4)
    logits[19], logits[139] = 2.0, 1.0
    deltas[139] = torch.tensor([-8 / 32, -8 / 32, -0.6931, -0.6931])  # onto the box of the finer anchor
    pred = detections(head, logits, deltas)
    torch.testing.assert_close(pred.bboxes, torch.tensor([[0.0, 0, 16, 16]] * 2), atol=1e-2, rtol=0)
    assert pred.labels.tolist() == [0, 0]


def test_retina_parameters():
    head = MODELS.build(dict(retina_head(5), stacked_convs=2, norm_cfg=dict(type='GN', num_groups=2)))
    shapes = {key: tuple(value.shape) for key, value in head.state_dict().items()}
    for tower in ('cls', 'reg'):
        assert shapes[f'{tower}_convs.1.conv.weight'] == (8, 8, 3, 3) and shapes[f'{tower}_convs.1.gn.bias'] == (8,)
    assert shapes['retina_cls.weight'] == (15, 8, 3, 3) and shapes['retina_reg.weight'] == (12, 8, 3, 3)
    assert len(shapes) == 2 * 2 * 3 + 4


def test_retina_towers_are_shared_by_the_levels():
    head = MODELS.build(retina_head())
    x = torch.rand(1, 8, 4, 4)
    cls_scores, bbox_preds = head([x, x, x])
    assert torch.equal(cls_scores[0], cls_scores[2]) and torch.equal(bbox_preds[0], bbox_preds[1])
    torch.testing.assert_close(cls_scores[0], head.retina_cls(head.cls_convs[0](x)))
    torch.testing.assert_close(bbox_preds[0], head.retina_reg(head.reg_convs[0](x)))


def test_retina_without_towers():
    head = RetinaHead(2, 4, stacked_convs=0, anchor_generator=ANCHORS)
    assert len(head.cls_convs) == 0 and head.retina_cls.weight.shape == (2 * 2, 4, 3, 3)


def test_default_anchors_of_retina():
    head = RetinaHead(80, 16)
    assert head.num_base_priors == 9 and head.retina_cls.out_channels == 9 * head.cls_out_channels
    assert head.prior_generator.strides[0] == (8, 8) and head.prior_generator.num_levels == 5


def test_wrong_number_of_classes():
    with pytest.raises(ValueError, match='num_classes must be at least 1, got 0'):
        anchor_head(num_classes=0)


def test_head_without_training_settings():
    head = AnchorHead(2, 4, anchor_generator=ANCHORS, test_cfg=dict(DETECT, nms_pre=10))
    assert not hasattr(head, 'assigner')
    assert len(head.predict(maps(1), samples(1))) == 1
