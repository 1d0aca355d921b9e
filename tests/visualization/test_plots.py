import json
import sys

import numpy as np
import pytest
from PIL import Image

from mmdetlike.visualization.plots import (
    _metrics,
    _smooth,
    collect_curves,
    plot_curves,
    plot_training_curves,
    read_scalars,
)


def rows(epochs=2, per_epoch=3):
    found = []
    for epoch in range(1, epochs + 1):
        for i in range(1, per_epoch + 1):
            step = (epoch - 1) * per_epoch + i
            found.append(
                {'lr': 0.1, 'loss': 1 / step, 'loss_cls': 0.5 / step, 'epoch': epoch, 'iter': step, 'step': step}
            )
        found.append({'coco/bbox_mAP': 0.1 * epoch, 'coco/bbox_mAP_s': 0.0, 'time': 0.1, 'step': epoch})
    return found


def test_curves_place_validation_at_its_iteration():
    curves = collect_curves(rows())
    assert curves['loss'][0].tolist() == [1, 2, 3, 4, 5, 6]
    assert curves['coco/bbox_mAP'][0].tolist() == [3, 6]
    assert curves['coco/bbox_mAP'][1] == pytest.approx([0.1, 0.2])
    by_iteration = collect_curves([{'loss': 1.0, 'step': 50}, {'coco/bbox_mAP': 0.3, 'step': 60}])
    assert by_iteration['coco/bbox_mAP'][0].tolist() == [60]


def test_headline_metrics():
    curves = collect_curves(rows())
    assert list(_metrics(curves)) == ['coco/bbox_mAP']
    assert list(_metrics({'a/precision': (1, 2), 'loss': (1, 2)})) == ['a/precision']


def test_smoothing_is_unbiased_and_skips_what_is_not_finite():
    np.testing.assert_allclose(_smooth(np.full(100, 3.0)), 3.0)
    assert np.isfinite(_smooth(np.array([1.0, np.nan, np.inf, 2.0]))).all()


def test_read_scalars(tmp_path):
    path = tmp_path / 'scalars.json'
    path.write_text('{"loss": 1.0}\n\n{"loss": NaN}\n{"lo')
    assert read_scalars(path)[0] == {'loss': 1.0} and len(read_scalars(path)) == 2
    path.write_text('{"loss": 1.0}\nnonsense\n{"loss": 2.0}')
    with pytest.raises(ValueError, match='line 2'):
        read_scalars(path)


@pytest.mark.parametrize('loss', [{}, {'loss': float('nan')}])
def test_figure_from_file(tmp_path, loss):
    log, out = tmp_path / 'scalars.json', tmp_path / 'new' / 'curves.png'
    log.write_text('\n'.join(json.dumps({**row, **loss}) for row in rows()))
    plot_training_curves(log, out)
    picture = np.array(Image.open(out).convert('RGB'))
    assert picture.shape[0] > 600 and picture.std() > 10


def test_panels_follow_what_is_there(tmp_path):
    heights = []
    for name, kept in (('loss', ('loss', 'step')), ('all', ('loss', 'lr', 'coco/bbox_mAP', 'step'))):
        plot_training_curves([{k: v for k, v in row.items() if k in kept} for row in rows()], tmp_path / f'{name}.png')
        heights.append(Image.open(tmp_path / f'{name}.png').height)
    assert heights[0] < heights[1]
    with pytest.raises(ValueError, match=r"nothing|no losses.*\['foo'\]"):
        plot_training_curves([{'foo': 1}], tmp_path / 'x.png')


def test_no_pyplot(tmp_path):
    loaded = 'matplotlib.pyplot' in sys.modules
    plot_curves({'a': (np.arange(3), np.arange(3))}, tmp_path / 'a.png', title='t')
    assert ('matplotlib.pyplot' in sys.modules) == loaded
    assert (tmp_path / 'a.png').stat().st_size > 1000
