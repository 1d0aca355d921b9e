"""CenterNet, CondInst, SOLO and SOLOv2 on the images that break detectors, whole."""

import pytest
import torch

from mmdetlike.registry import MODELS
from tests.models.tiny import losses, predict
from tests.models.tiny_masks import KINDS, MASK_KINDS, config, detector, masked_sample

SQUARE = (64, 64)
BATCHES = {
    'no object': [(0, SQUARE)],
    'one object': [(1, SQUARE)],
    '60 objects': [(60, SQUARE)],
    'with and without objects': [(0, SQUARE), (5, SQUARE)],
    'one pixel': [([[31, 31, 32, 32]], SQUARE)],
    'the last pixel': [([[63, 63, 64, 64]], SQUARE)],
    'no area': [([[64, 20, 64, 20]], SQUARE)],
    'whole image': [([[0, 0, 64, 64]], SQUARE)],
    'below a stride': [(2, (20, 24)), (1, (24, 20))],  # batch norm wants more than one value
    'one pixel wide': [([[0, 0, 1, 40]], (64, 1))],
    'three sizes': [(2, (64, 40)), (3, (33, 64)), (0, (10, 10))],
}
LOSSES = {kind: {'loss_mask', 'loss_cls'} for kind in MASK_KINDS}
LOSSES['condinst'] |= {'loss_bbox', 'loss_centerness'}
LOSSES['centernet'] = {'loss_center_heatmap', 'loss_wh', 'loss_offset'}


def make_samples(name):
    return [masked_sample(boxes, shape, index=i) for i, (boxes, shape) in enumerate(BATCHES[name])]


def check_training(model, samples, keys):
    terms = losses(model, samples)
    assert set(terms) == keys
    total, log = model.parse_losses(terms)
    assert bool(torch.isfinite(total)), log
    total.backward()
    for name, parameter in model.named_parameters():
        # a parameter without a gradient stops distributed training
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
    return {name: float(value.detach()) for name, value in terms.items()}


def check_predictions(model, kind, samples, num_classes):
    results = predict(model, samples)
    for sample in results:
        pred = sample.pred_instances
        assert pred.bboxes.shape == (len(pred), 4) and pred.labels.dtype == torch.long
        assert bool(((pred.scores > 0) & (pred.scores <= 1)).all()) and len(pred) <= 30
        assert bool((pred.scores[:-1] >= pred.scores[1:]).all())
        assert bool(((pred.labels >= 0) & (pred.labels < num_classes)).all())
        expected = {'bboxes', 'scores', 'labels'} | ({'masks'} if kind in MASK_KINDS else set())
        assert set(pred.keys()) == expected
        if kind in MASK_KINDS:
            assert pred.masks.shape == (len(pred), *sample.ori_shape) and pred.masks.dtype == torch.bool
    return results


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', BATCHES)
def test_training_and_testing(kind, name):
    model = detector(kind)
    check_training(model, make_samples(name), LOSSES[kind])
    check_predictions(model, kind, make_samples(name), num_classes=3)


@pytest.mark.parametrize('kind', KINDS)
def test_one_class(kind):
    model = detector(kind, num_classes=1)
    samples = [masked_sample(3, num_classes=1)]
    check_training(model, samples, LOSSES[kind])
    results = check_predictions(model, kind, samples, num_classes=1)
    assert len(results[0].pred_instances) > 0


@pytest.mark.parametrize('kind', KINDS)
def test_without_objects_only_classes_are_learned(kind):
    terms = check_training(detector(kind), [masked_sample(0)], LOSSES[kind])
    assert {name for name, value in terms.items() if value} <= {'loss_cls', 'loss_center_heatmap'}


@pytest.mark.parametrize('kind', KINDS)
def test_images_of_a_batch_do_not_see_each_other(kind):
    model = detector(kind)
    together = predict(model, [masked_sample(1, index=i) for i in range(3)])
    alone = predict(model, [masked_sample(1, index=0)])[0].pred_instances
    first = together[0].pred_instances
    torch.testing.assert_close(first.scores, alone.scores, atol=1e-5, rtol=1e-4)
    if kind in MASK_KINDS:
        assert float((first.masks != alone.masks).float().mean()) < 1e-3


@pytest.mark.parametrize('kind', MASK_KINDS)
def test_masks_have_the_size_of_the_original_image(kind):
    model = detector(kind)
    sample = masked_sample(1, (40, 60), scale_factor=(2.0, 2.0))
    pred = predict(model, [sample])[0].pred_instances
    assert pred.masks.shape[1:] == (20, 30) and len(pred) > 0
    inputs = model.data_preprocessor(dict(inputs=[torch.zeros(3, 40, 60)], data_samples=[masked_sample(1, (40, 60))]))
    with torch.no_grad():
        unscaled = model.predict(inputs['inputs'], inputs['data_samples'], rescale=False)[0].pred_instances
    assert unscaled.masks.shape[1:] == (40, 60)


@pytest.mark.parametrize('kind', KINDS)
def test_nothing_above_the_threshold(kind):
    model = detector(kind)
    if kind == 'centernet':
        return  # it has no threshold: the best centres are put out
    for head in (model.mask_head, model.bbox_head):
        if head is not None:
            head.test_cfg.score_thr = 1.1
    pred = predict(model, [masked_sample(1)])[0].pred_instances
    assert pred.masks.shape == (0, 64, 64) and pred.bboxes.shape == (0, 4) and pred.scores.shape == (0,)


@pytest.mark.parametrize('kind', MASK_KINDS)
def test_samples_without_masks_are_refused(kind):
    sample = masked_sample(2)
    del sample.gt_instances.masks
    with pytest.raises(ValueError, match=r'needs gt_instances.masks; 0.jpg has none .*with_mask=True'):
        losses(detector(kind), [sample])


@pytest.mark.parametrize('kind', KINDS)
def test_half_precision(kind):
    model, samples = detector(kind), [masked_sample(3)]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        terms = losses(model, samples)
    for name, value in terms.items():
        assert value.dtype == torch.float32 and bool(torch.isfinite(value)), name
    with torch.autocast('cpu', dtype=torch.bfloat16):
        check_predictions(model, kind, samples, num_classes=3)


@pytest.mark.parametrize('kind', KINDS)
def test_raw_outputs(kind):
    model = detector(kind).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 64, 64), mode='tensor') is not None


def test_a_segmentor_needs_a_mask_head():
    settings = dict(config('solo'), mask_head=None)
    with pytest.raises(ValueError, match='SOLO needs mask_head'):
        MODELS.build(settings)
