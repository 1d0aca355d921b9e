"""What holds for every detector family: odd images in training and testing, states that move, sane initial weights."""

import copy
import math
import pickle

import pytest
import torch

from mmdetlike.registry import MODELS
from tests.models.families import ABSTRACT, FAMILIES, NUM_STUFF, PAIRS, PANOPTIC, WITHOUT_OBJECTS, build
from tests.models.tiny import losses, make_sample, predict

SQUARE = (64, 64)
# (boxes or their number, (height, width)) of each image of a batch
BATCHES = {
    'no object': [(0, SQUARE)],
    'one object': [(1, SQUARE)],
    '300 objects': [(300, SQUARE)],
    'with and without objects': [(0, SQUARE), (5, SQUARE), (300, SQUARE)],
    'one pixel': [([[31, 31, 32, 32]], SQUARE)],
    'between pixel centres, so without mask': [([[31.6, 31.6, 32.4, 32.4], [9, 9, 9, 30]], SQUARE)],
    'below a stride': [(2, (20, 24)), (0, (7, 8))],
    'one pixel wide': [([[0, 0, 2, 40]], (64, 2)), ([[0, 0, 40, 1]], (1, 64))],
}
# boxes reach over the border, as in the recordings of these families
UNCLIPPED = {
    'yolov3',
    'yolox',
    'tood',
    'tood_after_warmup',
    'centernet',
    'cornernet',
    'centripetalnet',
    'sparse_rcnn',
    'queryinst',
    'grid_rcnn',
}
# scores are multiplied by a predicted overlap, which may be any number
UNBOUNDED_SCORES = {'ms_rcnn'}
# objects of all sizes, so that every level and layer is trained
ORDINARY = [
    [[4, 4, 16, 14], [20, 8, 44, 30], [2, 30, 60, 62], [0, 0, 64, 64], [40, 40, 50, 50]],
    [[30, 4, 38, 14], [0, 30, 34, 64], [44, 44, 60, 62]],
]
# family -> parameters that take part and yet have no gradient
EMPTY_CONTENT = {f'decoder.layers.0.self_attn.{name}.weight' for name in ('qcontent_proj', 'kcontent_proj', 'v_proj')}
NO_GRADIENT = {
    # queries have no content before the first layer
    'conditional_detr': EMPTY_CONTENT,
    'dab_detr': EMPTY_CONTENT,
    # no proposal of the samples is large enough for the last level
    'fast_rcnn': {'neck.fpn_convs.2.conv.weight', 'neck.fpn_convs.2.conv.bias'},
    # distances are clamped at 0, with these weights all of a level
    'condinst': {'bbox_head.scales.2.scale'},
    # images of 64 pixels have no cell of these strides inside an object
    'co_dino': (COARSE := {f'auxiliary_heads.1.head.scales.{level}.scale' for level in (2, 3)}),
    'co_deformable_detr': COARSE,
    # they have no object as large as the anchors of these levels, whose norm layers are their own
    'efficientdet': {f'bbox_head.reg_bn_list.0.{level}.{name}' for level in (3, 4) for name in ('weight', 'bias')},
}


def make_samples(name, num_classes=3):
    """Samples of a batch, images twice as wide as the original."""
    options = dict(num_classes=num_classes, scale_factor=(2.0, 1.0))
    return [make_sample(boxes, shape, index=i, **options) for i, (boxes, shape) in enumerate(BATCHES[name])]


def check_training(model, samples):
    terms = losses(model, samples)
    loss, log = model.parse_losses(terms)
    assert bool(torch.isfinite(loss)), log
    loss.backward()
    for name, parameter in model.named_parameters():
        # a parameter without a gradient stops distributed training
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
    return terms


def check_instances(pred, size, num_classes, clipped, bounded_scores):
    height, width = size
    assert pred.bboxes.shape == (len(pred), 4) and pred.scores.shape == pred.labels.shape == (len(pred),)
    assert pred.bboxes.dtype == pred.scores.dtype == torch.float32 and pred.labels.dtype == torch.long
    assert bool(torch.isfinite(pred.scores).all())
    if bounded_scores:
        assert bool(((pred.scores >= 0) & (pred.scores <= 1)).all())
    assert bool(((pred.labels >= 0) & (pred.labels < num_classes)).all())
    limit = torch.tensor([width, height, width, height])
    assert bool(torch.isfinite(pred.bboxes).all())
    if clipped:
        assert bool((pred.bboxes >= 0).all()) and bool((pred.bboxes <= limit + 1e-3).all())
    if 'masks' in pred:
        assert pred.masks.shape == (len(pred), height, width) and pred.masks.dtype == torch.bool


def check_segments(segments, size, num_classes):
    void = num_classes + NUM_STUFF
    assert segments.shape == (1, *size) and not segments.is_floating_point()
    classes, instances = segments % 1000, segments // 1000
    assert bool(((classes >= 0) & (classes <= void)).all())
    # things are numbered from 1, stuff is not
    assert bool(((instances > 0) == (classes < num_classes)).all())


def check_predictions(name, model, samples, num_classes=3):
    results = predict(model, samples)
    assert len(results) == len(samples)
    for sample in results:
        if name not in PANOPTIC:
            assert 'pred_instances' in sample
        if 'pred_instances' in sample:
            size = sample.ori_shape
            clipped = name not in UNCLIPPED
            check_instances(sample.pred_instances, size, num_classes, clipped, name not in UNBOUNDED_SCORES)
        if name in PANOPTIC:
            check_segments(sample.pred_panoptic_seg.sem_seg, sample.ori_shape, num_classes)
        if 'pred_sem_seg' in sample:
            assert sample.pred_sem_seg.sem_seg.shape == (1, *sample.ori_shape)
    return results


def test_every_registered_detector_has_a_family():
    registered = {name for name, cls in MODELS.module_dict.items() if cls.__module__.startswith('mmdetlike.models.det')}
    built = {type(build(name)).__name__ for name in FAMILIES}
    assert registered - built == ABSTRACT | PAIRS | WITHOUT_OBJECTS, 'enter a tiny config in tests/models/families.py'


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('name', BATCHES)
def test_odd_images(family, name):
    model = build(family)
    check_training(model, make_samples(name))
    check_predictions(family, model, make_samples(name))


@pytest.mark.parametrize('family', FAMILIES)
def test_one_class(family):
    model = build(family, num_classes=1)
    samples = [make_sample(n, num_classes=1, index=n) for n in (3, 0)]
    check_training(model, samples)
    check_predictions(family, model, samples, num_classes=1)


@pytest.mark.parametrize('family', FAMILIES)
def test_every_parameter_learns(family):
    samples = [make_sample(boxes, index=i) for i, boxes in enumerate(ORDINARY)]
    idle = set(dict(build(family).named_parameters()))
    for seed in range(4):  # where predictions decide who is positive, a level may have none with some weights
        model = build(family, seed=seed)
        check_training(model, samples)
        idle -= {name for name, parameter in model.named_parameters() if parameter.grad.any()}
        if idle <= NO_GRADIENT.get(family, set()):
            break
    assert idle <= NO_GRADIENT.get(family, set())


@pytest.mark.parametrize('family', FAMILIES)
def test_only_ignored_objects(family):
    model = build(family)
    samples = [
        make_sample(0, ignored=[[0, 0, 64, 64]]),
        make_sample(0, ignored=[[4, 4, 20, 30], [8, 8, 9, 9]], index=1),
    ]
    check_training(model, samples)


def with_thresholds(cfg, value):
    """Test settings with every threshold of scores at ``value``."""
    if not isinstance(cfg, dict):
        return cfg
    names = ('score_thr', 'object_mask_thr')
    return {key: value if key in names else with_thresholds(inner, value) for key, inner in cfg.items()}


def has_threshold(family):
    """Whether this family's predictions are those above a score: proposals and queries are the best so many."""
    cfg = FAMILIES[family]()['test_cfg']
    return family != 'rpn' and cfg != with_thresholds(cfg, 2)


@pytest.mark.parametrize('family', [family for family in FAMILIES if has_threshold(family)])
def test_nothing_above_the_threshold(family):
    cfg = FAMILIES[family]()
    model = MODELS.build(dict(cfg, test_cfg=with_thresholds(cfg['test_cfg'], 1.1)))
    result = check_predictions(family, model, [make_sample(1)])[0]
    if 'pred_instances' in result and family != 'mask2former_panoptic':  # whose instances know no threshold
        assert len(result.pred_instances) == 0
    if family == 'panoptic_fpn':
        assert not bool((result.pred_panoptic_seg.sem_seg < 3).any())
    elif family in PANOPTIC:
        assert set(result.pred_panoptic_seg.sem_seg.flatten().tolist()) == {3 + NUM_STUFF}


@pytest.mark.parametrize('family', FAMILIES)
def test_copies_and_pickles_have_the_same_state(family):
    model = build(family)
    losses(model, [make_sample(2, index=0), make_sample(1, index=1)])  # what a call leaves behind moves too
    state = model.state_dict()
    for moved in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other = moved.state_dict()
        assert list(other) == list(state)
        assert all(torch.equal(other[key], value) for key, value in state.items())
    fresh = MODELS.build(FAMILIES[family]())
    fresh.load_state_dict(state, strict=True)
    expected, got = (predict(m, [make_sample(2)])[0] for m in (model, fresh))
    for key in ('pred_instances', 'pred_panoptic_seg'):
        assert (key in expected) == (key in got)
        if key in expected:
            for field, value in got.get(key).items():
                torch.testing.assert_close(value, expected.get(key).get(field), msg=f'{key}.{field}')


@pytest.mark.parametrize('family', FAMILIES)
def test_initial_weights(family):
    model = build(family)
    torch.manual_seed(0)
    model.init_weights()
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())
    check_training(model, [make_sample(2, index=0), make_sample(1, index=1)])


# families with sigmoid scores that begin as rare events -> the class logits in what a forward pass returns
LAYERS = dict.fromkeys(
    ('deformable_detr', 'deformable_detr_two_stage', 'dino', 'conditional_detr', 'dab_detr', 'ddq_detr'),
    lambda outs: [layer[0] for layer in outs],
)
GRIDS = dict.fromkeys(('solo', 'decoupled_solo', 'decoupled_solo_light', 'solov2'), lambda outs: outs.cls)
LEVELS = dict.fromkeys(
    ('retinanet', 'fcos', 'fcos_center', 'atss', 'gfl', 'vfnet', 'yolox', 'condinst', 'rtmdet', 'rtmdet_ins'),
    lambda outs: outs[0],
)
PRIOR = dict(LAYERS, **GRIDS, **LEVELS, tood=lambda outs: [scores.logit() for scores in outs[0]])


@pytest.mark.parametrize('family', PRIOR)
def test_objects_are_rare_at_first(family):
    model = build(family)
    torch.manual_seed(0)
    model.init_weights()
    with torch.no_grad():
        logits = torch.cat([level.flatten() for level in PRIOR[family](model(torch.rand(1, 3, 64, 64)))])
    # the loss of background at p = 0.01
    loss = torch.nn.functional.softplus(logits).mean()
    assert float(loss) == pytest.approx(-math.log(0.99), rel=0.5)
