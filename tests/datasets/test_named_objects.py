import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmdetlike.datasets import CSVDataset, LabelmeDataset, UnlabeledDataset, YOLODataset, errors, yolo
from mmdetlike.datasets import unlabeled as unlabeled_module
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.yolo import read_object
from mmdetlike.errors import ConfigError

META = {'classes': ('cat', 'dog')}


def picture(path, size=(100, 80)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size).save(path)


@pytest.fixture
def messages(monkeypatch):
    logged = []
    monkeypatch.setattr(errors, 'print_log', lambda message, **kwargs: logged.append(message))
    return logged


# ---------------------------------------------------------------------------------------------------- YOLO


@pytest.fixture
def yolo_root(tmp_path):
    for name in ('a', 'sub/b', 'c'):
        picture(tmp_path / f'images/train/{name}.png')
    (tmp_path / 'labels/train/sub').mkdir(parents=True)
    (tmp_path / 'labels/train/a.txt').write_text('1 0.5 0.5 0.2 0.5\n\n0 0.1 0.1 0.3 0.1 0.3 0.5\n')
    (tmp_path / 'labels/train/sub/b.txt').write_text('0 0.5 0.5 0 0.1\n')
    (tmp_path / 'data.yaml').write_text('train: images/train\nnames:\n  0: cat\n  1: dog\n')
    return tmp_path


def yolo_of(root, **kwargs):
    return YOLODataset(data_root=str(root), **{'data_prefix': {'img': 'images/train'}, 'metainfo': META, **kwargs})


def test_yolo_boxes_and_polygons(yolo_root):
    dataset = yolo_of(yolo_root, metainfo=None, names_file='data.yaml')
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert [info['img_id'] for info in infos] == ['a.png', 'c.png', 'sub/b.png']
    assert infos[0]['img_path'] == str(yolo_root / 'images/train/a.png')
    assert infos[0]['instances'] == [
        {'ignore_flag': 0, 'bbox': pytest.approx([40, 20, 60, 60]), 'bbox_label': 1},
        {
            'ignore_flag': 0,
            'bbox': pytest.approx([10, 8, 30, 40]),
            'bbox_label': 0,
            'mask': [pytest.approx([10, 8, 30, 8, 30, 40])],
        },
    ]
    assert infos[1]['instances'] == infos[2]['instances'] == []
    assert dataset.skipped == 1  # of no width


def test_yolo_lists_of_pictures(yolo_root):
    (yolo_root / 'train.txt').write_text(f'./images/train/c.png\n{yolo_root}/images/train/a.png\n')
    dataset = yolo_of(yolo_root, ann_file='train.txt', data_prefix=None)
    assert [dataset.get_data_info(i)['img_id'] for i in range(2)] == ['images/train/c.png', 'images/train/a.png']
    dataset = yolo_of(yolo_root, ann_file='train.txt')
    assert [dataset.get_data_info(i)['img_id'] for i in range(2)] == ['c.png', 'a.png']
    assert [len(dataset.get_data_info(i)['instances']) for i in range(2)] == [0, 2]


def test_yolo_folders_of_other_names_and_choices_of_classes(yolo_root):
    (yolo_root / 'labels/train').rename(yolo_root / 'txt')
    dataset = yolo_of(
        yolo_root,
        data_prefix={'img': 'images/train', 'ann': 'txt'},
        metainfo={'classes': ('dog',)},
        names_file='data.yaml',
    )
    assert [dataset.get_cat_ids(i) for i in range(3)] == [[0], [], []]


def test_yolo_texts_without_a_picture_are_named(yolo_root, monkeypatch):
    logged = []
    monkeypatch.setattr(yolo, 'warn', logged.append)
    (yolo_root / 'labels/train/lost.txt').write_text('')
    (yolo_root / 'labels/train/classes.txt').write_text('cat')
    yolo_of(yolo_root)
    assert len(logged) == 1
    assert '1 text files have no picture' in logged[0]
    assert 'lost.txt' in logged[0]


WRONG_LINES = {
    'cat 0.5 0.5 0.1 0.1': "expected numbers, got 'cat 0.5",
    '0 0.5 0.5 0.1': 'expected 5 numbers .* got 4',
    '0 0.5 0.5 0.1 0.1 0.9': 'expected 5 numbers .* got 6',
    '2 0.5 0.5 0.1 0.1': 'expected a class from 0 to 1, got 2',
    '0.5 0.5 0.5 0.1 0.1': 'expected a class from 0 to 1, got 0.5',
    '0 50 40 10 10': 'expected shares of the sides of the picture, from 0 to 1',
    '0 nan 0.5 0.1 0.1': 'expected shares of the sides of the picture, from 0 to 1',
}


@pytest.mark.parametrize('line', WRONG_LINES)
def test_a_wrong_line_of_yolo_is_told(yolo_root, line):
    (yolo_root / 'labels/train/a.txt').write_text(f'\n{line}\n')
    with pytest.raises(DataError, match=WRONG_LINES[line]) as caught:
        yolo_of(yolo_root)
    assert str(caught.value).startswith(f'{yolo_root}/labels/train/a.txt, line 2: ')


def test_yolo_without_names_or_texts_is_told(yolo_root):
    with pytest.raises(ConfigError, match=r"needs names_file='data\.yaml', or metainfo=dict\(classes"):
        yolo_of(yolo_root, metainfo=None)
    with pytest.raises(DataError, match=r'none of its 3 pictures has a text file, as .*nowhere/a\.txt'):
        yolo_of(yolo_root, data_prefix={'img': 'images/train', 'ann': 'nowhere'})
    with pytest.raises(FileNotFoundError, match=r"folder of pictures '.*images/val' does not exist"):
        yolo_of(yolo_root, data_prefix={'img': 'images/val'})
    (yolo_root / 'images/train/a.png').write_bytes(b'no picture')
    with pytest.raises(DataError, match=r'a\.txt: the size of its picture is not known: .*a\.png: not an image'):
        yolo_of(yolo_root)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('names: 3', 'expected names, a list of class names, got 3'),
        ('- a', 'expected names, a list of class names, got None'),
        ('names: {0: a, 2: b}', r'expected names numbered from 0 to 1, got \[0, 2\]'),
        ('names: [a', 'not valid YAML'),
    ],
)
def test_wrong_names_of_yolo_are_told(yolo_root, text, reason):
    (yolo_root / 'data.yaml').write_text(text)
    with pytest.raises(DataError, match=reason):
        yolo_of(yolo_root, names_file='data.yaml')


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats() | st.integers(-3, 3) | st.sampled_from(['', 'x', '1e999']), max_size=9))
def test_any_line_of_yolo_is_read_or_told(parts):
    line = ' '.join(map(str, parts))
    try:
        item = read_object(line, (100, 80), ('cat', 'dog'), 'a.txt, line 1')
        assert item.name in ('cat', 'dog')
        assert len(item.box) == 4
    except DataError as error:
        assert str(error).startswith('a.txt, line 1: ')


# ----------------------------------------------------------------------------------------------------- CSV


@pytest.fixture
def csv_of(tmp_path):
    def build(text, **kwargs):
        (tmp_path / 'boxes.csv').write_text(text)
        kwargs = {'metainfo': META, 'data_prefix': {'img': 'pics'}, **kwargs}
        return CSVDataset(data_root=str(tmp_path), ann_file='boxes.csv', **kwargs)

    return build


EXPECTED = [
    {'ignore_flag': 0, 'bbox': [1, 2, 30, 40], 'bbox_label': 1},
    {'ignore_flag': 1, 'bbox': [5, 5, 9, 9], 'bbox_label': 0},
]


@pytest.mark.parametrize(
    'text',
    [
        'file_name,width,height,x1,y1,x2,y2,label,ignore\na.png,100,80,1,2,30,40,dog,0\na.png,100,80,5,5,9,9,cat,1\n',
        'Filename;Width;Height;Class;xmin;ymin;xmax;ymax;Difficult\n"a.png";100;80;dog;1;2;30;40;\na.png;100;80;cat;5;5;9;9;1',
        'filename\twidth\theight\tclass\tx1\ty1\tx2\ty2\tignore\n\na.png\t100\t80\tdog\t1\t2\t30\t40\t0\na.png\t\t\tcat\t5\t5\t9\t9\ttrue',
    ],
)
def test_csv_of_several_exporters(csv_of, tmp_path, text):
    info = csv_of(text).get_data_info(0)
    assert (info['img_path'], info['img_id']) == (str(tmp_path / 'pics/a.png'), 'a.png')
    assert (info['width'], info['height']) == (100, 80)
    assert info['instances'] == EXPECTED


def test_csv_without_names_of_columns_and_sizes(csv_of, tmp_path):
    picture(tmp_path / 'pics/a.png')
    picture(tmp_path / 'pics/b.png')
    dataset = csv_of('a.png,1,2,30,40,dog\nb.png,,,,,\n', columns=('path', 'x1', 'y1', 'x2', 'y2', 'class'))
    assert [dataset.get_data_info(i)['instances'] for i in range(2)] == [EXPECTED[:1], []]
    with pytest.raises(ConfigError, match=r"lack \['label'\]"):
        csv_of('', columns=('path', 'x1', 'y1', 'x2', 'y2'))


HEADER = 'file_name,x1,y1,x2,y2,label,width,height\n'


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('a.png,1,2,3,4,cat\n', r"a first line that names the columns, among them \['file_name'\], got \['a\.png'"),
        (HEADER + 'a.png,1,2,x,4,cat\n', r"boxes\.csv, line 2: picture 'a\.png' has x2='x'; expected a number"),
        (HEADER + ',1,2,3,4,cat\n', r"line 2: a line lacks 'file_name'"),
        (HEADER + 'a.png,1,2,3,,cat\n', r"line 2: picture 'a\.png' has only \['label', 'x1', 'y1', 'x2'\]"),
        (
            HEADER + 'a.png,1,2,3,4,cat,9,9\na.png,1,2,3,4,cat,8,9\n',
            r'line 3: .* is of 8 x 9 pixels here, and of 9 x 9',
        ),
        (HEADER + 'a.png,1,2,3,4,cat,big,9\n', r"has width='big'; expected a whole number of pixels"),
        (HEADER + 'a.png,1,2,3,4,cat\n', r'line 2: the size of its picture is not known: .*a\.png: there is no such'),
        (HEADER, r'there are no images in it'),
    ],
)
def test_wrong_csv_is_told(csv_of, text, reason):
    with pytest.raises(DataError, match=reason):
        csv_of(text)


def test_csv_names_the_classes_that_it_has(csv_of):
    with pytest.raises(ConfigError, match=r"needs metainfo=dict\(classes=\(\.\.\.\)\); .*boxes\.csv has \['cat'\]"):
        csv_of(HEADER + 'a.png,1,2,3,4,cat,9,9\n', metainfo=None)


# ------------------------------------------------------------------------------------------------- labelme


def shape(label, points, shape_type='polygon', **extra):
    return {'label': label, 'points': points, 'shape_type': shape_type, 'flags': {}, **extra}


@pytest.fixture
def labelme_of(tmp_path):
    def build(content, meta=META, **kwargs):
        (tmp_path / 'pics').mkdir(exist_ok=True)
        (tmp_path / 'pics/a.json').write_text(json.dumps(content))
        return LabelmeDataset(data_root=str(tmp_path), metainfo=meta, data_prefix={'img': 'pics'}, **kwargs)

    return build


def labelme(*shapes, **extra):
    return {'shapes': list(shapes), 'imagePath': 'x.png', 'imageWidth': 100, 'imageHeight': 80, **extra}


def test_labelme_shapes(labelme_of, tmp_path):
    picture(tmp_path / 'pics/x.png')
    triangle = [[10, 10], [30, 10], [30, 20]]
    dataset = labelme_of(
        labelme(
            shape('dog', triangle),
            shape('cat', [[40, 50], [20, 30]], 'rectangle'),
            shape('cat', [[50, 40], [50, 50]], 'circle'),
            shape('dog', triangle, group_id=3),
            shape('dog', [[60, 60], [70, 60], [70, 75]], group_id=3),
            shape('cat', [[1, 1]], 'point'),
            shape('cow', triangle),
        )
    )
    info = dataset.get_data_info(0)
    assert (info['img_path'], info['img_id']) == (str(tmp_path / 'pics/x.png'), 'a')
    whole, box, circle, parts = info['instances']
    assert whole == {'ignore_flag': 0, 'bbox': [10, 10, 30, 20], 'bbox_label': 1, 'mask': [[10, 10, 30, 10, 30, 20]]}
    assert box == {'ignore_flag': 0, 'bbox': [20, 30, 40, 50], 'bbox_label': 0}
    assert circle['bbox'] == pytest.approx([40, 30, 60, 50])
    assert parts['bbox'] == [10, 10, 70, 75]
    assert len(parts['mask']) == 2
    assert dataset.skipped == 1
    assert 'of type point, 1 points' in dataset.report.summary()


def test_labelme_pictures_that_moved(labelme_of, tmp_path):
    picture(tmp_path / 'pics/a.jpg', (30, 20))
    content = labelme(imagePath='..\\old\\x.png', imageWidth=None, imageHeight=None)
    info = labelme_of(content).get_data_info(0)
    assert info['img_path'] == str(tmp_path / 'pics/a.jpg')
    assert (info['width'], info['height']) == (30, 20)


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        ({'images': []}, r"a\.json: a labelme file lacks 'shapes'"),
        ([1], r'a\.json: expected a labelme file to be a JSON object'),
        (labelme({'label': 'cat'}), r"a\.json: a shape lacks 'points'"),
        (
            labelme(shape('cat', [[1, 2, 3]])),
            r"a shape labeled 'cat' has points=\[\[1, 2, 3\]\]; expected a list of points",
        ),
        (labelme(shape('cat', [[float('nan'), 2]])), r'expected a list of points'),
        (labelme(shape(None, [])), r'label=None; expected the name of a class'),
        (labelme(imageWidth='wide'), r"has imageWidth='wide'; expected a whole number of pixels"),
        (labelme(imageWidth=None), r'a\.json: the size of its picture is not known: .*x\.png: there is no such file'),
    ],
)
def test_wrong_labelme_files_are_told(labelme_of, content, reason):
    with pytest.raises(DataError, match=reason):
        labelme_of(content)


# ------------------------------------------------------------------------------------------------ no labels


def test_a_folder_of_pictures(tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(unlabeled_module, 'warn', logged.append)
    picture(tmp_path / 'pics/b.png')
    picture(tmp_path / 'pics/sub/a.JPG', (30, 20))
    (tmp_path / 'pics/broken.png').write_bytes(b'x')
    (tmp_path / 'pics/notes.txt').write_text('x')
    dataset = UnlabeledDataset(data_root=str(tmp_path), data_prefix={'img': 'pics'}, metainfo=META)
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == ['b.png', 'sub/a.JPG']
    assert (dataset.get_data_info(1)['width'], dataset.get_data_info(1)['instances']) == (30, [])
    assert '1 files cannot be read and are left out' in logged[0]
    with pytest.raises(DataError, match='there are no pictures in it'):
        (tmp_path / 'empty').mkdir()
        UnlabeledDataset(data_root=str(tmp_path), data_prefix={'img': 'empty'})


@pytest.mark.skipif(os.name != 'posix', reason='names of files are bytes on POSIX only')
def test_a_name_that_is_not_utf8_is_read(tmp_path):
    picture(tmp_path / 'x.png')
    strange = os.fsdecode(bytes(tmp_path / 'pics') + b'/caf\xe9.png')
    (tmp_path / 'pics').mkdir()
    os.rename(tmp_path / 'x.png', strange)
    dataset = UnlabeledDataset(
        data_root=str(tmp_path), data_prefix={'img': 'pics'}, pipeline=[{'type': 'LoadImageFromFile'}]
    )
    assert dataset[0]['img'].shape == (80, 100, 3)


# ---------------------------------------------------------------------------------------------- any content

CELLS = st.none() | st.booleans() | st.integers(-5, 200) | st.floats() | st.text(max_size=6)
VALUES = st.recursive(CELLS, lambda inner: st.lists(inner, max_size=4), max_leaves=8)
SHAPES = st.dictionaries(st.sampled_from(['label', 'points', 'shape_type', 'group_id', 'difficult']), VALUES)
SOUND = st.fixed_dictionaries(
    {
        'label': st.sampled_from(['cat', 'dog']),
        'points': st.lists(st.tuples(st.floats(-300, 300), st.floats(-300, 300)), max_size=5),
        'shape_type': st.sampled_from(['polygon', 'rectangle', 'circle', 'point', None]),
        'group_id': st.sampled_from([None, 1]),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(SOUND | SHAPES, max_size=4), st.dictionaries(st.sampled_from(['imageWidth', 'imagePath']), VALUES))
def test_any_labelme_file_is_read_or_told(tmp_path_factory, shapes, fields):
    folder = tmp_path_factory.mktemp('labelme')
    (folder / 'a.json').write_text(json.dumps({**labelme(*shapes), **fields}))
    try:
        dataset = LabelmeDataset(data_root=str(folder), metainfo=META, data_prefix={'img': ''})
    except DataError as error:
        assert str(folder) in str(error)
    else:
        for instance in dataset.get_data_info(0)['instances']:
            x1, y1, x2, y2 = instance['bbox']
            assert 0 <= x1 < x2 <= 100
            assert 0 <= y1 < y2 <= 80


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(CELLS, min_size=1, max_size=8), max_size=4), st.sampled_from([',', ';', '\t']))
def test_any_csv_is_read_or_told(tmp_path_factory, rows, delimiter):
    folder = tmp_path_factory.mktemp('csv')
    header = delimiter.join(('file_name', 'width', 'height', 'x1', 'y1', 'x2', 'y2', 'label'))
    lines = [delimiter.join(map(str, row)) for row in rows]
    (folder / 'a.csv').write_text('\n'.join((header, *lines)))
    try:
        CSVDataset(data_root=str(folder), ann_file='a.csv', metainfo=META)
    except DataError as error:
        assert str(folder) in str(error)
