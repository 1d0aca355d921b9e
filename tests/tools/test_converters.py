import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmdetlike.cli import make_shapes
from mmdetlike.datasets import CocoDataset, ShapesDataset, VOCDataset
from mmdetlike.datasets.errors import DataError

TOOLS = Path(__file__).parents[2] / 'tools' / 'dataset_converters'


def tool(name):
    spec = importlib.util.spec_from_file_location(name, TOOLS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    out = tmp_path_factory.mktemp('shapes')
    tool('make_shapes').main([str(out), '--num-train', '6', '--num-val', '3', '--size', '96', '128', '--seed', '4'])
    return out


@pytest.mark.parametrize(('split', 'length'), [('train', 6), ('val', 3)])
def test_shapes_come_back_from_disk_as_they_were_drawn(shapes, split, length):
    drawn = ShapesDataset(
        length=length, seed=4, image_size=(96, 128), split=split, pipeline=[{'type': 'LoadShapesImage'}]
    )
    read = CocoDataset(
        ann_file=f'annotations/instances_{split}.json',
        data_root=str(shapes),
        data_prefix={'img': split},
        metainfo={'classes': ShapesDataset.METAINFO['classes']},
        pipeline=[{'type': 'LoadImageFromFile'}],
    )
    assert len(read) == len(drawn) == length
    assert read.skipped == 0
    for index in range(length):
        ours, theirs = drawn[index], read[index]
        assert (ours['img'] == theirs['img']).all()
        for key in ('img_id', 'height', 'width', 'instances', 'ori_shape'):
            assert ours[key] == theirs[key]


def test_shapes_annotations_are_complete_coco(shapes):
    content = json.loads((shapes / 'annotations/instances_train.json').read_text())
    ids = [a['id'] for a in content['annotations']]
    assert ids == list(range(1, len(ids) + 1))
    assert [c['id'] for c in content['categories']] == [1, 2, 3, 4, 5]
    assert content['categories'][0]['keypoints'][0] == 'top'
    first = content['annotations'][0]
    assert first['num_keypoints'] == sum(v > 0 for v in first['keypoints'][2::3])
    assert (content['images'][0]['height'], content['images'][0]['width']) == (96, 128)


def test_make_shapes_takes_at_most_two_sizes(capsys):
    with pytest.raises(SystemExit):
        make_shapes.parse_args(['out', '--size', '1', '2', '3'])
    assert 'one or two numbers' in capsys.readouterr().err


def item(name, box, difficult=0):
    corners = ''.join(f'<{k}>{v}</{k}>' for k, v in zip(('xmin', 'ymin', 'xmax', 'ymax'), box))
    return f'<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>'


@pytest.fixture
def voc(tmp_path):
    root = tmp_path / 'data'
    for folder in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (root / folder).mkdir(parents=True)
    objects = {
        'one': item('cell', (11, 21, 30, 40)) + item('plate', (1, 1, 100, 80), 1) + item('cell', (5, 5, 5, 5)),
        'two': item('plate', (90, 70, 150, 150)),
        'three': '',
    }
    size = '<size><width>100</width><height>80</height></size>'
    for name, text in objects.items():
        xml = f'<annotation><filename>{name}.png</filename>{size}{text}</annotation>'
        (root / f'Annotations/{name}.xml').write_text(xml)
    (root / 'ImageSets/Main/train.txt').write_text('two\none\n')
    return root


def convert(root, *args):
    out = root.parent / 'out' / 'ann.json'
    tool('pascal_voc').main([str(root), str(out), *args])
    return json.loads(out.read_text())


def test_voc_converted_by_hand(voc, capsys):
    content = convert(voc)
    assert content['images'] == [
        {'id': 1, 'file_name': 'JPEGImages/two.png', 'width': 100, 'height': 80},
        {'id': 2, 'file_name': 'JPEGImages/one.png', 'width': 100, 'height': 80},
    ]
    assert content['categories'] == [{'id': 1, 'name': 'cell'}, {'id': 2, 'name': 'plate'}]
    rows = [(a['id'], a['image_id'], a['category_id'], a['bbox'], a['iscrowd']) for a in content['annotations']]
    assert rows == [
        (1, 1, 2, [89, 69, 11, 11], 0),
        (2, 2, 1, [10, 20, 20, 20], 0),
        (3, 2, 2, [0, 0, 100, 80], 1),
    ]
    printed = capsys.readouterr().out
    assert 'skipped 1 annotations (1 zero area)' in printed
    assert '2 images, 3 objects, classes cell, plate' in printed


def test_voc_dataset_and_converted_file_agree(voc):
    convert(voc)
    meta = {'classes': ('plate', 'cell')}
    direct = VOCDataset(data_root=str(voc), metainfo=meta)
    converted = CocoDataset(ann_file=str(voc.parent / 'out/ann.json'), data_prefix={'img': str(voc)}, metainfo=meta)
    for a, b in zip(map(direct.get_data_info, range(2)), map(converted.get_data_info, range(2)), strict=True):
        assert [a[k] for k in ('img_path', 'width', 'height')] == [b[k] for k in ('img_path', 'width', 'height')]
        assert a['instances'] == [{k: v for k, v in i.items() if k != 'area'} for i in b['instances']]


def test_choosing_split_and_classes(voc):
    assert [i['file_name'][11:] for i in convert(voc, '--split', 'all')['images']] == [
        'one.png',
        'three.png',
        'two.png',
    ]
    listed = voc.parent / 'mine.txt'
    listed.write_text('three\n')
    content = convert(voc, '--split', str(listed), '--classes', 'plate, cell')
    assert [i['file_name'] for i in content['images']] == ['JPEGImages/three.png']
    content = convert(voc, '--classes', 'plate,cell')
    assert [c['name'] for c in content['categories']] == ['plate', 'cell']
    assert [a['category_id'] for a in content['annotations']] == [1, 2, 1]
    assert len(convert(voc, '--classes', 'cell')['annotations']) == 1


def test_a_devkit_holds_several_folders(voc):
    (voc.parent / 'kit').mkdir()
    voc.rename(voc.parent / 'kit' / 'VOC2007')
    content = convert(voc.parent / 'kit')
    assert [i['file_name'] for i in content['images']] == ['VOC2007/JPEGImages/two.png', 'VOC2007/JPEGImages/one.png']


def test_what_cannot_be_converted(voc, tmp_path):
    with pytest.raises(DataError, match='holds no folder Annotations'):
        convert(tmp_path / 'out')
    with pytest.raises(FileNotFoundError, match=r'ImageSets/Main/nope\.txt'):
        convert(voc, '--split', 'nope')
    with pytest.raises(DataError, match='None of the classes'):
        convert(voc, '--classes', 'cow')
    (voc / 'ImageSets/Main/train.txt').write_text('')
    with pytest.raises(DataError, match=r"Split 'train' of .* lists no images"):
        convert(voc)


def test_sizes_that_the_xml_lacks_are_read_from_the_image(voc):
    (voc / 'Annotations/two.xml').write_text(f'<annotation>{item("cell", (1, 1, 9, 9))}</annotation>')
    cv2.imwrite(str(voc / 'JPEGImages/two.jpg'), np.zeros((30, 40, 3), np.uint8))
    assert convert(voc)['images'][0] == {'id': 1, 'file_name': 'JPEGImages/two.jpg', 'width': 40, 'height': 30}
