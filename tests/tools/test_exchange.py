import csv
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdetlike.cli import coco_import, from_coco, to_coco
from mmdetlike.datasets import CocoDataset
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.interchange import coco_content, first_difference, infos_of
from mmdetlike.structures.mask import polygons_to_bitmap, rle_to_bitmap

SQUARE = [10.5, 10, 40, 10, 40, 30.25, 10.5, 30.25]
CAR = [10, 10, 40, 10, 40, 30, 10, 30]
OTHER = [50, 50, 60, 50, 60, 70]


def annotation(number, image_id, category, box, **extra):
    return {'id': number, 'image_id': image_id, 'category_id': category, 'bbox': box, **extra}


@pytest.fixture
def coco(tmp_path):
    """Two pictures; boxes, a polygon, a mask of two parts, run lengths, a group."""
    for name in ('a.jpg', 'sub/b.jpg'):
        (tmp_path / 'pics' / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (100, 80)).save(tmp_path / 'pics' / name)
    size = {'width': 100, 'height': 80}
    content = {
        'images': [{'id': 7, 'file_name': 'a.jpg', **size}, {'id': 3, 'file_name': 'sub/b.jpg', **size}],
        'categories': [{'id': 5, 'name': 'dog'}, {'id': 2, 'name': 'gray cat'}, {'id': 9, 'name': '猫'}],
        'annotations': [
            annotation(1, 7, 2, [1, 2, 30.5, 40]),
            annotation(2, 7, 5, [10.5, 10, 29.5, 20.25], segmentation=[SQUARE]),
            annotation(3, 7, 9, [10.5, 10, 49.5, 60], segmentation=[SQUARE, OTHER]),
            annotation(
                4, 7, 9, [0, 0, 100, 1], segmentation={'size': [80, 100], 'counts': [0, 1] + [79, 1] * 99 + [79]}
            ),
            annotation(5, 7, 5, [20, 20, 20, 20], iscrowd=1),
        ],
    }
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(content))
    return path


def marks(infos):
    return [[(i['bbox_label'], i['ignore_flag'], 'mask' in i) for i in info['instances']] for info in infos]


# objects of the first picture that come back: label, ignored, with a mask
KEPT = {
    'yolo': [(1, 0, False), (0, 0, True), (2, 0, False), (2, 0, False)],
    'labelme': [(1, 0, False), (0, 0, True), (2, 0, True), (2, 0, False), (0, 1, False)],
    'crowdhuman': [(1, 0, False), (0, 0, False), (2, 0, False), (2, 0, False), (0, 1, False)],
    'lvis': [(1, 0, False), (0, 0, True), (2, 0, True), (2, 0, True)],
    'openimages': [(1, 0, False), (0, 0, False), (2, 0, False), (2, 0, False), (0, 1, False)],
}
LOST = {
    'yolo': ['1 objects to be ignored', '2 masks, of which the box is kept'],
    'labelme': ['1 masks, of which the box is kept'],
    'crowdhuman': ['3 masks, of which the box is kept'],
    'lvis': ['1 objects to be ignored'],
    'openimages': ['3 masks, of which the box is kept', '1 pictures without objects'],
}
FILES = {
    'yolo': ['--annotations', '{out}', '--names', '{out}/data.yaml'],
    'labelme': ['--annotations', '{out}', '--classes', 'dog,gray cat,猫'],
    'crowdhuman': ['--ann-file', '{out}/annotations.odgt', '--classes', 'dog,gray cat,猫'],
    'lvis': ['--ann-file', '{out}/annotations.json', '--classes', 'dog,gray cat,猫'],
    'openimages': [
        '--ann-file',
        '{out}/annotations-bbox.csv',
        '--names',
        '{out}/class-descriptions-boxable.csv',
    ],
}


@pytest.mark.parametrize('kind', KEPT)
def test_there_and_back(coco, tmp_path, capsys, kind):
    pics = str(tmp_path / 'pics')
    out = tmp_path / 'out'
    from_coco.main([kind, str(coco), pics, str(out), '--check'])
    printed = capsys.readouterr().out
    number = 1 if kind == 'openimages' else 2
    assert f'read again and compared, all {number} images are equal' in printed
    for reason in LOST[kind]:
        assert f'{kind} cannot say {reason}' in printed
    assert printed.count('cannot say') == len(LOST[kind])
    options = [option.format(out=out) for option in FILES[kind]]
    to_coco.main([kind, pics, str(tmp_path / 'back.json'), *options, '--check'])
    assert f'read again and compared, all {number} images are equal' in capsys.readouterr().out
    infos = sorted(read_back(tmp_path), key=lambda info: info['img_path'])
    assert marks(infos) == [KEPT[kind], []][:number]
    assert infos[0]['instances'][0]['bbox'] == pytest.approx([1, 2, 31.5, 42], abs=1e-3)


def read_back(tmp_path, classes=('dog', 'gray cat', '猫')):
    """Data infos of the file that came back."""
    arguments = dict(ann_file=str(tmp_path / 'back.json'), data_prefix={'img': str(tmp_path / 'pics')})
    return infos_of(CocoDataset(**arguments, metainfo={'classes': classes}, test_mode=True))


def test_open_images_has_names_of_its_own(coco, tmp_path, capsys):
    names = tmp_path / 'names.csv'
    names.write_text('/m/01yrx,gray cat\n/m/0bt9lr,dog\n/m/07jdr,Train\n')
    from_coco.main(['openimages', str(coco), str(tmp_path / 'pics'), str(tmp_path / 'out'), '--names', str(names)])
    rows = list(csv.DictReader((tmp_path / 'out/annotations-bbox.csv').open()))
    labels = ['/m/01yrx', '/m/0bt9lr', '/m/class1', '/m/class1', '/m/0bt9lr']
    assert [(row['ImageID'], row['LabelName']) for row in rows] == [('a', label) for label in labels]
    assert [row['IsGroupOf'] for row in rows] == ['0', '0', '0', '0', '1']
    assert [float(rows[0][key]) for key in ('XMin', 'XMax', 'YMin', 'YMax')] == [0.01, 0.315, 0.025, 0.525]
    assert "lacks 1 of the classes, whose identifiers are made up: ['猫']" in capsys.readouterr().out


@pytest.fixture
def streets(tmp_path):
    """A COCO file of a picture named as in Cityscapes: polygon, run lengths, a group of two parts, a box, a tree."""
    path = tmp_path / 'pics/ulm/ulm_1_leftImg8bit.png'
    path.parent.mkdir(parents=True)
    Image.new('RGB', (100, 80)).save(path)
    bicycle = {'size': [80, 100], 'counts': [10, 20, 60, 20, 7890]}
    group = [[50, 50, 60, 50, 60, 60, 50, 60], [70, 70, 80, 70, 80, 80, 70, 80]]
    content = {
        'images': [{'id': 1, 'file_name': 'ulm/ulm_1_leftImg8bit.png', 'width': 100, 'height': 80}],
        'categories': [{'id': n, 'name': name} for n, name in enumerate(['tree', 'bicycle', 'car', 'person'])],
        'annotations': [
            annotation(1, 1, 2, [10, 10, 30, 20], segmentation=[CAR]),
            annotation(2, 1, 1, [0, 10, 2, 20], segmentation=bicycle),
            annotation(3, 1, 3, [50, 50, 30, 30], segmentation=group, iscrowd=1),
            annotation(4, 1, 3, [1, 1, 9, 9]),
            annotation(5, 1, 0, [1, 1, 9, 9], segmentation=[[1, 1, 10, 1, 10, 10, 1, 10]]),
            annotation(6, 1, 2, [20, 15, 10, 10], segmentation=[[20, 15, 30, 15, 30, 25, 20, 25]]),
        ],
    }
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    return tmp_path / 'ann.json'


def test_cityscapes_there_and_back(streets, tmp_path, capsys):
    pics = str(tmp_path / 'pics')
    from_coco.main(['cityscapes', str(streets), pics, str(tmp_path / 'gt'), '--check'])
    printed = capsys.readouterr().out
    assert 'read again and compared, all 1 images are equal' in printed
    for reason in ('1 objects without masks', '1 objects that smaller ones hide in part', '1 objects of other classes'):
        assert f'cityscapes cannot say {reason}' in printed
    ids = cv2.imread(str(tmp_path / 'gt/ulm/ulm_1_gtFine_instanceIds.png'), cv2.IMREAD_UNCHANGED)
    assert ids.dtype == np.uint16 and np.unique(ids).tolist() == [0, 24, 26000, 26001, 33000]
    to_coco.main(['cityscapes', pics, str(tmp_path / 'back.json'), '--annotations', str(tmp_path / 'gt'), '--check'])
    assert 'all 1 images are equal' in capsys.readouterr().out
    (info,) = read_back(tmp_path, ('bicycle', 'car', 'person'))
    found = {(item['bbox_label'], item['ignore_flag'], *item['bbox']): item['mask'] for item in info['instances']}
    assert sorted(found) == [
        (0, 0, 0, 10, 2, 30),
        (1, 0, 10, 10, 40, 30),
        (1, 0, 20, 15, 30, 25),
        (2, 1, 50, 50, 80, 80),
    ]
    car = polygons_to_bitmap([CAR], 80, 100)
    car[15:25, 20:30] = 0  # where the smaller car is
    assert (rle_to_bitmap(found[1, 0, 10, 10, 40, 30]) == car).all()
    assert rle_to_bitmap(found[0, 0, 0, 10, 2, 30]).sum() == 40
    assert rle_to_bitmap(found[2, 1, 50, 50, 80, 80]).sum() == 200


def test_other_pictures_of_the_folder_do_not_matter(coco, tmp_path, capsys):
    Image.new('RGB', (100, 80)).save(tmp_path / 'pics/validation.jpg')
    for kind in ('yolo', 'labelme'):
        from_coco.main([kind, str(coco), str(tmp_path / 'pics'), str(tmp_path / kind), '--check'])
        assert 'all 2 images are equal' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('kind', 'name', 'reason'),
    [
        ('yolo', 'a.png', r'pics/a\.png: two pictures have this name, but for the end'),
        ('voc', '../out.jpg', r'out\.jpg: the picture is not in .*pics; give a folder that holds all'),
        ('labelme', 'a.jpg', 'two pictures have this name'),
        ('openimages', 'b.png', r'b\.png: Open Images has JPEG pictures only'),
        ('cityscapes', 'b.png', r'b\.png: Cityscapes has pictures .*pics/CITY/NAME_leftImg8bit\.png only'),
    ],
)
def test_nothing_is_written_if_one_picture_cannot_be(coco, tmp_path, kind, name, reason):
    content = json.loads(coco.read_text())
    content['images'].append({'id': 99, 'file_name': name, 'width': 100, 'height': 80})
    content['annotations'].append(annotation(9, 99, 5, [1, 2, 30, 40]))
    content['categories'][0]['name'] = 'car'
    if kind == 'cityscapes':
        content['images'] = content['images'][-1:]
    coco.write_text(json.dumps(content))
    with pytest.raises(DataError, match=reason):
        from_coco.main([kind, str(coco), str(tmp_path / 'pics'), str(tmp_path / 'out')])
    assert sorted(path.name for path in tmp_path.iterdir()) == ['ann.json', 'pics']


def test_lvis_is_complete(coco, tmp_path):
    from_coco.main(['lvis', str(coco), str(tmp_path / 'pics'), str(tmp_path / 'out')])
    content = json.loads((tmp_path / 'out/annotations.json').read_text())
    assert [image['neg_category_ids'] for image in content['images']] == [[], [1, 2, 3]]
    assert [image['not_exhaustive_category_ids'] for image in content['images']] == [[1], []]
    assert [(c['image_count'], c['frequency']) for c in content['categories']] == [(1, 'r')] * 3


def test_classes_that_nobody_names_are_found(tmp_path):
    (tmp_path / 'boxes.csv').write_text(
        'file_name,width,height,x1,y1,x2,y2,label\na.png,9,9,1,1,5,5,dog\nb.png,9,9,1,1,5,5,cat\n'
    )
    options = ['csv', str(tmp_path), str(tmp_path / 'a.json'), '--ann-file', str(tmp_path / 'boxes.csv'), '--check']
    to_coco.main(options)
    content = json.loads((tmp_path / 'a.json').read_text())
    assert content['categories'] == [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}]
    assert [row['category_id'] for row in content['annotations']] == [2, 1]


def test_a_format_with_one_file_asks_for_it(capsys):
    with pytest.raises(SystemExit):
        to_coco.parse_args(['lvis', 'pics', 'out.json'])
    assert 'lvis needs --ann-file' in capsys.readouterr().err


def info(path='a.jpg', **changed):
    instance = {'bbox': [0, 0, 10, 10], 'bbox_label': 0, 'ignore_flag': 0}
    return {'img_path': path, 'width': 20, 'height': 20, 'instances': [instance | changed]}


@pytest.mark.parametrize(
    ('found', 'reason'),
    [
        ([info(bbox=[0, 0, 10, 10.001])], ''),
        ([info(bbox=[-5, 0, 10, 10])], ''),  # the same inside the picture
        ([info(bbox=[0, 0, 10, 11])], 'a.jpg: object 0 is'),
        ([info(bbox_label=1)], 'a.jpg: object 0 is'),
        ([info(ignore_flag=1)], 'a.jpg: object 0 is'),
        ([info(mask=[[0, 0, 1, 1, 2, 2]])], 'a.jpg: object 0 is'),
        ([{**info(), 'width': 30}], 'width is 20 before and 30 after'),
        ([{**info(), 'instances': []}], '1 objects before, 0 after'),
        ([info('b.jpg')], '2 pictures are on one side only'),
        ([], '1 pictures are on one side only'),
    ],
)
def test_what_counts_as_a_difference(found, reason):
    told = first_difference([info()], found)
    assert reason in told
    assert bool(reason) == bool(told)


def test_area_of_written_objects():
    rows = coco_content([info(), info('b.jpg', mask=[SQUARE])], ['cat'], '')['annotations']
    assert [row['area'] for row in rows] == [100, 29.5 * 20.25]


def test_check_refuses_what_is_not_the_same(coco, tmp_path):
    options = ['lvis', str(tmp_path / 'pics'), str(tmp_path / 'b.json'), '--ann-file', str(coco), '--check']
    read = coco_import.read(to_coco.parse_args(options))
    other = json.loads(coco.read_text())
    del other['annotations'][1]
    (tmp_path / 'b.json').write_text(json.dumps(other))
    with pytest.raises(DataError, match=r'b\.json: not what was read: .*a\.jpg: 5 objects before, 4 after'):
        coco_import.check(tmp_path / 'b.json', tmp_path / 'pics', *read)


def test_a_file_without_categories_is_refused(tmp_path):
    source = tmp_path / 'source.json'
    source.write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(DataError, match=r'source.json: it has no categories'):
        from_coco.main(['lvis', str(source), str(tmp_path), str(tmp_path / 'out'), '--check'])
    assert not (tmp_path / 'out').exists()
