"""YOLOX and RTMDet: assigners on cases worked out by hand, losses, masks, images that break detectors."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData

from mmdetlike.models.heads.dense import RTMDetHead, RTMDetInsHead, RTMDetInsSepBNHead, RTMDetSepBNHead, YOLOXHead
from mmdetlike.models.heads.dense.rtmdet_head import join_objectness
from mmdetlike.models.heads.dense.yolox_head import from_boxes, to_boxes
from mmdetlike.models.layers import ExpMomentumEMA
from mmdetlike.models.task_modules import DynamicSoftLabelAssigner, Priors, SimOTAAssigner
from mmdetlike.models.task_modules.assigners.dynamic_k import dynamic_k_matching
from mmdetlike.registry import MODELS
from mmdetlike.structures import BitmapMasks
from tests.models.tiny import BACKBONE, DETECT, NECK, PREPROCESSOR, candidates, losses, make_sample, predict

STRIDES = [8, 16, 32]
WIDTHS = dict(in_channels=8, feat_channels=8, stacked_convs=1)
TRAIN = dict(
    yolox=dict(assigner=dict(type='SimOTAAssigner')),
    rtmdet=dict(assigner=dict(type='DynamicSoftLabelAssigner', topk=13), allowed_border=-1, pos_weight=-1),
)
TEST = dict(DETECT, nms_pre=100, min_bbox_size=0, mask_thr_binary=0.5)
BN = dict(norm_cfg=dict(type='BN'))
HEADS = {
    'yolox': dict(type='YOLOXHead', **WIDTHS),
    'yolox, depthwise, DCN': dict(type='YOLOXHead', **WIDTHS, use_depthwise=True, dcn_on_last_conv=True),
    'yolox, no norm': dict(type='YOLOXHead', **WIDTHS, norm_cfg=None, act_cfg=dict(type='ReLU')),
    'rtmdet': dict(type='RTMDetHead', **WIDTHS, **BN),
    'rtmdet, sep': dict(type='RTMDetSepBNHead', **WIDTHS),
    'rtmdet, sep, exp': dict(type='RTMDetSepBNHead', **WIDTHS, exp_on_reg=True, with_objectness=False),
    'rtmdet, depthwise': dict(type='RTMDetSepBNHead', **WIDTHS, use_depthwise=True, pred_kernel_size=3),
    'rtmdet, separate': dict(type='RTMDetSepBNHead', **WIDTHS, share_conv=False),
    'ins': dict(type='RTMDetInsHead', **WIDTHS, **BN),
    'ins, sep': dict(type='RTMDetInsSepBNHead', **WIDTHS),
    'ins, objectness': dict(
        type='RTMDetInsSepBNHead', **WIDTHS, with_objectness=True, num_prototypes=4, dyconv_channels=6, num_dyconvs=2
    ),
}


def detector(name, num_classes=3):
    torch.manual_seed(0)
    family = 'yolox' if name.startswith('yolox') else 'rtmdet'
    parts = dict(backbone=BACKBONE, neck=NECK, data_preprocessor=PREPROCESSOR)
    head = dict(copy.deepcopy(HEADS[name]), num_classes=num_classes)
    kind = dict(yolox='YOLOX', rtmdet='RTMDet')[family]
    return MODELS.build(dict(parts, type=kind, bbox_head=head, train_cfg=TRAIN[family], test_cfg=dict(TEST)))


def with_masks(sample):
    """The sample with masks that are its boxes."""
    boxes, (height, width) = sample.gt_instances.bboxes.round().int().tolist(), sample.img_shape
    masks = torch.zeros(len(boxes), height, width, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes):
        mask[y1:y2, x1:x2] = 1
    sample.gt_instances.masks = BitmapMasks(masks.numpy(), height, width)
    return sample


# -- assigners -------------------------------------------------------------------------------------------------------


def test_dynamic_k_by_hand():
    # the first object may have 0.9 + 0.7 + 0.5 = 2 priors, the second one, of 0.4 + 0.1 + 0.1
    ious = torch.tensor([[0.9, 0.4], [0.7, 0.1], [0.5, 0.1], [0.0, 0.0]])
    cost = torch.tensor([[2.0, 1.0], [5.0, 9.0], [3.0, 9.0], [4.0, 9.0]])
    rows, objects = dynamic_k_matching(cost, ious, topk=3)
    # both want prior 0, which is cheaper for the second
    assert rows.tolist() == [0, 2] and objects.tolist() == [1, 0]


def predictions(points, boxes, scores):
    return candidates(points, bboxes=boxes, scores=scores)


def objects(boxes, labels):
    return InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.tensor(labels, dtype=torch.long))


def test_sim_ota_by_hand():
    box = [0.0, 0.0, 40.0, 40.0]
    # in box and near, in box alone, near neither
    points = [[20.0, 20.0], [24.0, 20.0], [39.0, 39.0], [100.0, 100.0]]
    boxes = [box, [0.0, 0.0, 20.0, 40.0], box, box]
    scores = [[0.5, 0.5], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]]
    result = SimOTAAssigner(center_radius=1).assign(predictions(points, boxes, scores), objects([box], [0]))
    # overlaps 1, 0.5 and 1: two points; the third lies far from the centre, which costs more than any bad overlap
    assert result.gt_inds.tolist() == [1, 1, 0, 0] and result.labels.tolist() == [0, 0, -1, -1]
    assert result.max_overlaps[:2].tolist() == pytest.approx([1, 0.5])
    # with one candidate, classes decide: cross entropies 1.39 and 0.21, -3 log(IoU) 0 and 2.08
    one = SimOTAAssigner(center_radius=1, candidate_topk=1)
    assert one.assign(predictions(points, boxes, scores), objects([box], [0])).gt_inds.tolist() == [1, 0, 0, 0]
    light = SimOTAAssigner(center_radius=1, candidate_topk=1, iou_weight=0.1)
    assert light.assign(predictions(points, boxes, scores), objects([box], [0])).gt_inds.tolist() == [0, 1, 0, 0]


def test_sim_ota_class_cost_is_a_cross_entropy():
    torch.manual_seed(0)
    scores, labels = torch.rand(7, 5), torch.tensor([0, 4, 4])
    scores[0, 0], scores[1, 4] = 0, 1
    target = F.one_hot(labels, 5).float().expand(7, 3, 5)
    expected = F.binary_cross_entropy(scores[:, None].expand(7, 3, 5), target, reduction='none').sum(-1)
    torch.testing.assert_close(SimOTAAssigner().class_cost(scores, labels, ious=None), expected, rtol=1e-5, atol=1e-4)


def test_dynamic_soft_label_by_hand():
    box = [0.0, 0.0, 40.0, 40.0]
    points = [[20.0, 20.0], [4.0, 20.0], [50.0, 20.0]]
    pred = predictions(points, [[0.0, 0.0, 40.0, 20.0], box, box], [[0.0, 0.0]] * 3)
    result = DynamicSoftLabelAssigner().assign(pred, objects([box], [1]))
    # one point, as overlaps sum up to 1.5; costs: 3 log 2 = 2.08 of the first, 10^(2 - 3) = 0.1 of the second
    assert result.gt_inds.tolist() == [0, 1, 0] and result.labels.tolist() == [-1, 1, -1]
    near = DynamicSoftLabelAssigner(soft_center_radius=1).assign(pred, objects([box], [1]))  # now 10^(2 - 1)
    assert near.gt_inds.tolist() == [1, 0, 0] and float(near.max_overlaps[0]) == 0.5


def test_soft_label_costs_are_quality_focal_losses():
    from mmdetlike.models.losses import QualityFocalLoss

    torch.manual_seed(0)
    logits, labels, ious = torch.randn(6, 4), torch.tensor([0, 3, 3]), torch.rand(6, 3)
    costs = DynamicSoftLabelAssigner().class_cost(logits, labels, ious)
    for j, label in enumerate(labels):
        expected = QualityFocalLoss(reduction='none')(logits, (label.expand(6), ious[:, j]))
        torch.testing.assert_close(costs[:, j], expected)


@pytest.mark.parametrize('assigner', [SimOTAAssigner(), DynamicSoftLabelAssigner()])
def test_nothing_to_assign(assigner):
    pred = predictions([[20.0, 20.0], [500.0, 20.0]], [[0.0, 0.0, 9.0, 9.0]] * 2, [[0.5, 0.5]] * 2)
    for gts in (objects([], []), objects([[200.0, 200.0, 201.0, 201.0]], [0])):
        result = assigner.assign(pred, gts)
        assert result.gt_inds.tolist() == [0, 0] and result.num_gts == len(gts)
    none = candidates(torch.zeros(0, 2), bboxes=torch.zeros(0, 4), scores=torch.zeros(0, 2))
    assert len(assigner.assign(none, objects([[0.0, 0.0, 9.0, 9.0]], [0])).gt_inds) == 0


def test_predictions_that_are_not_finite_are_survived():
    pred = predictions([[20.0, 20.0]] * 2, [[0.0, 0.0, math.inf, math.inf], [math.nan] * 4], [[0.5, 0.5]] * 2)
    for assigner in (SimOTAAssigner(), DynamicSoftLabelAssigner()):
        assert len(assigner.assign(pred, objects([[0.0, 0.0, 40.0, 40.0]], [0])).gt_inds) == 2


# -- heads -----------------------------------------------------------------------------------------------------------


def test_yolox_boxes_and_back():
    strides, level_ids = torch.full((20, 2), 8.0), torch.zeros(20).long()
    priors = Priors(torch.tensor([[16.0, 8.0]]).expand(20, 2), strides, level_ids)
    assert to_boxes(priors[:1], torch.tensor([[0.5, 0.25, 0.0, math.log(2)]])).tolist() == [[16, 2, 24, 18]]
    torch.manual_seed(0)
    boxes = torch.rand(20, 4) * 20
    boxes[:, 2:] += boxes[:, :2] + 1
    back = to_boxes(priors, from_boxes(priors, boxes))
    torch.testing.assert_close(back, boxes, rtol=1e-4, atol=1e-4)


@pytest.fixture
def unmixed_images():
    """As at the end of a training of YOLOX."""
    hub = MessageHub.get_current_instance()
    hub.update_info('mixes_images', False)
    yield
    hub.update_info('mixes_images', True)


def test_yolox_has_no_l1_loss_while_images_are_mixed():
    assert 'loss_l1' not in losses(detector('yolox'), [make_sample(3)])


def test_yolox_l1_is_switched_on(unmixed_images):
    model = detector('yolox')
    assert float(losses(model, [make_sample(3)])['loss_l1'].detach()) > 0


def test_yolox_loss_against_numbers(unmixed_images):
    head = YOLOXHead(3, **WIDTHS, train_cfg=TRAIN['yolox'], test_cfg=TEST)
    torch.manual_seed(0)
    outs = [[torch.randn(1, c, 64 // s, 64 // s) for s in STRIDES] for c in (3, 4, 1)]
    preds, sample = head.flatten(outs), make_sample([[8, 8, 40, 40]])
    targets = head.targets(preds, [sample])
    terms = head.named_losses(head.compute_losses(preds, [sample]))
    pos, count = targets.pos_inds, len(targets.pos_inds)
    assert count >= 1
    boxes = to_boxes(preds.priors, preds.bbox_pred[0])[pos]
    low, high = boxes[:, :2].clamp(min=8), boxes[:, 2:].clamp(max=40)
    inter = (high - low).clamp(min=0).prod(1)
    iou = inter / ((boxes[:, 2:] - boxes[:, :2]).prod(1) + 32 * 32 - inter)
    is_object = torch.zeros(84, 1)
    is_object[pos] = 1
    bce = F.binary_cross_entropy_with_logits
    classes = torch.tensor([1.0, 0, 0]) * iou[:, None]
    expected = dict(
        loss_cls=bce(preds.cls_score[0][pos], classes, reduction='sum') / count,
        loss_bbox=5 * (1 - iou**2).sum() / count,
        loss_obj=bce(preds.objectness[0], is_object, reduction='sum') / count,
        loss_l1=(preds.bbox_pred[0][pos] - from_boxes(preds.priors[pos], torch.tensor([[8.0, 8, 40, 40]]))).abs().sum()
        / count,
    )
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-4, atol=1e-4)


def test_yolox_takes_the_best_class_of_a_point():
    head = YOLOXHead(2, **WIDTHS, test_cfg=dict(score_thr=0.2, nms=dict(type='nms', iou_threshold=0.9)))
    scores = torch.tensor([[0.1, 0.15], [0.2, 0.1], [0.3, 0.9]])
    kept = head.select(scores, [3], head.test_cfg)
    assert kept.prior_inds.tolist() == [1, 2] and kept.labels.tolist() == [0, 1]
    assert kept.scores.tolist() == pytest.approx([0.2, 0.9])


def test_rtmdet_loss_against_numbers():
    head = RTMDetSepBNHead(3, **WIDTHS, train_cfg=TRAIN['rtmdet'], test_cfg=TEST)
    torch.manual_seed(0)
    outs = [[torch.randn(1, 3, 64 // s, 64 // s) for s in STRIDES]]
    outs.append([torch.rand(1, 4, 64 // s, 64 // s) * 20 + 5 for s in STRIDES])
    preds, sample = head.flatten(outs), make_sample([[8, 8, 40, 40], [30, 30, 60, 62]])
    terms = head.named_losses(head.compute_losses(preds, [sample]))
    targets = head.targets(preds, [sample])
    quality = torch.zeros(84)
    quality[targets.pos_inds] = targets.samplings[0].assign_result.max_overlaps[targets.pos_inds]
    boxes = head.decode(preds, 0, targets.pos_inds, None)
    factor = max(float(quality.sum()), 1)
    soft = F.one_hot(targets.labels[0], 4)[:, :3] * quality[:, None]
    cls = F.binary_cross_entropy_with_logits(preds.cls_score[0], soft, reduction='none')
    cls = cls * (soft - preds.cls_score[0].sigmoid()).square()
    assert float(sum(terms['loss_cls'])) == pytest.approx(float(cls.sum()) / factor, rel=1e-4)
    giou = MODELS.build(dict(type='GIoULoss', reduction='none', loss_weight=2))(boxes, targets.pos_gt_bboxes)
    weighted = (giou * quality[targets.pos_inds]).sum() / factor
    assert float(sum(terms['loss_bbox'])) == pytest.approx(float(weighted), rel=1e-4)
    assert len(targets.pos_inds) >= 2 and len(terms['loss_cls']) == 3


def test_objectness_and_classes_have_a_geometric_mean():
    a, b = torch.randn(1, 3, 2, 2), torch.randn(1, 1, 2, 2)
    torch.testing.assert_close(join_objectness(a, b).sigmoid(), (a.sigmoid() * b.sigmoid()).sqrt())
    far = torch.full((1, 1, 1, 1), -300.0, requires_grad=True)
    join_objectness(far, far).sum().backward()
    assert bool(torch.isfinite(far.grad).all())


def test_towers_that_share_convolutions():
    head = RTMDetSepBNHead(3, 8, feat_channels=8, stacked_convs=2)
    assert head.cls_convs[2][1].conv is head.cls_convs[0][1].conv is not head.reg_convs[0][1].conv
    assert head.cls_convs[2][1].bn is not head.cls_convs[0][1].bn
    assert 'cls_convs.2.1.conv.weight' in head.state_dict()
    apart = RTMDetSepBNHead(3, 8, feat_channels=8, stacked_convs=2, share_conv=False)
    assert apart.cls_convs[2][1].conv is not apart.cls_convs[0][1].conv
    thin = RTMDetSepBNHead(3, 8, feat_channels=8, use_depthwise=True)
    assert thin.cls_convs[1][0].depthwise_conv.conv is thin.cls_convs[0][0].depthwise_conv.conv


@pytest.mark.parametrize('head', [YOLOXHead(3, 8), RTMDetHead(3, 8), RTMDetSepBNHead(3, 8, with_objectness=False)])
def test_initial_scores(head):
    head.init_weights()
    x = [torch.zeros(1, 8, 2, 2)] * 3
    probability = head.flatten(head.eval()(x)).cls_score.sigmoid()
    # classes begin at 0.01, at its geometric mean with the same objectness where that is mixed in
    torch.testing.assert_close(probability, torch.full_like(probability, 0.01), rtol=1e-3, atol=1e-4)


def objects_of(params, priors):
    """Objects with the parameters of their mask networks and priors (n, 4) x, y, stride, stride."""
    return InstanceData(params=params, points=priors[:, :2], strides=priors[:, 2:])


# -- masks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('settings', [{}, dict(num_prototypes=3, dyconv_channels=5, num_dyconvs=4)])
def test_mask_logits_against_convolutions(settings):
    torch.manual_seed(0)
    head = RTMDetInsHead(2, 8, feat_channels=8, stacked_convs=1, norm_cfg=None, **settings)
    prototypes = head.num_prototypes
    feat, kernels = torch.randn(prototypes, 5, 6), torch.randn(3, head.network.num_params)
    priors = torch.tensor([[8.0, 16, 8, 8], [32, 0, 16, 16], [0, 32, 32, 32]])
    weights, biases = head.network.split(kernels)
    ys, xs = torch.meshgrid(torch.arange(5) * 8.0, torch.arange(6) * 8.0, indexing='ij')
    for i, got in enumerate(head.mask_logits(feat, objects_of(kernels, priors))):
        x, y, stride = priors[i, :3]
        inputs = torch.cat([torch.stack([x - xs, y - ys]) / (8 * stride), feat])[None]
        for k, (weight, bias) in enumerate(zip(weights, biases)):
            inputs = F.conv2d(inputs.relu() if k else inputs, weight[i][..., None, None], bias[i])
        torch.testing.assert_close(got, inputs[0, 0], rtol=1e-4, atol=1e-4)
    # all weights come first, then all biases
    assert torch.equal(torch.cat([w[0].flatten() for w in weights] + [b[0] for b in biases]), kernels[0])


def test_masks_have_the_size_of_the_image_or_the_original():
    head = RTMDetInsHead(2, 8, feat_channels=8, stacked_convs=1, norm_cfg=None)
    sample = make_sample(1, shape=(40, 60), scale_factor=(0.5, 0.5))
    logits = torch.full((20, 6, 8), -5.0)
    logits[:, :, :3] = 5
    masks = head.full_masks(logits, sample, 0.5, rescale=False)
    assert masks.shape == (20, 40, 60) and masks.dtype == torch.bool
    assert bool(masks[:, :, :23].all()) and not bool(masks[:, :, 25:].any())
    masks = head.full_masks(logits, sample, 0.5, rescale=True)
    assert masks.shape == (20, 80, 120) and bool(masks[:, :, :46].all()) and not bool(masks[:, :, 50:].any())
    # padding at the right and the bottom is no part of the original
    padded = make_sample(1, shape=(48, 64), scale_factor=(0.5, 0.5))
    padded.set_metainfo(dict(ori_shape=(80, 120)))
    assert torch.equal(head.full_masks(logits, padded, 0.5, rescale=True), masks)
    assert head.full_masks(logits[:0], sample, 0.5, rescale=True).shape == (0, 80, 120)


def test_mask_loss_is_dice_of_every_positive():
    model = detector('ins, sep')
    samples = [with_masks(make_sample([[8, 8, 40, 40]])), with_masks(make_sample(0, index=1))]
    head, kept = model.bbox_head, []
    original = head.mask_logits
    head.mask_logits = lambda *args: kept.append(original(*args)) or kept[-1]
    terms = losses(model, samples)
    logits = F.interpolate(kept[0][None], scale_factor=2, mode='bilinear')[0].sigmoid()
    mask = torch.zeros(16, 16)
    mask[2:10, 2:10] = 1
    dice = 1 - 2 * (logits * mask).sum((1, 2)) / (logits.square().sum((1, 2)) + 64 + 1e-5)
    torch.testing.assert_close(terms['loss_mask'], 2 * dice.sum() / len(dice))


def test_one_tower_for_classes_and_boxes_of_masks():
    head = RTMDetInsSepBNHead(2, 8, feat_channels=8, stacked_convs=2)
    names = [name for name, _ in head.named_parameters()]
    assert not any(name.startswith('reg_convs') for name in names) and 'reg_convs.0.0.conv.weight' in head.state_dict()
    assert head.kernel_convs[1][0].conv is not head.kernel_convs[0][0].conv
    head.init_weights()
    assert head.rtm_reg[0].bias.tolist() == [1] * 4


# -- whole detectors -------------------------------------------------------------------------------------------------

BATCHES = {
    'no object': [(0, (64, 64))],
    'one pixel': [([[31, 31, 32, 32]], (64, 64))],
    'below a stride': [(2, (20, 24)), (1, (8, 8))],
    'three images': [(0, (64, 40)), (30, (33, 64)), ([[0, 0, 64, 64]], (64, 64))],
}


@pytest.mark.parametrize('name', HEADS)
def test_training_and_testing(name):
    model = detector(name)
    for sizes in BATCHES.values():
        samples = [with_masks(make_sample(boxes, shape, index=i)) for i, (boxes, shape) in enumerate(sizes)]
        model.zero_grad()
        loss, log = model.parse_losses(losses(model, samples))
        assert bool(torch.isfinite(loss)), log
        loss.backward()
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), key
        for sample in predict(model, samples):
            pred = sample.pred_instances
            assert bool(torch.isfinite(pred.bboxes).all()) and bool((pred.scores[:-1] >= pred.scores[1:]).all())
            assert len(pred) <= 20 and 'prior_inds' not in pred
            if name.startswith('ins'):
                assert pred.masks.shape == (len(pred), *sample.img_shape)


@pytest.mark.parametrize('name', ['yolox', 'rtmdet, sep', 'ins, sep'])
def test_one_class_and_nothing_found(name):
    model = detector(name, num_classes=1)
    loss, _ = model.parse_losses(losses(model, [with_masks(make_sample(3, num_classes=1))]))
    assert bool(torch.isfinite(loss))
    assert set(predict(model, [make_sample(0)])[0].pred_instances.labels.tolist()) <= {0}
    model.bbox_head.test_cfg.score_thr = 1.1
    pred = predict(model, [make_sample(0)])[0].pred_instances
    assert pred.bboxes.shape == (0, 4) and (name != 'ins, sep' or pred.masks.shape == (0, 64, 64))


def test_bad_input():
    with pytest.raises(ValueError, match='num_classes must be at least 1, got 0'):
        YOLOXHead(0, 8)
    with pytest.raises(ValueError, match='3 strides need as many feature maps, got 2'):
        head = RTMDetHead(2, 8)
        head.loss([torch.zeros(1, 8, 4, 4)] * 2, [make_sample(1)])
    with pytest.raises(ValueError, match='gamma must be positive'):
        ExpMomentumEMA(torch.nn.Linear(1, 1), gamma=0)


def test_average_forgets_fast_at_first():
    source = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(source.weight)
    average = ExpMomentumEMA(source, momentum=0.1, gamma=2)
    torch.nn.init.ones_(source.weight)
    expected = 0.0
    for step in range(5):
        average.update_parameters(source)
        share = 0.9 * math.exp(-(1 + step) / 2) + 0.1 if step else 1.0  # the first update copies
        expected += (1 - expected) * share
        assert float(average.module.weight.detach()) == pytest.approx(expected)
