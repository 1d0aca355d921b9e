import json

import pytest
from PIL import Image

from mmdetlike.datasets import CocoDataset
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.interchange import coco_content, first_difference, infos_of

from .test_converters import tool

SQUARE = [10.5, 10, 40, 10, 40, 30.25, 10.5, 30.25]
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
}
LOST = {
    'yolo': ['1 objects to be ignored', '2 masks, of which the box is kept'],
    'labelme': ['1 masks, of which the box is kept'],
    'crowdhuman': ['3 masks, of which the box is kept'],
    'lvis': ['1 objects to be ignored'],
}
FILES = {
    'yolo': ['--annotations', '{out}', '--names', '{out}/data.yaml'],
    'labelme': ['--annotations', '{out}', '--classes', 'dog,gray cat,猫'],
    'crowdhuman': ['--ann-file', '{out}/annotations.odgt', '--classes', 'dog,gray cat,猫'],
    'lvis': ['--ann-file', '{out}/annotations.json', '--classes', 'dog,gray cat,猫'],
}


@pytest.mark.parametrize('kind', KEPT)
def test_there_and_back(coco, tmp_path, capsys, kind):
    pics = str(tmp_path / 'pics')
    out = tmp_path / 'out'
    tool('from_coco').main([kind, str(coco), pics, str(out), '--check'])
    printed = capsys.readouterr().out
    assert 'read again and compared, all 2 images are equal' in printed
    for reason in LOST[kind]:
        assert f'{kind} cannot say {reason}' in printed
    assert printed.count('cannot say') == len(LOST[kind])
    options = [option.format(out=out) for option in FILES[kind]]
    tool('to_coco').main([kind, pics, str(tmp_path / 'back.json'), *options, '--check'])
    assert 'read again and compared, all 2 images are equal' in capsys.readouterr().out
    back = CocoDataset(
        ann_file=str(tmp_path / 'back.json'),
        data_prefix={'img': pics},
        metainfo={'classes': ('dog', 'gray cat', '猫')},
        test_mode=True,
    )
    infos = sorted(infos_of(back), key=lambda info: info['img_path'])
    assert marks(infos) == [KEPT[kind], []]
    assert infos[0]['instances'][0]['bbox'] == pytest.approx([1, 2, 31.5, 42], abs=1e-3)


def test_lvis_is_complete(coco, tmp_path):
    tool('from_coco').main(['lvis', str(coco), str(tmp_path / 'pics'), str(tmp_path / 'out')])
    content = json.loads((tmp_path / 'out/annotations.json').read_text())
    assert [image['neg_category_ids'] for image in content['images']] == [[], [1, 2, 3]]
    assert [image['not_exhaustive_category_ids'] for image in content['images']] == [[1], []]
    assert [(c['image_count'], c['frequency']) for c in content['categories']] == [(1, 'r')] * 3


def test_classes_that_nobody_names_are_found(tmp_path):
    (tmp_path / 'boxes.csv').write_text(
        'file_name,width,height,x1,y1,x2,y2,label\na.png,9,9,1,1,5,5,dog\nb.png,9,9,1,1,5,5,cat\n'
    )
    options = ['csv', str(tmp_path), str(tmp_path / 'a.json'), '--ann-file', str(tmp_path / 'boxes.csv'), '--check']
    tool('to_coco').main(options)
    content = json.loads((tmp_path / 'a.json').read_text())
    assert content['categories'] == [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}]
    assert [row['category_id'] for row in content['annotations']] == [2, 1]


def test_a_format_with_one_file_asks_for_it(capsys):
    with pytest.raises(SystemExit):
        tool('to_coco').parse_args(['lvis', 'pics', 'out.json'])
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
    module = tool('to_coco')
    options = ['lvis', str(tmp_path / 'pics'), str(tmp_path / 'b.json'), '--ann-file', str(coco), '--check']
    read = module.read(module.parse_args(options))
    other = json.loads(coco.read_text())
    del other['annotations'][1]
    (tmp_path / 'b.json').write_text(json.dumps(other))
    with pytest.raises(DataError, match=r'b\.json: not what was read: .*a\.jpg: 5 objects before, 4 after'):
        module.check(tmp_path / 'b.json', tmp_path / 'pics', *read)
