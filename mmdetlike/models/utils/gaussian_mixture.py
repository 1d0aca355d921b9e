"""Mixtures of two normal distributions of one variable."""

import math

import torch
from torch import Tensor


def fit_two_gaussians(
    values: Tensor, counted: Tensor, tied: bool = False, tolerance: float = 1e-3, max_iterations: int = 100
) -> Tensor:
    """Fit a mixture of two normal distributions to each row of values, by expectation maximization.

    The components begin at a row's least and largest value, with variance 1 and equal weights. A row is done when the
    mean log likelihood of its values changes by less than ``tolerance``, or after ``max_iterations``.

    Args:
        values: (m, n).
        counted: (m, n) bool, which of them count: at least one in each row.
        tied: Whether both components have one variance.

    Returns:
        (m, n, 2) float64, of each value the logarithm of each component's weight times its density there.
    """
    values = values.double()
    shares = counted.double()[..., None]
    least = torch.where(counted, values, torch.inf).amin(1)
    largest = torch.where(counted, values, -torch.inf).amax(1)
    means = torch.stack([least, largest], 1)
    weights = torch.full_like(means, 0.5)
    variances = torch.ones_like(means)
    before = torch.full_like(least, -torch.inf)
    active = torch.ones_like(least, dtype=torch.bool)
    for _ in range(max_iterations):
        if not active.any():
            break
        joint = log_joint(values, weights, means, variances)
        evidence = (joint.logsumexp(-1) * counted).sum(1) / counted.sum(1)
        found = estimate(values, joint.softmax(-1) * shares, tied)
        weights, means, variances = (
            torch.where(active[:, None], new, old) for new, old in zip(found, (weights, means, variances))
        )
        # rows that are done keep their parameters: the result of a row doesn't depend on the others
        active = active & ((evidence - before).abs() >= tolerance)
        before = evidence
    return log_joint(values, weights, means, variances)


def log_joint(values: Tensor, weights: Tensor, means: Tensor, variances: Tensor) -> Tensor:
    """(m, n, 2) the logarithm of weight times density, of values (m, n) and parameters (m, 2)."""
    squares = (values[..., None] - means[:, None]).square() / variances[:, None]
    return weights.log()[:, None] - 0.5 * (squares + (2 * math.pi * variances).log()[:, None])


def estimate(values: Tensor, responsibilities: Tensor, tied: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, means and variances, (m, 2) each, of values (m, n) that belong to the components by (m, n, 2)."""
    # a component may have no values left
    totals = responsibilities.sum(1) + 10 * torch.finfo(torch.float64).eps
    means = (responsibilities * values[..., None]).sum(1) / totals
    spread = (responsibilities * (values[..., None] - means[:, None]).square()).sum(1)
    if tied:
        spread = spread.sum(1, keepdim=True).expand_as(spread)
        counts = totals.sum(1, keepdim=True)
    else:
        counts = totals
    # a component of equal values keeps a variance
    return totals / totals.sum(1, keepdim=True), means, spread / counts + 1e-6
