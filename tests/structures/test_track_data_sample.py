"""TrackDataSample: frames, key and reference frames, and what moves all frames."""

import copy
import pickle

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData

from mmdetlike.structures import DetDataSample, TrackDataSample


def frame(number):
    sample = DetDataSample(metainfo=dict(frame_id=number))
    sample.gt_instances = InstanceData(labels=torch.tensor([number]), scores=torch.ones(1, requires_grad=True))
    return sample


def clip(length=4, **meta):
    sample = TrackDataSample(metainfo=dict(video_id=7, **meta))
    sample.video_data_samples = [frame(i) for i in range(length)]
    return sample


def ids(frames):
    return [frame.frame_id for frame in frames]


def test_frames_by_index_slice_and_loop():
    sample = clip()
    assert len(sample) == 4 and sample[1].frame_id == 1 and sample[-1].frame_id == 3
    assert ids(sample[1:3]) == [1, 2] and ids(sample) == [0, 1, 2, 3]
    assert sample.video_id == 7


def test_one_frame_is_a_clip():
    sample = TrackDataSample()
    sample.video_data_samples = frame(5)
    assert ids(sample) == [5]


def test_key_and_reference_frames():
    sample = clip(key_frames_inds=[2], ref_frames_inds=[0, -1])
    assert ids(sample.get_key_frames()) == [2] and ids(sample.get_ref_frames()) == [0, 3]


def test_a_sample_without_frames():
    sample = TrackDataSample()
    assert len(sample) == 0 and list(sample) == [] and bool(sample)
    assert len(sample.to(torch.float64)) == 0


@pytest.mark.parametrize('make', [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_copies_share_nothing(make):
    sample = TrackDataSample(metainfo=dict(key_frames_inds=[0]))
    plain = frame(3)
    plain.gt_instances.scores = torch.ones(1)
    sample.video_data_samples = [plain]
    copied = make(sample)
    copied[0].gt_instances.labels.zero_()
    assert sample[0].gt_instances.labels.tolist() == [3] and copied.key_frames_inds == [0]


def test_clones_have_frames_of_their_own():
    sample = clip(2)
    cloned = sample.clone()
    del cloned[0].gt_instances
    assert 'gt_instances' in sample[0] and cloned.video_id == 7


def test_all_frames_move():
    sample = clip(2)
    moved = sample.to(torch.float64)
    assert isinstance(moved, TrackDataSample) and moved.video_id == 7
    assert [frame.gt_instances.labels.dtype for frame in moved] == [torch.float64] * 2
    assert [frame.gt_instances.labels.dtype for frame in sample] == [torch.int64] * 2
    assert all(not frame.gt_instances.scores.requires_grad for frame in sample.detach())
    arrays = sample.detach().numpy()
    assert all(isinstance(frame.gt_instances.labels, np.ndarray) for frame in arrays)
    assert all(isinstance(frame.gt_instances.labels, torch.Tensor) for frame in arrays.to_tensor())
    assert all(frame.gt_instances.labels.device.type == 'cpu' for frame in sample.cpu())


def test_batches_are_lists_of_clips():
    batch = pseudo_collate([dict(data_samples=clip(2)), dict(data_samples=clip(3))])
    assert [len(sample) for sample in batch['data_samples']] == [2, 3]


@pytest.mark.parametrize(
    'value, message',
    [
        (torch.zeros(2), 'must be a list of DetDataSample, got a Tensor'),
        ([frame(0), InstanceData()], 'must be a list of DetDataSample, but frame 1 is a InstanceData'),
    ],
)
def test_other_frames_are_refused(value, message):
    with pytest.raises(TypeError, match=message):
        TrackDataSample().video_data_samples = value


def test_frames_that_are_not_there():
    with pytest.raises(IndexError, match='the clip has 4 frames, there is no frame 4'):
        clip()[4]
    with pytest.raises(ValueError, match='no key_frames_inds in its metainfo, only video_id'):
        clip().get_key_frames()
    with pytest.raises(ValueError, match=r'ref_frames_inds=\[1, 4\] has \[4\], but the clip has only 4 frames'):
        clip(ref_frames_inds=[1, 4]).get_ref_frames()
