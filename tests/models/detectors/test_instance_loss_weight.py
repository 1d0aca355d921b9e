"""Panoptic FPN weighs the losses of instances."""

import torch

from tests.models.families import build
from tests.models.tiny import losses, make_sample


def test_losses_of_instances_are_weighed_and_no_others():
    model = build('panoptic_fpn')
    samples = [make_sample([[4.0, 4, 40, 40]])]
    torch.manual_seed(0)
    plain = losses(model, samples)
    model.instance_loss_weight = 0.5
    torch.manual_seed(0)
    weighed = losses(model, samples)
    factors = {name: (weighed[name] / plain[name]).item() for name in plain if torch.is_tensor(plain[name])}
    assert factors['loss_bbox'] == factors['loss_mask'] == factors['loss_cls'] == 0.5
    assert factors['loss_seg'] == 1.0 and factors.get('acc', 1.0) == 1.0
    assert [part.item() for part in weighed['loss_rpn_cls']] == [part.item() / 2 for part in plain['loss_rpn_cls']]
