import pytest
import torch
import torch.nn.functional as F
from torch.library import opcheck

from mmdetlike_ops import SigmoidFocalLoss, sigmoid_focal_loss


def definition(x, target, gamma, alpha):
    """The paper's formula, in float64."""
    x = x.double()
    positive = F.one_hot(target, x.shape[1] + 1)[:, :-1].bool()
    signed = torch.where(positive, x, -x)
    weight = alpha * positive.double() + (1 - alpha) * (~positive).double()
    return -weight * torch.sigmoid(-signed) ** gamma * F.logsigmoid(signed)


@pytest.fixture
def problem(rng):
    return 6 * torch.randn(60, 7, generator=rng), torch.randint(0, 8, (60,), generator=rng)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0, 3.3])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_formula(problem, gamma, dtype):
    x, target = problem[0].to(dtype).requires_grad_(), problem[1]
    exact = x.detach().double().requires_grad_()
    loss, wanted = sigmoid_focal_loss(x, target, gamma, 0.3, reduction='none'), definition(exact, target, gamma, 0.3)
    rtol = {torch.float32: 1e-5, torch.float64: 1e-9, torch.float16: 1e-3, torch.bfloat16: 1e-2}[dtype]
    assert loss.dtype == dtype
    torch.testing.assert_close(loss.double(), wanted, rtol=rtol, atol=1e-7)
    (grad,) = torch.autograd.grad(loss.sum(), x)
    (expected,) = torch.autograd.grad(wanted.sum(), exact)
    torch.testing.assert_close(grad.double(), expected, rtol=rtol, atol=1e-7)


def test_reductions(problem):
    each = sigmoid_focal_loss(*problem, reduction='none')
    assert sigmoid_focal_loss(*problem, reduction='sum').item() == pytest.approx(each.sum().item())
    assert sigmoid_focal_loss(*problem).item() == pytest.approx(each.sum().item() / 60)
    assert SigmoidFocalLoss(2.0, 0.25)(*problem).item() == sigmoid_focal_loss(*problem).item()


def test_weight_of_the_target_class():
    x, target = torch.randn(4, 2), torch.tensor([0, 1, 2, -1])
    each = sigmoid_focal_loss(x, target, reduction='none')
    weighted = sigmoid_focal_loss(x, target, weight=torch.tensor([2.0, 3.0]), reduction='none')
    torch.testing.assert_close(weighted, each * torch.tensor([[2.0], [3.0], [1.0], [1.0]]))


def test_extreme_logits_stay_finite():
    x = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], requires_grad=True)
    loss = sigmoid_focal_loss(x, torch.tensor([0, 0]), reduction='none')
    torch.testing.assert_close(loss[:, :2], torch.tensor([[0.0, 0.0], [2500.0, 7500.0]]))
    loss.sum().backward()
    torch.testing.assert_close(x.grad[:, :2], torch.tensor([[0.0, 0.0], [-0.25, 0.75]]))


@pytest.mark.parametrize('shape', [(0, 5), (3, 0)])
def test_empty(shape):
    x = torch.zeros(shape, requires_grad=True)
    loss = sigmoid_focal_loss(x, torch.zeros(shape[0]).long())
    loss.backward()
    assert loss.item() == 0
    assert x.grad.shape == shape


def test_strides(problem):
    x, target = problem
    expected = sigmoid_focal_loss(x, target, reduction='none')
    assert torch.equal(sigmoid_focal_loss(x.T.contiguous().T, target, reduction='none'), expected)


def test_gradcheck(problem):
    x = problem[0].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sigmoid_focal_loss(x, problem[1], 1.7, 0.4, reduction='none'), x)


@pytest.mark.parametrize('change, error, words', [
    ({'input': torch.zeros(3)}, ValueError, r'input has shape \(3,\), \(n, c\) is expected'),
    ({'target': torch.zeros(2).long()}, ValueError, r'target has shape \(2,\), \(3,\) is expected'),
    ({'target': torch.zeros(3)}, TypeError, 'target has dtype torch.float32, torch.int64 is expected'),
    ({'gamma': -1.0}, ValueError, 'gamma is -1.0'),
    ({'weight': torch.zeros(3)}, ValueError, r'weight has shape \(3,\), \(2,\) is expected'),
    ({'reduction': 'avg'}, ValueError, "reduction is 'avg', one of"),
])  # fmt: skip
def test_bad_input(change, error, words):
    good = {'input': torch.zeros(3, 2), 'target': torch.zeros(3).long()}
    with pytest.raises(error, match=words):
        sigmoid_focal_loss(**{**good, **change})


def test_operator_follows_the_dispatcher_contract(problem):
    opcheck(torch.ops.mmdetlike_ops.sigmoid_focal_loss.default, (problem[0].requires_grad_(), problem[1], 2.0, 0.25))
