"""Readers of JSON and XML on files in which things are replaced, left out and doubled: right, or refused in a sentence.

``FUZZ_EXAMPLES=100000`` looks at more files than a run of all tests has time for.
"""

import contextlib
import copy
import json
import math
import os
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmdetlike.datasets import (
    ADE20KInstanceDataset,
    BaseVideoDataset,
    CocoDataset,
    CocoPanopticDataset,
    CrowdHumanDataset,
    LabelmeDataset,
    LVISV1Dataset,
    XMLDataset,
    YouTubeVISDataset,
)
from mmdetlike.datasets.transforms import LoadAnnotations
from mmdetlike.errors import UserError
from mmdetlike.evaluation import CocoMetric, LVISMetric

from .test_video_challenges import YOUTUBE

CLASSES = ('cat', 'dog')
fuzzed = settings(
    max_examples=int(os.environ.get('FUZZ_EXAMPLES', 40)),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

numbers = st.one_of(
    st.integers(-3, 200),
    st.sampled_from([0, -1, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 10**400]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([1e30, 1e308, 1e-320, -0.0]),
)
scalars = st.one_of(
    numbers, st.none(), st.booleans(), st.text(max_size=4), st.sampled_from(['1', '96', 'cat', '1e9', 'a/b', '\ud800'])
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=7),
        st.dictionaries(st.sampled_from(['id', 'name', 'size', 'counts', 'x', '']), inner, max_size=3),
        st.lists(numbers, min_size=4, max_size=8),
    ),
    max_leaves=6,
)

COCO = {
    'images': [
        {'id': 1, 'file_name': '1.png', 'width': 96, 'height': 64},
        {'id': 2, 'file_name': '2.png', 'width': 96, 'height': 64},
    ],
    'annotations': [
        {
            'id': 1,
            'image_id': 1,
            'category_id': 1,
            'bbox': [8, 8, 40, 40],
            'area': 1600,
            'iscrowd': 0,
            'segmentation': [[8, 8, 48, 8, 48, 48]],
        },
        {
            'id': 2,
            'image_id': 1,
            'category_id': 2,
            'bbox': [0, 0, 20, 10],
            'area': 200,
            'iscrowd': 1,
            'segmentation': {'size': [64, 96], 'counts': [0, 10, 54, 10, 6070]},
        },
        {
            'id': 3,
            'image_id': 2,
            'category_id': 2,
            'bbox': [5, 5, 20, 10],
            'area': 200,
            'iscrowd': 0,
            'segmentation': {'size': [64, 96], 'counts': 'PPPP0'},
        },
    ],
    'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
}


def with_entries(table: str, **entries) -> dict:
    """COCO's content with more entries in each row of a table."""
    return {**COCO, table: [{**row, **entries} for row in COCO[table]]}


def places(node, path=()) -> list[tuple]:
    """The paths of everything in a tree."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, value in pairs for place in places(value, (*path, key)))]


@st.composite
def changed(draw, content):
    """A JSON tree with one to three changes."""
    tree = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(tree)[1:] or [()]))
        if not path:
            continue
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        action = draw(st.sampled_from(['replace', 'replace', 'replace', 'remove', 'double', 'add']))
        if action == 'replace':
            parent[path[-1]] = draw(values)
        elif action == 'remove':
            del parent[path[-1]]
        elif action == 'double' and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[path[-1]]))
        elif isinstance(parent, dict):
            parent[draw(st.text(max_size=3))] = draw(values)
    return tree


def check_infos(dataset) -> None:
    """Everything that was read can be used: boxes are finite and have an area, masks can be made."""
    load = LoadAnnotations(with_bbox=True, with_mask=True, poly2mask=True)
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        for instance in info['instances']:
            x1, y1, x2, y2 = instance['bbox']
            assert all(map(math.isfinite, instance['bbox'])), instance
            assert x2 > x1 and y2 > y1, instance
            assert 0 <= instance['bbox_label'] < max(len(dataset.metainfo['classes']), 1)
        has_masks = info['instances'] and all(instance.get('mask') is not None for instance in info['instances'])
        if has_masks and info['height'] * info['width'] < 10**6:
            load({**info, 'img_shape': (info['height'], info['width']), 'ori_shape': (64, 96)})


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('fuzzed')
    for name in ('1.png', '2.png', '7.jpg'):
        Image.new('RGB', (96, 64)).save(path / name)
    (path / 'Annotations').mkdir()
    (path / 'ids.txt').write_text('1\n')
    return path


def write(path, tree) -> None:
    # as programs write them, and not only files that are UTF-8
    path.write_bytes(json.dumps(tree).encode('utf-8', 'surrogatepass'))


@pytest.mark.parametrize('test_mode', [False, True])
@fuzzed
@given(data=st.data())
def test_coco(folder, test_mode, data):
    write(folder / 'a.json', data.draw(changed(COCO)))
    arguments = dict(data_root=str(folder), ann_file='a.json', metainfo=dict(classes=CLASSES), test_mode=test_mode)
    with contextlib.suppress(UserError):
        check_infos(CocoDataset(**arguments, filter_cfg=dict(filter_empty_gt=True, min_size=2)))


def nothing_found(img_id) -> dict:
    prediction = dict(bboxes=np.zeros((0, 4)), scores=np.zeros(0), labels=np.zeros(0, int))
    return dict(img_id=img_id, ori_shape=(64, 96), pred_instances=dict(prediction, masks=[]))


@pytest.mark.parametrize('kind', [CocoMetric, LVISMetric])
@fuzzed
@given(data=st.data())
def test_metrics_read_what_datasets_read(folder, kind, data):
    content = {**with_entries('images', neg_category_ids=[1], not_exhaustive_category_ids=[2])}
    content['categories'] = [dict(row, frequency='r') for row in COCO['categories']]
    write(folder / 'm.json', data.draw(changed(content if kind is LVISMetric else COCO)))
    try:
        metric = kind(str(folder / 'm.json'), metric=['bbox', 'segm'])
        metric.dataset_meta = dict(classes=CLASSES)
        metric.process(None, [nothing_found(1), nothing_found(2)])
        scores = metric.evaluate(2)
    except UserError:
        return
    assert all(math.isfinite(value) for value in scores.values())


@pytest.mark.parametrize(
    ('kind', 'content'),
    [
        (LVISV1Dataset, with_entries('images', coco_url='http://images/train2017/1.png')),
        (
            BaseVideoDataset,
            {
                **COCO,
                'videos': [{'id': 1, 'name': 'a'}],
                'images': [dict(row, video_id=1, frame_id=i) for i, row in enumerate(COCO['images'])],
                'annotations': [dict(row, instance_id=row['id']) for row in COCO['annotations']],
            },
        ),
        (
            CocoPanopticDataset,
            {
                'images': COCO['images'],
                'annotations': [
                    {
                        'image_id': number,
                        'file_name': f'{number}.png',
                        'segments_info': [
                            {'id': 1, 'category_id': 1, 'bbox': [8, 8, 40, 40], 'area': 1600, 'iscrowd': 0},
                            {'id': 2, 'category_id': 2, 'bbox': [0, 0, 20, 10], 'area': 200, 'iscrowd': 1},
                        ],
                    }
                    for number in (1, 2)
                ],
                'categories': [dict(row, isthing=1) for row in COCO['categories']],
            },
        ),
        (ADE20KInstanceDataset, COCO),
        (YouTubeVISDataset, {**YOUTUBE, 'categories': COCO['categories']}),
    ],
    ids=lambda value: getattr(value, '__name__', ''),
)
@fuzzed
@given(data=st.data())
def test_kin_of_coco(folder, kind, content, data):
    write(folder / 'k.json', data.draw(changed(content)))
    meta = dict(classes=CLASSES, thing_classes=CLASSES, stuff_classes=())
    prefix = dict(data_prefix=dict(img='', seg='')) if kind is CocoPanopticDataset else {}
    try:
        dataset = kind(data_root=str(folder), ann_file='k.json', metainfo=meta, **prefix)
        for i in range(len(dataset)):
            info = dataset.get_data_info(i)
            for frame in info.get('images', [info]):
                for instance in frame.get('instances', ()):
                    assert all(map(math.isfinite, instance['bbox']))
    except UserError:
        pass


LABELME = {
    'imagePath': '1.png',
    'imageHeight': 64,
    'imageWidth': 96,
    'shapes': [
        {'label': 'cat', 'points': [[8, 8], [48, 8], [48, 48]], 'shape_type': 'polygon', 'group_id': None},
        {'label': 'dog', 'points': [[8, 8], [48, 48]], 'shape_type': 'rectangle', 'group_id': 1, 'difficult': True},
        {'label': 'dog', 'points': [[20, 20], [30, 20]], 'shape_type': 'circle'},
    ],
}


@fuzzed
@given(data=st.data())
def test_labelme(folder, data):
    place = folder / 'labelme'
    place.mkdir(exist_ok=True)
    Image.new('RGB', (96, 64)).save(place / '1.png')
    write(place / '1.json', data.draw(changed(LABELME)))
    with contextlib.suppress(UserError):
        check_infos(LabelmeDataset(data_root=str(place), ann_file='', metainfo=dict(classes=CLASSES)))


ODGT = {
    'ID': '7',
    'gtboxes': [
        dict(
            tag='person', fbox=[8, 8, 40, 40], hbox=[0, 0, 4, 4], vbox=[0, 0, 9, 9], extra={}, head_attr={'ignore': 1}
        ),
        dict(tag='mask', fbox=[8, 8, 40, 40], hbox=[0, 0, 4, 4], vbox=[0, 0, 9, 9], extra={'ignore': 1}),
    ],
}


@fuzzed
@given(data=st.data())
def test_crowdhuman(folder, data):
    write(folder / 'a.odgt', data.draw(changed(ODGT)))
    with contextlib.suppress(UserError):
        check_infos(CrowdHumanDataset(data_root=str(folder), ann_file='a.odgt', data_prefix=dict(img='')))


XML = """<annotation><filename>1.png</filename><size><width>96</width><height>64</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult><bndbox><xmin>8</xmin><ymin>8</ymin><xmax>48</xmax><ymax>48</ymax></bndbox>
</object><object><name>dog</name><bndbox><xmin>1.5</xmin><ymin>2</ymin><xmax>40</xmax><ymax>30</ymax></bndbox></object>
</annotation>"""
texts = st.one_of(
    st.sampled_from(['', ' ', 'nan', 'inf', '-1', '0', '1e400', '1_0', '٣', '12.5', 'cat', '9' * 5000, '1 2']),
    st.text(st.characters(codec='utf-8', exclude_categories=['Cc', 'Cs']), max_size=4),
)


@st.composite
def changed_xml(draw):
    root = ElementTree.fromstring(XML)
    for _ in range(draw(st.integers(1, 3))):
        parents = [(parent, child) for parent in root.iter() for child in parent]
        if not parents:
            break
        parent, child = draw(st.sampled_from(parents))
        action = draw(st.sampled_from(['text', 'text', 'remove', 'double', 'nest', 'rename']))
        if action == 'text':
            child.text = draw(texts)
        elif action == 'remove':
            parent.remove(child)
        elif action == 'double':
            parent.append(copy.deepcopy(child))
        elif action == 'nest':
            child.append(copy.deepcopy(parent))
        else:
            child.tag = draw(st.sampled_from(['object', 'bndbox', 'name', 'size', 'xmin', 'part']))
    return ElementTree.tostring(root, encoding='utf-8')


@fuzzed
@given(content=changed_xml(), cut=st.one_of(st.none(), st.tuples(st.integers(0, 600), st.binary(max_size=3))))
def test_xml(folder, content, cut):
    if cut is not None:
        place, inserted = cut
        content = content[:place] + inserted + content[place + len(inserted) :]
    (folder / 'Annotations/1.xml').write_bytes(content)
    arguments = dict(data_root=str(folder), data_prefix=dict(sub_data_root=''), ann_file='ids.txt', img_subdir='')
    with contextlib.suppress(UserError):
        check_infos(XMLDataset(**arguments, metainfo=dict(classes=CLASSES)))


def test_unchanged_files_are_read(folder):
    """The tests above would pass if readers refused everything."""
    write(folder / 'a.json', COCO)
    meta = dict(metainfo=dict(classes=CLASSES))
    (folder / 'Annotations/1.xml').write_text(XML)
    (folder / 'whole').mkdir()
    Image.new('RGB', (96, 64)).save(folder / 'whole/1.png')
    write(folder / 'whole/1.json', LABELME)
    write(folder / 'a.odgt', ODGT)
    xml = dict(data_prefix=dict(sub_data_root=''), ann_file='ids.txt', img_subdir='')
    datasets = [
        CocoDataset(data_root=str(folder), ann_file='a.json', **meta),
        LabelmeDataset(data_root=str(folder / 'whole'), ann_file='', **meta),
        CrowdHumanDataset(data_root=str(folder), ann_file='a.odgt', data_prefix=dict(img='')),
        XMLDataset(data_root=str(folder), **xml, **meta),
    ]
    assert [len(dataset.get_data_info(0)['instances']) for dataset in datasets] == [2, 3, 2, 2]
    for dataset in datasets:
        check_infos(dataset)
