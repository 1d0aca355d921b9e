"""Anchors that fit the objects of a dataset."""

import re

import numpy as np
import pytest

from mmdetlike.cli.anchor_fitting import snippet
from mmdetlike.cli.optimize_anchors import main
from mmdetlike.datasets import anchor_fitting as fitting
from mmdetlike.errors import ConfigError

CENTERS = np.array([[10, 12], [40, 20], [30, 90]], dtype=float)


def clusters(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([center * np.exp(rng.normal(0, 0.03, (50, 2))) for center in CENTERS])


def test_iou_of_centered_boxes():
    iou = fitting.centered_iou(np.array([[10.0, 10.0]]), np.array([[10.0, 10.0], [5.0, 20.0], [20.0, 20.0]]))
    assert iou.tolist() == [[1, 50 / 150, 100 / 400]]


@pytest.mark.parametrize('search', [fitting.k_means, fitting.evolve_sizes])
def test_clusters_are_found(search):
    sizes = clusters()
    anchors = search(sizes, 3)
    np.testing.assert_allclose(anchors, CENTERS, rtol=0.05)
    assert fitting.fit(sizes, anchors)['mean IoU'] > 0.94
    assert fitting.fit(sizes, anchors)['above 0.7'] == 1


def test_equal_boxes_are_no_hindrance():
    sizes = np.full((6, 2), 8.0)
    assert fitting.k_means(sizes, 3).tolist() == [[8, 8]] * 3
    assert np.isfinite(fitting.evolve_sizes(sizes, 2)).all()


def test_ratios_and_scales_are_found():
    base_sizes = np.array([8.0, 16.0])
    true_ratios, true_scales = np.array([0.4, 1.5]), np.array([3.0])
    sizes = np.repeat(fitting.anchor_sizes(base_sizes, true_ratios, true_scales), 20, axis=0)
    ratios, scales = fitting.evolve_shapes(sizes, base_sizes, np.array([1.0, 2.0]), np.array([8.0]), shared=False)
    np.testing.assert_allclose(ratios, true_ratios, rtol=0.05)
    np.testing.assert_allclose(scales, true_scales, rtol=0.05)


def test_scales_of_an_octave_move_together():
    base_sizes = np.array([8.0])
    octave = np.array([1, 2**0.5])
    sizes = np.repeat(fitting.anchor_sizes(base_sizes, np.array([1.0]), 5 * octave), 20, axis=0)
    _, scales = fitting.evolve_shapes(sizes, base_sizes, np.array([1.0]), 4 * octave, shared=True)
    np.testing.assert_allclose(scales, 5 * octave, rtol=0.02)


def test_snippet():
    assert snippet('model.bbox_head.anchor_generator', dict(ratios=[1.0], scales=[2.0])) == (
        'model = dict(bbox_head=dict(anchor_generator=dict(ratios=[1.0], scales=[2.0])))'
    )


def mean_ious(text: str) -> list[float]:
    return [float(value) for value in re.findall(r'mean IoU ([\d.]+)', text)]


OPTIONS = ['--cfg-options', 'train_dataloader.dataset.length=20']


def test_tool_on_yolo(tmp_path, capsys):
    main(['yolov3_r18_shapes', '--out', str(tmp_path / 'anchors.py'), *OPTIONS])
    before, after = mean_ious(capsys.readouterr().out)
    assert after > before
    values = {}
    exec((tmp_path / 'anchors.py').read_text(), values)
    base_sizes = values['model']['bbox_head']['anchor_generator']['base_sizes']
    assert [len(level) for level in base_sizes] == [3, 3, 3]
    # the strides of YOLOv3 fall from level to level
    areas = [[w * h for w, h in level] for level in base_sizes]
    assert min(areas[0]) >= max(areas[1]) and min(areas[1]) >= max(areas[2])


def test_tool_on_ratios(capsys):
    main(['retinanet_r18_fpn_shapes', *OPTIONS])
    out = capsys.readouterr().out
    before, after = mean_ious(out)
    assert after > before
    assert 'anchor_generator=dict(ratios=[' in out


@pytest.mark.parametrize('arguments, message', [
    (['fcos_r18_fpn_shapes'], 'expected a model with an anchor_generator .* got one without anchors'),
    (['retinanet_r18_fpn_shapes', '--algorithm', 'k-means'], 'of ratios and scales: use differential_evolution'),
    (['ssd_r18_shapes'], "got model.bbox_head.anchor_generator of type 'SSDAnchorGenerator'"),
])  # fmt: skip
def test_what_it_cannot_do(arguments, message):
    with pytest.raises(ConfigError, match=message):
        main(arguments)
