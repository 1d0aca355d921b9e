"""Programs of each kind find what the models find, family by family."""

import importlib.util

import pytest

from mmdetlike.export.artifact import READERS
from tests.export.helpers import assert_equal_results, choosy, deployed

FAMILIES = (
    *('retinanet', 'fcos', 'atss', 'rtmdet', 'yolox', 'faster_rcnn', 'mask_rcnn', 'gfl', 'tood', 'yolov3', 'ssd'),
    *('centernet', 'cascade_rcnn', 'detr', 'deformable_detr', 'dino', 'rt_detr', 'd_fine', 'rtmdet_ins'),
    *('keypoint_rcnn', 'point_rend', 'mask2former_instance'),
)


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('kind', ['torch', 'aoti', 'onnx'])
def test_a_program_finds_what_the_model_finds(kind, family, tmp_path):
    if kind == 'onnx' and not all(map(importlib.util.find_spec, ('onnx', 'onnxscript', 'onnxruntime'))):
        pytest.skip('ONNX needs the packages of pip install .[deploy]')
    folder = deployed(tmp_path, family, kind)
    program = READERS[kind](next(path for path in folder.iterdir() if path.suffix in ('.pt2', '.onnx')))
    assert program.sizes.largest == program.sizes.smallest == (64, 64)
    assert max(assert_equal_results(program.run, choosy(family))) > 0
