import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.visualization import Instances, to_instances
from mmdetlike.visualization.instances import mask_extents


class Boxes:
    def __init__(self, tensor):
        self.tensor = tensor

    def __len__(self):
        return len(self.tensor)


class Masks:
    def __init__(self, masks):
        self.masks = masks

    def __len__(self):
        return len(self.masks)

    def to_ndarray(self):
        return self.masks


def test_from_instance_data():
    data = InstanceData(
        bboxes=Boxes(torch.tensor([[1.0, 2, 3, 4]], requires_grad=True)),
        labels=torch.tensor([2]),
        scores=torch.tensor([0.5], dtype=torch.bfloat16),
        masks=Masks(np.ones((1, 5, 6), np.uint8)),
        keypoints=torch.ones(1, 3, 2),
        keypoint_scores=torch.tensor([[0.0, 0.5, 1.0]]),
    )
    found = to_instances(data)
    assert found.boxes.tolist() == [[1, 2, 3, 4]] and found.labels.tolist() == [2] and found.scores.tolist() == [0.5]
    assert found.masks.dtype == bool and found.masks.shape == (1, 5, 6)
    assert found.keypoints[0, :, 2].tolist() == [0, 0.5, 1]
    assert to_instances(found) is found


def test_from_dict_and_from_nothing():
    found = to_instances({'bboxes': [[1, 2, 3, 4]]})
    assert found.labels.tolist() == [0] and found.scores is None
    assert len(to_instances(InstanceData())) == 0
    assert len(to_instances({'bboxes': torch.zeros(0), 'labels': torch.zeros(0)})) == 0


def test_boxes_come_from_masks_where_missing():
    masks = np.zeros((2, 10, 12), bool)
    masks[0, 2:5, 3:9] = True
    assert mask_extents(masks).tolist() == [[3, 2, 9, 5], [0, 0, 0, 0]]
    assert to_instances({'masks': masks}).boxes[0].tolist() == [3, 2, 9, 5]


def test_what_does_not_match_is_refused():
    with pytest.raises(ValueError, match=r'\(2, 6\)'):
        to_instances({'bboxes': np.zeros((2, 6))})
    with pytest.raises(ValueError, match='2 boxes to draw but 1 labels'):
        to_instances({'bboxes': np.zeros((2, 4)), 'labels': np.zeros(1)})
    with pytest.raises(ValueError, match=r"need bboxes or masks, got \['labels'\]"):
        to_instances({'labels': np.zeros(1)})


def test_select_and_rescale():
    masks = np.zeros((2, 10, 20), bool)
    masks[1, :5] = True
    instances = Instances(np.array([[0.0, 0, 2, 2], [2, 4, 6, 8]]), np.array([0, 1]), np.array([0.1, 0.9]), masks)
    assert instances.by_importance().labels.tolist() == [1, 0]
    kept = instances.by_importance(0.5)
    assert kept.labels.tolist() == [1] and kept.masks[0][:5].all()
    large = kept.rescale(60, 20, (3, 2))
    assert large.boxes.tolist() == [[6, 8, 18, 16]]
    assert large.masks.shape == (1, 20, 60) and large.masks[0, :9].all() and not large.masks[0, 11:].any()
