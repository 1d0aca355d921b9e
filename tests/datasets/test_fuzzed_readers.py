"""Readers of JSON and XML on files in which things are replaced, left out and doubled: right, or refused in a sentence.

See tests/fuzzing.py; the converters are tried in tests/tools/test_fuzzed_converters.py.
"""

import copy
import io
import json
import math
import random

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmdetlike.datasets import (
    ADE20KInstanceDataset,
    BaseVideoDataset,
    CocoDataset,
    CocoPanopticDataset,
    CocoSeparatedPanopticDataset,
    CrowdHumanDataset,
    CSVDataset,
    DSDLDetDataset,
    LabelmeDataset,
    LVISV1Dataset,
    MOTChallengeDataset,
    OpenImagesDataset,
    StreamingDetDataset,
    WIDERFaceDataset,
    XMLDataset,
    YOLODataset,
    YouTubeVISDataset,
)
from mmdetlike.datasets.crowdhuman import read_odgt
from mmdetlike.datasets.openimages_files import read_ancestors
from mmdetlike.datasets.proposals import read_proposals
from mmdetlike.datasets.shard_formats import RawSample, write_tar
from mmdetlike.datasets.shard_index import ShardEntry, ShardIndex, parse_index
from mmdetlike.datasets.transforms import LoadAnnotations
from mmdetlike.evaluation import CocoMetric, CocoPanopticMetric, LVISMetric
from mmdetlike.evaluation.coco_overlaps import CocoOverlaps

from ..fuzzing import as_json, changed, changed_lines, changed_xml, damaged, fuzzed, read_or_refused
from .test_dsdl import CLASSES as DSDL_CLASSES
from .test_dsdl import INLINE, SAMPLES, STRUCTS, TRAIN
from .test_video_challenges import YOUTUBE

CLASSES = ('cat', 'dog')

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
            'segmentation': {'size': [64, 96], 'counts': 'U::f10000000000000000000000000000000000000k]4'},
        },
    ],
    'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
}


def with_entries(table: str, **entries) -> dict:
    """COCO's content with more entries in each row of a table."""
    return {**COCO, table: [{**row, **entries} for row in COCO[table]]}


WITH_POINTS = with_entries(
    'annotations', keypoints=[30, 20, 2, 40, 30, 1], num_keypoints=2, point_coords=[[9, 9], [1, 1]], point_labels=[1, 0]
)


def check_infos(dataset, clipped: bool = True) -> None:
    """Everything that was read can be used: boxes are finite and have an area, masks can be made."""
    load = LoadAnnotations(with_bbox=True, with_mask=True, poly2mask=True)
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        for instance in info['instances']:
            check_instance(dataset, instance)
            x1, y1, x2, y2 = instance['bbox']
            assert not clipped or (min(x1, y1) >= 0 and x2 <= info['width'] and y2 <= info['height'])
        has_masks = info['instances'] and all(instance.get('mask') is not None for instance in info['instances'])
        if has_masks and info['height'] * info['width'] < 10**6:
            load({**info, 'img_shape': (info['height'], info['width']), 'ori_shape': (64, 96)})


def check_instance(dataset, instance: dict) -> None:
    x1, y1, x2, y2 = instance['bbox']
    assert all(map(math.isfinite, instance['bbox'])), instance
    assert x2 > x1 and y2 > y1, instance
    assert 0 <= instance['bbox_label'] < max(len(dataset.metainfo['classes']), 1)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('fuzzed')
    for name in ('1.png', '2.png', '7.jpg', 'whole/1.png', 'labelme/1.png', 'yolo/images/1.png'):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (96, 64)).save(path / name)
    (path / 'Annotations').mkdir()
    (path / 'yolo/labels').mkdir()
    (path / 'ids.txt').write_text('1\n')
    return path


def write(path, tree) -> None:
    path.write_bytes(as_json(tree))


@pytest.mark.parametrize('content', [COCO, WITH_POINTS], ids=['objects', 'points'])
@pytest.mark.parametrize('test_mode', [False, True])
@fuzzed
@given(data=st.data())
def test_coco(folder, test_mode, content, data):
    (folder / 'a.json').write_bytes(data.draw(damaged(as_json(data.draw(changed(content))))))
    arguments = dict(data_root=str(folder), ann_file='a.json', metainfo=dict(classes=CLASSES), test_mode=test_mode)
    with read_or_refused('a.json'):
        check_infos(CocoDataset(**arguments, filter_cfg=dict(filter_empty_gt=True, min_size=2)))


HARMLESS = {
    'id': [int, str, float],
    'image_id': [int, str, float],
    'category_id': [int, str, float],
    'width': [int, str, float],
    'height': [int, str, float],
    'iscrowd': [int, bool, str, float],
    'bbox': [list, lambda box: [str(x) for x in box], lambda box: [float(x) for x in box]],
}


@st.composite
def written_otherwise(draw, content):
    """A COCO file that says the same: numbers in other forms, rows in another order, more keys, another encoding."""
    tree = copy.deepcopy(content)
    order = random.Random(draw(st.integers(0, 99)))
    for table in ('annotations', 'categories'):
        order.shuffle(tree[table])
    for row in [*tree['images'], *tree['annotations'], *tree['categories']]:
        for key in HARMLESS.keys() & row.keys():
            row[key] = draw(st.sampled_from(HARMLESS[key]))(row[key])
        row.update(draw(st.sampled_from([{}, {'license': None}, {'attributes': {'a': [1]}}, {'': 'é'}])))
    tree = dict(draw(st.permutations([*tree.items(), ('info', None), ('licenses', [])])))
    text = json.dumps(tree, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    return text.encode(draw(st.sampled_from(['utf-8', 'utf-8-sig', 'utf-16', 'utf-32-be'])))


@fuzzed
@given(content=written_otherwise(COCO))
def test_what_says_the_same_is_read_the_same(folder, content):
    write(folder / 'same.json', COCO)
    arguments = dict(data_root=str(folder), metainfo=dict(classes=CLASSES))
    expected = CocoDataset(ann_file='same.json', **arguments)
    (folder / 'same.json').write_bytes(content)
    found = CocoDataset(ann_file='same.json', **arguments)
    for index in range(2):
        first, second = expected.get_data_info(index), found.get_data_info(index)
        assert {**first, 'instances': [], 'img_id': 0} == {**second, 'instances': [], 'img_id': 0}
        assert str(first['img_id']) == str(second['img_id'])
        instances = [sorted(info['instances'], key=lambda item: item['bbox']) for info in (first, second)]
        for one, other in zip(*instances, strict=True):
            assert one.keys() == other.keys()
            assert all(one[key] == pytest.approx(other[key]) for key in one.keys() - {'mask'})
            assert str(one.get('mask')) == str(other.get('mask'))


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
    with read_or_refused('m.json', 'results for'):
        metric = kind(str(folder / 'm.json'), metric=['bbox', 'segm'])
        metric.dataset_meta = dict(classes=CLASSES)
        metric.process(None, [nothing_found(1), nothing_found(2)])
        scores = metric.evaluate(2)
        assert all(math.isfinite(value) for value in scores.values())


PANOPTIC = {
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
}
KIN = [
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
    (CocoPanopticDataset, PANOPTIC),
    (CocoSeparatedPanopticDataset, COCO),
    (ADE20KInstanceDataset, COCO),
    (YouTubeVISDataset, {**YOUTUBE, 'categories': COCO['categories']}),
]


@pytest.mark.parametrize(('kind', 'content'), KIN, ids=lambda value: getattr(value, '__name__', ''))
@fuzzed
@given(data=st.data())
def test_kin_of_coco(folder, kind, content, data):
    write(folder / 'k.json', data.draw(changed(content)))
    meta = dict(classes=CLASSES, thing_classes=CLASSES, stuff_classes=())
    prefix = dict(data_prefix=dict(img='', seg='')) if kind is CocoPanopticDataset else {}
    with read_or_refused('k.json'):
        dataset = kind(data_root=str(folder), ann_file='k.json', metainfo=meta, **prefix)
        for i in range(len(dataset)):
            info = dataset.get_data_info(i)
            for frame in info.get('images', [info]):
                for instance in frame.get('instances', ()):
                    check_instance(dataset, instance)


@fuzzed
@given(data=st.data())
def test_panoptic_metric(folder, data):
    write(folder / 'p.json', data.draw(changed(PANOPTIC)))
    with read_or_refused(folder):
        metric = CocoPanopticMetric(str(folder / 'p.json'), seg_prefix=str(folder))
        metric.dataset_meta = dict(classes=CLASSES, thing_classes=CLASSES, stuff_classes=())
        segments = dict(pred_panoptic_seg=dict(sem_seg=np.full((1, 64, 96), 2)))
        metric.process(None, [dict(img_id=number, ori_shape=(64, 96), **segments) for number in (1, 2)])
        metric.evaluate(2)


RESULTS = [
    {'image_id': 1, 'category_id': 1, 'bbox': [8, 8, 40, 40], 'score': 0.5},
    {'image_id': 2, 'category_id': 2, 'bbox': [5, 5, 20, 10.5], 'score': 1},
]


@fuzzed
@given(data=st.data())
def test_detections(folder, data):
    write(folder / 'truth.json', COCO)
    write(folder / 'found.json', data.draw(changed(RESULTS)))
    with read_or_refused('found.json'):
        overlaps = CocoOverlaps(folder / 'found.json', folder / 'truth.json')
        assert all(np.isfinite(image.iou).all() for image in overlaps.images)


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
    write(folder / 'labelme/1.json', data.draw(changed(LABELME)))
    with read_or_refused('1.json'):
        check_infos(LabelmeDataset(data_root=str(folder / 'labelme'), ann_file='', metainfo=dict(classes=CLASSES)))


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
    write(folder / 'sizes.json', data.draw(st.one_of(st.just({'7': [64, 96]}), changed({'7': [64, 96]}))))
    arguments = dict(ann_file='a.odgt', extra_ann_file='sizes.json', data_prefix=dict(img=''))
    with read_or_refused('a.odgt', 'sizes.json'):
        read_odgt(str(folder / 'a.odgt'), part='head')
        check_infos(CrowdHumanDataset(data_root=str(folder), **arguments), clipped=False)


XML = """<annotation><filename>1.png</filename><size><width>96</width><height>64</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult><bndbox><xmin>8</xmin><ymin>8</ymin><xmax>48</xmax><ymax>48</ymax></bndbox>
</object><object><name>dog</name><bndbox><xmin>1.5</xmin><ymin>2</ymin><xmax>40</xmax><ymax>30</ymax></bndbox></object>
</annotation>"""


@pytest.mark.parametrize('kind', [XMLDataset, WIDERFaceDataset])
@fuzzed
@given(data=st.data())
def test_xml(folder, kind, data):
    (folder / 'Annotations/1.xml').write_bytes(data.draw(damaged(data.draw(changed_xml(XML)))))
    voc = dict(data_prefix=dict(sub_data_root=''), img_subdir='')
    arguments = dict(ann_file='ids.txt', metainfo=dict(classes=CLASSES))
    with read_or_refused('1.xml', 'ids.txt', '1.jpg'):
        check_infos(kind(data_root=str(folder), **arguments, **(voc if kind is XMLDataset else {})))


CSV = ['file_name,width,height,x1,y1,x2,y2,label', '1.png,96,64,8,8,48,48,cat', '2.png,,,1.5,2,40,30,dog']
OPEN_IMAGES = [
    'ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction',
    '7,xclick,/m/1,1,0.1,0.5,0.25,0.75,0,0,0,0',
    '7,xclick,/m/2,1,0,1,0,1,0,0,1,-1',
]
NAMES = ['/m/1,cat', '/m/2,dog']
MOT_INFO = ['[Sequence]', 'name=MOT17-02', 'imDir=img1', 'seqLength=2', 'imWidth=60', 'imHeight=40']
MOT = ['1,5,11,6,10,20,1,1,0.9', '2,5,12,6,10,20,1,1,0.1', '2,6,12,6,10,20,0,3,0.8']


@fuzzed
@given(data=st.data())
def test_tables(folder, data):
    (folder / 'a.csv').write_bytes(data.draw(damaged(data.draw(changed_lines(CSV, ',')))))
    with read_or_refused('a.csv'):
        check_infos(CSVDataset(data_root=str(folder), ann_file='a.csv', metainfo=dict(classes=CLASSES)))
    (folder / 'yolo/labels/1.txt').write_bytes(data.draw(changed_lines(['0 .5 .5 .25 .25', '1 0 0 .5 0 .5 .5'], ' ')))
    with read_or_refused('1.txt'):
        prefix = dict(img='yolo/images', ann='yolo/labels')
        check_infos(YOLODataset(data_root=str(folder), data_prefix=prefix, metainfo=dict(classes=CLASSES)))


@fuzzed
@given(data=st.data())
def test_openimages(folder, data):
    (folder / 'boxes.csv').write_bytes(data.draw(changed_lines(OPEN_IMAGES, ',')))
    (folder / 'names.csv').write_bytes(
        data.draw(changed_lines(NAMES, ',') if data.draw(st.booleans()) else st.just(b'/m/1,cat\n/m/2,dog'))
    )
    with read_or_refused('boxes.csv', 'names.csv'):
        files = dict(ann_file='boxes.csv', label_file='names.csv')
        check_infos(OpenImagesDataset(data_root=str(folder), data_prefix=dict(img=''), **files))


TREE = {
    'LabelName': '/m/entity',
    'Subcategory': [{'LabelName': '/m/1', 'Subcategory': [{'LabelName': '/m/2'}], 'Part': []}],
}


@fuzzed
@given(tree=changed(TREE))
def test_hierarchies(folder, tree):
    write(folder / 'tree.json', tree)
    with read_or_refused('tree.json'):
        assert read_ancestors(str(folder / 'tree.json'), ['/m/1', '/m/2']).diagonal().sum() == 0


@fuzzed
@given(data=st.data())
def test_mot_challenge(folder, data):
    which = data.draw(st.sampled_from(['info', 'objects']))
    info = data.draw(changed_lines(MOT_INFO, '=')) if which == 'info' else '\n'.join(MOT_INFO).encode()
    content = data.draw(changed_lines(MOT, ',')) if which == 'objects' else '\n'.join(MOT).encode()
    place = folder / 'mot/train/MOT17-02'
    (place / 'gt').mkdir(parents=True, exist_ok=True)
    (place / 'seqinfo.ini').write_bytes(info)
    (place / 'gt/gt.txt').write_bytes(content)
    with read_or_refused('MOT17-02'):
        dataset = MOTChallengeDataset(data_root=str(folder / 'mot'), data_prefix=dict(img='train'))
        frames = dataset.get_data_info(0)['images'] if len(dataset) else ()
        for instance in (instance for frame in frames for instance in frame['instances']):
            check_instance(dataset, instance)


DSDL = {
    'train.yaml': yaml.safe_load(TRAIN.replace('../defs/', '')),
    'class-dom.yaml': yaml.safe_load(DSDL_CLASSES),
    'object-detection-def.yaml': yaml.safe_load(STRUCTS),
    'train_samples.json': SAMPLES,
    'inline.yaml': yaml.safe_load(INLINE),
}
DSDL_PATHS = dict(Bbox='./annotations/parts/*/whole', ignore_flag='./annotations/parts/*/iscrowd')


def write_dsdl(folder, files) -> None:
    for name, content in files.items():
        text = as_json(content)  # which is YAML, too
        (folder / name).write_bytes(text)


@fuzzed
@given(data=st.data())
def test_dsdl(folder, data):
    name = data.draw(st.sampled_from(list(DSDL)))
    write_dsdl(folder, {**DSDL, name: data.draw(changed(DSDL[name]))})
    (folder / 'JPEGImages').mkdir(exist_ok=True)
    for number in (1, 2):
        Image.new('RGB', (96, 64)).save(folder / f'JPEGImages/{number}.png')
    with read_or_refused(*DSDL):
        check_infos(DSDLDetDataset(data_root=str(folder), ann_file='train.yaml'))
        arguments = dict(with_polygon=True, with_hierarchy=True, with_imagelevel_label=True)
        inline = dict(ann_file='inline.yaml', specific_key_path=DSDL_PATHS)
        check_infos(DSDLDetDataset(data_root=str(folder), **inline, **arguments))


@fuzzed
@given(content=damaged(TRAIN.encode()))
def test_damaged_yaml(folder, content):
    write_dsdl(folder, DSDL)
    (folder / 'damaged.yaml').write_bytes(content.replace(b'../defs/', b''))
    with read_or_refused(*DSDL, 'damaged.yaml'):
        check_infos(DSDLDetDataset(data_root=str(folder), ann_file='damaged.yaml'))


PROPOSALS = [
    {
        'whole/1.png': dict(bboxes=[[8, 8, 48, 48], [0, 0, 9, 9]], scores=[0.9, 0.1]),
        '2.png': dict(bboxes=[], scores=[]),
    },
    [dict(image_id=1, bbox=[8, 8, 40, 40], score=0.5), dict(image_id=2, bbox=[5, 5, 20, 10.5], score=1)],
]


@pytest.mark.parametrize('content', PROPOSALS, ids=['names', 'results'])
@fuzzed
@given(data=st.data())
def test_proposals(folder, content, data):
    (folder / 'proposals.json').write_bytes(data.draw(damaged(as_json(data.draw(changed(content))))))
    with read_or_refused('proposals.json'):
        for found in read_proposals(str(folder / 'proposals.json')).values():
            assert found['bboxes'].shape == (len(found['scores']), 4)
            assert np.isfinite(found['bboxes']).all() and np.isfinite(found['scores']).all()


INDEX = {'version': 1, 'format': 'tar', 'classes': ['cat', 'dog'], 'shards': [dict(name='a.tar', bytes=9, samples=1)]}


@fuzzed
@given(data=st.data())
def test_index_of_shards(data):
    content = data.draw(damaged(as_json(data.draw(changed(INDEX)))))
    with read_or_refused('index.json'):
        assert all(entry.samples >= 0 for entry in parse_index(content, 'index.json').shards)


SAMPLE = {
    'img_id': 1,
    'file_name': '1.png',
    'height': 64,
    'width': 96,
    'instances': [dict(ignore_flag=0, bbox=[8, 8, 48, 48], bbox_label=0, mask=[[8, 8, 48, 8, 48, 48]])],
}


@fuzzed
@given(data=st.data())
def test_annotations_in_shards(folder, data):
    content = as_json(data.draw(changed(SAMPLE)))
    picture = io.BytesIO()
    Image.new('RGB', (96, 64)).save(picture, 'png')
    path = folder / 'shards/a.tar'
    path.parent.mkdir(exist_ok=True)
    with path.open('wb') as file:
        write_tar([RawSample('1.png', content, picture.getvalue())], 0, file)
    entry = ShardEntry('a.tar', path.stat().st_size, 1)
    (path.parent / 'index.json').write_bytes(ShardIndex('tar', CLASSES, (entry,)).to_json())
    with read_or_refused('a.tar'):
        check_infos(StreamingDetDataset(str(path.parent)), clipped=False)


def test_unchanged_files_are_read(folder):
    """The tests above would pass if readers refused everything."""
    write(folder / 'a.json', COCO)
    meta = dict(metainfo=dict(classes=CLASSES))
    (folder / 'Annotations/1.xml').write_text(XML)
    write(folder / 'whole/1.json', LABELME)
    write(folder / 'a.odgt', ODGT)
    xml = dict(data_prefix=dict(sub_data_root=''), ann_file='ids.txt', img_subdir='')
    write_dsdl(folder, {**DSDL, 'train_samples.json': {'samples': SAMPLES['samples'][1:]}})
    parts = dict(ann_file='inline.yaml', specific_key_path=DSDL_PATHS)
    datasets = [
        DSDLDetDataset(data_root=str(folder), **parts),
        DSDLDetDataset(data_root=str(folder), ann_file='train.yaml'),
        CocoDataset(data_root=str(folder), ann_file='a.json', **meta),
        LabelmeDataset(data_root=str(folder / 'whole'), ann_file='', **meta),
        CrowdHumanDataset(data_root=str(folder), ann_file='a.odgt', data_prefix=dict(img='')),
        XMLDataset(data_root=str(folder), **xml, **meta),
    ]
    assert [len(dataset.get_data_info(0)['instances']) for dataset in datasets] == [2, 0, 2, 3, 2, 2]
    for dataset in datasets:
        check_infos(dataset)
