"""Detectron2's and torchvision's detectors, from their configs and weights, compute what the originals compute."""

import gzip
import json

import pytest

from tests.models.reference_tools import FOLDER, module

RECORDINGS = sorted((FOLDER / 'foreign').glob('*.json.gz'))


@pytest.mark.slow
@pytest.mark.parametrize('path', RECORDINGS, ids=lambda path: path.name.removesuffix('.json.gz'))
def test_agrees_with_recording(path):
    recording = json.loads(gzip.decompress(path.read_bytes()))
    results = list(module('compare_foreign').stages(recording))
    assert {name for name, _, _ in results} >= {'input', 'predict'}
    assert [(name, why) for name, ok, why in results if not ok] == []
