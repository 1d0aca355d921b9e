import pytest
import torch
import torch.nn.functional as F

from mmdetlike_ops import (
    SigmoidFocalLoss,
    SoftmaxFocalLoss,
    sigmoid_focal_loss,
    sigmoid_focal_loss_star,
    softmax_focal_loss,
)


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


def softmax_definition(x, target, gamma, alpha):
    """The loss of rows in float64; 0 for a target that is no class."""
    p = torch.softmax(x.double(), 1)
    p = torch.cat([p, torch.ones_like(p[:, :1])], 1).gather(1, target[:, None])[:, 0]
    return -alpha * (1 - p) ** gamma * p.log()


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0, 3.3])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_softmax_formula(problem, gamma, dtype):
    x, target = (problem[0] / 3).to(dtype).requires_grad_(), problem[1]
    exact = x.detach().double().requires_grad_()
    loss = softmax_focal_loss(x, target, gamma, 0.3, reduction='none')
    wanted = softmax_definition(exact, target, gamma, 0.3)
    rtol = {torch.float32: 1e-4, torch.float64: 1e-9, torch.float16: 1e-3, torch.bfloat16: 1e-2}[dtype]
    assert loss.dtype == dtype and loss.shape == (60,)
    torch.testing.assert_close(loss.double(), wanted, rtol=rtol, atol=1e-6)
    classes = target < 7
    (grad,) = torch.autograd.grad(loss.sum(), x)
    (expected,) = torch.autograd.grad(wanted[classes].sum(), exact)
    torch.testing.assert_close(grad.double(), expected, rtol=rtol, atol=1e-5)


def test_softmax_by_hand():
    x, target = torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 1.0]]), torch.tensor([1, 2, -1])
    loss = softmax_focal_loss(x, target, 2.0, 0.25, reduction='none')
    torch.testing.assert_close(loss, torch.tensor([0.25 * 0.25 * 0.6931472, 0.0, 0.0]))


def test_softmax_reductions_and_weight(problem):
    each = softmax_focal_loss(*problem, reduction='none')
    weight = torch.arange(1.0, 8.0)
    assert softmax_focal_loss(*problem, reduction='sum').item() == pytest.approx(each.sum().item())
    assert softmax_focal_loss(*problem).item() == pytest.approx(each.sum().item() / 60)
    expected = each * torch.cat([weight, torch.zeros(1)])[problem[1]]
    torch.testing.assert_close(softmax_focal_loss(*problem, weight=weight, reduction='none'), expected)
    module = SoftmaxFocalLoss(2.0, 0.25, weight, 'none')
    torch.testing.assert_close(module(*problem), expected)
    assert repr(module) == "SoftmaxFocalLoss(gamma=2.0, alpha=0.25, reduction='none')"


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0])
def test_softmax_of_extreme_logits_stays_finite(gamma):
    x = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [1e4, 0.0, 0.0]], requires_grad=True)
    loss = softmax_focal_loss(x, torch.tensor([0, 0, 3]), gamma, reduction='none')
    torch.testing.assert_close(loss, torch.tensor([0.0, 5000.0, 0.0]))
    loss.sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[0.0, 0.0, 0.0], [-0.25, 0.25, 0.0], [0.0, 0.0, 0.0]]))


def test_softmax_gradcheck_and_empty(problem):
    x = problem[0].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: softmax_focal_loss(x, problem[1], 1.7, 0.4, reduction='none'), x)
    empty = torch.zeros(0, 3, requires_grad=True)
    loss = softmax_focal_loss(empty, torch.zeros(0).long())
    loss.backward()
    assert loss.item() == 0 and empty.grad.shape == (0, 3)


@pytest.mark.parametrize('change, error, words', [
    ({'input': torch.zeros(3)}, ValueError, r'softmax_focal_loss: input has shape \(3,\), \(n, c\) is expected'),
    ({'input': torch.zeros(3, 0)}, ValueError, r'input has shape \(n, 0\), at least one class is expected'),
    ({'target': torch.zeros(3)}, TypeError, 'softmax_focal_loss: target has dtype torch.float32, torch.int64'),
    ({'weight': torch.zeros(3)}, ValueError, r'weight has shape \(3,\), \(2,\) is expected'),
    ({'reduction': 'avg'}, ValueError, "reduction is 'avg', one of"),
])  # fmt: skip
def test_softmax_bad_input(change, error, words):
    good = {'input': torch.zeros(3, 2), 'target': torch.zeros(3).long()}
    with pytest.raises(error, match=words):
        softmax_focal_loss(**{**good, **change})


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_softmax_on_cuda(cuda, problem, dtype):
    results = []
    for device in ('cpu', cuda):
        x = problem[0].to(device, dtype).requires_grad_()
        loss = softmax_focal_loss(x, problem[1].to(device), reduction='none')
        results.append((loss.detach().cpu(), torch.autograd.grad(loss.sum(), x)[0].cpu()))
    for actual, expected in zip(*results):
        torch.testing.assert_close(actual, expected, rtol=1e-4 if x.element_size() > 2 else 1e-2, atol=1e-6)


@pytest.mark.parametrize('alpha', [0.25, 0.0, -1.0])
def test_binary_targets_give_what_class_indices_give(problem, alpha):
    x, target = problem
    binary = F.one_hot(target, 8)[:, :-1].float()
    for reduction in ('none', 'sum'):
        by_index = sigmoid_focal_loss(x, target, alpha=alpha, reduction=reduction)
        torch.testing.assert_close(sigmoid_focal_loss(x, binary, alpha=alpha, reduction=reduction), by_index)


def test_a_negative_alpha_weights_neither(problem):
    x, target = problem
    sign = 2.0 * F.one_hot(target, 8)[:, :-1] - 1
    expected = -(torch.sigmoid(-sign * x) ** 2) * F.logsigmoid(sign * x)
    torch.testing.assert_close(sigmoid_focal_loss(x, target, alpha=-1, reduction='none'), expected)
    mean = sigmoid_focal_loss(x.flatten(), (sign > 0).float().flatten(), alpha=-1)
    torch.testing.assert_close(mean, expected.mean())


def test_focal_loss_star():
    x, target = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 0.0])
    expected = torch.log1p(torch.exp(torch.tensor([-6.0, -3.0]))) / 3
    torch.testing.assert_close(sigmoid_focal_loss_star(x, target, gamma=3.0), expected)
    weighted = sigmoid_focal_loss_star(x, target, gamma=3.0, alpha=0.25, reduction='sum')
    torch.testing.assert_close(weighted, 0.25 * expected[0] + 0.75 * expected[1])
    assert sigmoid_focal_loss_star(x[:0], target[:0], reduction='mean').item() == 0


def test_binary_targets_are_checked():
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match=r'have the shapes \(3, 2\) and \(3,\), twice the same'):
        sigmoid_focal_loss_star(x, torch.zeros(3))
    with pytest.raises(ValueError, match='factors of classes need class indices'):
        sigmoid_focal_loss(x, x, weight=torch.ones(2))
    with pytest.raises(ValueError, match='gamma is 0, a positive number'):
        sigmoid_focal_loss_star(x, x, gamma=0)
