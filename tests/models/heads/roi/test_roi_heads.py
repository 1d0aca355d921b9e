"""Region heads: which level pools a region, targets and losses of regions, and boxes of each class."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.roi import StandardRoIHead
from mmdetlike.models.heads.roi.bbox_heads import BBoxHead, ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from mmdetlike.models.heads.roi.roi_extractors import SingleRoIExtractor
from mmdetlike.models.task_modules import AssignResult, SamplingResult
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import bbox2roi
from tests.models.tiny import DETECT, L1, RCNN_TRAIN, make_sample, random_boxes, roi_head

ALIGN = dict(type='RoIAlign', output_size=2, sampling_ratio=2)


def extractor(strides=(4, 8, 16), **kwargs):
    return SingleRoIExtractor(ALIGN, 3, list(strides), **kwargs)


def maps(strides=(4, 8, 16), batch=2, size=128, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, channels, size // s, size // s, generator=generator) for s in strides]


# -- pooling ---------------------------------------------------------------------------------------------------------


def test_levels_by_size():
    sides = [(10, 10), (56, 55.9), (56, 56), (112, 28), (112, 111), (112, 112), (224, 56), (224, 224), (1000, 1000)]
    rois = torch.tensor([[0, 5, 5, 5 + w, 5 + h] for w, h in sides])
    assert extractor().map_roi_levels(rois, 3).tolist() == [0, 0, 0, 0, 0, 1, 1, 2, 2]
    assert extractor(finest_scale=28).map_roi_levels(rois, 3).tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2]
    degenerate = torch.tensor([[0.0, 5, 5, 5, 5], [0, 5, 5, 5, 50]])
    assert extractor().map_roi_levels(degenerate, 3).tolist() == [0, 0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 12), st.integers(0, 100))
def test_regions_keep_their_order(count, seed):
    pool, feats = extractor(finest_scale=16), maps()
    rois = torch.cat([torch.arange(count)[:, None] % 2, random_boxes(count, (128, 128), seed)], dim=1)
    pooled = pool(feats, rois)
    assert pooled.shape == (count, 3, 2, 2)
    for i, level in enumerate(pool.map_roi_levels(rois, 3).tolist()):
        torch.testing.assert_close(pooled[i : i + 1], pool.roi_layers[level](feats[level], rois[i : i + 1]))


def test_maps_beyond_the_strides_are_left_out():
    pool, feats = extractor(strides=(4, 8), finest_scale=16), maps()
    rois = torch.tensor([[1.0, 0, 0, 120, 120]])
    torch.testing.assert_close(pool(feats, rois), pool.roi_layers[1](feats[1], rois))
    assert pool.num_inputs == 2


def test_one_level():
    pool, feats = extractor(strides=(8,)), maps(strides=(8,))
    rois = torch.tensor([[0.0, 0, 0, 8, 8], [1, 0, 0, 120, 120]])
    torch.testing.assert_close(pool(feats, rois), pool.roi_layers[0](feats[0], rois))


def test_roi_scale_factor():
    pool, feats = extractor(finest_scale=16), maps()
    rois = torch.tensor([[0.0, 40, 50, 60, 70]])
    grown = torch.tensor([[0.0, 35, 45, 65, 75]])
    # the level is that of the region itself
    expected = pool.roi_layers[0](feats[0], grown)
    torch.testing.assert_close(pool(feats, rois, roi_scale_factor=1.5), expected)
    assert pool.map_roi_levels(grown * 2, 3).tolist() == [1]


def test_gradients_reach_every_level():
    pool, feats = extractor(finest_scale=16), [f.requires_grad_() for f in maps()]
    pool(feats, torch.tensor([[0.0, 0, 0, 8, 8]])).sum().backward()
    assert all(f.grad is not None for f in feats)
    assert [bool(f.grad.abs().sum() > 0) for f in feats] == [True, False, False]


def test_unknown_pooling_layer():
    with pytest.raises(ConfigError, match=r"type='RoIPoolAlign' is not in the 'model' registry. Closest names: RoI"):
        SingleRoIExtractor(dict(type='RoIPoolAlign', output_size=7), 3, [4])


# -- box heads -------------------------------------------------------------------------------------------------------


def sampling(boxes, gts, assigned, labels, negatives):
    """One image's result: ``boxes`` of which ``assigned`` (index of an object for each) are positive."""
    boxes, gts = torch.tensor(boxes).float(), torch.tensor(gts).float().reshape(-1, 4)
    gt_inds = torch.tensor([*[a + 1 for a in assigned], *[0] * negatives]).long()
    result_labels = torch.tensor([*[labels[a] for a in assigned], *[-1] * negatives]).long()
    assign = AssignResult(len(gts), gt_inds, torch.zeros(len(boxes)), result_labels)
    places = torch.arange(len(boxes))
    return SamplingResult(
        places[: len(assigned)], places[len(assigned) :], boxes, gts, assign, torch.zeros(len(boxes)).bool()
    )


def two_images():
    first = sampling([[0, 0, 10, 10], [5, 5, 15, 15], [30, 30, 40, 40]], [[0, 0, 12, 12]], [0, 0], [2], 1)
    second = sampling([[0, 0, 8, 8], [1, 1, 9, 9]], [], [], [], 2)
    return [first, second]


def bbox_head(**kwargs):
    torch.manual_seed(0)
    return BBoxHead(**{**dict(in_channels=2, roi_feat_size=2, num_classes=3, loss_bbox=L1), **kwargs})


def test_classification_targets():
    labels, weights, pos = bbox_head().classification_targets(two_images(), -1)
    assert labels.tolist() == [2, 2, 3, 3, 3]
    assert weights.tolist() == [1] * 5 and pos.tolist() == [0, 1]
    assert bbox_head().classification_targets(two_images(), 4.0)[1].tolist() == [4, 4, 1, 1, 1]


@pytest.mark.parametrize('agnostic', [False, True])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_loss_numbers(agnostic, dtype):
    head = bbox_head(reg_class_agnostic=agnostic)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=generator).to(dtype)
    deltas = torch.randn(5, 4 if agnostic else 12, generator=generator).to(dtype)
    terms = head.loss((logits, deltas), two_images(), ConfigDict(pos_weight=-1))
    labels = torch.tensor([2, 2, 3, 3, 3])
    torch.testing.assert_close(terms['loss_cls'], F.cross_entropy(logits.float(), labels))
    correct = (logits.float().argmax(1) == labels).float().mean() * 100
    torch.testing.assert_close(terms['acc'], correct)
    chosen = deltas[:2].float() if agnostic else deltas[:2, 8:].float()
    target = head.bbox_coder.encode(
        torch.tensor([[0.0, 0, 10, 10], [5, 5, 15, 15]]), torch.tensor([[0.0, 0, 12, 12]] * 2)
    )
    torch.testing.assert_close(terms['loss_bbox'], (chosen - target).abs().sum() / 5)
    assert all(value.dtype == torch.float32 for value in terms.values())


def test_weighted_positives_do_not_change_the_average():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    terms = bbox_head().loss((logits, None), two_images(), ConfigDict(pos_weight=3.0))
    entropy = F.cross_entropy(logits, torch.tensor([2, 2, 3, 3, 3]), reduction='none')
    torch.testing.assert_close(terms['loss_cls'], (entropy * torch.tensor([3.0, 3, 1, 1, 1])).sum() / 5)
    assert set(terms) == {'loss_cls', 'acc'}


def test_loss_on_decoded_boxes():
    head = bbox_head(reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss'), reg_class_agnostic=True)
    deltas = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    terms = head.loss((None, deltas), two_images(), ConfigDict())
    boxes = head.bbox_coder.decode(torch.tensor([[0.0, 0, 10, 10], [5, 5, 15, 15]]), deltas[:2])
    expected = MODELS.build(dict(type='GIoULoss'))(boxes, torch.tensor([[0.0, 0, 12, 12]] * 2), avg_factor=5)
    torch.testing.assert_close(terms['loss_bbox'], expected)
    assert set(terms) == {'loss_bbox'}


@pytest.mark.parametrize('regions', [0, 3])
def test_loss_without_positives(regions):
    head = bbox_head()
    negatives = sampling([[0, 0, 9, 9]] * regions, [], [], [], regions)
    negatives.priors = negatives.priors.reshape(-1, 4)
    logits, deltas = torch.zeros(regions, 4, requires_grad=True), torch.zeros(regions, 12, requires_grad=True)
    terms = head.loss((logits, deltas), [negatives], ConfigDict())
    assert set(terms) == {'loss_cls', 'acc', 'loss_bbox'}
    assert float(terms['loss_bbox'].detach()) == 0
    torch.testing.assert_close(terms['loss_cls'].detach(), torch.tensor(4.0).log() if regions else torch.tensor(0.0))
    (terms['loss_cls'] + terms['loss_bbox']).backward()
    assert logits.grad is not None and deltas.grad is not None


IMG_SHAPE = (50, 60)


def run_predict(head, rois, logits, deltas, **cfg):
    rois = torch.cat([torch.zeros(len(rois), 1), torch.tensor(rois)], dim=1)
    found = head.detect(rois, (torch.tensor(logits), deltas), IMG_SHAPE, ConfigDict(DETECT, **cfg))
    return InstanceData(**found)


def test_predict_numbers():
    head = bbox_head(num_classes=2)
    deltas = torch.zeros(2, 8)
    deltas[0, 4:] = torch.tensor([1.0, 0, 0, 0])  # class 1 of region 0: a tenth of its width to the right
    rois, logits = [[0.0, 0, 20, 20], [30, 30, 70, 70]], [[0.0, 2.0, 0.0], [3.0, 0.0, 1.0]]
    pred = run_predict(head, rois, logits, deltas)
    p = torch.tensor(logits).softmax(1)
    torch.testing.assert_close(pred.scores, torch.stack([p[1, 0], p[0, 1], p[0, 0]]))
    assert pred.labels.tolist() == [0, 1, 0]
    torch.testing.assert_close(pred.bboxes, torch.tensor([[30.0, 30, 60, 50], [2, 0, 22, 20], [0, 0, 20, 20]]))
    assert len(run_predict(head, rois, logits, deltas, score_thr=0.5)) == 2
    assert run_predict(head, rois, logits, deltas, max_per_img=1).labels.tolist() == [0]


def test_predict_suppresses_within_classes():
    head = bbox_head(num_classes=2, reg_class_agnostic=True)
    rois = [[0.0, 0, 20, 20], [1, 0, 21, 20]]
    pred = run_predict(head, rois, [[3.0, 0, 0], [2.0, 0, 0]], torch.zeros(2, 4), score_thr=0.2)
    assert pred.labels.tolist() == [0] and pred.bboxes.tolist() == [[0, 0, 20, 20]]
    pred = run_predict(head, rois, [[3.0, 0, 0], [0.0, 2.0, 0]], torch.zeros(2, 4), score_thr=0.2)
    assert pred.labels.tolist() == [0, 1]


def test_predict_without_regressor_keeps_the_regions():
    head = bbox_head(with_reg=False, num_classes=2)
    assert not hasattr(head, 'fc_reg')
    pred = run_predict(head, [[1.0, 2, 20, 30]], [[3.0, 0, 0]], None, score_thr=0.5)
    assert pred.bboxes.tolist() == [[1, 2, 20, 30]]


@pytest.mark.parametrize('agnostic', [False, True])
def test_refine(agnostic):
    head = bbox_head(reg_class_agnostic=agnostic)
    rois = torch.tensor([[1.0, 0, 0, 20, 20], [0, 10, 10, 30, 30]])
    deltas = torch.randn(2, 4 if agnostic else 12, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([2, 0])
    refined = head.refine(rois, (torch.zeros(2, 4), deltas), labels, (25, 28))
    chosen = deltas if agnostic else torch.stack([deltas[0, 8:], deltas[1, :4]])
    expected = head.bbox_coder.decode(rois[:, 1:], chosen, max_shape=(25, 28))
    torch.testing.assert_close(refined, expected)


def test_plain_head():
    x = torch.rand(3, 2, 2, 2)
    head = bbox_head()
    logits, deltas = head(x)
    torch.testing.assert_close(logits, head.fc_cls(x.flatten(1)))
    torch.testing.assert_close(deltas, head.fc_reg(x.flatten(1)))
    assert head.fc_cls.weight.shape == (4, 8) and head.fc_reg.weight.shape == (12, 8)
    pooled = bbox_head(with_avg_pool=True)
    torch.testing.assert_close(pooled(x)[0], pooled.fc_cls(x.mean((2, 3))))
    assert bbox_head(with_cls=False)(x)[0] is None
    with pytest.raises(ValueError, match='both False'):
        bbox_head(with_cls=False, with_reg=False)


@pytest.mark.parametrize(
    'cls, settings, expected',
    [
        (
            Shared2FCBBoxHead,
            dict(fc_out_channels=5),
            {'shared_fcs.0': (5, 8), 'shared_fcs.1': (5, 5), 'fc_cls': (4, 5), 'fc_reg': (12, 5)},
        ),
        (
            Shared4Conv1FCBBoxHead,
            dict(fc_out_channels=5, conv_out_channels=3),
            {
                'shared_convs.0.conv': (3, 2, 3, 3),
                **{f'shared_convs.{i}.conv': (3, 3, 3, 3) for i in (1, 2, 3)},
                'shared_fcs.0': (5, 12),
                'fc_cls': (4, 5),
                'fc_reg': (12, 5),
            },
        ),
        (
            ConvFCBBoxHead,
            dict(num_cls_fcs=1, num_reg_convs=1, fc_out_channels=5, conv_out_channels=3),
            {'cls_fcs.0': (5, 8), 'reg_convs.0.conv': (3, 2, 3, 3), 'fc_cls': (4, 5), 'fc_reg': (12, 12)},
        ),
        (
            ConvFCBBoxHead,
            dict(num_reg_convs=1, conv_out_channels=3, with_avg_pool=True, reg_class_agnostic=True),
            {'reg_convs.0.conv': (3, 2, 3, 3), 'fc_cls': (4, 2), 'fc_reg': (4, 3)},
        ),
        (
            ConvFCBBoxHead,
            dict(num_shared_fcs=1, num_cls_fcs=1, num_reg_fcs=1, fc_out_channels=5),
            {'shared_fcs.0': (5, 8), 'cls_fcs.0': (5, 5), 'reg_fcs.0': (5, 5), 'fc_cls': (4, 5), 'fc_reg': (12, 5)},
        ),
    ],
)
def test_hidden_layers(cls, settings, expected):
    head = cls(in_channels=2, roi_feat_size=2, num_classes=3, **settings)
    expected = {f'{key}.weight': shape for key, shape in expected.items()}
    expected |= {key.replace('weight', 'bias'): shape[:1] for key, shape in expected.items()}
    assert {key: tuple(value.shape) for key, value in head.state_dict().items()} == expected
    for regions in (3, 0):
        logits, deltas = head(torch.rand(regions, 2, 2, 2))
        assert logits.shape == (regions, 4) and deltas.shape == (regions, expected['fc_reg.weight'][0])


def test_two_fc_head_computes():
    head = Shared2FCBBoxHead(5, in_channels=2, roi_feat_size=2, num_classes=3)
    x = torch.rand(3, 2, 2, 2)
    hidden = F.relu(head.shared_fcs[1](F.relu(head.shared_fcs[0](x.flatten(1)))))
    torch.testing.assert_close(head(x)[0], head.fc_cls(hidden))
    torch.testing.assert_close(head(x)[1], head.fc_reg(hidden))


def test_norm_in_shared_convolutions():
    head = Shared4Conv1FCBBoxHead(5, in_channels=2, roi_feat_size=2, conv_out_channels=4, norm_cfg=dict(type='BN'))
    state = head.state_dict()
    assert 'shared_convs.3.bn.running_mean' in state and 'shared_convs.3.conv.bias' not in state


def test_convolution_after_linear():
    with pytest.raises(ValueError, match='num_shared_fcs=1 with num_cls_convs=0, num_reg_convs=2'):
        ConvFCBBoxHead(num_shared_fcs=1, num_reg_convs=2)


def test_other_predictors():
    head = bbox_head(cls_predictor_cfg=dict(type='Linear', bias=False))
    assert head.fc_cls.bias is None and head.fc_reg.bias is not None


def test_the_kind_of_boxes_is_that_of_the_coder():
    sentence = (
        "predict_box_type='rbox', but its bbox_coder DeltaXYWHBBoxCoder makes axis-aligned boxes, which is 'hbox'"
    )
    with pytest.raises(ConfigError, match=sentence):
        bbox_head(predict_box_type='rbox')
    with pytest.raises(ConfigError, match="'hbox', but its bbox_coder DeltaXYWHTHBBoxCoder makes rotated boxes"):
        bbox_head(bbox_coder=dict(type='DeltaXYWHTHBBoxCoder'))


def test_registered_layers_of_the_user():
    @MODELS.register_module()
    class CenterPool(torch.nn.Module):
        def __init__(self, spatial_scale):
            super().__init__()
            self.spatial_scale = spatial_scale

    @MODELS.register_module()
    class ScaledLinear(torch.nn.Linear):
        pass

    try:
        pool = SingleRoIExtractor(dict(type='CenterPool'), 3, [4, 8])
        head = bbox_head(cls_predictor_cfg=dict(type='ScaledLinear'))
    finally:
        del MODELS.module_dict['CenterPool'], MODELS.module_dict['ScaledLinear']
    assert [layer.spatial_scale for layer in pool.roi_layers] == [1 / 4, 1 / 8]
    assert type(head.fc_cls) is ScaledLinear and type(head.fc_reg) is torch.nn.Linear


# -- the whole head --------------------------------------------------------------------------------------------------


def whole_head(**train):
    torch.manual_seed(0)
    head = dict(roi_head(), train_cfg=dict(RCNN_TRAIN, **train), test_cfg=DETECT)
    head = MODELS.build(head)
    assert type(head) is StandardRoIHead
    return head


def pyramid(batch=2):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, 8, 64 // s, 64 // s, generator=generator) for s in (8, 16, 32)]


def test_loss_of_the_whole_head():
    head = whole_head(sampler=dict(type='RandomSampler', num=1000, pos_fraction=0.99))
    samples = [make_sample(2, index=i) for i in range(2)]
    proposals = [InstanceData(bboxes=random_boxes(15, seed=7 + i)) for i in range(2)]
    terms = head.loss(pyramid(), proposals, samples)
    # every proposal and object is sampled: do the same without the sampler
    results = []
    for sample, proposal in zip(samples, proposals):
        boxes = torch.cat([sample.gt_instances.bboxes, proposal.bboxes])
        assigned = head.assigners[0].assign(InstanceData(priors=boxes), sample.gt_instances)
        pos, neg = (assigned.gt_inds > 0).nonzero()[:, 0], (assigned.gt_inds == 0).nonzero()[:, 0]
        results.append(SamplingResult(pos, neg, boxes, sample.gt_instances.bboxes, assigned, pos.bool()))
    rois = bbox2roi([result.sampled_priors for result in results])
    logits, deltas = head.bbox_head(head.bbox_roi_extractor(pyramid(), rois))
    expected = head.bbox_head.loss((logits, deltas), results, ConfigDict())
    assert set(terms) == set(expected)
    for name in terms:
        torch.testing.assert_close(terms[name], expected[name])


def test_prediction_of_the_whole_head():
    head = whole_head()
    samples = [make_sample(0, index=i, scale_factor=(0.5, 0.5)) for i in range(2)]
    proposals = [InstanceData(bboxes=random_boxes(n, seed=n)) for n in (9, 4)]
    results = head.predict(pyramid(), proposals, samples, rescale=True)
    logits, deltas = head.forward(pyramid(), proposals)
    assert len(logits) == 13
    rois = bbox2roi([p.bboxes for p in proposals])
    for i, part in enumerate((slice(0, 9), slice(9, 13))):
        found = head.bbox_head.detect(rois[part], (logits[part], deltas[part]), (64, 64), head.test_cfg)
        expected = InstanceData(**found)
        torch.testing.assert_close(results[i].bboxes, expected.bboxes * 2)
        torch.testing.assert_close(results[i].scores, expected.scores)
        assert len(expected) > 0


def test_shared_head_runs_before_the_box_head():
    class Double(torch.nn.Module):
        def forward(self, x):
            return x * 2

    head = whole_head()
    plain = head.forward(pyramid(), [InstanceData(bboxes=random_boxes(3))])[0]
    head.shared_head = Double()
    doubled = head.forward(pyramid(), [InstanceData(bboxes=random_boxes(3))])[0]
    with torch.no_grad():
        head.bbox_head.shared_fcs[0].weight /= 2
    restored = head.forward(pyramid(), [InstanceData(bboxes=random_boxes(3))])[0]
    assert not torch.allclose(plain, doubled)
    torch.testing.assert_close(plain, restored)
