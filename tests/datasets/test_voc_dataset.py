import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmdetlike.datasets import ImageError, VOCDataset, XMLDataset, errors
from mmdetlike.datasets.annotations import shortened
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.picture_size import picture_size
from mmdetlike.datasets.transforms.image_io import read_image
from mmdetlike.datasets.voc_xml import read_voc_xml

META = {'classes': ('cell', 'plate')}
SIZE = '<size><width>100</width><height>80</height><depth>3</depth></size>'


def item(box, name='cell', difficult=0):
    corners = ''.join(f'<{k}>{v}</{k}>' for k, v in zip(('xmin', 'ymin', 'xmax', 'ymax'), box))
    return f'<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>'


@pytest.fixture
def messages(monkeypatch):
    logged = []
    monkeypatch.setattr(errors, 'print_log', lambda message, **kwargs: logged.append(message))
    return logged


@pytest.fixture
def make(tmp_path):
    def build(*files, **kwargs):
        for folder in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for i, text in enumerate(files):
            (tmp_path / f'Annotations/im{i}.xml').write_text(text)
        (tmp_path / 'ImageSets/Main/train.txt').write_text('\n'.join(f'im{i}  1' for i in range(len(files))) + '\n')
        kwargs = {'metainfo': META, **kwargs}
        return VOCDataset(data_root=str(tmp_path), **kwargs)

    return build


def xml(*objects, size=SIZE, filename='x.jpg'):
    return f'<annotation><filename>{filename}</filename>{size}{"".join(objects)}</annotation>'


def test_what_a_data_info_holds(make, tmp_path):
    dataset = make(xml(item((1, 1, 100, 80)), item((11, 21, 30, 40), 'plate', 1), item((1, 1, 9, 9), 'other')))
    info = dataset.get_data_info(0)
    assert info['img_path'] == str(tmp_path / 'JPEGImages/im0.jpg')
    assert (info['img_id'], info['width'], info['height']) == ('im0', 100, 80)
    assert info['instances'] == [
        {'ignore_flag': 0, 'bbox': [0, 0, 100, 80], 'bbox_label': 0},
        {'ignore_flag': 1, 'bbox': [10, 20, 30, 40], 'bbox_label': 1},
    ]
    assert dataset.get_cat_ids(0) == [0, 1]


def test_the_image_has_the_suffix_that_the_xml_names(make):
    assert make(xml(item((1, 1, 9, 9)), filename='renamed.PNG')).get_data_info(0)['img_path'].endswith('im0.PNG')


def test_wrong_boxes_are_skipped_and_counted(make, messages):
    boxes = [(5, 5, 5, 9), (9, 9, 5, 20), (150, 5, 160, 9), ('nan', 1, 5, 5), (90, 70, 120, 90), (2, 2, 9, 9)]
    dataset = make(xml(*map(item, boxes), item((1, 1, 9, 9), 'plate')))
    assert dataset.skipped == 4
    assert [i['bbox'] for i in dataset.get_data_info(0)['instances']] == [[89, 69, 100, 80], [1, 1, 9, 9], [0, 0, 9, 9]]
    assert '2 zero area' in messages[0]
    assert 'image im0 box xyxy [5.0, 5.0, 5.0, 9.0]' in messages[0]


def test_small_boxes_are_ignored_in_training_only(make):
    files = [xml(item((1, 1, 5, 50)), item((1, 1, 50, 50), 'plate'))]
    flags = [i['ignore_flag'] for i in make(*files, filter_cfg={'bbox_min_size': 8}).get_data_info(0)['instances']]
    assert flags == [1, 0]
    dataset = make(*files, filter_cfg={'bbox_min_size': 8}, test_mode=True)
    assert [i['ignore_flag'] for i in dataset.get_data_info(0)['instances']] == [0, 0]


def test_images_without_objects_are_kept_in_test_mode(make):
    files = [xml(item((1, 1, 9, 9)), item((1, 1, 9, 9), 'plate')), xml()]
    assert len(make(*files, filter_cfg={'filter_empty_gt': True})) == 1
    assert len(make(*files, filter_cfg={'filter_empty_gt': True}, test_mode=True)) == 2


def test_errors_name_file_and_place(make, tmp_path):
    with pytest.raises(DataError, match=r'im0\.xml: not valid XML: mismatched tag: line 2, column 5'):
        make('<annotation>\n<a></b>')
    with pytest.raises(DataError, match=r'im0\.xml: object 1 needs a name and a bndbox with the numbers'):
        make(xml(item((1, 1, 9, 9)), '<object><name>cell</name></object>'))
    (tmp_path / 'Annotations/im0.xml').unlink()
    (tmp_path / 'ImageSets/Main/train.txt').write_text('im0')
    with pytest.raises(FileNotFoundError, match=r'im0\.xml'):
        VOCDataset(data_root=str(tmp_path), metainfo=META)
    with pytest.raises(FileNotFoundError, match=r'ImageSets/Main/none\.txt'):
        VOCDataset(data_root=str(tmp_path), metainfo=META, ann_file='ImageSets/Main/none.txt')
    (tmp_path / 'ImageSets/Main/train.txt').write_text('\n')
    with pytest.raises(DataError, match='there are no images'):
        VOCDataset(data_root=str(tmp_path), metainfo=META)


def test_classes_that_do_not_match(make):
    with pytest.raises(DataError, match=r'None of the classes(.|\n)*aeroplane(.|\n)*cell'):
        make(xml(item((1, 1, 9, 9))), metainfo=None)
    with pytest.raises(ValueError, match='XMLDataset needs metainfo'):
        XMLDataset(ann_file='x.txt')


def test_a_size_that_the_xml_lacks_is_read_from_the_image(make, tmp_path):
    (tmp_path / 'JPEGImages').mkdir()
    cv2.imwrite(str(tmp_path / 'JPEGImages/im0.jpg'), np.zeros((30, 40, 3), np.uint8))
    assert make(xml(item((1, 1, 9, 9)), size='')).get_data_info(0)['width'] == 40
    (tmp_path / 'JPEGImages/im0.jpg').write_bytes(b'no picture')
    with pytest.raises(ImageError, match=r'im0\.jpg: not an image'):
        make(xml(item((1, 1, 9, 9)), size='<size><width>0</width></size>'))
    (tmp_path / 'JPEGImages/im0.jpg').unlink()
    with pytest.raises(ImageError, match=r'im0\.jpg: there is no such file'):
        make(xml(item((1, 1, 9, 9)), size=''))


def test_a_folder_below_the_data_root(make, tmp_path):
    make(xml(item((1, 1, 9, 9))))
    dataset = VOCDataset(
        data_root=str(tmp_path.parent),
        ann_file=f'{tmp_path.name}/ImageSets/Main/train.txt',
        data_prefix={'sub_data_root': tmp_path.name},
        metainfo=META,
    )
    assert dataset.get_data_info(0)['img_path'] == str(tmp_path / 'JPEGImages/im0.jpg')


def test_the_default_classes_are_vocs_20():
    assert VOCDataset.METAINFO['classes'][14] == 'person'
    assert len(set(VOCDataset.METAINFO['classes'])) == 20


@pytest.mark.parametrize(
    ('encoding', 'declared'),
    [('utf-8', ''), ('utf-8-sig', ''), ('utf-8-sig', 'UTF-8'), ('gbk', 'GBK'), ('utf-16', 'UTF-16'), ('big5', 'Big5')],
)
def test_xml_is_read_as_it_declares(make, tmp_path, encoding, declared):
    make(xml(item((1, 1, 9, 9))))
    head = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ''
    text = head + xml(item((1, 1, 9, 9), '貓' if encoding == 'big5' else '猫'))
    (tmp_path / 'Annotations/im0.xml').write_bytes(text.encode(encoding))
    (tmp_path / 'ImageSets/Main/train.txt').write_text('im0\n\n', encoding='utf-8-sig')
    assert VOCDataset(data_root=str(tmp_path), metainfo={'classes': ('猫', '貓')}).get_data_info(0)['img_id'] == 'im0'


def test_encodings_that_fail_are_named(make, tmp_path):
    make(xml(item((1, 1, 9, 9))))
    for head, body, told in (
        (b'<?xml version="1.0" encoding="nonsense"?>', b'', "its encoding 'nonsense' is unknown"),
        (b'<?xml version="1.0" encoding="GBK"?>', b'\xff', 'not text in GBK, which it declares'),
    ):
        (tmp_path / 'Annotations/im0.xml').write_bytes(head + xml().encode() + body)
        with pytest.raises(DataError, match=told):
            VOCDataset(data_root=str(tmp_path), metainfo=META)


def test_fields_of_another_kind(make):
    with pytest.raises(DataError, match=r"im0\.xml: width='abc'; expected a whole number of pixels"):
        make(xml(item((1, 1, 9, 9)), size='<size><width>abc</width></size>'))
    with pytest.raises(DataError, match=r"im0\.xml: object 0 has difficult='maybe'; expected 0 or 1"):
        make(xml(item((1, 1, 9, 9), difficult='maybe')))
    flags = [item((1, 1, 9, 9), difficult=flag) for flag in ('', 'true', ' 0 ')]
    assert [i['ignore_flag'] for i in make(xml(*flags)).get_data_info(0)['instances']] == [0, 1, 0]


@pytest.mark.parametrize('orientation', [1, 6])
def test_the_size_of_a_picture_is_that_of_the_loaded_one(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = str(tmp_path / 'a.jpg')
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(path, exif=exif)
    height, width = read_image(path).shape[:2]
    assert picture_size(path) == (width, height) == picture_size(path, {'backend': 'local'})


texts = st.one_of(
    st.sampled_from(['1', ' 9 ', '', 'nan', 'inf', '1e400', '-1', 'x', '2.5', 'true', '9' * 400]),
    st.integers().map(str),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, min_size=4, max_size=4), texts, texts)
def test_any_text_is_read_or_refused_in_a_sentence(tmp_path_factory, corners, difficult, width):
    path = tmp_path_factory.mktemp('any') / 'a.xml'
    size = f'<size><width>{width}</width><height>80</height></size>'
    path.write_text(xml(item(corners, difficult=difficult), size=size))
    try:
        annotation = read_voc_xml(str(path))
    except DataError as error:
        assert str(path) in str(error)
        return
    assert annotation.width is None or 0 < annotation.width <= 10**6
    assert len(annotation.objects[0].box) == 4


def test_deep_and_long_values_are_told_in_short():
    deep = []
    for _ in range(5000):
        deep = [deep]
    assert len(shortened(deep)) < 110
    assert len(shortened({'counts': list(range(10**6)), 'size': 'x' * 10**6})) < 110


def test_an_object_without_a_name_is_refused(tmp_path):
    box = '<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>'
    (tmp_path / 'a.xml').write_text(f'<annotation><object><name /> {box}</object></annotation>')
    with pytest.raises(DataError, match=r'a\.xml: object 0 needs a name'):
        read_voc_xml(str(tmp_path / 'a.xml'))
