"""What every registered part does with rotated boxes: its work, or one sentence that says that it can't."""

import copy

import pytest
import torch
from mmengine.structures import InstanceData

import mmdetlike.models  # noqa: F401  registers the models
from mmdetlike.errors import ConfigError
from mmdetlike.models.task_modules.assigners.base_assigner import BaseAssigner
from mmdetlike.models.task_modules.assigners.matching import MatchCost
from mmdetlike.models.task_modules.bbox_coder import BaseBBoxCoder
from mmdetlike.registry import MODELS, TASK_UTILS
from mmdetlike.structures.bbox import geometry
from tests.models import tiny
from tests.models.families import FAMILIES, build
from tests.models.test_rotated import rotated_sample

REFUSAL = r'takes axis-aligned boxes, 4 numbers each, but got 5 numbers \(rotated boxes\)'
# families that learn of objects by their masks, or by the boxes around rotated ones
MASK_FAMILIES = {'mask2former_instance', 'mask2former_panoptic', 'maskformer', 'panoptic_deeplab', 'solo', 'solov2'}
ROTATED_FAMILIES = MASK_FAMILIES | {'decoupled_solo', 'decoupled_solo_light', 'rpn'}


def kinds_of(base):
    classes = set(TASK_UTILS.module_dict.values())
    return sorted((cls for cls in classes if isinstance(cls, type) and issubclass(cls, base)), key=lambda c: c.__name__)


@pytest.mark.slow
@pytest.mark.parametrize('family', sorted(FAMILIES))
def test_families(family):
    model = build(family)
    samples = [rotated_sample(4)]
    if family in ROTATED_FAMILIES:
        loss, _ = model.parse_losses(tiny.losses(model, samples))
        assert loss.isfinite()
        return
    with pytest.raises(ConfigError, match=REFUSAL):
        tiny.losses(model, samples)


PRIORS = torch.tensor([[10.0, 10, 30, 20], [5, 5, 25, 45], [40, 30, 60, 60]])
TURNED = torch.tensor([[20.0, 15, 18, 9, 0.4], [15, 25, 38, 20, 1.2], [50, 45, 25, 15, -0.7]])


def test_buckets_are_of_axis_aligned_boxes():
    coder = TASK_UTILS.build(dict(type='BucketingBBoxCoder', num_buckets=14, scale_factor=1.7))
    with pytest.raises(ConfigError, match=f'BucketingBBoxCoder {REFUSAL}'):
        coder.encode(PRIORS, TURNED)


@pytest.mark.parametrize('coder', kinds_of(BaseBBoxCoder), ids=lambda cls: cls.__name__)
def test_coders(coder):
    made = coder()
    priors = geometry.to_rotated(PRIORS) if getattr(made, 'prior_dim', 4) == 5 else PRIORS
    priors = geometry.centers(PRIORS) if made.uses_points else priors
    stride = dict(stride=8) if coder.__name__ == 'YOLOBBoxCoder' else {}
    if coder.__name__.startswith(('DeltaXYWHT', 'DeltaXYWHH')):
        deltas = made.encode(priors, TURNED)
        assert deltas.shape == (3, made.encode_size)
        assert made.decode(priors, deltas).shape == (3, made.box_dim)
        return
    with pytest.raises(ConfigError, match=rf'{coder.__name__} {REFUSAL}'):
        made.encode(priors, TURNED, **stride)


ASSIGNERS = dict(
    ApproxMaxIoUAssigner=dict(pos_iou_thr=0.5, neg_iou_thr=0.4),
    ATSSAssigner=dict(topk=3),
    CenterRegionAssigner=dict(pos_scale=0.2, neg_scale=0.5),
    DynamicSoftLabelAssigner={},
    FoveaAssigner=dict(scale_ranges=((0, 1000),)),
    GridAssigner=dict(pos_iou_thr=0.5, neg_iou_thr=0.5),
    MaxIoUAssigner=dict(pos_iou_thr=0.5, neg_iou_thr=0.4),
    MultiInstanceAssigner=dict(pos_iou_thr=0.5, neg_iou_thr=0.4),
    PointAssigner={},
    PointRangeAssigner=dict(regress_ranges=((-1, 1000),), center_sample_radius=1.5),
    RegionAssigner={},
    SimOTAAssigner={},
    TaskAlignedAssigner=dict(topk=2),
    UniformAssigner=dict(pos_ignore_thr=0.15, neg_ignore_thr=0.7, match_times=1),
)
# what they choose by is no overlap
HORIZONTAL_ASSIGNERS = {
    'CenterRegionAssigner',
    'FoveaAssigner',
    'PointAssigner',
    'PointRangeAssigner',
    'RegionAssigner',
}


def rows(boxes):
    """Three priors that predict ``boxes``, with objects of the same boxes."""
    preds = InstanceData(
        priors=boxes,
        approxs=boxes.unsqueeze(1),
        points=geometry.centers(boxes),
        strides=torch.full((3, 2), 8.0),
        level_ids=torch.zeros(3, dtype=torch.long),
        bboxes=boxes,
        scores=torch.full((3, 2), 0.5),
        responsible_flags=torch.ones(3, dtype=torch.uint8),
    )
    return preds, InstanceData(bboxes=boxes, labels=torch.tensor([0, 1, 0]))


def test_every_assigner_is_tried():
    named = {cls.__name__ for cls in kinds_of(BaseAssigner)}
    # this one compares by the costs below
    assert named - {'HungarianAssigner'} == set(ASSIGNERS)


@pytest.mark.parametrize('name', sorted(ASSIGNERS))
def test_assigners(name):
    settings = ASSIGNERS[name]
    plain = TASK_UTILS.build(dict(type=name, **settings))
    with pytest.raises(ConfigError, match=rf'(BboxOverlaps2D|{name}) {REFUSAL}'):
        plain.assign(*rows(TURNED))
    if name in HORIZONTAL_ASSIGNERS:
        return
    rotated = TASK_UTILS.build(dict(type=name, iou_calculator=dict(type='RBboxOverlaps2D'), **settings))
    assert rotated.assign(*rows(TURNED)).gt_inds.tolist() == [1, 2, 3]


@pytest.mark.parametrize('cost', ['BBoxL1Cost', 'IoUCost'])
def test_costs_of_boxes(cost):
    built = TASK_UTILS.build(dict(type=cost))
    assert isinstance(built, MatchCost)
    with pytest.raises(ConfigError, match=f'{cost} {REFUSAL}'):
        built(*rows(TURNED), img_meta=dict(img_shape=(64, 64)))


SAMPLERS = ['CombinedSampler', 'InstanceBalancedPosSampler', 'IoUBalancedNegSampler', 'PseudoSampler', 'RandomSampler']


@pytest.mark.parametrize('name', SAMPLERS)
@pytest.mark.parametrize('priors', [PRIORS, TURNED], ids=['proposals', 'anchors'])
def test_samplers_keep_boxes_whole(name, priors):
    parts = {}
    if name == 'CombinedSampler':
        parts = {key: dict(type='RandomSampler') for key in ('pos_sampler', 'neg_sampler')}
    amount = {} if name == 'PseudoSampler' else dict(num=8, pos_fraction=0.5)
    sampler = TASK_UTILS.build(dict(type=name, **amount, **parts))
    overlaps = TASK_UTILS.build(dict(type='RBbox2HBboxOverlaps2D'))
    assigner = TASK_UTILS.build(dict(type='MaxIoUAssigner', pos_iou_thr=0.1, neg_iou_thr=0.1))
    assigner.iou_calculator = overlaps
    preds = InstanceData(priors=priors)
    gts = InstanceData(bboxes=TURNED, labels=torch.tensor([0, 1, 0]))
    sampled = sampler.sample(assigner.assign(preds, gts), preds, gts)
    assert sampled.priors.shape[-1] == priors.shape[-1]
    assert torch.equal(sampled.pos_gt_bboxes, TURNED[sampled.pos_assigned_gt_inds])
    if sampled.is_gt.any():
        added = sampled.priors[sampled.is_gt]
        assert torch.allclose(added, TURNED if priors is TURNED else geometry.to_horizontal(TURNED))


IOU_LOSSES = ('BoundedIoULoss', 'CIoULoss', 'DIoULoss', 'EIoULoss', 'GIoULoss', 'IoULoss', 'SIoULoss')


def test_losses_of_overlap_refuse_rotated_boxes():
    assert {name for name in MODELS.module_dict if name.endswith('IoULoss')} == set(IOU_LOSSES)
    for name in IOU_LOSSES:
        with pytest.raises(ValueError, match=r'IoU losses compare boxes \(n, 4\) pair by pair, but got \(3, 5\)'):
            MODELS.build(dict(type=name))(TURNED, TURNED)


def test_suppression_of_axis_aligned_boxes_refuses_rotated_ones():
    from tests.models.test_rotated import rotated_retinanet

    cfg = copy.deepcopy(rotated_retinanet())
    cfg['test_cfg']['nms'] = dict(type='nms', iou_threshold=0.5)
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    with pytest.raises(ConfigError, match=r"nms='nms' takes axis-aligned boxes, .* got 5 numbers \(rotated boxes\)"):
        tiny.predict(model, [rotated_sample()])
