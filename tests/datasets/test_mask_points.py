"""Points labeled as inside or outside of their object."""

import json

import numpy as np
import pytest

from mmdetlike.datasets import CocoDataset
from mmdetlike.datasets.errors import DataError, ImageError
from mmdetlike.datasets.transforms import LoadAnnotations, LoadMaskPoints, PackDetInputs, RandomCrop, RandomFlip

INSTANCE = dict(bbox=[10, 10, 30, 40], bbox_label=0, ignore_flag=0, mask=[[10, 10, 20, 10, 20, 40, 10, 40]])


def sample(instance, **more):
    img = np.zeros((50, 60, 3), np.uint8)
    base = dict(img=img, img_shape=(50, 60), ori_shape=(50, 60), img_path='a.jpg', img_id=7, instances=[instance])
    return LoadAnnotations(with_mask=True)({**base, **more})


def test_annotated_points():
    instance = dict(INSTANCE, point_coords=[[12, 12], [25, 30]], point_labels=[1, 0])
    results = LoadMaskPoints(3)(sample(instance))
    assert results['gt_points'].tolist() == [[[12, 12, 1], [25, 30, 0], [-1, -1, -1]]]
    packed = PackDetInputs()(dict(results))['data_samples']
    assert packed.gt_instances.points.shape == (1, 3, 3)
    with pytest.raises(ImageError, match=r'a\.jpg: an object has 2 point_coords and 1 point_labels'):
        LoadMaskPoints()(sample(dict(instance, point_labels=[1])))


def test_points_drawn_by_the_mask():
    points = LoadMaskPoints(200)(sample(INSTANCE))['gt_points'][0]
    assert ((points[:, :2] >= [10, 10]) & (points[:, :2] <= [30, 40])).all()
    # the mask is the left half of the box
    assert (points[:, 2] == (points[:, 0] < 20)).mean() > 0.98 and 60 < points[:, 2].sum() < 140
    again = LoadMaskPoints(200)(sample(INSTANCE))['gt_points'][0]
    assert np.array_equal(points, again)
    other = LoadMaskPoints(200)(sample(INSTANCE, img_id=8))['gt_points'][0]
    assert not np.array_equal(points, other)
    bare = {**sample(INSTANCE), 'gt_masks': None}
    with pytest.raises(ImageError, match=r'no point_coords, and no mask to draw points from'):
        LoadMaskPoints()(bare)


def test_points_follow_the_picture():
    instance = dict(INSTANCE, point_coords=[[12, 12], [25, 30]], point_labels=[1, 0])
    flipped = RandomFlip(1.0)(LoadMaskPoints(2)(sample(instance)))
    assert flipped['gt_points'].tolist() == [[[48, 12, 1], [35, 30, 0]]]
    cropped = RandomCrop((20, 20))
    results = {**LoadMaskPoints(2)(sample(instance))}
    np.random.seed(0)
    for _ in range(20):
        moved = cropped({**results, 'gt_points': results['gt_points'].copy()})
        if moved is None:
            continue
        x, y, label = moved['gt_points'][0].T
        inside = (x >= 0) & (y >= 0) & (x <= 20) & (y <= 20)
        assert (label[~inside] == -1).all() and (label[inside] >= 0).all()


@pytest.fixture
def coco(tmp_path):
    def write(**point):
        annotation = dict(id=1, image_id=1, category_id=1, bbox=[10, 10, 20, 30], iscrowd=0, area=600, **point)
        content = dict(
            images=[dict(id=1, file_name='a.jpg', width=60, height=50)],
            categories=[dict(id=1, name='x')],
            annotations=[annotation],
        )
        (tmp_path / 'a.json').write_text(json.dumps(content))
        return CocoDataset(ann_file=str(tmp_path / 'a.json'), metainfo=dict(classes=('x',)), pipeline=[])

    return write


def test_points_of_a_coco_file(coco):
    info = coco(point_coords=[[12, 12], [25.5, 30]], point_labels=[1, 0]).get_data_info(0)
    (instance,) = info['instances']
    assert instance['point_coords'] == [[12, 12], [25.5, 30]] and instance['point_labels'] == [1, 0]
    assert 'point_coords' not in coco().get_data_info(0)['instances'][0]


@pytest.mark.parametrize(
    ('point', 'message'),
    [
        (dict(point_coords=[[1, 2]], point_labels=[1, 0]), r'annotation 1 has 1 point_coords and 2 point_labels'),
        (dict(point_coords=[[1, 2]]), r'annotation 1 has 1 point_coords and 0 point_labels'),
        (dict(point_coords=[1, 2], point_labels=[1]), r'point_coords.*a list of \[x, y\] of each point'),
        (dict(point_coords=[[1, 2]], point_labels=['in']), r'point_labels.*a list of 0 or 1 for each point'),
    ],
)
def test_points_that_cannot_be_read(coco, point, message):
    with pytest.raises(DataError, match=message):
        coco(**point)
