"""Query heads: targets, losses, predictions."""

import pytest
import torch
import torch.nn.functional as F

from mmdetlike.models.heads.query import QueryContext, QueryOutputs, QueryTargets
from mmdetlike.models.heads.query.common import build_class_loss, query_targets, sample_of_one_class
from mmdetlike.structures.bbox import bbox_overlaps
from tests.models.tiny import make_sample
from tests.models.tiny_queries import COSTS, FOCAL, build


def detr_head(**cfg):
    test = dict(max_per_img=4)
    return build(**{**dict(type='DETRHead', num_classes=3, embed_dims=4, test_cfg=test), **cfg})


def test_query_targets():
    samples = [
        make_sample([[0.0, 0, 8, 8], [4, 4, 16, 20]], shape=(32, 64)),
        make_sample([[1.0, 1, 5, 9]], shape=(16, 16)),
    ]
    samples[0].gt_instances.labels = torch.tensor([2, 1])
    found = [(torch.tensor([0, 3]), torch.tensor([1, 0])), (torch.tensor([2]), torch.tensor([0]))]
    everyone = torch.ones(2, 4, dtype=torch.bool)
    targets = query_targets(found, samples, everyone, 3)
    assert targets.labels.tolist() == [[1, 3, 3, 2], [3, 3, 0, 3]]
    assert targets.pos_inds.tolist() == [0, 3, 6] and targets.num_neg == 5
    assert targets.pos_gt_inds.tolist() == [1, 0, 0]
    assert targets.pos_gt_bboxes.tolist() == [[4, 4, 16, 20], [0, 0, 8, 8], [1, 1, 5, 9]]
    assert targets.pos_sizes.tolist() == [[64, 32, 64, 32]] * 2 + [[16] * 4]
    of_one_class = query_targets(found, [sample_of_one_class(sample) for sample in samples], everyone, 3)
    assert of_one_class.labels.tolist() == [[0, 3, 3, 0], [3, 3, 0, 3]]
    assert samples[0].gt_instances.labels.tolist() != [0, 0]


def targets_of(labels, pos_inds, boxes, size=(40.0, 20.0)):
    labels, boxes = torch.tensor(labels), torch.tensor(boxes).reshape(-1, 4)
    sizes = torch.tensor(size * 2).expand(len(boxes), 4)
    pos = torch.tensor(pos_inds, dtype=torch.long)
    objects = torch.arange(len(pos))
    return QueryTargets(labels, torch.ones(labels.shape), pos, objects, boxes, sizes, labels.numel() - len(pos))


LOGITS = torch.tensor([[[2.0, 0, 0, 1], [0, 1, 0, 3], [0, 0, 1, 1]]])


BOXES = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.2, 0.2, 0.1, 0.1], [0.25, 0.5, 0.25, 0.5]]])


def test_losses_of_softmax():
    head = detr_head()
    targets = targets_of([[0, 3, 3]], [0], [[16.0, 6, 24, 16]])
    terms = head.losses(LOGITS, BOXES, targets, QueryContext())
    log_p = LOGITS[0].log_softmax(-1)
    # background weighs a tenth, in the sum and in what it is divided by
    torch.testing.assert_close(terms['cls'], -(log_p[0, 0] + 0.1 * log_p[1, 3] + 0.1 * log_p[2, 3]) / 1.2)
    # predicted 16, 6, 24, 14: the center is half a pixel off vertically and the height two pixels
    torch.testing.assert_close(terms['bbox'], torch.tensor(5 * (1 / 20 + 2 / 20)))
    torch.testing.assert_close(terms['iou'], torch.tensor(2 * (1 - 64 / 80)))


def test_losses_without_objects():
    terms = detr_head().losses(LOGITS, BOXES, targets_of([[3, 3, 3]], [], []), QueryContext())
    assert terms['bbox'] == 0 and terms['iou'] == 0
    # divided by at least one, though three queries of background weigh 0.3
    torch.testing.assert_close(terms['cls'], -0.1 * LOGITS[0].log_softmax(-1)[:, 3].sum())


def test_quality_focal_loss():
    loss = dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0)
    head = detr_head(loss_cls=loss)
    targets = targets_of([[0, 3, 3]], [0], [[16.0, 6, 24, 16]])
    quality = torch.zeros(3, 3)
    quality[0, 0] = bbox_overlaps(torch.tensor([[16.0, 6, 24, 14]]), torch.tensor([[16.0, 6, 24, 16]]))
    logits = LOGITS[:, :, :3]
    entropy = F.binary_cross_entropy_with_logits(logits[0], quality, reduction='none')
    expected = (entropy * (quality - logits[0].sigmoid()) ** 2).sum()
    torch.testing.assert_close(head.losses(logits, BOXES, targets, QueryContext())['cls'], expected)


def test_class_loss_settings():
    loss, background = build_class_loss(dict(type='CrossEntropyLoss', class_weight=2.0), 2)
    assert background == 2.0 and list(loss.class_weight) == [2.0] * 3
    loss, background = build_class_loss(dict(type='CrossEntropyLoss', class_weight=1.0, bg_cls_weight=0.1), 2)
    assert background == 0.1 and list(loss.class_weight) == [1.0, 1.0, 0.1]
    assert build_class_loss(FOCAL, 2)[1] == 0.0
    with pytest.raises(ValueError, match='num_classes must be at least 1, got 0'):
        detr_head(num_classes=0)


def test_selection_by_softmax_is_one_object_for_each_query():
    got = detr_head().select(LOGITS[0], BOXES[0], (20, 40))
    p = LOGITS[0].softmax(-1)
    torch.testing.assert_close(got['scores'], torch.stack([p[0, 0], p[2, 2], p[1, 1]]))
    assert got['labels'].tolist() == [0, 2, 1]
    torch.testing.assert_close(got['boxes'][0], torch.tensor([16.0, 6, 24, 14]))


def test_predictions_are_in_pixels_of_the_original_image():
    sample = make_sample(0, shape=(20, 40), scale_factor=(2.0, 0.5))
    head = detr_head()
    outs = QueryOutputs([torch.randn(1, 3, 4)], [None], QueryContext([sample]))
    small, large = head.predict(outs, rescale=False)[0], head.predict(outs)[0]
    torch.testing.assert_close(large.bboxes, small.bboxes * torch.tensor([0.5, 2, 0.5, 2]))
    assert torch.equal(large.scores, small.scores) and len(large) == 3


def test_selection_by_sigmoid_takes_pairs_and_clips():
    head = detr_head(loss_cls=FOCAL)
    logits = torch.tensor([[3.0, 2, -1], [0, 1, -2]])
    boxes = torch.tensor([[0.0, 0.5, 0.5, 2.0], [0.5, 0.5, 0.5, 0.5]])
    shape = (20, 40)
    got = head.select(logits, boxes, shape)
    assert got['labels'].tolist() == [0, 1, 1, 0]  # more than there are queries
    torch.testing.assert_close(got['scores'], torch.tensor([3.0, 2, 1, 0]).sigmoid())
    assert got['boxes'].tolist() == [[0, 0, 10, 20], [0, 0, 10, 20], [10, 5, 30, 15], [10, 5, 30, 15]]
    assert len(detr_head(loss_cls=FOCAL, test_cfg=dict(max_per_img=99)).select(logits, boxes, shape)['boxes']) == 6
    assert len(detr_head(loss_cls=FOCAL, test_cfg=None).select(logits, boxes, shape)['boxes']) == 2


def test_every_layer_has_its_terms():
    head = detr_head(train_cfg=dict(assigner=dict(type='HungarianAssigner', match_costs=COSTS)))
    context = QueryContext([make_sample(2), make_sample(0, index=1)])
    outs = QueryOutputs([torch.randn(2, 5, 4) for _ in range(3)], [None] * 3, context)
    terms = head.loss(outs)
    assert set(terms) == {f'{b}loss_{n}' for b in ('', 'd0.', 'd1.') for n in ('cls', 'bbox', 'iou')}
    last = head.loss(QueryOutputs(outs.hidden_states[2:], [None], context))
    for name, value in last.items():
        torch.testing.assert_close(terms[name], value)
