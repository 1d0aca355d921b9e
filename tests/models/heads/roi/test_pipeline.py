"""The pipeline of region heads: masks, cascades, semantic context, points."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData, PixelData

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.roi import StandardRoIHead
from mmdetlike.models.heads.roi.branches import RoIBranch, mask_targets
from mmdetlike.models.heads.roi.mask_heads import masks_of_class
from mmdetlike.models.heads.roi.point_rend_roi_head import point_targets
from mmdetlike.models.heads.roi.stage import Stage, StageOutputs, positives_among
from mmdetlike.models.utils import semantic_maps, to_image_size
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample
from mmdetlike.structures.bbox import bbox2roi
from mmdetlike.structures.mask import BitmapMasks
from mmdetlike_ops import paste_masks
from tests.models.tiny import DETECT, RCNN_TRAIN, make_sample, random_boxes, roi_head, sampling

ALL = dict(type='RandomSampler', num=1000, pos_fraction=0.99)
TRAIN = dict(RCNN_TRAIN, sampler=ALL, mask_size=4)
TEST = dict(DETECT, mask_thr_binary=0.5)


def extractor(size=2, kind='SingleRoIExtractor', **cfg):
    layer = dict(type='RoIAlign', output_size=size, sampling_ratio=0)
    return dict(dict(type=kind, roi_layer=layer, out_channels=8, featmap_strides=[8, 16, 32]), **cfg)


MASK = dict(type='FCNMaskHead', num_convs=1, in_channels=8, conv_out_channels=8, num_classes=3)
BOX = dict(roi_head()['bbox_head'], reg_class_agnostic=True)
PARTS = dict(
    bbox_roi_extractor=roi_head()['bbox_roi_extractor'],
    bbox_head=BOX,
    mask_roi_extractor=extractor(),
    mask_head=MASK,
    test_cfg=TEST,
)


def build(seed=0, **cfg):
    torch.manual_seed(seed)
    return MODELS.build(cfg)


def standard(**cfg):
    return build(**{**PARTS, 'type': 'StandardRoIHead', 'train_cfg': TRAIN, **cfg})


def cascade(num_stages=1, kind='CascadeRoIHead', **cfg):
    settings = dict(num_stages=num_stages, stage_loss_weights=[1.0] * num_stages, train_cfg=TRAIN)
    return build(**{**PARTS, 'type': kind, **settings, **cfg})


def pyramid(batch=2):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, 8, 64 // s, 64 // s, generator=generator) for s in (8, 16, 32)]


def half_masks(boxes, height=64, width=64):
    """Masks of the left halves of boxes."""
    masks = np.zeros((len(boxes), height, width), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.round().int().tolist()):
        mask[y1:y2, x1 : (x1 + x2) // 2] = 1
    return BitmapMasks(masks, height, width)


def samples_with_masks(counts=(2, 3), **kwargs):
    samples = [make_sample(count, index=i, **kwargs) for i, count in enumerate(counts)]
    for sample in samples:
        sample.gt_instances.masks = half_masks(sample.gt_instances.bboxes)
        semantic = torch.arange(64).expand(1, 64, 64) // 16
        sample.gt_sem_seg = PixelData(sem_seg=semantic)
    return samples


def proposals(counts=(9, 4)):
    return [InstanceData(bboxes=random_boxes(count, seed=7 + i)) for i, count in enumerate(counts)]


# -- targets ---------------------------------------------------------------------------------------------------------


def test_mask_targets_by_hand():
    sample = make_sample([[0.0, 0, 8, 8], [4, 4, 12, 12]], shape=(16, 16))
    masks = np.zeros((2, 16, 16), np.uint8)
    masks[0, :, :4] = 1
    masks[1, 8:, :] = 1
    sample.gt_instances.masks = BitmapMasks(masks, 16, 16)
    boxes = torch.tensor([[4.0, 0, 12, 16], [0, 0, 8, 8], [2, 0, 6, 16], [0, 0, 1, 1]])
    result = sampling(boxes, [2, 1, 1, 0], sample.gt_instances.bboxes)
    rows = mask_targets([result], [sample], (4, 2))
    assert rows.tolist() == [[[0, 0], [0, 0], [1, 1], [1, 1]], [[1, 0]] * 4, [[1, 0]] * 4]
    assert mask_targets([result], [sample], 2).tolist()[0] == [[0, 0], [1, 1]]
    nothing = sampling(boxes, [0, 0, 0, 0], sample.gt_instances.bboxes)
    assert mask_targets([nothing, nothing], [sample, sample], 3).shape == (0, 3, 3)


@pytest.mark.parametrize('head', [standard, cascade])
def test_objects_without_masks(head):
    samples = [make_sample(2), make_sample(2)]
    for sample in samples:
        del sample.gt_instances.masks
    with pytest.raises(ValueError, match=r'a mask head needs gt_instances.masks; 0.jpg has none'):
        head().loss(pyramid(), proposals(), samples)


def test_point_targets_by_hand():
    sample = make_sample([[0.0, 0, 8, 8], [4, 4, 12, 12]], shape=(16, 16))
    masks = np.zeros((2, 16, 16), np.uint8)
    masks[0, :, :4] = 1
    masks[1, 8:, :] = 1
    sample.gt_instances.masks = BitmapMasks(masks, 16, 16)
    boxes = torch.tensor([[4.0, 0, 12, 16], [0, 0, 8, 8], [0, 0, 1, 1], [2, 0, 6, 16]])
    result = sampling(boxes, [2, 1, 0, 1], sample.gt_instances.bboxes)
    empty = sampling(boxes[:1], [0], sample.gt_instances.bboxes)
    rois = bbox2roi([empty.pos_priors, result.pos_priors])
    points = torch.tensor([[0.5, 0.25], [0.5, 0.75], [0.5, 0.5]]).repeat(3, 1, 1)
    points[1] = torch.tensor([[0.25, 0.5], [0.75, 0.5], [0.5, 0.5]])
    targets = point_targets([empty, result], [sample, sample], rois, points)
    assert targets.tolist() == [[0, 1, 0.5], [1, 0, 0.5], [0.5, 0.5, 0.5]]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_point_targets_are_those_of_each_region(seed):
    sample = make_sample(3, index=seed % 97)
    sample.gt_instances.masks = half_masks(sample.gt_instances.bboxes)
    generator = torch.Generator().manual_seed(seed)
    boxes, gt_inds = random_boxes(6, seed=seed), torch.randint(0, 4, (6,), generator=generator)
    result = sampling(boxes, gt_inds.tolist(), sample.gt_instances.bboxes)
    rois = bbox2roi([result.pos_priors])
    points = torch.rand(len(rois), 5, 2, generator=generator)
    targets = point_targets([result], [sample], rois, points)
    bitmap = torch.from_numpy(sample.gt_instances.masks.masks).float()
    for row, box, gt, own in zip(targets, result.pos_priors, result.pos_assigned_gt_inds, points):
        places = (box[:2] + own * (box[2:] - box[:2])) / 64 * 2 - 1
        torch.testing.assert_close(
            row, F.grid_sample(bitmap[gt][None, None], places[None, None], align_corners=False)[0, 0, 0]
        )


# -- stages ----------------------------------------------------------------------------------------------------------


def test_refined_regions_leave_objects_out():
    head = MODELS.build(BOX)
    stage = Stage(extract=None, head=head, cfg=ConfigDict())
    objects = torch.tensor([[0.0, 0, 10, 10]])
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40], [2, 0, 12, 10], [30, 30, 40, 50]])
    sampled = [sampling(boxes, [1, 0, 1, 0], objects, [True, False, False, False])]
    rois = bbox2roi([sampled[0].sampled_priors])  # positives first: 0, 2, then 1, 3
    deltas = torch.tensor([[0.0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])  # in tenths of the size
    outs = StageOutputs(rois, [4], (), (torch.zeros(4, 4), deltas))
    (refined,) = stage.next_proposals(outs, [make_sample(0)], sampled)
    torch.testing.assert_close(refined.bboxes, torch.tensor([[3.0, 0, 13, 10], [20, 22, 40, 42], [30, 30, 40, 50]]))


def test_regions_are_refined_by_their_object_or_likeliest_class():
    head = MODELS.build(dict(BOX, reg_class_agnostic=False))
    stage = Stage(extract=None, head=head, cfg=ConfigDict())
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    sampled = [sampling(boxes, [2, 0], torch.zeros(2, 4))]
    deltas = torch.zeros(2, 12)
    deltas[:, 0], deltas[:, 4], deltas[:, 8] = 1, 2, 3  # class i moves by i + 1 tenths of the width
    scores = torch.tensor([[9.0, 0, 0, 0], [0, 0, 1, 9]])  # background is likeliest, class 2 the next
    outs = StageOutputs(bbox2roi([boxes]), [2], (), (scores, deltas))
    (refined,) = stage.next_proposals(outs, [make_sample(0)], sampled)
    assert refined.bboxes[:, 0].tolist() == pytest.approx([2, 23])
    (refined,) = stage.next_proposals(outs, [make_sample(0)])
    assert refined.bboxes[:, 0].tolist() == pytest.approx([1, 23])


def test_positives_come_before_the_negatives_of_their_image():
    boxes = random_boxes(5)
    sampled = [sampling(boxes[:3], [0, 1, 0], boxes), sampling(boxes[3:], [1, 0], boxes)]
    assert positives_among(sampled).tolist() == [True, False, False, True, False]


def test_a_cascade_of_one_stage_is_the_standard_head():
    one, other = standard(), cascade()
    state = {}
    for key, value in one.state_dict().items():
        part, rest = key.split('.', 1)
        state[f'{part}.0.{rest}'] = value
    other.load_state_dict(state)
    samples = samples_with_masks()
    terms, of_cascade = one.loss(pyramid(), proposals(), samples), other.loss(pyramid(), proposals(), samples)
    assert {f's0.{name}' for name in terms} == set(of_cascade) and 'loss_mask' in terms
    for name, value in terms.items():
        torch.testing.assert_close(of_cascade[f's0.{name}'], value)
    for pair in zip(*(head.predict(pyramid(), proposals(), samples) for head in (one, other))):
        assert len(pair[0]) > 0
        for name in ('bboxes', 'scores', 'labels', 'masks'):
            assert torch.equal(pair[0][name], pair[1][name])


def test_stage_weights_and_means_of_stages():
    head, samples = cascade(2, stage_loss_weights=[1.0, 0.5]), samples_with_masks()
    terms = head.loss(pyramid(), proposals(), samples)
    plain = cascade(2).loss(pyramid(), proposals(), samples)
    for name, value in terms.items():
        factor = 0.5 if name.startswith('s1.loss') else 1.0
        torch.testing.assert_close(value, plain[name] * factor)
    cls0, box0, cls1, box1, *masks = head.forward(pyramid(), proposals(), samples)
    moved = [
        head.bbox_head[0].refine(rois, (cls, deltas), torch.full((len(rois),), -1), (64, 64))
        for rois, deltas, cls in zip(
            bbox2roi([p.bboxes for p in proposals()]).split([9, 4]), box0.split([9, 4]), cls0.split([9, 4])
        )
    ]
    rois = bbox2roi(moved)
    results = head.predict(pyramid(), proposals(), samples)
    logits = (cls0 + cls1) / 2
    expected = head.bbox_head[1].detect(rois[:9], (logits[:9], box1[:9]), samples[0].img_shape, head.test_cfg)
    torch.testing.assert_close(results[0].bboxes, expected['bboxes'])
    torch.testing.assert_close(results[0].scores, expected['scores'])
    assert len(masks) == 2 and masks[0].shape == (13, 3, 4, 4)
    torch.testing.assert_close(masks[1], head.mask_head[1](head.mask_roi_extractor[1](pyramid(), rois)))


def test_each_stage_draws_masks_with_its_own_extractor():
    head = cascade(2, mask_roi_extractor=[extractor(2), extractor(2, finest_scale=5)])
    boxes = InstanceData(bboxes=random_boxes(4), labels=torch.tensor([0, 1, 2, 0]))
    found = head.branches['mask'].probabilities(pyramid(1), [boxes])
    rois, masks = bbox2roi([boxes.bboxes]), []
    for extract, mask_head in zip(head.mask_roi_extractor, head.mask_head):
        masks.append(masks_of_class(mask_head(extract(pyramid(1), rois)), boxes.labels, False).sigmoid())
    torch.testing.assert_close(found, (masks[0] + masks[1]) / 2)


def test_masks_that_share_the_features_of_boxes():
    train, samples = dict(TRAIN, mask_size=6), samples_with_masks()
    head = standard(mask_roi_extractor=None, train_cfg=train)
    own = standard(mask_roi_extractor=PARTS['bbox_roi_extractor'], train_cfg=train)
    expected = own.loss(pyramid(), proposals(), samples)['loss_mask']
    assert expected > 0
    torch.testing.assert_close(head.loss(pyramid(), proposals(), samples)['loss_mask'], expected)
    for pair in zip(*(each.predict(pyramid(), proposals(), samples) for each in (head, own))):
        assert len(pair[0]) > 0 and torch.equal(pair[0].masks, pair[1].masks)


@pytest.mark.parametrize('scale', [(1.0, 1.0), (0.5, 0.25)])
@pytest.mark.parametrize('rescale', [True, False])
def test_masks_lie_in_their_boxes(scale, rescale):
    head, samples = standard(), samples_with_masks(scale_factor=scale)
    head.test_cfg.mask_thr_binary = 0.0  # the whole box
    raw = head.predict_boxes(pyramid(), proposals(), samples)
    for result, before, sample in zip(head.predict(pyramid(), proposals(), samples, rescale), raw, samples):
        factors = torch.tensor(scale * 2) if rescale else torch.ones(4)
        torch.testing.assert_close(result.bboxes, before.bboxes / factors)
        assert result.masks.shape == (len(result), *(sample.ori_shape if rescale else (64, 64)))
        assert result.masks.dtype == torch.bool
        whole = paste_masks(torch.ones(len(result), 4, 4), result.bboxes, *result.masks.shape[1:])
        assert len(result) > 0 and bool((whole <= result.masks).all())
        for mask, (x1, y1, x2, y2) in zip(whole, result.bboxes.tolist()):
            area = (x2 - x1) * (y2 - y1)
            # a mask is rounded at its corners
            assert abs(int(mask.sum()) - area) < 0.05 * area + (x2 - x1) + (y2 - y1) + 1


# -- per-stage settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'cfg, message',
    [
        (dict(stage_loss_weights=[1.0]), 'stage_loss_weights has 1 entries, num_stages=2'),
        (dict(bbox_head=[BOX] * 3), 'bbox_head has 3 entries, num_stages=2'),
        (dict(mask_head=[MASK]), 'mask_head has 1 entries, num_stages=2'),
        (dict(bbox_roi_extractor=[]), 'bbox_roi_extractor has 0 entries'),
        (dict(train_cfg=[TRAIN] * 3), 'train_cfg.rcnn has 3 entries'),
        (dict(shared_head=dict(type='ResLayer')), 'a cascade has no shared_head'),
    ],
)
def test_lists_of_the_wrong_length(cfg, message):
    with pytest.raises(ValueError, match=message):
        cascade(2, **cfg)


def test_stages_have_their_own_settings():
    stages = [dict(TRAIN, assigner=dict(TRAIN['assigner'], pos_iou_thr=thr)) for thr in (0.5, 0.6)]
    head = cascade(2, train_cfg=stages)
    assert [assigner.pos_iou_thr for assigner in head.assigners] == [0.5, 0.6]
    assert len(cascade(2, train_cfg=None).assigners) == 0


def test_stages_without_an_assigner():
    lacking = {key: value for key, value in TRAIN.items() if key != 'assigner'}
    with pytest.raises(ConfigError, match=r"train_cfg.rcnn\[0\] has no assigner; every stage needs both, got \['mask"):
        cascade(2, train_cfg=[lacking, TRAIN])
    with pytest.raises(ConfigError, match=r'train_cfg.rcnn has no sampler'):
        standard(train_cfg=dict(assigner=TRAIN['assigner']))
    head = standard(train_cfg=None)
    with pytest.raises(ConfigError, match=r'StandardRoIHead is trained, but train_cfg.rcnn has no assigner'):
        head.loss(pyramid(), proposals(), samples_with_masks())


class AreaBranch(RoIBranch):
    """A branch that predicts the areas of boxes."""

    def loss(self, stage, x, sampled, outs, samples):
        return dict(loss_area=sum(len(result.pos_inds) for result in sampled) * x[0].new_ones(()))

    def add_predictions(self, x, results, samples, rescale):
        for result in results:
            result.areas = (result.bboxes[:, 2:] - result.bboxes[:, :2]).prod(-1)

    def raw(self, x, outs):
        return [outs.rois[:, 1:]]


def test_a_branch_of_the_user():
    class AreaRoIHead(StandardRoIHead):
        def build_branches(self):
            return {**super().build_branches(), 'area': AreaBranch(self)}

    torch.manual_seed(0)
    head = AreaRoIHead(**PARTS, train_cfg=TRAIN)
    samples = samples_with_masks(scale_factor=(0.5, 0.25))
    plain = standard()
    terms, others = (each.loss(pyramid(), proposals(), samples) for each in (head, plain))
    assert set(terms) == {*others, 'loss_area'} and terms['loss_area'] >= 5  # the objects are proposals too
    for result in head.predict(pyramid(), proposals(), samples, rescale=True):
        # a branch sees boxes in pixels of the network's input
        areas = (result.bboxes[:, 2:] - result.bboxes[:, :2]).prod(-1) * 0.5 * 0.25
        torch.testing.assert_close(result.areas, areas)
        assert len(result) > 0 and result.masks.shape[0] == len(result)
    outputs = head.forward(pyramid(), proposals())
    torch.testing.assert_close(outputs[-1], torch.cat([p.bboxes for p in proposals()]))
    assert len(outputs) == len(plain.forward(pyramid(), proposals())) + 1


# -- semantic context ------------------------------------------------------------------------------------------------

SEMANTIC = dict(
    semantic_roi_extractor=extractor(4, featmap_strides=[8]),
    semantic_head=dict(
        type='FusedSemanticHead', num_ins=3, fusion_level=0, in_channels=8, conv_out_channels=8, num_convs=1,
        num_classes=4,
    ),
)  # fmt: skip


def htc(num_stages=2, **cfg):
    return cascade(num_stages, 'HybridTaskCascadeRoIHead', **{'mask_head': dict(MASK, type='HTCMaskHead'), **cfg})


def test_mask_heads_hand_their_features_on():
    head, feats = htc(3), torch.randn(2, 8, 2, 2)
    first, second, third = head.mask_head
    with torch.no_grad():
        logits = head.branches['mask'].logits(feats, [0, 2])
        hidden = first.convs[0](feats)
        torch.testing.assert_close(logits[0], first.logits(hidden))
        hidden = second.convs[0](feats + second.conv_res(hidden))
        torch.testing.assert_close(logits[1], third.logits(third.convs[0](feats + third.conv_res(hidden))))
        single = htc(3, mask_info_flow=False).branches['mask'].logits(feats, [2])[0]
        torch.testing.assert_close(single, third(feats))


def test_interleaved_masks_are_trained_on_refined_boxes():
    samples, head, other = samples_with_masks(), htc(1), htc(1, interleaved=False)
    for each in (head, other):
        torch.nn.init.constant_(each.bbox_head[0].fc_reg.bias, 2.0)
    near = [InstanceData(bboxes=sample.gt_instances.bboxes + 1) for sample in samples]
    terms, apart = (each.loss(pyramid(), near, samples) for each in (head, other))
    stage = head.stage(0, training=True)
    result = stage.train(pyramid(), near, samples)
    again = stage.sample(pyramid(), stage.next_proposals(result.outs, samples, result.sampled), samples)
    rois = bbox2roi([result.pos_priors for result in again])
    logits = head.mask_head[0](head.mask_roi_extractor[0](pyramid(), rois))
    labels = torch.cat([result.pos_gt_labels for result in again])
    expected = head.mask_head[0].loss(logits, mask_targets(again, samples, 4), labels)
    torch.testing.assert_close(terms['s0.loss_mask'], expected)
    torch.testing.assert_close(terms['s0.loss_bbox'], apart['s0.loss_bbox'])
    assert not torch.isclose(terms['s0.loss_mask'], apart['s0.loss_mask'])


def test_semantic_features_are_added():
    head, plain = htc(2, **SEMANTIC), htc(2)
    x, rois = pyramid(), bbox2roi([p.bboxes for p in proposals()])
    logits, semantic = head.semantic_head(x)
    assert logits.shape == (2, 4, 8, 8)
    pooled = F.avg_pool2d(head.semantic_roi_extractor([semantic], rois), 2)
    feats = head.features('mask_roi_extractor', 0, (*x, semantic), rois)
    torch.testing.assert_close(feats, plain.features('mask_roi_extractor', 0, x, rois) + pooled)
    boxes_only = htc(2, semantic_fusion=('bbox',), **SEMANTIC)
    torch.testing.assert_close(
        boxes_only.features('mask_roi_extractor', 0, (*x, semantic), rois),
        plain.features('mask_roi_extractor', 0, x, rois),
    )


def test_semantic_loss():
    head, samples = htc(1, **SEMANTIC), samples_with_masks()
    terms = head.loss(pyramid(), proposals(), samples)
    logits, _ = head.semantic_head(pyramid())
    target = (torch.arange(64) // 16)[::8].expand(2, 8, 8)
    torch.testing.assert_close(terms['loss_semantic_seg'], 0.2 * F.cross_entropy(logits, target))
    assert len(head.predict(pyramid(), proposals(), samples)) == 2
    del samples[1].gt_sem_seg
    with pytest.raises(ValueError, match=r'needs gt_sem_seg; 1\.jpg has none'):
        head.loss(pyramid(), proposals(), samples)
    with pytest.raises(ValueError, match='go together'):
        htc(1, semantic_head=SEMANTIC['semantic_head'])


def test_semantic_maps():
    samples = samples_with_masks()
    samples[1].gt_sem_seg.sem_seg = torch.full((1, 64, 64), 7, dtype=torch.uint8)
    maps = semantic_maps(samples)
    assert maps.shape == (2, 64, 64) and maps.dtype == torch.int64
    assert maps[0, 0, ::16].tolist() == [0, 1, 2, 3] and bool((maps[1] == 7).all())


def test_to_image_size():
    maps = torch.arange(4.0).view(1, 2, 2)
    sample = DetDataSample(metainfo=dict(batch_input_shape=(4, 4), img_shape=(4, 3), ori_shape=(8, 6)))
    whole = F.interpolate(maps[None], size=(4, 4), mode='bilinear')[0]
    torch.testing.assert_close(to_image_size(maps, sample, False), whole[:, :, :3])
    large = F.interpolate(whole[None, :, :, :3], size=(8, 6), mode='bilinear')[0]
    torch.testing.assert_close(to_image_size(maps, sample, True), large)
    assert to_image_size(maps[:0], sample, True).shape == (0, 8, 6)


# -- region features of all levels -----------------------------------------------------------------------------------


def test_generic_extractor():
    x, rois = pyramid(), bbox2roi([p.bboxes for p in proposals()])
    total = build(**extractor(kind='GenericRoIExtractor'))
    levels = [layer(feat, rois) for layer, feat in zip(total.roi_layers, x)]
    torch.testing.assert_close(total(x, rois), levels[0] + levels[1] + levels[2])
    stacked = build(**extractor(kind='GenericRoIExtractor', aggregation='concat', out_channels=24))
    torch.testing.assert_close(stacked(x, rois), torch.cat(levels, 1))
    half = (rois[:, 3:] - rois[:, 1:3]) / 2
    grown = rois + torch.cat([torch.zeros(len(rois), 1), -half, half], 1)
    torch.testing.assert_close(total(x, rois, roi_scale_factor=2.0), total(x, grown))
    plugins = dict(pre_cfg=dict(type='ConvModule', in_channels=8, out_channels=8, kernel_size=1, inplace=False))
    gated = build(**extractor(kind='GenericRoIExtractor', **plugins))
    expected = sum(gated.pre_module(level) for level in levels)
    torch.testing.assert_close(gated(x, rois), expected)
    with pytest.raises(ValueError, match="got 'max'"):
        build(**extractor(kind='GenericRoIExtractor', aggregation='max'))


# -- points ----------------------------------------------------------------------------------------------------------

COARSE = dict(
    type='CoarseMaskHead', num_fcs=1, in_channels=8, conv_out_channels=8, fc_out_channels=8, roi_feat_size=4,
    num_classes=3,
)  # fmt: skip
POINTS = dict(type='MaskPointHead', num_fcs=1, in_channels=8, fc_channels=8, num_classes=3)


def point_rend(**cfg):
    train = dict(TRAIN, mask_size=2, num_points=6, oversample_ratio=3, importance_sample_ratio=0.75)
    test = dict(TEST, subdivision_steps=2, subdivision_num_points=10, scale_factor=2)
    parts = dict(mask_roi_extractor=extractor(4, featmap_strides=[8]), mask_head=COARSE, point_head=POINTS)
    return standard(**{**parts, 'type': 'PointRendRoIHead', 'train_cfg': train, 'test_cfg': test, **cfg})


def test_point_features():
    x = pyramid()
    rois = torch.tensor([[1.0, 0, 0, 32, 64], [0, 8, 8, 40, 40]])
    points = torch.rand(2, 5, 2, generator=torch.Generator().manual_seed(0))
    feats = point_rend().branches['mask'].point_features(x, rois, points)
    for i, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        places = torch.tensor([x1, y1]) + points[i] * torch.tensor([x2 - x1, y2 - y1])
        expected = F.grid_sample(x[0][int(image)][None], (places / 64 * 2 - 1)[None, None], align_corners=False)[
            0, :, 0
        ]
        torch.testing.assert_close(feats[i], expected)


def test_point_rend_subdivides():
    head = point_rend()
    boxes = InstanceData(bboxes=random_boxes(3), labels=torch.tensor([0, 2, 1]))
    x, rois = pyramid(1), bbox2roi([boxes.bboxes])
    masks = head.branches['mask'].probabilities(x, [boxes])
    assert masks.shape == (3, 8, 8)
    coarse = head.mask_head(head.mask_roi_extractor(x, rois))
    own = torch.stack([coarse[i, label] for i, label in enumerate(boxes.labels)])[:, None]
    rough = F.interpolate(own, scale_factor=4, mode='bilinear')[:, 0]
    # of each mask of 64 pixels 10 are predicted anew in the last step, and 10 of 16 in the one before
    same = torch.isclose(masks, rough.sigmoid(), atol=1e-6).flatten(1).sum(1)
    assert bool((same < 54).all())
    every = point_rend(test_cfg=dict(TEST, subdivision_steps=1, subdivision_num_points=16, scale_factor=2))
    grid = (torch.arange(4) + 0.5) / 4
    points = torch.stack(torch.meshgrid(grid, grid, indexing='xy'), -1).reshape(1, 16, 2).expand(3, -1, -1)
    coarse_points = F.grid_sample(coarse, points[:, :, None] * 2 - 1, align_corners=False)[..., 0]
    logits = every.point_head(every.branches['mask'].point_features(x, rois, points), coarse_points)
    expected = torch.stack([logits[i, label] for i, label in enumerate(boxes.labels)]).view(3, 4, 4).sigmoid()
    torch.testing.assert_close(every.branches['mask'].probabilities(x, [boxes]), expected)
    assert head.branches['mask'].probabilities(x, [boxes[:0]]).shape[0] == 0


def test_point_rend_trains():
    head, samples = point_rend(), samples_with_masks()
    terms = head.loss(pyramid(), proposals(), samples)
    assert terms['loss_point'] > 0 and terms['loss_mask'] > 0
    none = head.loss(pyramid(), proposals(), samples_with_masks((0, 0)))
    assert none['loss_point'] == 0 and none['loss_mask'] == 0
    with pytest.raises(ValueError, match='needs mask_head and mask_roi_extractor'):
        point_rend(mask_head=None, mask_roi_extractor=None)
    with pytest.raises(ValueError, match='class_agnostic=False'):
        point_rend(mask_head=dict(COARSE, class_agnostic=True))


def test_coarse_head_sizes():
    with pytest.raises(ValueError, match='at least 1, got 0, 2'):
        build(**dict(COARSE, num_fcs=0))
    whole = build(**dict(COARSE, downsample_factor=1, class_agnostic=True))
    assert whole(torch.rand(2, 8, 4, 4)).shape == (2, 1, 4, 4) and whole.downsample_conv is None


@pytest.mark.parametrize('agnostic', [False, True])
def test_mask_loss_looks_at_the_own_class(agnostic):
    head = build(**dict(MASK, class_agnostic=agnostic))
    logits = torch.randn(2, 1 if agnostic else 3, 4, 4, generator=torch.Generator().manual_seed(0))
    targets, labels = (torch.rand(2, 4, 4) > 0.5).float(), torch.tensor([2, 0])
    own = logits[:, 0] if agnostic else torch.stack([logits[0, 2], logits[1, 0]])
    expected = F.binary_cross_entropy_with_logits(own, targets)
    torch.testing.assert_close(head.loss(logits, targets, labels).sum(), expected)
    assert head.loss(logits[:0], targets[:0], labels[:0]) == 0


@pytest.mark.parametrize('kind, size', [('deconv', 8), ('nearest', 8), ('bilinear', 8), (None, 4)])
def test_upsampling_of_masks(kind, size):
    head = build(**dict(MASK, upsample_cfg=dict(type=kind, scale_factor=2)))
    assert head(torch.rand(2, 8, 4, 4)).shape == (2, 3, size, size)
    with pytest.raises(ValueError, match="got 'cubic'"):
        build(**dict(MASK, upsample_cfg=dict(type='cubic')))
