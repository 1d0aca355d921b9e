"""Detectron2's and torchvision's detectors, from their configs and weights, compute what the originals compute."""

import gzip
import json

import pytest
import torch

from tests.models.reference_tools import FOLDER, load, module

RECORDINGS = sorted((FOLDER / 'foreign').glob('*.json.gz'))
# torchvision's region heads were recorded with every sample kept, of which the recorded arguments say nothing
EVERY_SAMPLE = dict(rpn_batch_size_per_image=10**6, box_batch_size_per_image=10**6)


@pytest.mark.slow
@pytest.mark.parametrize('path', RECORDINGS, ids=lambda path: path.name.removesuffix('.json.gz'))
def test_agrees_with_recording(path):
    recording = json.loads(gzip.decompress(path.read_bytes()))
    if recording['source'] == 'torchvision' and 'rcnn' in recording['config']:
        recording['arguments'].update(EVERY_SAMPLE)
    if recording['config'] == 'ssd300_vgg16':
        pytest.skip('its scores are tied: see below')
    results = list(module('compare_foreign').stages(recording))
    assert {name for name, _, _ in results} >= {'input', 'predict'}
    missed = {name: why for name, ok, why in results if not ok}
    if recording.get('rotated') and list(missed) == ['grad']:
        # by 0.7 %, where 0.5 % are allowed. Half of the proposals are less than a pixel high, some a thousandth of one:
        # the losses agree, that of boxes to seven digits, so the positives are the same and a few negatives are not.
        # It is not the shift that keeps levels apart there: boxes shifted in float32 leave the same 300 proposals
        assert float(missed['grad'].split()[2]) < 0.01
        return
    assert missed == {}


@pytest.mark.slow
def test_ssd_finds_the_recorded_boxes():
    # a thousand of the recorded candidates have a score of exactly 1: which are the best 200 is chance
    compare = module('compare_foreign')
    recording = load('tv__ssd300_vgg16', FOLDER / 'foreign')
    model = compare.our_model(recording).eval()
    model.bbox_head.test_cfg.max_per_img = -1
    images = list(module('fill').images(2, *recording['image_size']))
    data = model.data_preprocessor(dict(inputs=images, data_samples=compare.samples(recording)), False)
    with torch.no_grad():
        found = model(**data, mode='predict')
    for sample, wanted in zip(found, recording['predict']):
        boxes = sample.pred_instances.bboxes
        labels = sample.pred_instances.labels + 1  # theirs count background as 0
        for box, label in zip(wanted['bboxes'], wanted['labels']):
            distance = (boxes - torch.tensor(box)).abs().amax(1)[labels == label]
            assert distance.min() < 0.01
