import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmdetlike.datasets import CrowdHumanDataset
from mmdetlike.datasets.crowdhuman import read_odgt
from mmdetlike.datasets.errors import DataError


def person(*fbox, tag='person', **extra):
    return {'tag': tag, 'fbox': list(fbox), 'hbox': [0, 0, 1, 1], 'vbox': [0, 0, 1, 1], 'extra': extra}


@pytest.fixture
def make(tmp_path):
    def build(*lines, picture=True, **kwargs):
        text = '\n'.join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        (tmp_path / 'a.odgt').write_text(text + '\n\n')
        (tmp_path / 'Images').mkdir(exist_ok=True)
        if picture:
            Image.new('RGB', (100, 80)).save(tmp_path / 'Images/7,ab.jpg')
        kwargs = {'data_prefix': {'img': 'Images/'}, **kwargs}
        return CrowdHumanDataset(data_root=str(tmp_path), ann_file='a.odgt', **kwargs)

    return build


def test_what_a_data_info_holds(make, tmp_path):
    boxes = [
        person(-5, 10, 30, 90),
        person(1, 2, 3, 4, ignore=1),
        person(5, 5, 10, 10, tag='mask'),
        person(5, 5, 0, 10),
        person(0, 0, 0, 0),
    ]
    dataset = make({'ID': '7,ab', 'gtboxes': boxes})
    info = dataset.get_data_info(0)
    assert info['img_path'] == str(tmp_path / 'Images/7,ab.jpg')
    assert (info['img_id'], info['width'], info['height']) == ('7,ab', 100, 80)
    assert info['instances'] == [
        {'ignore_flag': 0, 'bbox': [-5, 10, 25, 100], 'bbox_label': 0},  # not clipped: the full body
        {'ignore_flag': 1, 'bbox': [1, 2, 4, 6], 'bbox_label': 0},
        {'ignore_flag': 1, 'bbox': [5, 5, 15, 15], 'bbox_label': 0},
    ]
    assert dataset.skipped == 2


def test_a_file_of_sizes_saves_the_look_at_the_pictures(make, tmp_path):
    (tmp_path / 'sizes.json').write_text(json.dumps({'7,ab': [600, '800']}))
    line = {'ID': '7,ab', 'gtboxes': [person(1, 1, 9, 9)]}
    info = make(line, picture=False, extra_ann_file='sizes.json').get_data_info(0)
    assert (info['width'], info['height']) == (800, 600)
    (tmp_path / 'sizes.json').write_text(json.dumps({'7,ab': 600}))
    with pytest.raises(DataError, match=r"sizes\.json: picture '7,ab' has 600; expected \[height, width\] in pixels"):
        make(line, picture=False, extra_ann_file='sizes.json')


def test_a_missing_picture_is_named(make):
    with pytest.raises(DataError, match=r"a\.odgt: the size of picture '7,ab' is not known: .*7,ab\.jpg: there is no"):
        make({'ID': '7,ab', 'gtboxes': []}, picture=False)


WRONG = {
    '{': r'line 1: expected a picture as a JSON object, got \'{\'',
    '[1]': r'line 1: expected a picture to be a JSON object, got \[1\]',
    '{"gtboxes": []}': r"line 1: a picture lacks 'ID'",
    '{"ID": "a", "gtboxes": 3}': r"line 1: picture 'a' has gtboxes=3; expected a list of boxes",
    '{"ID": "a", "gtboxes": [{"fbox": [1, 2, 3, 4]}]}': r"line 1, picture 'a': a box lacks 'tag'",
    '{"ID": "a", "gtboxes": [{"tag": "person"}]}': r"line 1, picture 'a': a box lacks 'fbox'",
    '{"ID": "a", "gtboxes": [{"tag": "person", "fbox": [1, 2]}]}': r'has fbox=\[1, 2\]; expected four numbers',
    '{"ID": "a", "gtboxes": [{"tag": "person", "fbox": [1, 2, 3, 4], "extra": {"ignore": "maybe"}}]}': "'ignore' is 0",
    '{"ID": "a"}\n{"ID": "a"}': r"line 2: picture 'a' is there already",
}


@pytest.mark.parametrize('text', WRONG)
def test_each_fault_is_told_with_its_line(tmp_path, text):
    path = tmp_path / 'a.odgt'
    path.write_text(text)
    with pytest.raises(DataError, match=WRONG[text]) as caught:
        read_odgt(str(path))
    assert str(caught.value).startswith(f'{path}, line ')


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(['ignore', 'tag', 'fbox']), inner),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(['ID', 'gtboxes']), VALUES),
    st.lists(st.dictionaries(st.sampled_from(['tag', 'fbox', 'extra']), VALUES)),
)
def test_any_line_is_read_or_told(tmp_path_factory, row, boxes):
    path = tmp_path_factory.mktemp('odgt') / 'a.odgt'
    path.write_text(json.dumps({'gtboxes': boxes, **row}))
    try:
        assert len(read_odgt(str(path))) == 1
    except DataError as error:
        assert str(error).startswith(f'{path}, line 1')
