"""One-to-many losses of dense queries."""

import torch
import torch.nn.functional as F

from mmdetlike.models.heads.query.ddq_detr_head import DenseQueryLoss
from mmdetlike.structures.bbox import bbox_overlaps
from tests.models.tiny import make_sample

# the object, twice nearly the object, and something else; in an image of 40 x 20
SAMPLE_BOX = [[8.0, 4, 24, 16]]
BOXES = torch.tensor([[[0.4, 0.5, 0.4, 0.6], [0.45, 0.5, 0.4, 0.6], [0.4, 0.55, 0.4, 0.7], [0.9, 0.1, 0.1, 0.1]]])
LOGITS = torch.tensor([[[1.0, 0], [0, 0], [2, 0], [0, 0]]])


def test_several_queries_learn_from_an_object():
    sample = make_sample(SAMPLE_BOX, shape=(20, 40), num_classes=2)
    present = torch.ones(1, 4, dtype=torch.bool)
    terms = DenseQueryLoss(num_pos=2)(LOGITS, BOXES, present, [sample])
    cxcywh = BOXES[0] * torch.tensor([40.0, 20, 40, 20])
    corners = torch.cat([cxcywh[:, :2] - cxcywh[:, 2:] / 2, cxcywh[:, :2] + cxcywh[:, 2:] / 2], dim=1)
    overlaps = bbox_overlaps(corners, torch.tensor(SAMPLE_BOX))[:, 0]
    positives = [0, 2] if overlaps[2] > overlaps[1] else [0, 1]
    metric = LOGITS[0, positives, 0].sigmoid() * overlaps[positives] ** 6
    quality = torch.zeros(4, 2)
    quality[positives, 0] = metric / (metric.max() + 1e-7) * overlaps[positives].max()
    divisor = quality.sum()
    entropy = F.binary_cross_entropy_with_logits(LOGITS[0], quality, reduction='none')
    expected = (entropy * (quality - LOGITS[0].sigmoid()) ** 2).sum() / divisor
    torch.testing.assert_close(terms['cls'][0], expected)
    giou = bbox_overlaps(corners[positives], torch.tensor(SAMPLE_BOX).expand(2, 4), 'giou', is_aligned=True)
    torch.testing.assert_close(terms['bbox'][0], (2 * (1 - giou) * quality[positives, 0]).sum() / divisor)


def test_padding_and_images_without_objects():
    samples = [make_sample(SAMPLE_BOX, shape=(20, 40), num_classes=2), make_sample(0, shape=(20, 40), index=1)]
    logits = LOGITS.repeat(2, 1, 1).requires_grad_()
    boxes = BOXES.repeat(2, 1, 1).requires_grad_()
    present = torch.tensor([[True, False, False, False], [True, True, True, False]])
    terms = DenseQueryLoss(num_pos=4)(logits, boxes, present, samples)
    assert terms['bbox'][1] == 0
    torch.stack(terms['cls'] + terms['bbox']).sum().backward()
    # fewer queries than an object may have: the one there is
    assert logits.grad[0, 0].any() and not logits.grad[0, 1:].any() and not logits.grad[1, 3].any()
    assert boxes.grad is not None


def test_more_objects_than_queries():
    sample = make_sample(6, num_classes=2, shape=(20, 40))
    present = torch.ones(1, 4, dtype=torch.bool)
    terms = DenseQueryLoss(num_pos=4)(LOGITS, BOXES, present, [sample])
    assert all(value.isfinite() for values in terms.values() for value in values)
