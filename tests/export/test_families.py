"""Programs of each kind find what the models find, family by family."""

import importlib.util

import pytest
import torch

from mmdetlike.export import deploy
from mmdetlike.export.artifact import READERS
from mmdetlike.export.manifest import PROGRAMS
from mmdetlike.export.program import Sizes
from tests.export.helpers import (
    IMAGES,
    PIPELINE,
    assert_equal_results,
    assert_equal_results_of_batch,
    choosy,
    deployed,
)

FAMILIES = (
    *('retinanet', 'fcos', 'atss', 'rtmdet', 'yolox', 'faster_rcnn', 'mask_rcnn', 'gfl', 'tood', 'yolov3', 'ssd'),
    *('centernet', 'cascade_rcnn', 'detr', 'deformable_detr', 'dino', 'rt_detr', 'd_fine', 'rtmdet_ins'),
    *('keypoint_rcnn', 'point_rend', 'mask2former_instance'),
)


def skip_without_packages(kind):
    if kind == 'onnx' and not all(map(importlib.util.find_spec, ('onnx', 'onnxscript', 'onnxruntime'))):
        pytest.skip('ONNX needs the packages of pip install .[deploy]')


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('kind', ['torch', 'aoti', 'onnx'])
def test_a_program_finds_what_the_model_finds(kind, family, tmp_path):
    skip_without_packages(kind)
    folder = deployed(tmp_path, family, kind)
    program = READERS[kind](folder / PROGRAMS[kind])
    assert program.sizes.largest == program.sizes.smallest == (64, 64)
    assert max(assert_equal_results(program.run, choosy(family))) > 0


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('kind', ['torch', 'onnx'])
def test_a_program_of_many_sizes_finds_what_the_model_finds(kind, family, tmp_path):
    skip_without_packages(kind)
    deploy(choosy(family), tmp_path, kind, (224, 256), PIPELINE, smallest_size=(128, 128))
    program = READERS[kind](tmp_path / PROGRAMS[kind])
    assert program.sizes == Sizes((128, 128), (224, 256), 32)
    for seed, size in enumerate([(128, 128), (128, 256), (192, 160), (224, 256)]):
        image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(seed)) * 2
        assert max(assert_equal_results(program.run, choosy(family), [image])) > 0


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('kind', ['torch', 'onnx'])
def test_a_program_of_a_batch_finds_what_the_model_finds(kind, family, tmp_path):
    skip_without_packages(kind)
    folder = deployed(tmp_path, family, kind, batch_size=3)
    program = READERS[kind](folder / PROGRAMS[kind])
    assert program.sizes == Sizes.fixed(64, 64, batch_size=3)
    assert max(assert_equal_results_of_batch(program.run, choosy(family), torch.cat(IMAGES))) > 0
