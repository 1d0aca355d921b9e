"""CenterNet2: the first stage's heat, and scores that are joint ones of both stages."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmdetlike.errors import ConfigError
from mmdetlike.models.losses import GaussianFocalLoss
from mmdetlike.registry import MODELS
from tests.models.families import FAMILIES, build
from tests.models.tiny import batch, config, losses, make_sample

SIZES = [(8, 8), (4, 4), (2, 2)]


def preds_of(head, heat):
    """Flat predictions of an image of 64 pixels whose heat is ``heat`` everywhere."""
    logit = torch.tensor(heat).logit()
    maps = [torch.full((1, 1, *size), logit.item()) for size in SIZES]
    return head.flatten((maps, [torch.ones(1, 4, *size) for size in SIZES]))


def test_centers_alone_are_positives():
    head = build('centernet2').rpn_head
    preds = preds_of(head, 0.5)
    # half a diagonal of 11.3 is in the ranges of the first two levels: a center on each
    objects = InstanceData(bboxes=torch.tensor([[20.0, 20, 36, 36]]), labels=torch.tensor([0]))
    pairs = head.pairs(preds.priors, objects.bboxes)
    points, owners = head.class_positives(preds.of_image(0), objects, pairs)
    assert points.tolist() == [3 * 8 + 3, 64 + 1 * 4 + 1] and owners.tolist() == [0, 0]


def test_proposals_are_scored_by_the_root_of_the_heat():
    head = build('centernet2').rpn_head
    assert head.scores(preds_of(head, 0.25)).unique().item() == pytest.approx(0.5)


def test_all_classes_are_objects():
    model = build('centernet2')
    sample = make_sample([[20, 20, 36, 36], [4, 4, 20, 20]])
    assert sample.gt_instances.labels.tolist() == [0, 1]
    assert model.rpn_head.gt_instances(sample).labels.tolist() == [0, 0]
    assert sample.gt_instances.labels.tolist() == [0, 1]
    names = set(losses(model, [sample]))
    assert names >= {'loss_rpn_cls', 'loss_rpn_bbox', 's0.loss_cls', 's2.loss_bbox'}


def test_another_number_of_classes_is_refused():
    with pytest.raises(ValueError, match='num_classes must be 1, got 3'):
        MODELS.build(dict(type='CenterNetRPNHead', in_channels=8, num_classes=3))


def test_high_scores_of_negatives_may_be_no_faults():
    loss = GaussianFocalLoss(ignore_high_fp=0.85, reduction='none')
    pred = torch.tensor([[0.9, 0.8, 0.9]])
    target = torch.tensor([[0.0, 0.0, 1.0]])
    plain = GaussianFocalLoss(reduction='none')(pred, target)
    assert loss(pred, target).tolist() == [[0.0, *plain[0, 1:].tolist()]]
    at_center = dict(pos_inds=torch.tensor([0]), pos_labels=torch.tensor([2]))
    # at a center the probability counts as that of a positive, and is no fault as that of a negative
    assert loss(pred, target, **at_center).item() == pytest.approx(plain[0, 1:].sum().item())
    assert loss(pred, target, avg_factor=4, **at_center).item() == pytest.approx(plain[0, 1:].sum().item() / 4)


def found_by_second_stage(score, **told):
    """What a box head finds of one region that it scores ``score`` for the first class."""
    head = MODELS.build(config('faster_rcnn')['roi_head']['bbox_head'])
    logits = torch.tensor([[score, (1 - score) / 2, (1 - score) / 4, (1 - score) / 4]]).log()
    deltas = torch.zeros(1, 12)
    rois = torch.tensor([[0.0, 8, 8, 40, 40]])
    settings = ConfigDict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10)
    return head.detect(rois, (logits, deltas), (64, 64), settings, **told)


def test_a_score_is_the_geometric_mean_of_both_stages():
    plain = found_by_second_stage(0.64)
    joint = found_by_second_stage(0.64, objectness=torch.tensor([0.25]))
    assert plain['scores'][0].item() == pytest.approx(0.64)
    assert joint['scores'][0].item() == pytest.approx(0.4)
    torch.testing.assert_close(joint['scores'], (plain['scores'] * 0.25).sqrt())


def test_the_second_stage_is_told_the_scores_of_its_proposals():
    model = build('centernet2').eval()
    data = batch(model, [make_sample(3)])
    x = model.extract_feat(data['inputs'])
    proposals = model.rpn_head.predict(x, data['data_samples'])
    joint = model.roi_head.predict(x, proposals, data['data_samples'])
    certain = [InstanceData(bboxes=image.bboxes, scores=torch.ones_like(image.scores)) for image in proposals]
    roots = model.roi_head.predict(x, certain, data['data_samples'])
    model.roi_head.test_cfg.mult_proposal_score = False
    plain = model.roi_head.predict(x, proposals, data['data_samples'])
    assert len(joint[0]) and joint[0].scores.max() < roots[0].scores.max()
    assert roots[0].scores.max().item() == pytest.approx(plain[0].scores.max().sqrt().item())
    model.roi_head.test_cfg.mult_proposal_score = True
    with pytest.raises(ValueError, match=r"needs proposals with scores, got \['bboxes'\]"):
        model.roi_head.predict(x, [InstanceData(bboxes=proposals[0].bboxes)], data['data_samples'])


def test_a_head_that_scores_queries_is_refused():
    cfg = FAMILIES['sparse_rcnn'](3)
    cfg['test_cfg'] = dict(cfg['test_cfg'], rcnn=dict(cfg['test_cfg']['rcnn'], mult_proposal_score=True))
    with pytest.raises(ConfigError, match='mult_proposal_score=True: DIIHead gives scores without proposals'):
        MODELS.build(cfg)
