"""Detection as tensors alone: equal to ``predict``, and one graph under ``torch.export``."""

import pytest
import torch
from torch import nn

from tests.models.families import build
from tests.models.tiny import make_sample, predict

QUICK = ('retinanet', 'fcos', 'yolox', 'rtmdet')
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
)
EXPORTED = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]


class Detect(nn.Module):
    """What is exported: one image -> its boxes, scores and labels."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        return self.model.detect(image)[0]


@pytest.mark.parametrize('family', EXPORTED)
@torch.no_grad()
def test_the_exported_program_gives_equal_results(family):
    detect = Detect(build(family).eval())
    program = torch.export.export(detect, (torch.randn(1, 3, 64, 64),), strict=False).module()
    counts = set()
    for seed in range(3):
        image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * (seed + 1)
        got, expected = program(image), detect(image)
        assert list(got) == ['boxes', 'scores', 'labels']
        for name, value in expected.items():
            torch.testing.assert_close(got[name], value, atol=1e-4, rtol=1e-4)
        counts.add(len(expected['boxes']))
    assert max(counts) > 0


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
        torch.testing.assert_close(found['boxes'], expected.bboxes)
        torch.testing.assert_close(found['scores'], expected.scores)
        assert torch.equal(found['labels'], expected.labels)
