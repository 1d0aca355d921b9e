"""Panoptic fusion, and the semantic head of Panoptic FPN, on maps small enough to compute by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData, PixelData

from mmdetlike.models.heads.semantic import HeuristicFusionHead, MaskFormerFusionHead, PanopticFPNHead
from mmdetlike.models.heads.semantic.panoptic_fusion import boxes_of_masks
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample
from tests.models.tiny import BACKBONE, DETECT, NECK, RPN_HEAD, make_sample, roi_head

EXAMPLES = settings(max_examples=25, deadline=None)


def image(batch=(4, 6), shape=None, ori=None):
    shape = shape or batch
    return DetDataSample(metainfo=dict(batch_input_shape=batch, img_shape=shape, ori_shape=ori or shape))


# -- things over stuff -----------------------------------------------------------------------------------------------


def heuristic(mask_overlap=0.5, stuff_area_limit=1):
    cfg = dict(mask_overlap=mask_overlap, stuff_area_limit=stuff_area_limit)
    return HeuristicFusionHead(num_things_classes=2, num_stuff_classes=3, test_cfg=cfg)


def stuff_logits(classes):
    """Logits of stuff 0, 1, 2 and things (3)."""
    return F.one_hot(torch.tensor(classes), 4).permute(2, 0, 1).float()


def things(masks, labels, scores):
    masks = torch.tensor(masks).reshape(-1, 2, 4).bool()
    return InstanceData(masks=masks, labels=torch.tensor(labels, dtype=torch.long), scores=torch.tensor(scores))


STUFF = [[0, 0, 1, 3], [0, 0, 1, 2]]


def test_stuff_alone():
    nothing = things([], [], [])
    (segments,) = heuristic().predict([nothing], [stuff_logits(STUFF)])
    # stuff comes after the two classes of things; pixels of things without an instance belong to nobody
    assert segments.sem_seg.tolist() == [[[2, 2, 3, 5], [2, 2, 3, 4]]]
    few = heuristic(stuff_area_limit=2).fuse(nothing, stuff_logits(STUFF))
    assert few.tolist() == [[2, 2, 3, 5], [2, 2, 3, 5]]
    fewer = heuristic(stuff_area_limit=3).fuse(nothing, stuff_logits(STUFF))
    assert fewer.tolist() == [[2, 2, 5, 5], [2, 2, 5, 5]]


def test_things_below_a_score_are_left_out():
    head = heuristic()
    instances = things([[[1, 1, 0, 0], [0, 0, 0, 0]], [[0, 0, 1, 1], [0, 0, 0, 0]]], [0, 1], [0.5, 0.4])
    assert head.fuse(instances, stuff_logits(STUFF)).tolist() == [[1000, 1000, 2001, 2001], [2, 2, 3, 4]]
    head.test_cfg.score_thr = 0.5
    assert head.fuse(instances, stuff_logits(STUFF)).tolist() == [[1000, 1000, 3, 5], [2, 2, 3, 4]]


def test_the_best_thing_lies_on_top():
    masks = [[[1, 1, 0, 0], [1, 0, 0, 0]], [[0, 1, 1, 1], [0, 0, 0, 1]], [[0, 0, 0, 0], [0, 0, 0, 0]]]
    instances = things(masks, [1, 0, 1], [0.5, 0.9, 0.95])
    segments = heuristic().fuse(instances, stuff_logits(STUFF))
    # the empty mask is dropped, the second instance is numbered 1 and the first 2, without what is covered
    assert segments.tolist() == [[2001, 1000, 1000, 1000], [2001, 2, 3, 1000]]


def test_masks_that_are_covered_are_dropped():
    masks = [[[1, 1, 1, 0], [0, 0, 0, 0]], [[1, 1, 0, 0], [0, 0, 0, 0]]]
    instances = things(masks, [1, 0], [0.5, 0.9])
    kept = heuristic(mask_overlap=0.7).fuse(instances, stuff_logits(STUFF))
    assert kept.tolist() == [[1000, 1000, 2001, 5], [2, 2, 3, 4]]
    dropped = heuristic(mask_overlap=0.6).fuse(instances, stuff_logits(STUFF))
    assert dropped.tolist() == [[1000, 1000, 3, 5], [2, 2, 3, 4]]


def test_the_area_of_stuff_is_what_things_leave():
    instances = things([[[1, 1, 0, 0], [1, 0, 0, 0]]], [0], [0.9])
    segments = heuristic(stuff_area_limit=2).fuse(instances, stuff_logits(STUFF))
    assert segments.tolist() == [[1000, 1000, 3, 5], [1000, 5, 3, 5]]


# -- queries ---------------------------------------------------------------------------------------------------------


def fusion(**cfg):
    return MaskFormerFusionHead(num_things_classes=2, num_stuff_classes=1, test_cfg=cfg)


def class_logits(probabilities):
    return torch.tensor(probabilities).log()


THING = [0.9, 0.02, 0.02, 0.06]
OTHER_THING = [0.02, 0.95, 0.02, 0.01]
STUFF_QUERY = [0.02, 0.02, 0.92, 0.04]
NOTHING = [0.01, 0.01, 0.01, 0.97]
UNSURE = [0.6, 0.2, 0.1, 0.1]
LEFT, RIGHT = [[4.0, 4, -4, -4]] * 2, [[-4.0, -4, 4, 4]] * 2


def panoptic(classes, masks, **cfg):
    head = fusion(panoptic_on=True, **cfg)
    sample = image((2, 4))
    (result,) = head.predict(class_logits(classes)[None], torch.tensor(masks)[None], [sample])
    assert set(result) == {'pred_panoptic_seg'}
    return result['pred_panoptic_seg'].sem_seg[0].tolist()


def test_segments_of_queries():
    assert panoptic([THING, STUFF_QUERY, NOTHING], [LEFT, RIGHT, LEFT]) == [[1000, 1000, 2, 2]] * 2
    assert panoptic([THING, OTHER_THING], [LEFT, RIGHT]) == [[1000, 1000, 2001, 2001]] * 2
    assert panoptic([STUFF_QUERY, STUFF_QUERY], [LEFT, RIGHT]) == [[2, 2, 2, 2]] * 2
    assert panoptic([NOTHING, UNSURE], [LEFT, RIGHT]) == [[3] * 4] * 2
    # what a query covers, though weakly, is its own unless low scores are filtered
    assert panoptic([THING, UNSURE], [LEFT, RIGHT]) == [[1000] * 4] * 2
    assert panoptic([THING, UNSURE], [LEFT, RIGHT], filter_low_score=True) == [[1000, 1000, 3, 3]] * 2
    assert panoptic([THING, UNSURE], [LEFT, RIGHT], object_mask_thr=0.5) == [[1000, 1000, 2000, 2000]] * 2


def test_segments_that_lose_most_of_their_mask_are_dropped():
    wide = [[3.0, 3, 3, 3]] * 2
    lost = panoptic([OTHER_THING, THING], [LEFT, wide])  # the wide one keeps 4 of its 8 pixels
    assert lost == [[1001, 1001, 3, 3]] * 2
    assert panoptic([OTHER_THING, THING], [LEFT, wide], iou_thr=0.5) == [[1001, 1001, 2000, 2000]] * 2


def test_low_scores_are_filtered_after_the_share_is_measured():
    # the second query owns six pixels and is sure of five, of which one is the first's: 6 / 5 of its mask
    first, second = [[4.0, -4, -4, -4], [-4, -4, -4, -4]], [[1.0, 2, 2, 2], [2, -1, -1, -5]]
    got = panoptic([OTHER_THING, THING], [first, second], filter_low_score=True, iou_thr=0.9)
    assert got == [[1001, 2000, 2000, 2000], [2000, 3, 3, 3]]


def slow_panoptic(classes, masks, threshold, filtered):
    """One query after the other."""
    probabilities = masks.sigmoid().double().numpy()
    scores, labels = (value.numpy() for value in classes.softmax(-1).max(-1))
    kept = [i for i in range(len(labels)) if labels[i] != 3 and scores[i] > 0.4]
    out, number = np.full(masks.shape[1:], 3), 0
    if not kept:
        return out.tolist()
    owner = np.stack([scores[i] * probabilities[i] for i in kept]).argmax(0)
    for place, i in enumerate(kept):
        own, full = owner == place, probabilities[i] >= 0.5
        if not own.any() or not full.any() or own.sum() / full.sum() < threshold:
            continue
        if labels[i] < 2:
            number += 1
        own = own & full if filtered else own
        out[own] = labels[i] + (1000 * number if labels[i] < 2 else 0)
    return out.tolist()


@EXAMPLES
@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([0.0, 0.3, 0.8]), st.booleans())
def test_segments_against_a_loop(seed, queries, threshold, filtered):
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randn(queries, 4, generator=generator) * 2
    masks = torch.randn(queries, 4, 5, generator=generator)
    head = fusion(object_mask_thr=0.4, iou_thr=threshold, filter_low_score=filtered)
    (result,) = head.predict(classes[None], masks[None], [image((4, 5))])
    segments = result['pred_panoptic_seg'].sem_seg[0]
    assert segments.dtype == torch.int32
    assert segments.tolist() == slow_panoptic(classes, masks, threshold, filtered)


def test_instances_of_queries():
    head = fusion(panoptic_on=False, instance_on=True, max_per_image=4)
    masks = torch.tensor([LEFT, [[-4.0] * 4, [-4, 2, 1, -4]], [[-1.0] * 4] * 2])
    classes = class_logits([[0.5, 0.4, 0.05, 0.05], [0.01, 0.02, 0.9, 0.07], [0.1, 0.8, 0.05, 0.05]])
    (result,) = head.predict(classes[None], masks[None], [image((2, 4))])
    assert set(result) == {'pred_instances'}
    got = result['pred_instances']
    # of the four best pairs one is stuff; the first query is there with two classes
    order = got.labels.tolist(), (got.scores * 1000).round().int().tolist()
    inside = float(torch.tensor(4.0).sigmoid())
    expected = {(0, round(500 * inside)), (1, round(400 * inside)), (1, 0)}
    assert set(zip(*order)) == expected and len(got) == 3
    for label, score, box, mask in zip(*order, got.bboxes.tolist(), got.masks):
        assert box == ([0, 0, 2, 2] if score else [0, 0, 0, 0])
        assert mask.tolist() == ([[True, True, False, False]] * 2 if score else [[False] * 4] * 2), label


def test_more_instances_than_are_handled_at_once():
    head = fusion(panoptic_on=False, instance_on=True, max_per_image=30)
    generator = torch.Generator().manual_seed(0)
    classes, masks = torch.randn(30, 4, generator=generator), torch.randn(30, 3, 4, generator=generator)
    sample = image((6, 8), (5, 8), (10, 9))
    (result,) = head.predict(classes[None], masks[None], [sample], rescale=True)
    got = result['pred_instances']
    scores, best = classes.softmax(-1)[:, :3].flatten().topk(30)
    large = F.interpolate(masks[None], size=(6, 8), mode='bilinear')[:, :, :5]
    large = F.interpolate(large, size=(10, 9), mode='bilinear')[0]
    rows = [(s, i // 3, i % 3) for s, i in zip(scores.tolist(), best.tolist()) if i % 3 < 2]
    assert len(got) == len(rows) > 8
    expected = []
    for score, query, label in rows:
        binary = large[query] > 0
        inside = large[query].sigmoid()[binary].sum() / (binary.sum() + 1e-6)
        expected.append((label, int(binary.sum()), round(score * float(inside), 5)))
    found = zip(got.labels.tolist(), got.masks.flatten(1).sum(1).tolist(), [round(s, 5) for s in got.scores.tolist()])
    assert sorted(found) == sorted(expected)
    assert got.masks.shape[1:] == (10, 9)


def test_semantic_segmentation_of_queries():
    head = fusion(panoptic_on=False, semantic_on=True)
    generator = torch.Generator().manual_seed(0)
    classes, masks = torch.randn(5, 4, generator=generator), torch.randn(5, 130, 3, generator=generator)
    (result,) = head.predict(classes[None], masks[None], [image((130, 3))])
    scores = (classes.softmax(-1)[:, :3, None, None] * masks.sigmoid()[:, None]).sum(0)
    assert torch.equal(result['pred_sem_seg'].sem_seg[0], scores.argmax(0))


@pytest.mark.parametrize('queries', [0, 3])
def test_predictions_of_nothing(queries):
    head = fusion(panoptic_on=True, instance_on=True, semantic_on=True)
    classes = class_logits([NOTHING]).expand(queries, -1)
    sample = image((2, 4), (2, 3), (4, 6))
    (result,) = head.predict(classes[None], torch.full((1, queries, 1, 2), -3.0), [sample], rescale=True)
    assert result['pred_panoptic_seg'].sem_seg.tolist() == [[[3] * 6] * 4]
    assert result['pred_instances'].masks.sum() == 0
    assert result['pred_instances'].masks.shape[1:] == (4, 6)
    assert result['pred_sem_seg'].sem_seg.shape == (1, 4, 6)


def test_queries_of_stuff_alone_give_no_instances():
    head = fusion(panoptic_on=False, instance_on=True, max_per_image=1)
    (result,) = head.predict(class_logits([STUFF_QUERY])[None], torch.ones(1, 1, 2, 4), [image((2, 4))])
    assert len(result['pred_instances']) == 0 and result['pred_instances'].masks.shape == (0, 2, 4)


@EXAMPLES
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 6), st.floats(0.02, 0.5))
def test_boxes_of_masks(seed, height, width, share):
    masks = torch.rand(5, height, width, generator=torch.Generator().manual_seed(seed)) < share
    for box, mask in zip(boxes_of_masks(masks).tolist(), masks.numpy()):
        ys, xs = np.nonzero(mask)
        assert box == ([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0] * 4)
    assert boxes_of_masks(masks[:0]).shape == (0, 4)


# -- Panoptic FPN ----------------------------------------------------------------------------------------------------


def fpn_head(**cfg):
    torch.manual_seed(0)
    settings = dict(in_channels=8, inner_channels=32, num_things_classes=2, num_stuff_classes=3, end_level=3)
    return PanopticFPNHead(**{**settings, **cfg})


def pyramid(batch=2):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, 8, 32 // s, 32 // s, generator=generator) for s in (4, 8, 16)]


def test_semantic_targets():
    classes = torch.tensor([[[0, 1, 2, 3, 4, 255, 7]]])
    assert fpn_head().targets(classes).tolist() == [[[3, 3, 0, 1, 2, 255, 7]]]


def test_semantic_logits_and_loss():
    head = fpn_head(loss_seg=dict(type='CrossEntropyLoss', ignore_index=255, loss_weight=0.5))
    x = pyramid()
    levels = [layer(level) for layer, level in zip(head.conv_upsample_layers, x)]
    logits = head(x)
    assert logits.shape == (2, 4, 8, 8)
    torch.testing.assert_close(logits, head.conv_logits(levels[0] + levels[1] + levels[2]))
    generator = torch.Generator().manual_seed(0)
    seg = torch.randint(0, 5, (2, 1, 32, 32), generator=generator)
    seg[0, :, :5] = 255
    samples = [make_sample(0), make_sample(0, index=1)]
    for sample, classes in zip(samples, seg):
        sample.gt_sem_seg = PixelData(sem_seg=classes)
    large = F.interpolate(logits, size=(32, 32), mode='bilinear')
    target = torch.where(seg < 2, 3, torch.where(seg < 5, seg - 2, seg))[:, 0]
    found = head.loss(x, samples)
    assert set(found) == {'loss_seg'}
    # ignored pixels count in the mean
    mean = F.cross_entropy(large, target, ignore_index=255, reduction='sum') / target.numel()
    torch.testing.assert_close(found['loss_seg'], 0.5 * mean)
    del samples[0].gt_sem_seg
    with pytest.raises(ValueError, match='needs gt_sem_seg'):
        head.loss(x, samples)


def test_semantic_prediction_is_cut_and_stretched():
    head, x = fpn_head(), pyramid()
    samples = [image((32, 32)), image((32, 32), (20, 30), (40, 45))]
    results = head.predict(x, samples, rescale=True)
    large = F.interpolate(head(x), size=(32, 32), mode='bilinear')
    torch.testing.assert_close(results[0], large[0])
    cut = F.interpolate(large[1:, :, :20, :30], size=(40, 45), mode='bilinear')
    torch.testing.assert_close(results[1], cut[0])
    assert head.predict(x, samples)[1].shape == (4, 20, 30)


def test_a_segmentor_needs_masks():
    parts = dict(backbone=BACKBONE, neck=NECK, rpn_head=RPN_HEAD, roi_head=roi_head())
    heads = dict(semantic_head=dict(type='PanopticFPNHead'), panoptic_fusion_head=dict(type='HeuristicFusionHead'))
    with pytest.raises(ValueError, match='PanopticFPN fuses masks, but roi_head has no mask_head'):
        MODELS.build(dict(parts, **heads, type='PanopticFPN', test_cfg=dict(rcnn=DETECT)))
