"""A tiny deployed detector, and models whose number of objects differs from image to image."""

from pathlib import Path

import torch
from scipy.optimize import linear_sum_assignment

from mmdetlike.export import deploy
from tests.models.families import build

IMAGES = [torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(i)) * (i + 1) for i in range(3)]
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]
CLASSES = ('circle', 'square', 'star')
# scores that are nearer to each other may change places by rounding
ROUNDING = 1e-6


@torch.no_grad()
def choosy(family: str):
    """A tiny detector of a family; one with a threshold of scores finds other numbers of objects in other images."""
    model = build(family).eval()
    model.dataset_meta = dict(classes=CLASSES, palette=[(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    if family == 'yolox':  # random weights make sizes, exponents, of millions of pixels, and all scores 1
        head = model.bbox_head
        for layer in (*head.multi_level_conv_reg, *head.multi_level_conv_cls, *head.multi_level_conv_obj):
            layer.weight *= 0.01
    is_two_stage = 'rcnn' in model.test_cfg
    cfg = (model.roi_head if is_two_stage else getattr(model, 'bbox_head', model)).test_cfg
    if 'score_thr' in cfg:
        cfg.score_thr = float(torch.cat([model.detect(image)[0]['scores'] for image in IMAGES]).quantile(0.5))
    return model


def deployed(folder: Path, family: str = 'retinanet', kind: str = 'torch', **settings) -> Path:
    """A folder with a tiny detector of a family."""
    deploy(choosy(family), folder, kind, (64, 64), PIPELINE, **settings)
    return folder


def deployed_for_pictures(folder: Path) -> Path:
    """A folder with a tiny RetinaNet that finds something in every picture of 64 x 64 pixels."""
    model = choosy('retinanet')
    model.bbox_head.test_cfg.score_thr = 0.0
    deploy(model, folder, 'torch', (64, 64), PIPELINE)
    return folder


def assert_equal_results(program, model, images=IMAGES) -> list[int]:
    """A program finds what a model finds; returns how many objects it found in each image.

    A program has as many rows as its detector returns objects at most, or 300. Where the model returns more, rounding
    settles which of several objects with the score at that limit are returned.
    """
    counts = []
    for image in images:
        with torch.no_grad():
            expected = model.detect(image)[0]
        got = program(image)
        assert set(got) == {*expected, 'count'}
        count = int(got['count'])
        assert count == min(len(got['scores']), len(expected['scores']))
        found = {name: got[name][:count] for name in expected}
        assert rows_found(found, expected) == count
        settled = settled_count(expected['scores'], count)
        assert rows_found(found, {name: value[:settled] for name, value in expected.items()}) == settled
        counts.append(count)
    return counts


def settled_count(scores: torch.Tensor, limit: int) -> int:
    """How many of the objects with these falling scores are among the best ``limit`` however scores are rounded."""
    if len(scores) <= limit:
        return len(scores)
    return min(limit, int((scores > scores[limit] + ROUNDING).sum()))


def assert_equal_results_of_batch(program, model, images) -> list[int]:
    """As ``assert_equal_results``, of a program that takes these images (N, 3, H, W) at once."""
    outputs = program(images)
    rows = iter([{name: values[i] for name, values in outputs.items()} for i in range(len(images))])
    assert {len(values) for values in outputs.values()} == {len(images)}
    return assert_equal_results(lambda _: next(rows), model, images[:, None])


def rows_found(got: dict, expected: dict, pixels: float = 1e-3, scores: float = 1e-4) -> int:
    """How many rows are in both, each once; objects of equal scores may change places.

    Boxes and keypoints may differ by ``pixels``, and scores by ``scores``.
    """
    is_equal = torch.ones(len(got['scores']), len(expected['scores']), dtype=torch.bool)
    for name, value in expected.items():
        if value.dtype == torch.bool:
            is_equal &= differing_pixels(got[name], value) <= 1e-4 * value.shape[1:].numel()
            continue
        tolerance = pixels if name in ('boxes', 'keypoints') else scores
        pairs = got[name][:, None].double() - value[None].double()
        is_equal &= pairs.abs().flatten(2).amax(2) <= tolerance if pairs.ndim > 2 else pairs.abs() <= tolerance
    rows, columns = linear_sum_assignment(is_equal, maximize=True)
    return int(is_equal[rows, columns].sum())


def differing_pixels(masks: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """In how many pixels each of the masks (n, h, w) differs from each of the others (m, h, w): (n, m)."""
    masks, others = masks.flatten(1).double(), others.flatten(1).double()
    return masks.sum(1)[:, None] + others.sum(1) - 2 * masks @ others.T
