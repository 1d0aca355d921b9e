"""Detectors agree, stage by stage, with what the original implementations computed (see tests/data/reference)."""

import warnings

import pytest

from tests.models.reference_tools import compare_stages, load, random_stages, recordings

QUICK = (
    'faster_rcnn__faster-rcnn_r50_fpn_1x_coco',
    'retinanet__retinanet_r18_fpn_1x_coco',
    'rpn__rpn_r50_fpn_1x_coco',
)
STAGES = ['state', 'input', 'backbone', 'neck', 'predict', 'loss', 'grad']


@pytest.fixture(autouse=True)
def _keep_warning_filters():
    with warnings.catch_warnings():  # compare.py silences warnings for the whole process
        yield


def test_the_quick_recordings_are_there():
    assert set(QUICK) <= set(recordings())


@pytest.mark.parametrize(
    'name', [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in recordings()]
)
def test_detector_agrees_with_its_recording(name):
    recording = load(name)
    results = list(compare_stages(recording))
    for stage, agrees, why in results:
        print(f'{"ok  " if agrees else "MISS"} {stage} {why}')
    missed = [f'{stage}: {why}' for stage, agrees, why in results if not agrees]
    assert not missed, f'{recording["config"]}: {"; ".join(missed)}'
    expected = [s for s in STAGES if s in recording or s in ('state', 'input') or (s == 'grad' and 'loss' in recording)]
    assert [stage for stage, _, _ in results] == [s for s in expected if s not in random_stages(recording)]


def test_a_wrong_number_is_reported():
    recording = load('retinanet__retinanet_r18_fpn_1x_coco')
    recording['neck'][1]['mean'] += 1
    recording = {key: value for key, value in recording.items() if key not in ('predict', 'loss')}
    misses = [(stage, why) for stage, agrees, why in compare_stages(recording) if not agrees]
    assert [stage for stage, _ in misses] == ['neck']
    assert 'map 1: mean' in misses[0][1]
