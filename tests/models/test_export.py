"""Detection as tensors alone: equal to ``predict``, and one graph under ``torch.export``."""

import pytest
import torch
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.detectors.panoptic import MaskFormer
from mmdetlike.models.detectors.two_stage import TwoStageDetector
from tests.models.families import build
from tests.models.tiny import make_sample, predict

QUICK = ('retinanet', 'fcos', 'yolox', 'rtmdet', 'mask_rcnn')
OTHERS = (
    'detr',
    'conditional_detr',
    'dab_detr',
    'deformable_detr',
    'deformable_detr_two_stage',
    'dino',
    'atss',
    'gfl',
    'vfnet',
    'tood',
    'ssd',
    'yolov3',
    'centernet',
    'faster_rcnn',
    'faster_rcnn_c4',
    'cascade_rcnn',
    'cascade_mask_rcnn',
    'htc',
    'scnet',
    'point_rend',
    'ms_rcnn',
    'keypoint_rcnn',
    'grid_rcnn',
    'double_heads',
    'sabl_cascade',
    'dynamic_rcnn',
    'groie',
    'panoptic_fpn',
    'cascade_rpn',
    'ga_faster_rcnn',
    'sparse_rcnn',
    'queryinst',
    'rt_detr',
    'd_fine',
    'rtmdet_ins',
    'mask2former_instance',
    'mask2former_panoptic',
)
EXPORTED = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]


class Detect(nn.Module):
    """What is exported: one image -> its boxes, scores and labels."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        return self.model.detect(image)[0]


FIELDS = dict(boxes='bboxes')  # where a sample has another name for what is found
IMAGES = [torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(i)) * (i + 1) for i in range(3)]


def make_choosy(model) -> None:
    """Let how many proposals and objects a detector of regions finds differ from image to image."""
    proposals = [model.rpn_head.detect_maps(model.extract_feat(image), [(64, 64)])[0]['scores'] for image in IMAGES]
    model.rpn_head.test_cfg.score_thr = float(torch.cat(proposals).quantile(0.5))
    scores = torch.cat([model.detect(image)[0]['scores'] for image in IMAGES])
    model.roi_head.test_cfg.score_thr = float(scores.quantile(0.5))


@pytest.mark.parametrize('family', EXPORTED)
@torch.no_grad()
def test_the_exported_program_gives_equal_results(family):
    detect = Detect(build(family).eval())
    is_choosy = isinstance(detect.model, TwoStageDetector) and family not in ('sparse_rcnn', 'queryinst')
    if is_choosy:
        make_choosy(detect.model)
    program = torch.export.export(detect, (torch.randn(1, 3, 64, 64),), strict=False).module()
    counts = set()
    for image in IMAGES:
        got, expected = program(image), detect(image)
        assert list(got) == list(expected)
        assert list(got)[:3] == ['boxes', 'scores', 'labels']
        for name, value in expected.items():
            torch.testing.assert_close(got[name], value, atol=1e-4, rtol=1e-4)
        counts.add(len(expected['boxes']))
    assert max(counts) > 0
    assert not is_choosy or min(counts) < 20


@pytest.mark.parametrize('family', [*EXPORTED, 'ddq_detr'])
@torch.no_grad()
def test_detect_is_predict(family):
    model, shapes = build(family).eval(), [(64, 64), (40, 56)]
    samples = predict(model, [make_sample(0, shape, index=i) for i, shape in enumerate(shapes)])
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (3, *shape), generator=generator, dtype=torch.uint8) for shape in shapes]
    inputs = model.data_preprocessor(dict(inputs=images, data_samples=[make_sample(0, shape) for shape in shapes]))
    for found, sample in zip(model.detect(inputs['inputs'], shapes), samples):
        expected = sample.pred_instances
        assert len(expected) > 0
        assert set(expected.keys()) == {FIELDS.get(name, name) for name in found}
        if isinstance(model, MaskFormer):  # which predicts in no order
            expected = expected[expected.scores.argsort(descending=True, stable=True)]
        for name, value in found.items():
            torch.testing.assert_close(value, expected[FIELDS.get(name, name)])


def test_given_proposals_are_no_tensors_of_an_image():
    with pytest.raises(ValueError, match='FastRCNN has no rpn_head'):
        build('fast_rcnn').eval().detect(torch.randn(1, 3, 64, 64))


def test_a_graph_needs_to_know_how_many_boxes_there_can_be():
    model = build('faster_rcnn').eval()
    model.test_cfg.rpn.max_per_img = 0
    with pytest.raises(ConfigError, match=r'test_cfg\.rpn\.max_per_img=0 must be > 0'):
        torch.export.export(Detect(model), (torch.randn(1, 3, 64, 64),), strict=False)
