"""Masks learned from labeled points, by hand."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData

from mmdetlike.models.heads.roi.point_sup_roi_head import point_targets
from mmdetlike.structures import DetDataSample
from tests.models.families import build
from tests.models.tiny import losses, make_sample, sampling

POINTS = [[[5.0, 5.0, 1.0], [10.0, 20.0, 0.0], [0.0, 0.0, 1.0], [8.0, 8.0, -1.0]]]


def test_points_in_their_region():
    sample = DetDataSample(metainfo=dict(img_path='a.jpg'))
    sample.gt_instances = InstanceData(points=torch.tensor(POINTS))
    region = torch.tensor([[5.0, 0.0, 15.0, 20.0]])
    result = sampling(region, [1], torch.tensor([[0.0, 0.0, 20.0, 20.0]]))
    coords, labels, counts = point_targets([result], [sample])
    assert coords[0, :2].tolist() == [[0, 0.25], [0.5, 1.0]]
    assert labels[0, :3].tolist() == [1, 0, 1]
    # the third lies outside of the region, the last has no label
    assert counts.tolist() == [[True, True, False, False]]
    del sample.gt_instances.points
    with pytest.raises(ValueError, match=r'needs gt_instances\.points; a\.jpg has none \(load them with LoadMaskPo'):
        point_targets([result], [sample])


def test_the_loss_is_that_of_logits_at_points():
    model = build('point_sup')
    torch.nn.init.zeros_(model.roi_head.mask_head.conv_logits.weight)
    torch.nn.init.constant_(model.roi_head.mask_head.conv_logits.bias, 2.0)
    sample = make_sample([[4, 4, 24, 24]])
    sample.gt_instances.points = torch.tensor([[[14.0, 14.0, 1.0], [14.0, 15.0, 0.0], [14.0, 14.0, -1.0]]])
    loss = losses(model, [sample])['loss_mask']
    logits = torch.tensor([2.0, 2.0])
    expected = F.binary_cross_entropy_with_logits(logits, torch.tensor([1.0, 0.0]), reduction='sum') / 3
    torch.testing.assert_close(loss.detach(), expected)


def test_masks_are_not_read():
    sample = make_sample(2)
    del sample.gt_instances.masks
    assert torch.isfinite(losses(build('point_sup'), [sample])['loss_mask'])
