"""Every family under torch.compile and under bfloat16 autocast.

``docs/compile.md`` says what is one graph and where it ends. What takes seconds a family is ``slow`` for all but a few.
"""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from mmdetlike.models.heads.roi import EmbeddingRPNHead
from tests.models.families import FAMILIES, build
from tests.models.tiny import batch, make_sample, predict

# one of each pipeline, the others with -m slow
QUICK = {'fcos', 'mask_rcnn', 'dino'}
# largest difference of a sorted score under bfloat16, which keeps 8 bits
BF16_SCORES = 0.03
# twice through a backbone whose batch norms have not seen an image, maps get so large that no proposal is a box
FINDS_NOTHING = {'detectors'}
# batch norms of YOLOX, which have not seen an image, let activations grow from layer to layer; CrowdDet has several
# scores for a region; with the weights drawn here, half precision chooses other pixels of the encoder as queries
BF16_SCORES_OF = {'yolox': 0.2, 'crowddet': 0.05, 'co_deformable_detr': 0.06}


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class FirstStage(nn.Module):
    """Images -> raw maps of the head that proposes, and logits of pixels where there is a semantic head."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs, data_samples=None):
        x = self.model.extract_feat(inputs)
        semantic = getattr(self.model, 'semantic_head', None)
        return self.model.rpn_head(x), None if semantic is None else semantic(x)


def graphs(model) -> list[nn.Module]:
    """What is one graph each: the whole network, or, where the number of proposals lies between, its two stages."""
    proposing = getattr(model, 'rpn_head', None)
    if proposing is None or isinstance(proposing, EmbeddingRPNHead):  # learned proposals are always as many
        return [model]
    second = copy.deepcopy(model)
    second.rpn_head = None  # proposals are those of the samples
    return [FirstStage(model), second]


def plain(outs):
    """Outputs of a head as tuples and dicts."""
    return vars(outs) if dataclasses.is_dataclass(outs) else outs


def quick_first(families=FAMILIES, quick=QUICK):
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in families]


def check_graphs(family: str, backend: str, **tolerance: float) -> None:
    """Each graph of the family compiles whole and gives what the plain model does."""
    model = build(family).eval()
    data = batch(model, [make_sample(2)])
    for module in graphs(model):
        compiled = torch.compile(module, fullgraph=True, backend=backend)
        with torch.no_grad():
            expected, got = (plain(net(data['inputs'], data['data_samples'])) for net in (module, compiled))
        torch.testing.assert_close(got, expected, **tolerance)


@pytest.mark.parametrize('family', quick_first())
def test_forward_is_one_graph(family):
    check_graphs(family, 'aot_eager', rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
def test_forward_through_inductor(family):
    # fused loops sum in another order
    check_graphs(family, 'inductor', rtol=1e-3, atol=1e-4)


def fields(sample) -> dict:
    """What was predicted for an image, by field."""
    names = [name for name in ('pred_instances', 'pred_panoptic_seg', 'pred_sem_seg') if name in sample]
    return {name: dict(sample.get(name).items()) for name in names}


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
def test_compiled_model_predicts_the_same(family):
    model = build(family)
    expected = fields(predict(model, [make_sample(2)])[0])
    data = batch(model, [make_sample(2)])
    compiled = torch.compile(model, backend='aot_eager')
    with torch.no_grad():
        got = fields(compiled(data['inputs'], data['data_samples'], mode='predict')[0])
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)


def maps_of(model, dtype) -> tuple:
    """Feature maps of an image, computed in a precision."""
    with torch.no_grad(), torch.autocast('cpu', dtype=dtype, enabled=dtype != torch.float32):
        return model.extract_feat(batch(model, [make_sample(2)])['inputs'])


@pytest.mark.parametrize('family', FAMILIES)
def test_predictions_under_autocast(family):
    model = build(family)
    exact = predict(model, [make_sample(2)])[0]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert next(iter(model.extract_feat(batch(model, [make_sample(2)])['inputs']))).dtype == torch.bfloat16
        half = predict(model, [make_sample(2)])[0]
    assert set(fields(half)) == set(fields(exact))
    if 'pred_instances' not in exact:  # segments of weights drawn at random: most pixels stay where they were
        same = exact.pred_panoptic_seg.sem_seg % 1000 == half.pred_panoptic_seg.sem_seg % 1000
        assert float(same.float().mean()) > 0.8
        return
    exact, half = exact.pred_instances, half.pred_instances
    assert half.bboxes.dtype == half.scores.dtype == torch.float32
    # near ties may change what survives suppression
    count = min(len(exact), len(half))
    if family in FINDS_NOTHING:
        exact_maps, half_maps = maps_of(model, torch.float32), maps_of(model, torch.bfloat16)
        for exact_map, half_map in zip(exact_maps, half_maps):
            assert (half_map.float() - exact_map).norm() <= 0.25 * exact_map.norm()
        return
    assert count > 0 and abs(len(exact) - len(half)) <= 2
    scores = [pred.scores.sort(descending=True).values[:count] for pred in (half, exact)]
    torch.testing.assert_close(*scores, atol=BF16_SCORES_OF.get(family, BF16_SCORES), rtol=0)
