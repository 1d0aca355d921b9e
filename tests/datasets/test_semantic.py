import numpy as np
import pytest
from PIL import Image

from mmdetlike.datasets import ADE20KSegDataset, BaseSegDataset
from mmdetlike.datasets.errors import DataError

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
