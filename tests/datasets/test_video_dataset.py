"""Clips of moving squares: from a COCO-VID file and pictures to a batch of clips, and files that are wrong."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate

from mmdetlike.datasets import BaseVideoDataset, DataError, SeededIndex
from mmdetlike.datasets.transforms import TransformBroadcaster, UniformRefFrameSample
from mmdetlike.errors import ConfigError
from mmdetlike.models.data_preprocessors import TrackDataPreprocessor
from mmdetlike.structures import TrackDataSample

CLASSES = ('square', 'bar')
SIZES = {'square': (10, 10), 'bar': (20, 6)}
HEIGHT, WIDTH = 48, 64
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadTrackAnnotations')]


def moving_box(name, number, video):
    """x, y, w, h of a shape that moves 3 pixels a frame."""
    start = 2 + 5 * CLASSES.index(name) + video
    return [start + 3 * number, 4 + 20 * CLASSES.index(name), *SIZES[name]]


def write_videos(folder, lengths=(5, 3), change=None):
    """Pictures and a COCO-VID file; frames are listed from the last to the first."""
    content = dict(videos=[], images=[], annotations=[], categories=[])
    content['categories'] = [dict(id=i + 1, name=name) for i, name in enumerate(CLASSES)]
    for video, length in enumerate(lengths):
        content['videos'].append(dict(id=video, name=f'video{video}'))
        for number in reversed(range(length)):
            write_frame(folder, content, video, number)
    if change is not None:
        change(content)
    (folder / 'videos.json').write_text(json.dumps(content))
    return folder


def write_frame(folder, content, video, number):
    image_id, file_name = 100 * video + number, f'{video}_{number}.png'
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for i, name in enumerate(CLASSES):
        x, y, w, h = box = moving_box(name, number, video)
        picture[y : y + h, x : x + w] = 100 + 100 * i
        content['annotations'].append(
            dict(id=len(content['annotations']), image_id=image_id, category_id=i + 1, bbox=box, instance_id=10 + i)
        )
    cv2.imwrite(str(folder / file_name), picture)
    shape = dict(height=HEIGHT, width=WIDTH)
    content['images'].append(dict(id=image_id, file_name=file_name, video_id=video, frame_id=number, **shape))


def dataset(folder, pipeline=(), **kwargs):
    return BaseVideoDataset(
        ann_file='videos.json', data_root=str(folder), metainfo=dict(classes=CLASSES), pipeline=list(pipeline), **kwargs
    )


def pipeline(*steps, sample=(), share=True):
    broadcast = dict(type='TransformBroadcaster', share_random_params=share, transforms=[*LOAD, *steps])
    return [*sample, broadcast, dict(type='PackTrackInputs')]


def test_a_sample_is_a_video_with_its_frames_in_order(tmp_path):
    videos = dataset(write_videos(tmp_path))
    assert len(videos) == 2
    clip = videos[0]
    assert [frame['frame_id'] for frame in clip['frames']] == [0, 1, 2, 3, 4] and clip['video_length'] == 5
    assert clip['key_frame_flags'] == [True] * 5
    assert clip['frames'][2]['img_path'].endswith('0_2.png')
    assert clip['frames'][2]['instances'][1] == dict(ignore_flag=0, bbox=[13, 24, 33, 30], bbox_label=1, instance_id=11)
    assert videos.get_cat_ids(1) == [0, 1] * 3


def test_the_whole_clip_is_packed(tmp_path):
    data = dataset(write_videos(tmp_path), pipeline())[0]
    sample = data['data_samples']
    assert data['inputs'].shape == (5, 3, HEIGHT, WIDTH) and isinstance(sample, TrackDataSample) and len(sample) == 5
    assert (sample.video_id, sample.video_length) == (0, 5)
    assert sample.key_frames_inds == [0, 1, 2, 3, 4] and sample.ref_frames_inds == []
    for number, frame in enumerate(sample):
        x, y, w, h = moving_box('square', number, 0)
        assert frame.gt_instances.bboxes.tensor[0].tolist() == [x, y, x + w, y + h]
        assert bool((data['inputs'][number, :, y : y + h, x : x + w] == 100).all())
        assert frame.gt_instances.instances_ids.tolist() == [10, 11] and frame.frame_id == number


def test_frames_are_flipped_together(tmp_path):
    videos = dataset(write_videos(tmp_path, lengths=(8,)), pipeline(dict(type='RandomFlip', prob=0.5)))
    flips = {tuple(frame.flip for frame in videos[SeededIndex(0, seed)]['data_samples']) for seed in range(20)}
    assert flips == {(True,) * 8, (False,) * 8}
    apart = dataset(tmp_path, pipeline(dict(type='RandomFlip', prob=0.5), share=False))
    assert len({frame.flip for frame in apart[SeededIndex(0, 1)]['data_samples']}) == 2


def test_key_and_reference_frames(tmp_path):
    sampler = dict(type='UniformRefFrameSample', num_ref_imgs=2, frame_range=[-2, 1])
    videos = dataset(write_videos(tmp_path, lengths=(9,)), pipeline(sample=[sampler]))
    seen = set()
    for seed in range(60):
        data = videos[SeededIndex(0, seed)]
        sample = data['data_samples']
        (key,) = sample.get_key_frames()
        offsets = [frame.frame_id - key.frame_id for frame in sample.get_ref_frames()]
        assert len(data['inputs']) == len(sample) == 3
        assert len(set(offsets)) == (1 if key.frame_id == 0 else 2)  # the first frame has but one that is near
        assert [frame.frame_id for frame in sample] == sorted(frame.frame_id for frame in sample)
        seen |= set(offsets)
    assert seen == {-2, -1, 1}


@pytest.mark.parametrize('length, filter_key_img, expected', [(1, True, {0}), (2, True, {1}), (1, False, {0})])
def test_short_clips_repeat_frames(length, filter_key_img, expected):
    results = dict(frames=[dict(frame_id=i) for i in range(length)])
    sampled = UniformRefFrameSample(num_ref_imgs=3, filter_key_img=filter_key_img)(dict(results))
    flags = sampled['key_frame_flags']
    assert sorted(flags) == [False] * 3 + [True] and len(sampled['frames']) == 4
    key = sampled['frames'][flags.index(True)]['frame_id']
    others = {abs(f['frame_id'] - key) for f, is_key in zip(sampled['frames'], flags) if not is_key}
    assert others == expected
    assert len({id(frame) for frame in sampled['frames']}) == 4  # none is changed twice


def test_a_frame_given_up_gives_up_the_clip():
    assert (
        TransformBroadcaster(lambda frame: None if frame['n'] else frame)(dict(frames=[dict(n=0), dict(n=1)])) is None
    )


def test_batches_of_clips(tmp_path):
    sampler = dict(type='UniformRefFrameSample', num_ref_imgs=1)
    videos = dataset(write_videos(tmp_path), pipeline(sample=[sampler]))
    batch = pseudo_collate([videos[0], videos[1]])
    preprocessor = TrackDataPreprocessor(mean=[100.0] * 3, std=[10.0] * 3, pad_size_divisor=32)
    out = preprocessor(batch, training=True)
    assert out['inputs'].shape == (2, 2, 3, 64, 64) and out['inputs'].dtype == torch.float32
    for i, clip in enumerate(out['data_samples']):
        assert isinstance(clip, TrackDataSample) and clip.video_id == i and len(clip.get_key_frames()) == 1
        for j, frame in enumerate(clip):
            assert frame.batch_input_shape == (64, 64) and isinstance(frame.gt_instances.bboxes, torch.Tensor)
            expected = (batch['inputs'][i][j].float() - 100) / 10
            torch.testing.assert_close(out['inputs'][i, j, :, :HEIGHT, :WIDTH], expected)
            assert bool((out['inputs'][i, j, :, HEIGHT:] == 0).all())


def test_clips_of_a_batch_have_equally_many_frames(tmp_path):
    videos = dataset(write_videos(tmp_path), pipeline())
    with pytest.raises(ConfigError, match=r'the clips of a batch have \[3, 5\] frames.*UniformRefFrameSample'):
        TrackDataPreprocessor()(pseudo_collate([videos[0], videos[1]]))
    with pytest.raises(ConfigError, match=r'inputs must be clips \(T, C, h, w\), got shapes \[\(3, 4, 4\)\]'):
        TrackDataPreprocessor()(dict(inputs=[torch.zeros(3, 4, 4)]))


def test_plain_images_in_training():
    inner = TrackDataPreprocessor(use_det_processor=True)
    assert inner(dict(inputs=[torch.zeros(3, 4, 4)]), training=True)['inputs'].shape == (1, 3, 4, 4)
    assert inner(dict(inputs=[torch.zeros(2, 3, 4, 4)]))['inputs'].shape == (1, 2, 3, 4, 4)


def test_frames_of_different_sizes_are_named(tmp_path):
    resize = dict(type='RandomChoiceResize', scales=[(64, 48), (32, 24)])
    videos = dataset(write_videos(tmp_path, lengths=(8,)), pipeline(resize, share=False))
    with pytest.raises(ConfigError, match=r'the frames of video 0 have images of the shapes \[\(3, 24, 32\), \(3, 48'):
        videos[SeededIndex(0, 0)]


def test_videos_are_filtered(tmp_path):
    def without_objects(content):
        content['annotations'] = [a for a in content['annotations'] if a['image_id'] < 100]

    write_videos(tmp_path, change=without_objects)
    assert len(dataset(tmp_path, filter_cfg=dict(filter_empty_gt=True))) == 1
    assert len(dataset(tmp_path, filter_cfg=dict(filter_empty_gt=True), test_mode=True)) == 2
    with pytest.raises(DataError, match='none of its 2 videos is left'):
        dataset(tmp_path, filter_cfg=dict(min_size=100))


@pytest.mark.parametrize(
    'key, value, message',
    [
        ('frame_id', 3, r'videos.json: images 4 and 3 both are frame 3 of video 0; expected one image a frame'),
        ('frame_id', 'first', r"videos.json: image 4 has frame_id='first'; expected a whole number"),
        ('video_id', 9, r'videos.json: image 4 is of video 9, which videos does not list'),
    ],
)
def test_wrong_frames_are_named(tmp_path, key, value, message):
    write_videos(tmp_path, change=lambda content: content['images'][0].update({key: value}))
    with pytest.raises(DataError, match=message):
        dataset(tmp_path)


def test_other_mistakes_are_named(tmp_path):
    write_videos(tmp_path, change=lambda content: content.pop('videos'))
    with pytest.raises(DataError, match=r"it has no list \['videos'\]"):
        dataset(tmp_path)
    write_videos(tmp_path, change=lambda content: content['images'][0].pop('video_id'))
    with pytest.raises(DataError, match="an image lacks 'video_id'"):
        dataset(tmp_path)
    write_videos(tmp_path, change=lambda content: content['annotations'][0].update(instance_id='car'))
    with pytest.raises(DataError, match="annotation 0 of image 4 has instance_id='car'; expected a whole number, the"):
        dataset(tmp_path)
    with pytest.raises(ConfigError, match=r'frame_range must be a number or .*, got \[1, 3\]'):
        UniformRefFrameSample(frame_range=[1, 3])
