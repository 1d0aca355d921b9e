import copy
import pickle

import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from mmdetlike.structures import DetDataSample, HorizontalBoxes


def make():
    sample = DetDataSample(metainfo={'img_shape': (10, 20)})
    sample.gt_instances = InstanceData(bboxes=HorizontalBoxes([[1, 2, 3, 4]]), labels=torch.tensor([5]))
    sample.pred_sem_seg = PixelData(sem_seg=torch.zeros(1, 10, 20))
    return sample


def test_fields_keep_their_values():
    sample = make()
    assert sample.gt_instances.labels.tolist() == [5]
    assert sorted(sample.keys()) == ['gt_instances', 'pred_sem_seg']
    assert 'pred_instances' not in sample
    assert sample.img_shape == (10, 20)
    del sample.gt_instances
    assert 'gt_instances' not in sample


def test_fields_reject_other_types():
    with pytest.raises(TypeError, match=r'gt_instances must be of type InstanceData.*Tensor'):
        DetDataSample().gt_instances = torch.zeros(3)
    with pytest.raises(TypeError, match='PixelData'):
        DetDataSample().gt_sem_seg = InstanceData()


def test_samples_copy_move_and_pickle():
    sample = make()
    for copied in (copy.deepcopy(sample), pickle.loads(pickle.dumps(sample))):
        copied.gt_instances.bboxes.tensor.zero_()
        assert sample.gt_instances.bboxes.tensor.tolist() == [[1, 2, 3, 4]]
    assert sample.to(torch.float64).gt_instances.bboxes.dtype == torch.float64
