"""Finding anchors that fit the objects of a dataset, by k-means on IoU and by differential evolution."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import differential_evolution

_ROUNDS = 300
_STARTS = 10  # of k-means, which may stop at a poor place
_GENERATIONS = 120
_ENOUGH = 3000  # objects that differential evolution looks at
_SPREAD = 4.0  # ratios from a quarter to four times


def centered_iou(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """(n, k) IoU of boxes (n, 2) and anchors (k, 2), width and height, that share their center."""
    common = np.minimum(sizes[:, None], anchors).prod(-1)
    return common / (sizes.prod(-1)[:, None] + anchors.prod(-1) - common)


def fit(sizes: np.ndarray, anchors: np.ndarray) -> dict[str, float]:
    """How well anchors fit: the mean over the boxes of their best IoU, and the shares above 0.5 and 0.7."""
    best = centered_iou(sizes, anchors).max(1)
    return {'mean IoU': best.mean(), 'above 0.5': (best > 0.5).mean(), 'above 0.7': (best > 0.7).mean()}


def k_means(sizes: np.ndarray, number: int, seed: int = 0) -> np.ndarray:
    """Anchors (number, 2) by k-means with 1 - IoU as the distance (YOLO9000, arXiv 1612.08242), the smallest first.

    ``sizes`` are widths and heights (n, 2) of the objects, at least ``number`` of them; the start is random.
    """
    generator = np.random.default_rng(seed)
    runs = [_one_k_means(sizes, _spread_start(sizes, number, generator)) for _ in range(_STARTS)]
    anchors = max(runs, key=lambda found: fit(sizes, found)['mean IoU'])
    return anchors[np.argsort(anchors.prod(1))]


def _one_k_means(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    nearest = np.full(len(sizes), -1)
    for _ in range(_ROUNDS):
        chosen = centered_iou(sizes, anchors).argmax(1)
        if (chosen == nearest).all():
            break
        nearest = chosen
        for k in np.unique(nearest):
            anchors[k] = sizes[nearest == k].mean(0)
    return anchors


def _spread_start(sizes: np.ndarray, number: int, generator: np.random.Generator) -> np.ndarray:
    """Boxes to start from, each far from those before, as k-means++ chooses them."""
    chosen = [int(generator.integers(len(sizes)))]
    for _ in range(number - 1):
        distance = 1 - centered_iou(sizes, sizes[chosen]).max(1)
        total = distance.sum()
        weights = distance / total if total > 0 else None
        chosen.append(int(generator.choice(len(sizes), p=weights)))
    return sizes[chosen].astype(float)


def evolve_sizes(sizes: np.ndarray, number: int, seed: int = 0) -> np.ndarray:
    """Anchors (number, 2) by differential evolution of the mean best IoU, the smallest first."""
    low = np.log(sizes.min(0))
    high = np.log(sizes.max(0))
    bounds = [(a, b + 1e-6) for a, b in zip(low, high)] * number
    start = np.log(k_means(sizes, number, seed)).ravel()
    genes = _best_genes(sizes, lambda genes: np.exp(genes).reshape(-1, 2), bounds, start, seed)
    found = np.exp(genes).reshape(-1, 2)
    return found[np.argsort(found.prod(1))]


def evolve_shapes(
    sizes: np.ndarray, base_sizes: np.ndarray, ratios: np.ndarray, scales: np.ndarray, shared: bool, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Ratios and scales of an anchor generator by differential evolution of the mean best IoU.

    Args:
        sizes: Widths and heights (n, 2) of the objects.
        base_sizes: (levels,) side of the unit anchor of each level.
        ratios, scales: Heights / widths, and scales, to start from.
        shared: Change scales by one common factor only, as an octave is divided in a fixed way.
        seed: Of the random start.
    """
    number = len(ratios)

    def shapes(genes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = np.exp(genes)
        return values[:number], scales * values[number] if shared else values[number:]

    def anchors(genes: np.ndarray) -> np.ndarray:
        return anchor_sizes(base_sizes, *shapes(genes))

    side = np.sqrt(sizes.prod(1))
    spread = (np.log(side.min() / base_sizes.max()), np.log(max(side.max() / base_sizes.min(), 1e-3)) + 1e-6)
    of_scales = [(-np.log(_SPREAD), np.log(_SPREAD))] if shared else [spread] * len(scales)
    bounds = [(-np.log(_SPREAD), np.log(_SPREAD))] * number + of_scales
    start = np.concatenate([np.log(ratios), [0.0] if shared else np.log(scales)])
    found_ratios, found_scales = shapes(_best_genes(sizes, anchors, bounds, start, seed))
    return np.sort(found_ratios), np.sort(found_scales)


def anchor_sizes(base_sizes: np.ndarray, ratios: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Widths and heights (levels * ratios * scales, 2) of the anchors of all levels."""
    height = base_sizes[:, None, None] * np.sqrt(ratios)[:, None] * scales
    width = base_sizes[:, None, None] / np.sqrt(ratios)[:, None] * scales
    return np.stack([width.ravel(), height.ravel()], axis=1)


def _best_genes(sizes: np.ndarray, anchors: Callable, bounds: list, start: np.ndarray, seed: int) -> np.ndarray:
    """The genes whose anchors have the highest mean best IoU."""
    if len(sizes) > _ENOUGH:
        sizes = sizes[np.random.default_rng(seed).choice(len(sizes), _ENOUGH, replace=False)]
    low, high = np.array(bounds).T
    result = differential_evolution(
        lambda genes: -centered_iou(sizes, anchors(genes)).max(1).mean(),
        bounds,
        x0=np.clip(start, low, high),
        maxiter=_GENERATIONS,
        popsize=8,
        tol=1e-4,
        seed=seed,
    )
    return result.x
