"""Programs find in the recorded images what the recorded models find in them (see tests/data/reference)."""

from fnmatch import fnmatch

import pytest
import torch

from mmdetlike.export import deploy
from mmdetlike.export.artifact import READERS
from mmdetlike.export.manifest import PROGRAMS
from tests.export.helpers import PIPELINE, assert_equal_results
from tests.export.test_families import skip_without_packages
from tests.models.reference_tools import load, module

# recordings of the families of docs/deploy.md; of Keypoint R-CNN and RT-DETR there is none
RECORDINGS = (
    'retinanet__retinanet_r18_fpn_1x_coco',
    'fcos__fcos_r50-caffe_fpn_gn-head_1x_coco',
    'atss__atss_r50_fpn_1x_coco',
    'gfl__gfl_r50_fpn_1x_coco',
    'tood__tood_r50_fpn_1x_coco',
    'yolo__yolov3_mobilenetv2_8xb24-ms-416-300e_coco',
    'yolox__yolox_nano_8xb8-300e_coco',
    'rtmdet__rtmdet_s_8xb32-300e_coco',
    'rtmdet__rtmdet-ins_s_8xb32-300e_coco',
    'ssd__ssdlite_mobilenetv2-scratch_8xb24-600e_coco',
    'centernet__centernet_r18-dcnv2_8xb16-crop512-140e_coco',
    'faster_rcnn__faster-rcnn_r50_fpn_1x_coco',
    'mask_rcnn__mask-rcnn_r50_fpn_1x_coco',
    'cascade_rcnn__cascade-rcnn_r50_fpn_1x_coco',
    'point_rend__point-rend_r50-caffe_fpn_ms-1x_coco',
    'detr__detr_r50_8xb2-150e_coco',
    'deformable_detr__deformable-detr_r50_16xb2-50e_coco',
    'dino__dino-4scale_r50_8xb2-12e_coco',
    'mask2former__mask2former_r50_8xb2-lsj-50e_coco',
)
# what some recorded weights are multiplied by, as rounding changes what the model itself finds with them
FACTORS = {
    # scores that are 1 of many proposals and of all objects, and proposals 0.0006 pixels from those in double precision
    'point_rend__point-rend_r50-caffe_fpn_ms-1x_coco': {
        'roi_head.bbox_head.fc_cls.*': 0.01,
        'roi_head.bbox_head.fc_reg.*': 0.1,
        'rpn_head.rpn_cls.*': 0.1,
        'rpn_head.rpn_reg.*': 0.1,
    },
    # boxes 0.005 pixels from those of the same model in double precision, and others where two queries change places
    'dino__dino-4scale_r50_8xb2-12e_coco': {
        '*.sampling_offsets.weight': 0.1,
        'bbox_head.reg_branches.*.4.weight': 0.1,
        'query_embedding.weight': 0.0,
    },
}
# of models with equal scores at the limit: what lets them return all objects that their program may choose from
WIDER_LIMITS = {
    'rtmdet__rtmdet_s_8xb32-300e_coco': dict(max_per_img=-1),
    'centernet__centernet_r18-dcnv2_8xb16-crop512-140e_coco': dict(topk=200, max_per_img=200),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', RECORDINGS)
@pytest.mark.parametrize('kind', ['torch', 'onnx', 'aoti'])
def test_a_program_finds_in_recorded_images_what_the_model_finds(kind, name, tmp_path):
    skip_without_packages(kind)
    recording = load(name)
    compare = module('compare')
    model = compare.build(recording, 'mmdetlike').eval()
    multiply(model, FACTORS.get(name, {}))
    if name.startswith('ssd__'):  # its scores are all below the threshold
        model.bbox_head.test_cfg.score_thr = 0.0
    count = recording['num_classes']
    model.dataset_meta = dict(classes=[str(i) for i in range(count)], palette=[(0, 0, 0)] * count)
    pixels = list(compare.fill.images(2, *recording['image_size']))
    images = model.data_preprocessor(dict(inputs=pixels, data_samples=None))['inputs']
    deploy(model, tmp_path, kind, tuple(images.shape[-2:]), PIPELINE)
    program = READERS[kind](tmp_path / PROGRAMS[kind])
    if name in WIDER_LIMITS:
        model.bbox_head.test_cfg.update(WIDER_LIMITS[name])
    assert max(assert_equal_results(program.run, model, images[:, None])) > 0


@torch.no_grad()
def multiply(model, factors):
    """Multiply the parameters whose names match a pattern."""
    for pattern, factor in factors.items():
        matching = [value for name, value in model.named_parameters() if fnmatch(name, pattern)]
        assert matching
        torch._foreach_mul_(matching, factor)
