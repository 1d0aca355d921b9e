"""Models as functions from tensors to tensors."""

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.structures import InstanceData
from torch import nn

from mmdetlike.export.tracing import TracingAdapter, flatten
from mmdetlike.structures import DetDataSample
from tests.models.families import build

LEAVES = st.one_of(st.integers(), st.text(), st.none(), st.floats(0, 1).map(torch.tensor))
NESTED = st.recursive(
    LEAVES,
    lambda parts: st.one_of(st.lists(parts), st.dictionaries(st.text(), parts), st.tuples(parts, parts)),
    max_leaves=12,
)


def assert_equal(got, expected) -> None:
    assert type(got) is type(expected)
    if isinstance(expected, dict):
        assert list(got) == list(expected)
        got, expected = list(got.values()), list(expected.values())
    if isinstance(expected, (list, tuple)):
        for part, other in zip(got, expected, strict=True):
            assert_equal(part, other)
    else:
        assert got is expected or got == expected


@given(NESTED)
def test_a_value_is_put_together_again(value):
    tensors, schema = flatten(value)
    assert schema.num_tensors == len(tensors)
    assert_equal(schema(tensors), value)


def test_samples_keep_their_fields_and_what_they_know():
    boxes = torch.rand(2, 4)
    sample = DetDataSample(metainfo=dict(img_shape=(8, 9)), pred_instances=InstanceData(bboxes=boxes))
    tensors, schema = flatten([sample])
    (got,) = schema([tensor + 1 for tensor in tensors])
    assert got.img_shape == (8, 9)
    torch.testing.assert_close(got.pred_instances.bboxes, boxes + 1)


def test_what_cannot_be_flattened_is_named():
    with pytest.raises(TypeError, match=r"tensors in dicts, lists and data elements, got <class 'set'>"):
        flatten([{1}])
    _, schema = flatten(dict(a=torch.zeros(1)))
    with pytest.raises(ValueError, match='made of 1 tensors, got 2'):
        schema([torch.zeros(1)] * 2)


def test_a_traced_detector_finds_what_the_detector_finds():
    model = build('retinanet').eval()
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    adapter = TracingAdapter(model, image, lambda model, images: model.detect(images))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # TorchScript is deprecated, and sizes of tensors become constants
        traced = torch.jit.trace(adapter, adapter.flattened_inputs, check_trace=False)
        (found,) = adapter.outputs_schema(traced(image))
        (expected,) = model.detect(image)
    assert list(found) == ['boxes', 'scores', 'labels']
    assert len(found['boxes']) > 0
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


class Counting(nn.Module):
    """Returns as many tensors as its input has rows, and their number."""

    def forward(self, x):
        return list(x), len(x)


def test_outputs_that_a_program_would_get_wrong_are_refused():
    with pytest.raises(TypeError, match='outputs contain 2, which a traced program would always return'):
        TracingAdapter(Counting(), torch.zeros(2, 3))(torch.zeros(2, 3))
    adapter = TracingAdapter(Counting(), torch.zeros(2, 3), allow_non_tensor=True)
    assert len(adapter(torch.zeros(2, 3))) == 2
    with pytest.raises(ValueError, match='those of an earlier call were'):
        adapter(torch.zeros(3, 3))
