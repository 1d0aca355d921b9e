"""Detectors under torch.compile and autocast, and what precision their losses have."""

import copy

import pytest
import torch
from torch import nn

from tests.models.tiny import KINDS, batch, detector, make_sample, predict

BF16 = dict(device_type='cpu', dtype=torch.bfloat16)


class Dense(nn.Module):
    """What of a detector a compiler sees as one graph: images -> raw maps of the dense head."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        head = self.model.rpn_head if hasattr(self.model, 'rpn_head') else self.model.bbox_head
        return head(self.model.extract_feat(x))


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize('kind', ['retinanet', 'faster_rcnn'])
def test_compiled_equals_eager(kind):
    module = Dense(detector(kind)).eval()
    compiled = torch.compile(module, fullgraph=True, backend='aot_eager')
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for expected, got in zip(module(x), compiled(x)):
            for a, b in zip(expected, got):
                torch.testing.assert_close(b, a)


def test_compiled_gradients_equal_eager():
    module = Dense(detector('retinanet')).train()
    x = torch.rand(1, 3, 64, 64)
    grads = []
    for run in (module, torch.compile(module, fullgraph=True, backend='aot_eager')):
        module.zero_grad()
        sum(level.square().mean() for maps in run(x) for level in maps).backward()
        grads.append({name: p.grad.clone() for name, p in module.named_parameters()})
    assert all(bool(g.abs().sum() > 0) for g in grads[0].values())
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, msg=name, rtol=1e-4, atol=1e-6)


def test_compiled_region_head():
    head = detector('faster_rcnn').roi_head.bbox_head.eval()
    compiled = torch.compile(head, fullgraph=True, backend='aot_eager')
    x = torch.rand(5, 8, 3, 3)
    with torch.no_grad():
        for a, b in zip(head(x), compiled(x)):
            torch.testing.assert_close(b, a)


@pytest.mark.parametrize('kind', KINDS)
def test_losses_are_computed_in_float32_under_autocast(kind):
    model = detector(kind).train()
    data = batch(model, [make_sample(3, index=0), make_sample(0, index=1)], training=True)
    torch.manual_seed(0)
    exact, _ = model.parse_losses(model(**data, mode='loss'))
    torch.manual_seed(0)
    with torch.autocast(**BF16):
        # the layers do run in half precision
        assert model.extract_feat(data['inputs'])[0].dtype == torch.bfloat16
        terms = model(**data, mode='loss')
    values = [v for value in terms.values() for v in (value if isinstance(value, list) else [value])]
    assert {value.dtype for value in values} == {torch.float32}
    total, _ = model.parse_losses(terms)
    assert float(total.detach()) == pytest.approx(float(exact.detach()), rel=0.05)
    total.backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.parameters())


@pytest.mark.parametrize('kind', ['rpn', 'retinanet'])
def test_raw_maps_under_autocast(kind):
    model = detector(kind).eval()
    inputs = batch(model, [make_sample(1)])['inputs']
    with torch.no_grad():
        exact = model(inputs)
        with torch.autocast(**BF16):
            half = model(inputs)
    for a, b in zip(exact, half):
        for x, y in zip(a, b):
            assert y.dtype == torch.bfloat16
            # bfloat16 keeps 8 bits: 25 layers leave 5 % of the largest value
            assert float((x - y.float()).abs().max()) < 0.05 * float(x.abs().max())


@pytest.mark.parametrize('kind', KINDS)
def test_predictions_under_autocast(kind):
    model = detector(kind)
    exact = predict(model, [make_sample(1)])[0].pred_instances
    with torch.autocast(**BF16):
        half = predict(model, [make_sample(1)])[0].pred_instances
    assert half.bboxes.dtype == half.scores.dtype == torch.float32
    # near ties may change which box survives, so scores are compared as a sorted list: to 0.02
    count = min(len(exact), len(half))
    assert count > 0 and abs(len(exact) - len(half)) <= 2
    torch.testing.assert_close(half.scores[:count], exact.scores[:count], atol=0.02, rtol=0)
    # the best boxes have a twin within 2 pixels
    distance = (half.bboxes[None] - exact.bboxes[: count // 2, None]).abs().amax(-1).amin(1)
    assert float((distance < 2).float().mean()) >= 0.8


@pytest.mark.parametrize('kind', KINDS)
def test_model_in_half_precision_predicts(kind):
    model = detector(kind)
    data = batch(model, [make_sample(1)])
    exact = predict(model, [make_sample(1)])[0].pred_instances
    half = copy.deepcopy(model).to(torch.bfloat16).eval()
    with torch.no_grad():
        result = half(data['inputs'].to(torch.bfloat16), data['data_samples'], mode='predict')[0].pred_instances
    count = min(len(result), len(exact), 5)
    assert result.scores.dtype == torch.float32
    torch.testing.assert_close(result.scores[:count], exact.scores[:count], atol=0.03, rtol=0)
