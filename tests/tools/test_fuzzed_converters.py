"""Converters on files in which things are replaced, left out and doubled: they write what is right, or nothing.

``--check`` reads what was written and compares it, so that a converter that loses or changes something fails.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmdetlike.cli import from_coco, split_coco, to_coco, voc_to_coco

from ..datasets.test_fuzzed_readers import COCO, CSV, LABELME, NAMES, ODGT, OPEN_IMAGES, XML, with_entries
from ..fuzzing import as_json, changed, changed_lines, changed_xml, damaged, fuzzed, read_or_refused

FACES = ['7.jpg', '2', '8 8 40 40 0 0 0 0 0 0', '1 2 3 4 0 0 0 1 0 0', 'sub/8.jpg', '0', '0 0 0 0 0 0 0 0 0 0']
SHAPED = with_entries('annotations', segmentation=[[8, 8, 48, 8, 48, 48]])


def renamed(content: dict, *names: str) -> dict:
    """COCO's content with pictures of other names."""
    return {**content, 'images': [dict(row, file_name=name) for row, name in zip(content['images'], names)]}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp('converted')
    pictures = ['1.png', '7.jpg', '8.jpg', 'sub/8.jpg', 'ulm/1_leftImg8bit.png', 'ulm/2_leftImg8bit.png']
    for name in [f'pics/{name}' for name in pictures] + ['voc/JPEGImages/1.png']:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (96, 64)).save(path / name)
    for folder in ('labels', 'voc/Annotations', 'voc/ImageSets/Main'):
        (path / folder).mkdir(parents=True, exist_ok=True)
    (path / 'voc/ImageSets/Main/train.txt').write_text('1\n')
    (path / 'names.yaml').write_text('names: [cat, dog]\n')
    (path / 'classes.csv').write_text('\n'.join(NAMES))
    return path


def json_of(content):
    return changed(content).map(as_json)


SOURCES = {
    'yolo': ('labels/1.txt', changed_lines(['0 .5 .5 .25 .25', '1 0 0 .5 0 .5 .5'], ' '), ['--names', 'names.yaml']),
    'labelme': ('labels/1.json', json_of(LABELME), ['--annotations', 'labels']),
    'csv': ('a.csv', changed_lines([line.replace('2.png', '7.jpg') for line in CSV], ','), ['--ann-file', 'a.csv']),
    'crowdhuman': ('a.odgt', json_of(ODGT), ['--ann-file', 'a.odgt']),
    'lvis': (
        'lvis.json',
        json_of(
            renamed(with_entries('images', neg_category_ids=[1], not_exhaustive_category_ids=[]), '1.png', '7.jpg')
        ),
        ['--ann-file', 'lvis.json', '--classes', 'cat,dog'],
    ),
    'wider-face': ('faces.txt', changed_lines(FACES, ' '), ['--ann-file', 'faces.txt']),
    'openimages': ('b.csv', changed_lines(OPEN_IMAGES, ','), ['--ann-file', 'b.csv', '--names', 'classes.csv']),
}
ANNOTATIONS = ('yolo', 'labelme')


@pytest.mark.parametrize('kind', SOURCES)
@fuzzed
@given(data=st.data())
def test_to_coco(root, kind, data):
    name, contents, options = SOURCES[kind]
    (root / name).write_bytes(data.draw(contents))
    options = [str(root / option) if (root / option).exists() else option for option in options]
    if kind == 'yolo':
        options += ['--annotations', str(root / 'labels')]
    out = root / f'{kind}.out.json'
    out.unlink(missing_ok=True)
    with read_or_refused(root):
        to_coco.main([kind, str(root / 'pics'), str(out), *options, '--check'])
        assert json.loads(out.read_bytes())['images']
        return
    assert not out.exists()


@fuzzed
@given(data=st.data())
def test_voc_to_coco(root, data):
    (root / 'voc/Annotations/1.xml').write_bytes(data.draw(damaged(data.draw(changed_xml(XML)))))
    out = root / 'voc.out.json'
    out.unlink(missing_ok=True)
    with read_or_refused('1.xml', '1.png', '1.jpg'):
        voc_to_coco.main([str(root / 'voc'), str(out), '--check'])
        assert json.loads(out.read_bytes())['images']
        return
    assert not out.exists()


@pytest.mark.parametrize(
    ('kind', 'content'),
    [
        *((kind, renamed(COCO, '7.jpg', 'sub/8.jpg')) for kind in ('yolo', 'labelme', 'lvis', 'voc')),
        *((kind, renamed(SHAPED, '7.jpg', 'sub/8.jpg')) for kind in ('crowdhuman', 'openimages')),
        (
            'cityscapes',
            {
                **renamed(SHAPED, 'ulm/1_leftImg8bit.png', 'ulm/2_leftImg8bit.png'),
                'categories': [{'id': 1, 'name': 'car'}, {'id': 2, 'name': 'bus'}],
            },
        ),
    ],
)
@fuzzed
@given(data=st.data())
def test_from_coco(root, tmp_path_factory, kind, content, data):
    source = root / 'source.json'
    source.write_bytes(data.draw(json_of(content)))
    out = tmp_path_factory.mktemp('out') / 'out'
    with read_or_refused('source.json', str(root / 'pics'), 'The class') as told:
        from_coco.main([kind, str(source), str(root / 'pics'), str(out), '--check'])
        assert any(out.iterdir())
        return
    # without its picture an annotation can be written in all formats, but not be read again in all
    assert not out.exists() or any(reason in told[0] for reason in ('no such file', 'not an image', 'no pictures'))


@fuzzed
@given(data=st.data())
def test_split_coco(root, tmp_path_factory, data):
    source = root / 'whole.json'
    source.write_bytes(data.draw(json_of(COCO)))
    out = tmp_path_factory.mktemp('out') / 'out'
    with read_or_refused('whole.json', '--labeled-percent'):
        split_coco.main([str(source), str(out), '--labeled-percent', '50', '--fold', '1'])
        assert len(list(out.iterdir())) == 2
        return
    assert not out.exists()
