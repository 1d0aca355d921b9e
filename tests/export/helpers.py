"""A tiny deployed detector, and models whose number of objects differs from image to image."""

from pathlib import Path

import torch

from mmdetlike.export import deploy
from tests.models.families import build

IMAGES = [torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(i)) * (i + 1) for i in range(3)]
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]
CLASSES = ('circle', 'square', 'star')


@torch.no_grad()
def choosy(family: str):
    """A tiny detector of a family; one with a threshold of scores finds other numbers of objects in other images."""
    model = build(family).eval()
    model.dataset_meta = dict(classes=CLASSES, palette=[(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    if family == 'yolox':  # whose sizes are exponents: those of random weights are of millions of pixels
        for layer in model.bbox_head.multi_level_conv_reg:
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


def assert_equal_results(program, model, images=IMAGES) -> list[int]:
    """A program finds what a model finds; returns how many objects it found in each image."""
    counts = []
    for image in images:
        with torch.no_grad():
            expected = model.detect(image)[0]
        got = program(image)
        count = int(got['count'])
        assert count == len(expected['boxes'])
        assert set(got) == {*expected, 'count'}
        for name, value in expected.items():
            tolerance = 1e-3 if name in ('boxes', 'keypoints') else 1e-4
            torch.testing.assert_close(got[name][:count], value, atol=tolerance, rtol=0)
        counts.append(count)
    return counts
