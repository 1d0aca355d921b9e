"""Videos of YouTube-VIS and MOTChallenge as they are published."""

import copy
import json

import pytest

from mmdetlike.datasets import DataError, MOTChallengeDataset, YouTubeVISDataset

MASK = {'size': [40, 60], 'counts': [0, 10, 2390]}
YOUTUBE = {
    'videos': [
        {'id': 1, 'width': 60, 'height': 40, 'length': 3, 'file_names': ['a/0.jpg', 'a/5.jpg', 'a/10.jpg']},
        {'id': 2, 'width': 60, 'height': 40, 'length': 1, 'file_names': ['b/0.jpg']},
    ],
    'categories': [{'id': 2, 'name': 'ape'}, {'id': 1, 'name': 'zebra'}],
    'annotations': [
        {
            'id': 7,
            'video_id': 1,
            'category_id': 2,
            'iscrowd': 0,
            'bboxes': [[1, 2, 10, 20], None, [3, 2, 10, 20]],
            'segmentations': [MASK, None, MASK],
            'areas': [10, None, 10],
        },
        {'id': 8, 'video_id': 2, 'category_id': 1, 'iscrowd': 0, 'bboxes': [[5, 5, 9, 9]], 'segmentations': None},
    ],
}


def youtube(folder, content=YOUTUBE, **kwargs):
    (folder / 'train.json').write_text(json.dumps(content))
    arguments = dict(data_root=str(folder), data_prefix=dict(img_path='JPEGImages'), dataset_version='2019')
    return YouTubeVISDataset(ann_file='train.json', **arguments, **kwargs)


def test_videos_of_youtube_vis(tmp_path):
    dataset = youtube(tmp_path)
    assert dataset.metainfo['classes'] == ('zebra', 'ape')
    first, second = (dataset.get_data_info(i) for i in range(2))
    assert [frame['img_path'] for frame in first['images']] == [
        str(tmp_path / 'JPEGImages' / name) for name in YOUTUBE['videos'][0]['file_names']
    ]
    found = [[(i['bbox'], i['bbox_label'], i['instance_id']) for i in frame['instances']] for frame in first['images']]
    assert found == [[([1, 2, 11, 22], 1, 7)], [], [([3, 2, 13, 22], 1, 7)]]
    assert 'mask' in first['images'][0]['instances'][0]
    assert [instance['bbox'] for instance in second['instances']] == [[5, 5, 14, 14]]


def test_a_file_without_annotations_is_one_to_test_on(tmp_path):
    content = {key: value for key, value in YOUTUBE.items() if key != 'annotations'}
    assert len(youtube(tmp_path, content, test_mode=True)) == 2


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c['annotations'][0]['bboxes'].pop(), 'annotation 7 of video 1 has 2 bboxes, but its video has 3'),
        (lambda c: c['annotations'][0].update(video_id=9), 'annotation 7 of video 9 is of a video that videos'),
        (lambda c: c['videos'][1].pop('file_names'), "a video lacks 'file_names'"),
        (lambda c: c['annotations'][0].update(bboxes=5), 'has bboxes=5; expected a list with an entry for each frame'),
    ],
)
def test_wrong_files_of_youtube_vis_are_refused(tmp_path, change, message):
    content = copy.deepcopy(YOUTUBE)
    change(content)
    with pytest.raises(DataError, match=message):
        youtube(tmp_path, content)


def mot(folder, lines, info='seqLength=3\nimWidth=60\nimHeight=40', **kwargs):
    for name in ('MOT17-04', 'MOT17-02'):
        (folder / 'train' / name / 'gt').mkdir(parents=True)
        (folder / 'train' / name / 'seqinfo.ini').write_text(f'[Sequence]\nname={name}\nimDir=img1\n{info}\n')
    (folder / 'train/MOT17-02/gt/gt.txt').write_text('\n'.join(lines))
    return MOTChallengeDataset(data_root=str(folder), data_prefix=dict(img='train'), **kwargs)


LINES = ['1,5,11,6,10,20,1,1,0.9', '3,5,12,6,10,20,1,1,0.1', '3,6,12,6,10,20,0,1,0.8', '3,7,12,6,10,20,1,3,1']


@pytest.mark.parametrize(('threshold', 'last'), [(-1, [(5, 0), (6, 1)]), (0.1, [(6, 1)])])
def test_sequences_of_mot_challenge(tmp_path, threshold, last):
    dataset = mot(tmp_path, LINES, visibility_thr=threshold)
    first, second = (dataset.get_data_info(i) for i in range(2))
    assert first['images'][2]['img_path'] == str(tmp_path / 'train/MOT17-02/img1/000003.jpg')
    assert first['images'][0]['instances'][0]['bbox'] == [10, 5, 20, 25]
    found = [[(i['instance_id'], i['ignore_flag']) for i in frame['instances']] for frame in first['images']]
    assert found == [[(5, 0)], [], last]
    assert second['instances'] == [] and len(second['images']) == 3


@pytest.mark.parametrize(
    ('lines', 'info', 'message'),
    [
        (['1,5,a,6,10,20,1,1,1'], 'seqLength=3\nimWidth=6\nimHeight=4', 'gt.txt, line 1: expected frame, identity, x'),
        (['4,5,1,6,10,20,1,1,1'], 'seqLength=3\nimWidth=6\nimHeight=4', 'frame 4 is not one of 1 to 3'),
        (['1,5,1'], 'seqLength=3\nimWidth=6\nimHeight=4', 'got .1,5,1'),
        ([], 'imWidth=6\nimHeight=4', r'seqinfo.ini: expected \[Sequence\] with whole numbers seqLength'),
    ],
)
def test_wrong_files_of_mot_challenge_are_refused(tmp_path, lines, info, message):
    with pytest.raises(DataError, match=message):
        mot(tmp_path, lines, info)


def test_a_folder_without_sequences_is_refused(tmp_path):
    with pytest.raises(DataError, match='there are no sequences in it'):
        MOTChallengeDataset(data_root=str(tmp_path), data_prefix=dict(img=''))
    with pytest.raises(FileNotFoundError, match=r'folder of sequences .*none.* does not exist'):
        MOTChallengeDataset(data_root=str(tmp_path), data_prefix=dict(img='none'))
