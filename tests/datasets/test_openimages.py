import pickle

import numpy as np
import pytest
from PIL import Image

from mmdetlike.datasets import OpenImagesChallengeDataset, OpenImagesDataset
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.openimages_files import read_ancestors, read_class_names

COLUMNS = 'ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction'
CLASSES = '/m/animal,Animal\n/m/cat,Cat\n/m/dog,"Dog, hairy"\n'
TREE = """{"LabelName": "/m/entity", "Subcategory": [
    {"LabelName": "/m/animal", "Subcategory": [{"LabelName": "/m/cat"}, {"LabelName": "/m/dog"}]}]}"""


def box(image='ab', label='/m/cat', corners=(0.1, 0.5, 0.25, 0.75), group=0):
    return ','.join(map(str, (image, 'xclick', label, 1, *corners, 0, 0, group, 0)))


@pytest.fixture
def make(tmp_path):
    def build(*rows, cls=OpenImagesDataset, ann_file='boxes.csv', classes=CLASSES, text=None, **kwargs):
        (tmp_path / ann_file).write_text('\n'.join((COLUMNS, *rows)) if text is None else text)
        (tmp_path / 'classes.csv').write_text(classes)
        (tmp_path / 'tree.json').write_text(TREE)
        (tmp_path / 'labels.csv').write_text('ImageID,Source,LabelName,Confidence\nab,verification,/m/dog,0\n')
        metas = [{'filename': 'train/ab.jpg', 'ori_shape': (80, 100, 3)}]
        (tmp_path / 'metas.pkl').write_bytes(pickle.dumps(metas))
        kwargs = {'data_prefix': {'img': 'train'}, 'meta_file': 'metas.pkl', **kwargs}
        return cls(data_root=str(tmp_path), ann_file=ann_file, label_file='classes.csv', **kwargs)

    return build


def test_what_a_data_info_holds(make, tmp_path):
    dataset = make(box(), box(label='/m/dog', group=1), hierarchy_file='tree.json', image_level_ann_file='labels.csv')
    info = dataset.get_data_info(0)
    assert dataset.metainfo['classes'] == ('Animal', 'Cat', 'Dog, hairy')
    assert info['img_path'] == str(tmp_path / 'train/ab.jpg')
    assert (info['img_id'], info['width'], info['height']) == ('ab', 100, 80)
    assert info['image_level_labels'].tolist() == [2]
    bbox = pytest.approx([10, 20, 50, 60])
    assert info['instances'] == [
        {'ignore_flag': 0, 'bbox': bbox, 'bbox_label': 1, 'is_group_of': False},
        {'ignore_flag': 0, 'bbox': bbox, 'bbox_label': 2, 'is_group_of': True},
    ]
    assert dataset.metainfo['RELATION_MATRIX'].tolist() == [[0, 0, 0], [1, 0, 0], [1, 0, 0]]


def test_a_choice_of_the_classes(make):
    dataset = make(box(), box(label='/m/animal'), metainfo={'classes': ('Cat', 'Animal')}, hierarchy_file='tree.json')
    assert dataset.get_cat_ids(0) == [0, 1]
    assert dataset.metainfo['RELATION_MATRIX'].tolist() == [[0, 1], [0, 0]]
    assert make(box(), box(label='/m/dog'), metainfo={'classes': ('Cat',)}).get_cat_ids(0) == [0]
    with pytest.raises(DataError, match=r"The classes \['Car'\] are not in label_file, which has 3 classes"):
        make(box(), metainfo={'classes': ('Car',)}, hierarchy_file='tree.json')


def test_sizes_of_the_pictures_themselves(make, tmp_path):
    with pytest.raises(DataError, match=r"boxes\.csv: the size of image 'ab' is not known: .*ab\.jpg: there is no"):
        make(box(), meta_file=None)
    (tmp_path / 'train').mkdir()
    Image.new('RGB', (200, 160)).save(tmp_path / 'train/ab.jpg')
    info = make(box(), meta_file=None).get_data_info(0)
    assert info['instances'][0]['bbox'] == pytest.approx([20, 40, 100, 120])


CHALLENGE = """ab.jpg
100 80
2
2 0.1 0.25 0.5 0.75 0
3 10 20 50 60 1
"""
# a class each: name, what the files call it, number
CHALLENGE_CLASSES = 'Dog,/m/dog,3\nAnimal,/m/animal,1\nCat,/m/cat,2\n'


def test_the_challenge_has_its_own_formats(make, tmp_path):
    matrix = np.zeros((3, 3))
    matrix[1, 0] = 1
    with open(tmp_path / 'tree.np', 'wb') as file:
        np.save(file, matrix)
    dataset = make(
        cls=OpenImagesChallengeDataset,
        ann_file='boxes.txt',
        text=CHALLENGE,
        classes=CHALLENGE_CLASSES,
        hierarchy_file='tree.np',
    )
    assert dataset.metainfo['classes'] == ('Animal', 'Cat', 'Dog')
    assert dataset.metainfo['RELATION_MATRIX'].tolist() == matrix.tolist()
    instances = dataset.get_data_info(0)['instances']
    assert [(i['bbox'], i['bbox_label'], i['is_group_of']) for i in instances] == [
        (pytest.approx([10, 20, 50, 60]), 1, False),
        ([10, 20, 50, 60], 2, True),
    ]


WRONG_ROWS = {
    box(label='/m/cow'): r"boxes\.csv, line 2: image 'ab' has a box of class '/m/cow', not one of label_file",
    box(corners=('x', 1, 0, 1)): r"line 2: the box of image 'ab' has XMin='x'; expected a number from 0 to 1",
    box(group='y'): r"line 2: the box of image 'ab' has IsGroupOf='y'; expected 0, 1, or -1 if unknown",
    ',,/m/cat': r"line 2: a box lacks 'ImageID'",
}


@pytest.mark.parametrize('row', WRONG_ROWS)
def test_a_wrong_line_is_told(make, row):
    with pytest.raises(DataError, match=WRONG_ROWS[row]):
        make(row)


WRONG_CHALLENGES = {
    'ab.jpg\n1\n': r"image 'ab\.jpg': expected the number of its boxes two lines below its name, got \[\]",
    'ab.jpg\n1 1\n2\n1 0 0 1 1 0\n': r"image 'ab\.jpg' should have 2 boxes, but the file ends after 1",
    'ab.jpg\n1 1\n1\n1 0 0 1\n': r"""image 'ab\.jpg' has the box '1 0 0 1'; expected "class x1 y1 x2 y2 0\"""",
    'ab.jpg\n1 1\n1\n4 0 0 1 1 0\n': r"has a box of class '4'; expected a number from 1 to 3",
}


@pytest.mark.parametrize('text', WRONG_CHALLENGES)
def test_a_wrong_file_of_the_challenge_is_told(make, text):
    with pytest.raises(DataError, match=WRONG_CHALLENGES[text]):
        make(cls=OpenImagesChallengeDataset, ann_file='boxes.txt', text=text)


def test_columns_that_are_missing_are_named(make):
    with pytest.raises(DataError, match=r"among them \['YMin', 'YMax'\], got \['ImageID'"):
        make(text='ImageID,LabelName,XMin,XMax\nab,/m/cat,0,1\n')


@pytest.mark.parametrize('content', [b'no pickle', pickle.dumps([{'filename': 'a.jpg'}]), pickle.dumps([print])])
def test_wrong_sizes_are_told(make, tmp_path, content):
    (tmp_path / 'wrong.pkl').write_bytes(content)
    with pytest.raises(DataError, match=r'wrong\.pkl: expected a pickled list of dict\(filename=\.\.\., ori_shape'):
        make(box(), meta_file='wrong.pkl')


def test_wrong_lists_of_classes_are_told(tmp_path):
    path = tmp_path / 'classes.csv'
    for text, reason in (
        ('/m/a,Cat\nDog\n', r'line 2: expected a class as /m/011k07,Tortoise'),
        ('/m/a,Cat\n/m/a,Dog\n', r"line 2: '/m/a' is there already"),
        ('LabelName,DisplayName\n', r'there is none'),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=reason):
            read_class_names(str(path))


def test_wrong_hierarchies_are_told(tmp_path):
    tree = tmp_path / 'tree.json'
    tree.write_text('{"Subcategory": [3]}')
    with pytest.raises(DataError, match=r'tree\.json: expected {"LabelName": .*, got 3'):
        read_ancestors(str(tree), ['/m/a'])
    matrix = tmp_path / 'tree.np'
    matrix.write_bytes(b'x')
    with pytest.raises(DataError, match=r'tree\.np: expected a tree in JSON or an array that numpy saved'):
        read_ancestors(str(matrix), ['/m/a'])
    np.save(tmp_path / 'tree.npy', np.zeros((2, 2)))
    with pytest.raises(DataError, match=r'expected 1 x 1 numbers'):
        read_ancestors(str(tmp_path / 'tree.npy'), ['/m/a'])
