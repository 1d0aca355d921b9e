"""The losses of D-FINE against plain formulations; tests/tools/test_huggingface_dfine.py holds its predictions."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.query import DFINEHead, QueryContext
from mmdetlike.models.heads.query.common import query_targets
from mmdetlike.models.layers.transformer import RefinedBoxes
from mmdetlike.models.losses import DecoupledDistillationFocalLoss
from mmdetlike.structures import DetDataSample

LOSSES = dict(
    loss_cls=dict(type='VarifocalLoss', use_sigmoid=True, alpha=0.75, gamma=2.0),
    loss_bbox=dict(type='L1Loss', loss_weight=5.0),
    loss_iou=dict(type='GIoULoss', loss_weight=2.0),
)


def make_head() -> DFINEHead:
    return DFINEHead(2, embed_dims=8, num_bins=4, top_bins=2, num_pred_layer=3, as_two_stage=True, **LOSSES)


def sample(*boxes) -> DetDataSample:
    """An image of 100 x 100 pixels."""
    made = DetDataSample(metainfo=dict(img_shape=(100, 100)))
    made.gt_instances = InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.zeros(len(boxes)).long())
    return made


SAMPLES = [sample([10.0, 20, 50, 60], [30.0, 30, 90, 80]), sample()]
CONTEXT = QueryContext(SAMPLES)


def targets(*pairs):
    """Targets of three queries of the first image, from (query, object); the second image has no objects."""
    queries, objects = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
    none = torch.zeros(0, dtype=torch.long)
    return query_targets([(queries, objects), (none, none)], SAMPLES, torch.ones(2, 3).bool(), 2)


def test_the_union_has_every_pair_and_the_commoner_of_two():
    # query 0 is given both objects, object 1 by more layers; query 2 each once
    matches = [targets((0, 0), (1, 1)), targets((0, 1), (2, 0)), targets((0, 1), (2, 1))]
    union = make_head().unite(matches, CONTEXT)
    assert union.pos_inds.tolist() == [0, 1, 2]
    assert union.pos_gt_inds.tolist() == [1, 1, 0]
    assert union.pos_gt_bboxes.tolist() == SAMPLES[0].gt_instances.bboxes[[1, 1, 0]].tolist()


def test_the_union_of_nothing():
    union = make_head().unite([targets(), targets()], CONTEXT)
    assert len(union.pos_inds) == 0 and union.pos_gt_bboxes.shape == (0, 4)


def refined_boxes(head: DFINEHead, seed: int) -> RefinedBoxes:
    torch.manual_seed(seed)
    initial = torch.rand(2, 3, 4) * 0.4 + 0.2
    logits = torch.randn(2, 3, 4, 5)
    return RefinedBoxes(initial, logits, head.offsets.move_edges(initial, head.offsets.expect(logits)))


def corners(box: list[float]) -> list[float]:
    x, y, width, height = box
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def overlap(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return width * height / (area - width * height)


def test_fine_grained_localization_loss():
    head = make_head()
    refined = refined_boxes(head, 1)
    pairs = [(0, 1), (2, 0)]
    terms = head.edge_terms(refined, (torch.zeros(2, 3, 2), refined.boxes, refined), targets(*pairs))
    values = head.offsets.values.tolist()
    expected = 0.0
    for query, number in pairs:
        goal = [side / 100 for side in SAMPLES[0].gt_instances.bboxes[number].tolist()]
        box = refined.initial[0, query].tolist()
        start = corners(box)
        weight = overlap(corners(refined.boxes[0, query].tolist()), goal)
        for edge in range(4):
            outward = (start[edge] - goal[edge]) * (1 if edge < 2 else -1)
            offset = min(max(outward / box[2 + edge % 2], values[0]), values[-1])
            left = max(n for n in range(4) if values[n] <= offset)
            logs = refined.logits[0, query, edge].log_softmax(-1)
            share = (offset - values[left]) / (values[left + 1] - values[left])
            expected -= weight * ((1 - share) * float(logs[left]) + share * float(logs[left + 1]))
    torch.testing.assert_close(float(terms['edges']), 0.15 * expected / 2, rtol=1e-4, atol=0)
    assert 'distill' not in terms  # nobody teaches the last layer


def test_decoupled_distillation_focal_loss():
    head = make_head()
    student, teacher = refined_boxes(head, 1), refined_boxes(head, 2)
    scores = torch.randn(2, 3, 2)
    terms = head.edge_terms(student, (scores, teacher.boxes, teacher), targets((1, 0)))
    sums = {True: 0.0, False: 0.0}
    for image in range(2):
        for query in range(3):
            is_matched = (image, query) == (0, 1)
            weight = float(scores[image, query].sigmoid().max())
            if is_matched:
                weight = overlap(corners(student.boxes[0, 1].tolist()), [0.1, 0.2, 0.5, 0.6])
            for edge in range(4):
                p = (teacher.logits[image, query, edge] / 5).softmax(-1)
                q = (student.logits[image, query, edge] / 5).softmax(-1)
                sums[is_matched] += weight * 25 * float((p * (p / q).log()).sum())
    matched, others = 1**0.5, 5**0.5
    expected = 1.5 * (sums[True] / 4 * matched + sums[False] / 20 * others) / (matched + others)
    torch.testing.assert_close(float(terms['distill']), expected, rtol=1e-4, atol=0)


def test_distillation_teaches_the_student_alone_and_survives_nothing_matched():
    loss = DecoupledDistillationFocalLoss()
    pred, target = torch.randn(6, 5, requires_grad=True), torch.randn(6, 5, requires_grad=True)
    value = loss(pred, target, torch.ones(6), torch.zeros(6).bool())
    value.backward()
    assert value > 0 and bool(pred.grad.any()) and target.grad is None
    assert loss(pred[:0], target[:0], torch.ones(0), torch.zeros(0).bool()) == 0


def test_another_class_loss_is_refused():
    with pytest.raises(ConfigError, match='loss_cls of DFINEHead must be a VarifocalLoss, got FocalLoss'):
        DFINEHead(2, embed_dims=8, loss_cls=dict(type='FocalLoss', use_sigmoid=True))
