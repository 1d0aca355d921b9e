"""A training step asks for the value of no tensor but where it must: each question makes the CPU wait for the GPU.

That is ``item``, ``tolist``, ``nonzero`` and indexing by a mask. Checked on the CPU, where they are the same calls.
"""

import traceback
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import mmdetlike
from tests.models.families import build
from tests.models.tiny import batch, make_sample

SOURCES = [str(Path(mmdetlike.__file__).parent), str(Path(mmdetlike.__file__).parents[1] / 'mmdetlike_ops')]
ASKING = {'_local_scalar_dense', 'nonzero', 'masked_select', '_unique2', 'unique_dim', 'unique_consecutive'}
INDEXING = {'index', 'index_put', 'index_put_', '_index_put_impl_'}
# file and function -> why
LISTED = {
    ('base_sampler.py', 'positives_of'): 'losses of boxes are computed at the positives alone, few of all priors',
    ('base_sampler.py', 'negatives_of'): 'samplers draw from a list of the negatives',
    ('predictions.py', 'levels'): 'losses are logged level by level, of the positives of each',
    ('max_iou_assigner.py', 'give_best_priors'): 'of all pairs, few tie for the largest overlap of an object',
    ('geometric_assigners.py', 'in_range_of_level'): 'a wrong number of levels is told, in place of wrong targets',
    ('dynamic_k.py', 'match'): 'costs are computed at the few points near objects',
    ('dynamic_k.py', 'dynamic_k_matching'): 'the number of priors differs from object to object, and topk takes one',
    ('predictions.py', 'best_above'): 'how many proposals reach the threshold decides how much there is to decode',
    ('predictions.py', '__getitem__'): 'proposals without area are dropped before suppression',
    ('suppress.py', 'best_first'): 'without ties a top-k answers, which is ten times as fast as a sort',
    ('suppress.py', '_first_of_tied'): 'ties at the limit are rare, and found among all values',
    ('nms.py', '_grouped_nms'): 'how many proposals are left is what suppression finds out',
    ('region_head.py', 'classification_targets'): 'losses of boxes are computed at the positive regions alone',
    ('roi_extractors.py', 'pool'): 'each level pools its own regions',
}


class Questions(TorchDispatchMode):
    """Where the values of tensors are asked for: (file, function) of our code."""

    def __init__(self):
        super().__init__()
        self.places = set()

    def note(self):
        frames = [frame for frame in traceback.extract_stack() if frame.filename.startswith(tuple(SOURCES))]
        # a comprehension is a function of its own in some versions of Python
        frames = [frame for frame in frames if not frame.name.startswith('<')]
        self.places.add((Path(frames[-1].filename).name, frames[-1].name) if frames else ('elsewhere', ''))

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        by_mask = name in INDEXING and any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        if name in ASKING or by_mask:
            self.note()
        return function(*args, **(kwargs or {}))


def questions_of(step, monkeypatch) -> set[tuple[str, str]]:
    """The places where ``step`` asks for values."""
    with Questions() as questions:
        # on the CPU these three read memory without a call that a mode could see
        for name in ('tolist', 'numpy', 'cpu'):
            original = getattr(torch.Tensor, name)

            def asked(self, *args, original=original, **kwargs):
                questions.note()
                return original(self, *args, **kwargs)

            monkeypatch.setattr(torch.Tensor, name, asked)
        step()
        monkeypatch.undo()
    return questions.places


@pytest.mark.parametrize('family', ['retinanet', 'fcos', 'rtmdet', 'faster_rcnn'])
def test_a_training_step_asks_only_where_listed(family, monkeypatch):
    torch.manual_seed(0)
    model = build(family).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    inputs = batch(model, [make_sample(2), make_sample(3, index=1)], training=True)

    def step():
        # the logged numbers of `parse_losses` are read once in an interval, after the step
        losses = model(**inputs, mode='loss')
        total = sum(value.sum() for terms in losses.values() for value in (terms if type(terms) is list else [terms]))
        total.backward()
        optimizer.step()

    assert questions_of(step, monkeypatch) <= set(LISTED)


@pytest.mark.parametrize(
    'ask',
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: x.tolist(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.__setitem__(x > 0, x[:1]),
        lambda x: x.unique(),
    ],
)
def test_questions_are_seen(ask, monkeypatch):
    assert questions_of(lambda: ask(torch.arange(3.0)), monkeypatch) == {('elsewhere', '')}


def test_calculations_are_none(monkeypatch):
    x = torch.arange(3.0)
    assert not questions_of(
        lambda: torch.where(x > 0, x[torch.tensor([2, 1, 0])], 0).masked_fill_(x > 1, 0), monkeypatch
    )
