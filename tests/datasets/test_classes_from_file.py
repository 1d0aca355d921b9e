import json

import pytest

from mmdetlike.datasets import (
    ADE20KPanopticDataset,
    CityscapesDataset,
    ConcatDataset,
    DeepFashionDataset,
    LVISV05Dataset,
    LVISV1Dataset,
    Objects365V2Dataset,
    RepeatDataset,
    V3DetDataset,
    iSAIDDataset,
)
from mmdetlike.datasets.errors import DataError
from mmdetlike.errors import ConfigError
from mmdetlike.registry import DATASETS


def annotation(number, image_id, category, **extra):
    return {'id': number, 'image_id': image_id, 'category_id': category, 'bbox': [10, 10, 20, 20], **extra}


# neither in the order of the ids nor in that of the names, as in the files of Objects365
CATEGORIES = [{'id': 10, 'name': 'yak'}, {'id': 2, 'name': 'zebra'}, {'id': 1, 'name': 'cow'}]


def content(*images, annotations=(), categories=CATEGORIES):
    size = {'width': 100, 'height': 80}
    images = [{'id': number, **size, **image} for number, image in enumerate(images, 1)]
    return {'images': images, 'annotations': list(annotations), 'categories': list(categories)}


@pytest.fixture
def make(tmp_path):
    def build(cls, coco, name='a.json', **kwargs):
        (tmp_path / name).write_text(json.dumps(coco))
        return cls(ann_file=name, data_root=str(tmp_path), **kwargs)

    return build


@pytest.mark.parametrize('cls', [LVISV05Dataset, LVISV1Dataset, V3DetDataset, Objects365V2Dataset, iSAIDDataset])
def test_labels_follow_the_ids_of_the_file(make, cls):
    dataset = make(cls, content({'file_name': 'a.jpg'}, annotations=[annotation(1, 1, 10), annotation(2, 1, 1)]))
    assert dataset.metainfo['classes'] == ('cow', 'zebra', 'yak')
    assert len(dataset.metainfo['palette']) == 3
    assert dataset.get_cat_ids(0) == [2, 0]


def test_given_classes_are_looked_up_in_the_file(make):
    dataset = make(
        V3DetDataset,
        content({'file_name': 'a.jpg'}, annotations=[annotation(1, 1, 10), annotation(2, 1, 1)]),
        metainfo={'classes': ('yak', 'zebra')},
    )
    assert dataset.metainfo['classes'] == ('yak', 'zebra')
    assert dataset.get_cat_ids(0) == [0]


def test_names_are_known_as_soon_as_the_file_is_read(make):
    dataset = make(LVISV1Dataset, content({'file_name': 'a.jpg'}), lazy_init=True, test_mode=True)
    wrapped = RepeatDataset(ConcatDataset([dataset], lazy_init=True), 2, lazy_init=True)
    assert 'classes' not in wrapped.metainfo
    wrapped.full_init()
    assert wrapped.metainfo['classes'] == ('cow', 'zebra', 'yak')


def test_files_of_other_classes_are_not_put_together(make):
    first = make(LVISV1Dataset, content({'file_name': 'a.jpg'}), lazy_init=True)
    other = content({'file_name': 'a.jpg'}, categories=CATEGORIES[:2])
    with pytest.raises(ConfigError, match=r"metainfo\['classes'\] of dataset 1 differs from that of dataset 0"):
        ConcatDataset([first, make(LVISV1Dataset, other, 'b.json')])


def test_ids_as_text_are_ordered_as_numbers(make):
    categories = [{'id': str(c['id']), 'name': c['name']} for c in CATEGORIES] + [{'id': 'x', 'name': 'ox'}]
    dataset = make(LVISV1Dataset, content({'file_name': 'a.jpg'}, categories=categories), test_mode=True)
    assert dataset.metainfo['classes'] == ('cow', 'zebra', 'yak', 'ox')


def test_one_name_twice_is_told_with_its_ids(make):
    categories = [*CATEGORIES, {'id': 7, 'name': 'cow'}]
    with pytest.raises(DataError, match=r"a\.json list \['cow'\] more than once: 'cow' is the name of the ids 1 and 7"):
        make(V3DetDataset, content({'file_name': 'a.jpg'}, categories=categories))


def test_lvis_finds_its_pictures_in_the_folders_of_coco_2017(make, tmp_path):
    url = 'http://images.cocodataset.org/train2017/000000391895.jpg'
    newer = make(LVISV1Dataset, content({'coco_url': url}), test_mode=True)
    assert newer.get_data_info(0)['img_path'] == str(tmp_path / 'train2017/000000391895.jpg')
    older = make(
        LVISV05Dataset,
        content({'file_name': 'COCO_train2014_000000391895.jpg', 'coco_url': url}),
        data_prefix={'img': 'train2017/'},
        test_mode=True,
    )
    assert older.get_data_info(0)['img_path'] == str(tmp_path / 'train2017/000000391895.jpg')


def test_lvis_without_name_and_address_is_told(make):
    with pytest.raises(DataError, match=r'a\.json: image 1 has no file_name'):
        make(LVISV1Dataset, content({}))


def test_lvis_has_its_other_name():
    assert DATASETS.get('LVISDataset') is LVISV1Dataset
    assert DATASETS.get('mmdet.LVISV1Dataset') is LVISV1Dataset


def test_objects365_finds_its_pictures_where_the_archives_unpack_them(make, tmp_path):
    dataset = make(
        Objects365V2Dataset,
        content({'file_name': 'images/v2/patch16/objects365_v2_00900000.jpg'}, {'file_name': 'patch0/b.jpg'}),
        data_prefix={'img': 'train/'},
        test_mode=True,
    )
    paths = [dataset.get_data_info(i)['img_path'] for i in range(2)]
    assert paths == [str(tmp_path / 'train/patch16/objects365_v2_00900000.jpg'), str(tmp_path / 'train/patch0/b.jpg')]


def test_things_of_ade20k_come_before_its_stuff(make):
    categories = [
        {'id': 0, 'name': 'wall', 'isthing': 0},
        {'id': 7, 'name': 'bed', 'isthing': 1},
        {'id': 2, 'name': 'sky', 'isthing': 0},
        {'id': 12, 'name': 'person', 'isthing': 1},
    ]
    segments = [{'id': 5, 'category_id': 2, 'bbox': [0, 0, 9, 9], 'area': 81, 'iscrowd': 0}]
    panoptic = {'image_id': 1, 'file_name': 'a.png', 'segments_info': segments}
    dataset = make(
        ADE20KPanopticDataset, content({'file_name': 'a.jpg'}, annotations=[panoptic], categories=categories)
    )
    assert dataset.metainfo['classes'] == ('bed', 'person', 'wall', 'sky')
    assert dataset.metainfo['thing_classes'] == ('bed', 'person')
    assert dataset.metainfo['stuff_classes'] == ('wall', 'sky')
    assert dataset.get_data_info(0)['segments_info'][0]['category'] == 3


def test_cityscapes_leaves_out_images_with_groups_only(make):
    categories = [{'id': 24, 'name': 'person'}, {'id': 26, 'name': 'car'}]
    coco = content(
        {'file_name': 'a.png'},
        {'file_name': 'b.png'},
        {'file_name': 'c.png'},
        annotations=[annotation(1, 1, 26, iscrowd=1), annotation(2, 2, 26, iscrowd=1), annotation(3, 2, 24)],
        categories=categories,
    )
    trained = make(CityscapesDataset, coco, filter_cfg={'filter_empty_gt': True, 'min_size': 32})
    assert [trained.get_data_info(i)['img_id'] for i in range(len(trained))] == [2]
    tested = make(CityscapesDataset, coco, filter_cfg={'filter_empty_gt': True}, test_mode=True)
    assert len(tested) == 3


@pytest.mark.parametrize(('cls', 'number'), [(CityscapesDataset, 8), (DeepFashionDataset, 15)])
def test_each_class_has_a_color(cls, number):
    assert len(set(cls.METAINFO['classes'])) == len(cls.METAINFO['palette']) == number
