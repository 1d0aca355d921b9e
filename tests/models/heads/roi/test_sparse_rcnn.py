"""Sparse R-CNN and QueryInst: learned proposals, stages that hand queries on, matching."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.roi import EmbeddingRPNHead
from mmdetlike.models.heads.roi.bbox_heads.dii_head import QueryPreds
from mmdetlike.models.heads.roi.sparse_roi_head import QueryStage
from mmdetlike.registry import MODELS
from tests.models.families import FAMILIES, build
from tests.models.tiny import batch, losses, make_sample, predict, random_boxes, sampling


def test_learned_proposals_begin_as_the_whole_image():
    head = EmbeddingRPNHead(num_proposals=3, proposal_feature_channel=4)
    head.init_weights()
    samples = [make_sample(0, shape=(64, 32)), make_sample(0, shape=(16, 48))]
    terms, proposals = head.loss_and_predict([], samples)
    assert terms == {}
    assert [image.bboxes.tolist() for image in proposals] == [[[0, 0, 32, 64]] * 3, [[0, 0, 48, 16]] * 3]
    assert all(torch.equal(image.features, head.init_proposal_features.weight) for image in proposals)


def queries(model, samples):
    data = batch(model, samples)
    x = model.extract_feat(data['inputs'])
    return x, model.rpn_head.predict(x, data['data_samples']), data['data_samples']


def test_a_stage_hands_boxes_and_features_on():
    model = build('sparse_rcnn')
    x, proposals, samples = queries(model, [make_sample(3), make_sample(1, index=1)])
    stage = model.roi_head.stage(0, training=True)
    assert type(stage) is QueryStage
    result = stage.train(x, proposals, samples)
    following = stage.next_proposals(result.outs, samples, result.sampled)
    assert [len(image) for image in following] == [12, 12]
    assert not following[0].bboxes.requires_grad and following[0].features.requires_grad
    torch.testing.assert_close(torch.cat([image.bboxes for image in following]), result.outs.preds.bboxes)
    # each object has one query, whose predicted box it is compared to
    assert [sorted(matched.pos_assigned_gt_inds.tolist()) for matched in result.sampled] == [[0, 1, 2], [0]]
    torch.testing.assert_close(result.sampled[1].priors, following[1].bboxes)


def test_losses_by_hand():
    head = build('sparse_rcnn').roi_head.bbox_head[0]
    boxes = random_boxes(4)
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    preds = QueryPreds(logits, boxes + 1, torch.zeros(4, 8), torch.zeros(4, 8))
    gts = boxes[[2, 0]]
    result = sampling(boxes, [2, 0, 1, 0], gts)  # of classes 1 and 0
    terms = head.loss(preds, [result], ConfigDict(pos_weight=1), [(32, 64)])
    labels = torch.tensor([1, 3, 0, 3])
    torch.testing.assert_close(terms['loss_cls'], head.loss_cls(logits, labels, avg_factor=2))
    # every side is off by one pixel of 64 along x and of 32 along y
    torch.testing.assert_close(terms['loss_bbox'], torch.tensor(5 * 2 * (1 / 64 + 1 / 32)))
    assert float(terms['pos_acc']) == 50 * sum(logits[[0, 2]].argmax(1) == labels[[0, 2]])
    none = head.loss(preds, [sampling(boxes, [0] * 4, gts[:0])], ConfigDict(), [(32, 64)])
    assert none['loss_bbox'] == none['loss_iou'] == 0 and none['loss_cls'] > 0


def test_the_best_pairs_of_query_and_class():
    head = build('sparse_rcnn').roi_head.bbox_head[0]
    logits = torch.tensor([[0.0, 3, 1], [2, -1, -2]])
    preds = QueryPreds(logits, random_boxes(2), torch.zeros(2, 8), torch.arange(16.0).view(2, 8))
    found = InstanceData(**head.detect(torch.zeros(2, 5), preds, (64, 64), ConfigDict(max_per_img=3)))
    torch.testing.assert_close(found.scores, torch.tensor([3.0, 2, 1]).sigmoid())
    assert found.labels.tolist() == [1, 0, 2]
    assert torch.equal(found.bboxes, preds.bboxes[[0, 1, 0]]) and torch.equal(
        found.query_features, preds.attended[[0, 1, 0]]
    )
    assert len(head.detect(torch.zeros(2, 5), preds, (64, 64), ConfigDict(max_per_img=100))['scores']) == 6


def test_a_softmax_has_background():
    cfg = FAMILIES['sparse_rcnn'](3)['roi_head']
    loss = dict(type='CrossEntropyLoss', use_sigmoid=False)
    head = MODELS.build(dict(cfg['bbox_head'], loss_cls=loss))
    assert head.fc_cls.out_features == 4
    preds = QueryPreds(torch.tensor([[1.0, 0, 0, 9]]), random_boxes(1), torch.zeros(1, 8), torch.zeros(1, 8))
    found = InstanceData(**head.detect(torch.zeros(1, 5), preds, (64, 64), ConfigDict(max_per_img=9)))
    torch.testing.assert_close(found.scores[0], preds.cls_score.softmax(1)[0, 0])
    assert len(found) == 3


def test_masks_of_the_last_stage():
    model = build('queryinst')
    terms = losses(model, [make_sample(3)])
    assert {'s0.loss_mask', 's1.loss_mask', 's1.pos_acc'} <= set(terms)
    pred = predict(model, [make_sample(2)])[0].pred_instances
    assert len(pred) == 20 and pred.masks.shape == (20, 64, 64) and 'query_features' not in pred


def test_parts_that_do_not_fit():
    cfg = FAMILIES['queryinst'](3)['roi_head']
    with pytest.raises(
        ConfigError, match=r'proposal_feature_channel=16 must be in_channels of every bbox_head, got \[8\]'
    ):
        MODELS.build(dict(cfg, proposal_feature_channel=16))
    with pytest.raises(ConfigError, match='SparseRoIHead with a mask_head needs a mask_roi_extractor'):
        MODELS.build(dict(cfg, mask_roi_extractor=None))
