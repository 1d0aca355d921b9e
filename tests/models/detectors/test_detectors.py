"""How detectors are called, what they return in pixels of which image, and checkpoints of their relatives."""

import copy
import pickle

import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.errors import ConfigError
from mmdetlike.models.detectors import RPN, BaseDetector, FasterRCNN, FastRCNN, RetinaNet
from mmdetlike.registry import MODELS
from tests.models.tiny import KINDS, batch, config, detector, losses, make_sample, predict

CLASSES = dict(rpn=RPN, retinanet=RetinaNet, faster_rcnn=FasterRCNN, fast_rcnn=FastRCNN)


@pytest.mark.parametrize('kind', KINDS)
def test_modes(kind):
    model = detector(kind).eval()
    assert type(model) is CLASSES[kind] and isinstance(model, BaseDetector) and model.with_neck
    data = batch(model, [make_sample(2, index=0), make_sample(1, index=1)])
    terms = model(**data, mode='loss')
    assert all(name.startswith(('loss_', 'acc')) for name in terms)
    results = model(**data, mode='predict')
    assert len(results) == 2 and all(a is b for a, b in zip(results, data['data_samples']))
    assert all(isinstance(sample.pred_instances, InstanceData) for sample in results)
    raw = model(**data, mode='tensor')
    default = model(**data)
    assert isinstance(raw, tuple) and len(raw) == len(default) == (1 if kind == 'fast_rcnn' else 2)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('mode', ['train', 'LOSS', '', None])
def test_wrong_mode(kind, mode):
    model = detector(kind)
    with pytest.raises(ValueError, match=r"mode must be one of \('loss', 'predict', 'tensor'\), got"):
        model(**batch(model, [make_sample(1)]), mode=mode)


@pytest.mark.parametrize('mode', ['loss', 'predict'])
def test_samples_are_needed(mode):
    with pytest.raises(ValueError, match=f"mode='{mode}' needs data_samples, one for each of the 2 images; got None"):
        detector('retinanet')(torch.zeros(2, 3, 32, 32), mode=mode)


def test_raw_outputs_without_samples():
    x = torch.rand(2, 3, 64, 64)
    for kind in ('rpn', 'retinanet'):
        cls_scores, bbox_preds = detector(kind).eval()(x)
        assert [tuple(m.shape[2:]) for m in cls_scores] == [(8, 8), (4, 4), (2, 2)]
        assert [m.shape[1] for m in bbox_preds] == [12, 12, 12]
    (cls_scores, bbox_preds), (logits, deltas) = detector('faster_rcnn').eval()(x)
    assert cls_scores[0].shape == (2, 3, 8, 8)
    assert len(logits) == len(deltas) and logits.shape[1] == 4 and deltas.shape[1] == 12


def test_faster_rcnn_loss_is_that_of_its_stages():
    model = detector('faster_rcnn').train()
    data = batch(model, [make_sample(3)], training=True)
    torch.manual_seed(0)
    terms = model(**data, mode='loss')
    torch.manual_seed(0)
    x = model.extract_feat(data['inputs'])
    rpn_terms = model.rpn_head.loss(x, data['data_samples'])
    for name, value in rpn_terms.items():
        torch.testing.assert_close(terms[name], value)
    proposals = model.rpn_head.predict(x, data['data_samples'])  # the same settings in training and testing
    proposals = [InstanceData(bboxes=p.bboxes.detach()) for p in proposals]
    for name, value in model.roi_head.loss(x, proposals, data['data_samples']).items():
        torch.testing.assert_close(terms[name], value)


def test_training_and_testing_have_their_own_proposals(monkeypatch):
    model = detector('faster_rcnn')
    model.train_cfg.rpn_proposal.max_per_img, model.rpn_head.test_cfg.max_per_img = 3, 5
    counts = []
    for name in ('loss', 'predict'):
        original = getattr(model.roi_head, name)
        monkeypatch.setattr(
            model.roi_head, name, lambda x, p, s, f=original, **kw: counts.append(len(p[0])) or f(x, p, s, **kw)
        )
    losses(model, [make_sample(1)])
    predict(model, [make_sample(1)])
    assert counts == [3, 5]


def test_fast_rcnn_uses_the_given_proposals():
    model = detector('fast_rcnn')
    one, other = make_sample(1), make_sample(1)
    other.proposals = InstanceData(bboxes=one.proposals.bboxes[:3])
    assert len(predict(model, [one])[0].pred_instances) != len(predict(model, [other])[0].pred_instances)
    assert not model.with_rpn


@pytest.mark.parametrize('mode', ['loss', 'predict', 'tensor'])
def test_fast_rcnn_without_proposals(mode):
    model = detector('fast_rcnn')
    sample = make_sample(1)
    del sample.proposals
    with pytest.raises(ValueError, match=r'needs proposals in every sample; 0.jpg has none \(load them with Load'):
        model(**batch(model, [sample]), mode=mode)


@pytest.mark.parametrize('kind', KINDS)
def test_boxes_are_in_pixels_of_the_original_image(kind):
    # an image of 100 x 90 pixels that was shrunk to 50 x 60 (w x h)
    model, scale = detector(kind), (0.5, 2 / 3)
    settings = dict(shape=(60, 50), scale_factor=scale)
    assert make_sample(1, **settings).ori_shape == (90, 100)
    original = predict(model, [make_sample(1, **settings)])[0].pred_instances
    with torch.no_grad():
        data = batch(model.eval(), [make_sample(1, **settings)])
        network = model.predict(**{f'batch_{k}': v for k, v in data.items()}, rescale=False)[0].pred_instances
    assert len(original) == len(network) > 0
    torch.testing.assert_close(original.bboxes * torch.tensor([*scale, *scale]), network.bboxes)
    assert bool((network.bboxes <= torch.tensor([50.0, 60, 50, 60])).all())
    limit = torch.tensor([100.0, 90, 100, 90])
    assert bool((original.bboxes >= 0).all()) and bool((original.bboxes <= limit + 1e-4).all())
    assert bool((original.bboxes[:, 2:].amax(0) > limit[:2] * 0.8).all())  # and they reach beyond the shrunk one


@pytest.mark.parametrize('kind', KINDS)
def test_predicting_twice_gives_the_same(kind):
    model = detector(kind)
    first, second = (predict(model, [make_sample(1)])[0].pred_instances for _ in range(2))
    assert torch.equal(first.bboxes, second.bboxes) and torch.equal(first.scores, second.scores)


@pytest.mark.parametrize('kind', KINDS)
def test_training_leaves_objects_alone(kind):
    model, sample = detector(kind), make_sample(3)
    before = sample.gt_instances.bboxes.clone(), sample.gt_instances.labels.clone()
    losses(model, [sample])
    assert torch.equal(sample.gt_instances.bboxes, before[0]) and torch.equal(sample.gt_instances.labels, before[1])


@pytest.mark.parametrize('kind', KINDS)
def test_gradient_steps_reduce_the_loss(kind):
    torch.manual_seed(0)
    model = detector(kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    history = []
    for _ in range(12):
        loss, _ = model.parse_losses(losses(model, [make_sample(2)]))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        history.append(float(loss.detach()))
    assert sum(history[-2:]) < 0.9 * sum(history[:2]), history


def test_predicting_in_inference_mode_does_not_spoil_training():
    model = detector('faster_rcnn').eval()
    with torch.inference_mode():  # the priors that are kept are made here
        model(**batch(model, [make_sample(1)]), mode='predict')
    loss, _ = model.parse_losses(losses(model, [make_sample(1)]))
    loss.backward()


def test_rpn_checkpoint_in_a_two_stage_detector():
    proposal_network, two_stage = detector('rpn', seed=1), detector('faster_rcnn', seed=2)
    state = proposal_network.state_dict()
    keys = list(state)
    result = two_stage.load_state_dict(state, strict=False)
    assert not result.unexpected_keys
    assert result.missing_keys and all(key.startswith('roi_head.') for key in result.missing_keys)
    for name, value in proposal_network.bbox_head.state_dict().items():
        assert torch.equal(two_stage.rpn_head.state_dict()[name], value)
    assert list(state) == keys  # the caller's dict stays


def test_two_stage_checkpoint_in_an_rpn():
    proposal_network, two_stage = detector('rpn', seed=1), detector('faster_rcnn', seed=2)
    result = proposal_network.load_state_dict(two_stage.state_dict(), strict=False)
    assert not result.missing_keys and all(key.startswith('roi_head.') for key in result.unexpected_keys)
    assert torch.equal(proposal_network.bbox_head.rpn_cls.weight, two_stage.rpn_head.rpn_cls.weight)


def test_a_checkpoint_with_both_names_is_taken_as_it_is():
    model = detector('faster_rcnn', seed=1)
    other = detector('rpn', seed=2).bbox_head.state_dict()
    state = {**model.state_dict(), **{f'bbox_head.{name}': value for name, value in other.items()}}
    result = detector('faster_rcnn', seed=3).load_state_dict(state, strict=False)
    assert sorted(result.unexpected_keys) == sorted(f'bbox_head.{name}' for name in other)


@pytest.mark.parametrize('kind', KINDS)
def test_own_checkpoint_and_copies(kind):
    source, target = detector(kind, seed=1), detector(kind, seed=2)
    expected = predict(source, [make_sample(1)])[0].pred_instances
    target.load_state_dict(source.state_dict())
    for model in (target, copy.deepcopy(source), pickle.loads(pickle.dumps(source))):
        got = predict(model, [make_sample(1)])[0].pred_instances
        assert torch.equal(got.bboxes, expected.bboxes) and torch.equal(got.scores, expected.scores)
        assert list(model.state_dict()) == list(source.state_dict())
    # a copy is independent, its loading hooks included
    duplicate = copy.deepcopy(source)
    duplicate.load_state_dict(detector(kind, seed=3).state_dict())
    again = predict(source, [make_sample(1)])[0].pred_instances
    assert torch.equal(again.scores, expected.scores)


def test_config_is_not_changed_by_building():
    for kind in KINDS:
        cfg = config(kind)
        before = copy.deepcopy(cfg)
        MODELS.build(cfg)
        assert cfg == before


def test_head_settings_come_from_the_detector():
    model = detector('faster_rcnn')
    assert model.rpn_head.train_cfg.sampler.num == 64 and model.roi_head.stage_cfgs[0].sampler.num == 32
    assert model.rpn_head.test_cfg.max_per_img == 30 and model.roi_head.test_cfg.max_per_img == 20
    assert model.rpn_head.num_classes == 1
    assert detector('retinanet').bbox_head.test_cfg.nms_pre == 100
    assert detector('rpn').bbox_head.train_cfg.sampler.num == 64


def test_training_settings_may_be_missing():
    cfg = dict(config('faster_rcnn'), train_cfg=None)
    assert len(predict(MODELS.build(cfg), [make_sample(1)])) == 1


def test_detector_without_neck():
    cfg = config('retinanet')
    cfg['backbone'] = dict(cfg['backbone'], out_indices=(1, 2, 3))
    cfg['neck'] = None
    cfg['bbox_head'] = dict(cfg['bbox_head'], in_channels=64)
    model = MODELS.build(cfg)
    assert not model.with_neck
    assert [m.shape[1] for m in model.extract_feat(torch.zeros(1, 3, 64, 64))] == [16, 32, 64]


def test_foreign_names_and_default_preprocessor():
    cfg = config('retinanet')
    cfg.update(type='mmdet.RetinaNet', data_preprocessor=None)
    cfg['backbone'] = dict(cfg['backbone'], type='mmdet.ResNet')
    model = MODELS.build(cfg)
    assert type(model) is RetinaNet
    assert type(model.data_preprocessor).__name__ == 'BaseDataPreprocessor'


def test_misspelled_part():
    cfg = config('retinanet')
    cfg['bbox_head'] = dict(cfg['bbox_head'], type='RetinaHeed')
    with pytest.raises(ConfigError, match='RetinaHead'):
        MODELS.build(cfg)


def test_init_weights_follows_the_papers():
    torch.manual_seed(0)
    retina, faster = detector('retinanet'), detector('faster_rcnn')
    retina.init_weights()
    faster.init_weights()
    # classes start at a probability of 0.01
    torch.testing.assert_close(retina.bbox_head.retina_cls.bias.sigmoid(), torch.full((9,), 0.01))
    assert float(retina.bbox_head.retina_reg.weight.detach().std()) == pytest.approx(0.01, rel=0.2)
    assert float(faster.rpn_head.rpn_conv.weight.detach().std()) == pytest.approx(0.01, rel=0.2)
    assert float(faster.roi_head.bbox_head.fc_reg.weight.detach().std()) == pytest.approx(0.001, rel=0.2)
    assert float(faster.roi_head.bbox_head.fc_cls.weight.detach().std()) == pytest.approx(0.01, rel=0.3)
    assert all(p.grad is None and p.requires_grad for p in faster.parameters())
