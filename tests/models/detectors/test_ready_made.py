"""Detectors of modules that are made already."""

import torch
from torch import nn

from mmdetlike.models.detectors import FasterRCNN, RetinaNet
from mmdetlike.registry import MODELS
from tests.models.tiny import config, losses, make_sample, predict


class Stem(nn.Module):
    """A backbone of one's own."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(c, 2 * c if c > 3 else 8, 3, 2, 1) for c in (3, 8, 16, 32))

    def forward(self, x):
        maps = []
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        return tuple(maps)


def test_a_backbone_of_ones_own():
    backbone = Stem()
    model = MODELS.build(dict(config('faster_rcnn'), backbone=backbone))
    assert model.backbone is backbone
    terms = losses(model, [make_sample(2)])
    assert torch.isfinite(terms['loss_cls'])
    assert 'pred_instances' in predict(model, [make_sample(2)])[0]


def test_every_part_may_be_a_module():
    torch.manual_seed(0)
    expected = MODELS.build(config('faster_rcnn'))
    cfg = config('faster_rcnn')
    parts = {name: getattr(expected, name) for name in ('backbone', 'neck', 'rpn_head', 'roi_head')}
    model = FasterRCNN(**parts, data_preprocessor=expected.data_preprocessor, train_cfg=cfg['train_cfg'])
    sample = make_sample(2)
    (one,) = predict(expected, [sample])
    boxes = one.pred_instances.bboxes
    # the heads know their test_cfg
    (other,) = predict(model, [make_sample(2)])
    assert torch.equal(other.pred_instances.bboxes, boxes) and len(boxes)
    assert model.state_dict().keys() == expected.state_dict().keys()


def test_single_stage():
    expected = MODELS.build(config('retinanet'))
    model = RetinaNet(backbone=expected.backbone, neck=expected.neck, bbox_head=expected.bbox_head)
    assert model.bbox_head is expected.bbox_head
