import numpy as np
import pytest
from PIL import Image

from mmdetlike.datasets import ADE20KSegDataset, BaseSegDataset, CocoStuffDataset
from mmdetlike.datasets.errors import DataError, ImageError
from mmdetlike.errors import ConfigError

PIPELINE = [
    {'type': 'LoadImageFromFile'},
    {'type': 'LoadAnnotations', 'with_bbox': False, 'with_seg': True, 'reduce_zero_label': True},
    {'type': 'PackDetInputs'},
]


@pytest.fixture
def root(tmp_path):
    for name in ('a', 'sub/b'):
        for folder, suffix in (('images', 'jpg'), ('maps', 'png')):
            path = tmp_path / folder / f'{name}.{suffix}'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((20, 30), 3, dtype=np.uint8)).save(path)
    return tmp_path


def build(root, cls=ADE20KSegDataset, **kwargs):
    prefix = {'img_path': 'images', 'seg_map_path': 'maps'}
    return cls(**{'data_root': str(root), 'data_prefix': prefix, 'pipeline': PIPELINE, **kwargs})


def test_pictures_and_label_maps(root):
    dataset = build(root)
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == ['a', 'sub/b']
    assert dataset.get_data_info(1)['seg_map_path'] == str(root / 'maps/sub/b.png')
    sample = dataset[0]['data_samples']
    assert (sample.gt_sem_seg.sem_seg == 2).all()  # 0 in the file is no class
    assert sample.gt_sem_seg.sem_seg.shape == (1, 20, 30)


def test_a_list_and_classes_of_ones_own(root):
    (root / 'list.txt').write_text('sub/b\n')
    dataset = build(root, BaseSegDataset, ann_file='list.txt', metainfo={'classes': ('x', 'y', 'z')})
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == ['sub/b']
    assert dataset.metainfo['classes'] == ('x', 'y', 'z')


def test_what_is_missing_is_told(root):
    (root / 'maps/a.png').unlink()
    with pytest.raises(DataError, match=r"images: picture 'a' has no label map; expected .*maps/a\.png"):
        build(root)
    assert len(build(root, test_mode=True)) == 2
    with pytest.raises(DataError, match=r'no files that end with \.tif'):
        build(root, img_suffix='.tif')
    (root / 'list.txt').write_text('c\n')
    with pytest.raises(DataError, match=r'list\.txt: the size of a picture is not known: .*c\.jpg: there is no such'):
        build(root, ann_file='list.txt')


def test_ade20k_has_150_names():
    assert len(set(ADE20KSegDataset.METAINFO['classes'])) == 150


def test_pictures_without_objects_are_not_empty(root):
    assert len(build(root, filter_cfg={'filter_empty_gt': True})) == 2


LOAD = [{**step, **({'reduce_zero_label': False} if step['type'] == 'LoadAnnotations' else {})} for step in PIPELINE]


def labels_of(dataset):
    return np.asarray(dataset[0]['data_samples'].gt_sem_seg.sem_seg)[0]


def test_coco_stuff_has_ids_less_one_in_its_maps(root):
    values = np.array([[0, 89, 91, 181, 255, 11]], np.uint8)  # person, toothbrush, banner, wood, nothing, no category
    Image.new('RGB', (6, 1)).save(root / 'images/a.jpg')
    Image.fromarray(values).save(root / 'maps/a.png')
    dataset = build(root, CocoStuffDataset, pipeline=LOAD)
    assert labels_of(dataset).tolist() == [[0, 79, 80, 170, 255, 255]]
    assert [len(CocoStuffDataset.METAINFO[key]) for key in ('classes', 'palette')] == [171, 171]
    assert len(set(CocoStuffDataset.VALUES.values())) == 171
    some = build(root, CocoStuffDataset, pipeline=LOAD, metainfo={'classes': ('wood', 'person')})
    assert labels_of(some).tolist() == [[1, 255, 255, 0, 255, 255]]
    with pytest.raises(ConfigError, match=r"CocoStuffDataset has no classes \['lava'\]"):
        build(root, CocoStuffDataset, metainfo={'classes': ('lava',)})


def test_values_of_ones_own_maps(root):
    classes = {'classes': ('x', 'y')}
    assert (labels_of(build(root, BaseSegDataset, pipeline=LOAD, metainfo=classes, label_map={3: 1})) == 1).all()
    assert (labels_of(build(root, BaseSegDataset, pipeline=LOAD, metainfo=classes, label_map={1: 1})) == 255).all()
    with pytest.raises(
        ConfigError, match=r'label_map has 3: 2; expected a value of 0 to 65535 and one of the labels of 2'
    ):
        build(root, BaseSegDataset, metainfo=classes, label_map={3: 2})
    with pytest.raises(ConfigError, match=r'maps/a.png: its dataset has a label_map, so that reduce_zero_label'):
        build(root, BaseSegDataset, metainfo=classes, label_map={3: 1})[0]


def test_values_of_16_bits(root):
    Image.new('RGB', (4, 1)).save(root / 'images/a.jpg')
    Image.fromarray(np.array([[300, 0, 65535, 301]], np.uint16)).save(root / 'maps/a.png')
    arguments = dict(pipeline=LOAD, metainfo={'classes': ('x', 'y')})
    assert labels_of(build(root, BaseSegDataset, **arguments, label_map={300: 1, 65535: 0})).tolist() == [
        [1, 255, 0, 255]
    ]
    (root / 'list.txt').write_text('a')
    Image.fromarray(np.array([[0, 1, 1.5, 70000]], np.float32)).save(root / 'maps/a.tif')
    arguments.update(seg_map_suffix='.tif', ann_file='list.txt', test_mode=True)
    with pytest.raises(ImageError, match=r'maps/a\.tif: values are whole numbers of 0 to 65535, but it has 0 to 70000'):
        build(root, BaseSegDataset, **arguments, label_map={300: 1})[0]
    with pytest.raises(ConfigError, match=r'label_map has 65536: 1; expected a value of 0 to 65535'):
        build(root, BaseSegDataset, **arguments, label_map={65536: 1})
    many = {'classes': tuple(map(str, range(300)))}
    with pytest.raises(ConfigError, match=r'7: 255; expected .* of 300 classes, of at most 254'):
        build(root, BaseSegDataset, metainfo=many, label_map={7: 255})
