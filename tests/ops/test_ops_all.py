"""What every operator promises, checked over the table in `cases.py`."""

import inspect
import re

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.library import opcheck
from torch.utils._python_dispatch import TorchDispatchMode

import mmdetlike_ops

from .cases import CASES

each_case = pytest.mark.parametrize('case', CASES.values(), ids=CASES.keys())
each_differentiable = pytest.mark.parametrize(
    'case', [case for case in CASES.values() if case.grads], ids=[name for name, case in CASES.items() if case.grads]
)
# They are made of other entries, take no tensors, or run in NumPy; each has tests of its own.
MODULES = {'CornerPool', 'SimpleRoIAlign'}  # without a function of their own
ELSEWHERE = {'convert_frozen_batchnorm', 'generate_grid', 'nms_match', 'weighted_boxes_fusion'}


class Calls(TorchDispatchMode):
    """The calls of our kernels, by name: (operator, arguments)."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == 'mmdetlike_ops':
            # gradients have no gradients
            keep = not function.name().endswith('_backward')
            copies = tuple(copy(x, keep) if isinstance(x, torch.Tensor) else x for x in args)
            self.seen[function.name()] = (function, copies)
        return function(*args, **(kwargs or {}))


def copy(x, keep_gradient):
    return x.detach().clone().requires_grad_(x.requires_grad and keep_gradient)


def upstream_of(outputs):
    """Of each differentiable output, a random gradient."""
    rng = torch.Generator().manual_seed(1)
    return [(out, torch.randn(out.shape, generator=rng).to(out)) for out in outputs if out.requires_grad]


def gradients(case, tensors, outputs, **options):
    pairs = upstream_of(outputs)
    leaves = [tensors[name] for name in case.grads]
    return torch.autograd.grad([a for a, _ in pairs], leaves, [b for _, b in pairs], allow_unused=True, **options)


def run(case, tensors):
    """Outputs and gradients."""
    outputs = case.run(tensors)
    return [*(x.detach() for x in outputs), *(gradients(case, tensors, outputs) if case.grads else ())]


def calls_of(case):
    with Calls() as calls:
        run(case, case.tensors())
    return calls.seen


def narrowed(case, dtype):
    return {
        name: (x.detach().to(dtype) if x.is_floating_point() and name not in case.fixed else x.detach())
        for name, x in case.tensors().items()
    }


def as_leaves(case, tensors):
    return {name: x.detach().requires_grad_(name in case.grads) for name, x in tensors.items()}


def assert_same(actual, expected, **tolerance):
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, **tolerance)


@pytest.fixture
def compiling():
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        yield
    torch._dynamo.reset()


def test_every_operator_is_in_the_table():
    registered = {name for name in torch._C._dispatch_get_all_op_names() if name.startswith('mmdetlike_ops::')}
    called = set().union(*(calls_of(case) for case in CASES.values()))
    assert called == registered


def test_every_function_is_in_the_table():
    functions = {name for name in mmdetlike_ops.__all__ if inspect.isfunction(getattr(mmdetlike_ops, name))}
    assert functions == ({name.split()[0] for name in CASES} - MODULES) | ELSEWHERE


@each_case
def test_dispatcher_contract(case):
    for operator, arguments in calls_of(case).values():
        opcheck(operator, arguments)


@each_case
def test_compiles(case, compiling):
    tensors = case.tensors()
    fast = torch.compile(lambda tensors: case.run(tensors), fullgraph=True, backend='aot_eager')
    outputs = fast(tensors)
    actual = [*(x.detach() for x in outputs), *(gradients(case, tensors, outputs) if case.grads else ())]
    assert_same(actual, run(case, tensors))


class Network(torch.nn.Module):
    def __init__(self, case):
        super().__init__()
        self.case = case

    def forward(self, **tensors):
        return self.case.run(tensors)


@each_case
def test_exports(case):
    tensors = {name: x.detach() for name, x in case.tensors().items()}
    program = torch.export.export(Network(case), (), tensors)
    assert_same(program.module()(**tensors), case.run(tensors))


@each_case
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(case, dtype):
    """Half precision is that of the inputs and outputs: in between, float32 is as exact."""
    tensors = narrowed(case, dtype)
    wide = {name: x.float() if x.dtype == dtype else x for name, x in tensors.items()}
    outputs = run(case, as_leaves(case, tensors))
    expected = run(case, as_leaves(case, wide))
    for actual, wanted in zip(outputs, expected):
        if actual is None or not actual.is_floating_point():
            assert actual is wanted or torch.equal(actual, wanted)
            continue
        tolerance = case.rounding * torch.finfo(dtype).eps
        scale = wanted.abs().max().item() if wanted.numel() else 1.0
        torch.testing.assert_close(actual.float(), wanted, rtol=tolerance, atol=tolerance * scale)


def layouts(x):
    """`x` with other strides."""
    if x.dim() < 2:
        yield torch.stack([x, x], dim=-1)[..., 0]
        return
    yield x.transpose(-1, -2).contiguous().transpose(-1, -2)
    yield torch.cat([x, x], dim=-1)[..., : x.shape[-1]]
    if x.dim() == 4:
        yield x.contiguous(memory_format=torch.channels_last)


@each_case
def test_layouts(case):
    tensors = case.tensors()
    expected = run(case, tensors)
    for name, x in tensors.items():
        for strided in layouts(x.detach()):
            assert_same(run(case, as_leaves(case, {**tensors, name: strided})), expected, rtol=1e-4, atol=1e-5)


@each_differentiable
def test_layouts_of_the_gradient(case):
    tensors = case.tensors()
    outputs = [out for out in case.run(tensors) if out.requires_grad]
    leaves = [tensors[name] for name in case.grads]
    for i, (out, upstream) in enumerate(upstream_of(outputs)):
        expected = torch.autograd.grad(out, leaves, upstream, retain_graph=True, allow_unused=True)
        for strided in layouts(upstream):
            actual = torch.autograd.grad(out, leaves, strided, retain_graph=True, allow_unused=True)
            assert_same(actual, expected, rtol=1e-4, atol=1e-5)
        assert i < len(outputs)


@pytest.mark.parametrize(
    'case, axes',
    [(case, axes) for case in CASES.values() for axes in case.empty],
    ids=[f'{name}-{"-".join(axes)}' for name, case in CASES.items() for axes in case.empty],
)
def test_empty(case, axes):
    """Runs, with zeros for gradients, and gives the shapes that the fake kernels promise."""
    full = case.tensors()
    tensors = as_leaves(case, {k: x.narrow(axes[k], 0, 0) if k in axes else x for k, x in full.items()})
    outputs = run(case, tensors)
    for name, grad in zip(case.grads, outputs[len(outputs) - len(case.grads) :]):
        assert grad is None or (grad.shape == tensors[name].shape and not grad.any())
    mode = FakeTensorMode(shape_env=ShapeEnv())
    imitations = {name: mode.from_tensor(x.detach()) for name, x in tensors.items()}
    with mode:
        fake = case.run(imitations)
    for actual, promised in zip(outputs, fake):
        assert actual.dim() == promised.dim()
        assert all(a == b for a, b in zip(actual.shape, promised.shape) if isinstance(b, int))


@each_case
def test_threads_do_not_change_results(case):
    tensors, before = case.tensors(large=True), torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(run(case, tensors))
    finally:
        torch.set_num_threads(before)
    assert_same(*results, rtol=0, atol=0, equal_nan=True)


@each_differentiable
def test_gradients_of_gradients(case):
    """Are there where the table says so, and refused, not wrong, where not."""
    tensors = case.tensors()
    leaves = [tensors[name] for name in case.grads]
    if case.twice:
        wide = {name: x.detach().double() if x.is_floating_point() else x for name, x in tensors.items()}

        def differentiable(*values):
            outputs = case.run({**wide, **dict(zip(case.grads, values))})
            return tuple(out for out in outputs if out.requires_grad)

        values = [wide[name].requires_grad_() for name in case.grads]
        assert torch.autograd.gradgradcheck(differentiable, values, fast_mode=True)
        return
    loss = sum(out.square().sum() for out in case.run(tensors) if out.requires_grad)
    again = sum(g.square().sum() for g in torch.autograd.grad(loss, leaves, create_graph=True, allow_unused=True))
    with pytest.raises(NotImplementedError, match='gradient has no gradient'):
        torch.autograd.grad(again, leaves)


@each_case
def test_autocast(case):
    tensors = case.tensors()
    expected = run(case, tensors)
    with torch.autocast('cpu', torch.bfloat16):
        outputs = case.run(tensors)
    # kernels compute in the dtype of their inputs, torch's matrix products in that of autocast
    tolerance = 0.0 if calls_of(case) else 0.05
    for actual, wanted in zip(outputs, expected):
        torch.testing.assert_close(actual.to(wanted.dtype), wanted, rtol=tolerance, atol=tolerance)


def wrong_tensors(case, tensors):
    """(argument, a wrong value, the error, what the sentence must say)."""
    for i, (name, x) in enumerate(tensors.items()):
        yield name, [1.0], TypeError, 'list'
        yield name, x.detach()[None], ValueError, re.escape(str(tuple(x[None].shape)))
        if x.is_floating_point() and name not in case.fixed:
            yield name, x.detach().long(), TypeError, 'int64'
        if i > 0 and name not in case.anywhere:
            yield name, x.detach().to('meta'), ValueError, 'meta'


@each_case
def test_errors_name_the_argument(case):
    tensors = {name: x.detach() for name, x in case.tensors().items()}
    for name, wrong, error, words in wrong_tensors(case, tensors):
        with pytest.raises(error, match=words) as caught:
            case.run({**tensors, name: wrong})
        assert re.search(rf'\b{name}\b', str(caught.value)), (name, str(caught.value))
    for name, wrong in case.bad.items():
        with pytest.raises((ValueError, TypeError)) as caught:
            case.function(**{**tensors, **case.settings, name: wrong})
        assert re.search(rf'\b{name}\b', str(caught.value)), (name, str(caught.value))


@pytest.mark.parametrize('name, argument', [
    *((name, 'x') for name in ('roi_align', 'roi_align_rotated', 'roi_pool', 'prroi_pool', 'deform_roi_pool')),
    ('border_align', 'input'), ('rotated_feature_align', 'features'), ('paste_masks', 'masks'),
    ('deform_conv2d', 'x'), ('modulated_deform_conv2d', 'x'),
])  # fmt: skip
def test_planes_of_more_pixels_than_can_be_counted(name, argument):
    """Pixels of a plane are counted in 32 bits; the rest in 64, for which see `test_ops_huge.py`."""
    case = CASES[name]
    tensors = {key: x.detach() for key, x in case.tensors().items()}
    x = tensors[argument]
    tensors[argument] = x.new_zeros(()).expand(*x.shape[:-2], 2**16, 2**15)
    with pytest.raises(ValueError, match='2147483647 pixels a plane'):
        case.run(tensors)


@pytest.mark.gpu
@each_case
@pytest.mark.parametrize('deterministic', [False, True])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_cuda(cuda, case, dtype, deterministic):
    tensors = narrowed(case, dtype)
    expected = run(case, as_leaves(case, tensors))
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    try:
        actual = run(case, as_leaves(case, {name: x.to(cuda) for name, x in tensors.items()}))
    finally:
        torch.use_deterministic_algorithms(False)
    tolerance = 1e-3 if dtype == torch.float32 else 4 * case.rounding * torch.finfo(dtype).eps
    for a, b in zip(actual, expected):
        if a is not None:
            torch.testing.assert_close(a.cpu(), b, rtol=tolerance, atol=tolerance * max(1.0, b.float().abs().max()))
