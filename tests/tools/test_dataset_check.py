"""What ``--check`` of converters tells, and the converters of Open Images, Cityscapes and VOC."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdetlike.cli import from_coco, to_coco
from mmdetlike.cli.dataset_check import broken_pictures, draw_sample, repeated_ids
from mmdetlike.cli.voc_to_coco import main as voc_to_coco
from mmdetlike.datasets.errors import DataError

from .test_exchange import coco  # noqa: F401


def info(path, width=100, height=80):
    instances = [{'bbox': [1, 2, 30, 40], 'bbox_label': 0, 'ignore_flag': 0}]
    return {'img_path': str(path), 'width': width, 'height': height, 'instances': instances}


def test_broken_pictures_are_named_with_what_is_wrong(tmp_path):
    good, short, other = (tmp_path / name for name in ('good.png', 'short.png', 'other.png'))
    for path in (good, short, other):
        Image.effect_noise((100, 80), 50).save(path)
    short.write_bytes(short.read_bytes()[:-200])
    infos = [info(good), info(short), info(other, 80, 100), info(tmp_path / 'none.png')]
    found = dict(broken_pictures(infos))
    assert list(found) == [str(path) for path in (short, other, tmp_path / 'none.png')]
    assert found[str(other)] == f'{other}: is 100 x 80 pixels, its annotation says 80 x 100'
    assert draw_sample(infos[:1], ['cat'], tmp_path / 'sample.png')
    assert cv2.imread(str(tmp_path / 'sample.png')).std() > 10
    assert not draw_sample([{**infos[0], 'instances': []}], ['cat'], tmp_path / 'other.png')


def test_ids_that_occur_twice(tmp_path):
    path = tmp_path / 'a.json'
    images = [{'id': 1, 'file_name': 'a'}, {'id': 2, 'file_name': 'a'}]
    path.write_text(json.dumps({'images': images, 'annotations': [{'id': 7}, {'id': '7'}], 'categories': [{'id': 1}]}))
    assert repeated_ids(path) == [
        f'{path}: 1 values of file_name occur several times in images: a',
        f'{path}: 1 values of id occur several times in annotations: 7',
    ]


def test_check_tells_faults_and_classes_and_draws(coco, tmp_path, capsys):  # noqa: F811
    content = json.loads(coco.read_text())
    content['annotations'] += [
        {'id': 1, 'image_id': 7, 'category_id': 2, 'bbox': [90, 70, 30, 30]},
        {'id': 9, 'image_id': 7, 'category_id': 2, 'bbox': [200, 70, 30, 30]},
        {'id': 10, 'image_id': 7, 'category_id': 77, 'bbox': [1, 1, 9, 9]},
    ]
    coco.write_text(json.dumps(content))
    (tmp_path / 'pics/sub/b.jpg').write_bytes(b'no picture')
    from_coco.main(['labelme', str(coco), str(tmp_path / 'pics'), str(tmp_path / 'out'), '--check'])
    printed = capsys.readouterr().out
    assert 'pictures that are missing, broken or of another size: 1\n' in printed
    assert '1 values of id occur several times in annotations: 1\n' in printed
    assert '1 of a category not listed' in printed and 'outside' in printed
    assert '| gray cat | 2       | 1      |' in printed
    assert (tmp_path / 'out/check.png').is_file()


def test_voc_there_and_back(coco, tmp_path, capsys):  # noqa: F811
    out = tmp_path / 'voc'
    from_coco.main(['voc', str(coco), str(tmp_path / 'pics'), str(out), '--check'])
    printed = capsys.readouterr().out
    assert 'read again and compared, all 2 images are equal' in printed
    assert 'voc cannot say 1 boxes of a width or height of one pixel' in printed
    (out / 'JPEGImages').symlink_to(tmp_path / 'pics')
    options = ['--split', str(out / 'ImageSets/Main/all.txt'), '--classes', 'dog,gray cat,猫', '--check']
    voc_to_coco([str(out), str(out / 'back.json'), *options])
    assert '| all      | 4       | 1      |' in capsys.readouterr().out
    assert (out / 'back.check.png').is_file()


def test_open_images(tmp_path, capsys):
    Image.new('RGB', (200, 100)).save(tmp_path / '0a.jpg')
    (tmp_path / 'names.csv').write_text('/m/cat,Cat\n/m/dog,Dog\n')
    head = 'ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf\n'
    rows = '0a,x,/m/dog,1,0.1,0.5,0.2,0.4,0,0,0\n0a,x,/m/cat,1,0.5,0.9,0.2,0.8,0,0,1\n'
    (tmp_path / 'boxes.csv').write_text(head + rows)
    options = ['--ann-file', str(tmp_path / 'boxes.csv'), '--names', str(tmp_path / 'names.csv'), '--check']
    to_coco.main(['openimages', str(tmp_path), str(tmp_path / 'a.json'), *options])
    assert 'all 1 images are equal' in capsys.readouterr().out
    content = json.loads((tmp_path / 'a.json').read_text())
    assert [row['bbox'] for row in content['annotations']] == [
        pytest.approx([20, 20, 80, 20]),
        pytest.approx([100, 20, 80, 60]),
    ]
    assert [(row['category_id'], row['iscrowd']) for row in content['annotations']] == [(2, 0), (1, 1)]


def test_cityscapes(tmp_path, capsys):
    ids = np.zeros((40, 60), np.uint16)
    ids[5:15, 10:20] = 26003  # a car
    ids[20:30, 10:20] = 24  # people who aren't told apart
    ids[32:38, 1:9] = 7  # a road
    for name, picture in (('pics/aachen/a_leftImg8bit.png', ids.astype(np.uint8)), ('gt/aachen/a.png', ids)):
        (tmp_path / name).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / name), picture)
    (tmp_path / 'gt/aachen/a.png').rename(tmp_path / 'gt/aachen/a_gtFine_instanceIds.png')
    arguments = [str(tmp_path / 'pics'), str(tmp_path / 'a.json'), '--annotations', str(tmp_path / 'gt'), '--check']
    to_coco.main(['cityscapes', *arguments])
    assert 'all 1 images are equal' in capsys.readouterr().out
    content = json.loads((tmp_path / 'a.json').read_text())
    assert [(row['bbox'], row['category_id'], row['iscrowd']) for row in content['annotations']] == [
        ([10, 20, 10, 10], 1, 1),
        ([10, 5, 10, 10], 3, 0),
    ]
    assert content['annotations'][1]['area'] == 100
    (tmp_path / 'gt/aachen/a_gtFine_instanceIds.png').unlink()
    with pytest.raises(DataError, match=r'a_leftImg8bit.png: its annotation .*a_gtFine_instanceIds.png does not exist'):
        to_coco.main(['cityscapes', *arguments])
