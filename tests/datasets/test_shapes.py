import zlib

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as rle

from mmdetlike.datasets import DefaultSampler, LoadShapesImage, ShapesDataset
from mmdetlike.datasets.shapes.render import CLASSES, MIN_VISIBLE, Scene, SceneSpec, Shape, paint, render

LOAD = [{'type': 'LoadShapesImage'}]


def spec(index, **kwargs):
    return SceneSpec(
        **{'seed': 0, 'split': 'train', 'height': 128, 'width': 160, 'max_objects': 6, **kwargs}, index=index
    )


SCENES = [Scene(spec(i, max_objects=8)) for i in range(40)]


def test_a_picture_never_changes():
    image, instances = render(spec(3))
    assert image.shape == (128, 160, 3)
    assert zlib.crc32(image.tobytes()) == 3352206831
    assert [(CLASSES[i['bbox_label']], i['bbox']) for i in instances] == [
        ('circle', [41.0, 63.0, 80.0, 102.0]),
        ('cross', [4.0, 40.0, 39.0, 76.0]),
        ('star', [82.0, 18.0, 119.0, 61.0]),
        ('square', [117.0, 74.0, 150.0, 106.0]),
    ]


def test_seed_split_and_index_each_give_another_picture():
    images = [paint(Scene(s)) for s in (spec(0), spec(1), spec(0, seed=1), spec(0, split='val'))]
    assert len({image.tobytes() for image in images}) == 4


def test_annotations_describe_what_is_visible():
    for scene in SCENES:
        for number, instance in enumerate(scene.instances()):
            visible = rle.decode(instance['mask']).astype(bool)
            assert (visible == (scene.owner == number)).all()
            rows, columns = np.nonzero(visible)
            assert instance['bbox'] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert instance['area'] == visible.sum()


def test_every_shape_is_mostly_visible_and_not_tiny():
    for scene in SCENES:
        assert 1 <= len(scene.shapes) <= 8
        for number, shape in enumerate(scene.shapes):
            assert (scene.owner == number).sum() >= MIN_VISIBLE * shape.mask().sum()
    sides = [min(x2 - x1, y2 - y1) for s in SCENES for x1, y1, x2, y2 in (i['bbox'] for i in s.instances())]
    assert min(sides) >= 8
    assert np.mean(np.array(sides) >= 16) > 0.95


def test_all_classes_occur_and_some_shapes_are_covered():
    shapes = [(scene, number) for scene in SCENES for number in range(len(scene.shapes))]
    assert {scene.shapes[n].label for scene, n in shapes} == set(range(5))
    covered = [(scene.owner == n).sum() < scene.shapes[n].mask().sum() for scene, n in shapes]
    assert 0.1 < np.mean(covered) < 0.9


def test_a_square_covers_the_pixels_that_it_should():
    square = Shape(CLASSES.index('square'), (50.0, 40.0), 20.0, 0.0, 1.0)
    rows, columns = np.nonzero(square.mask())
    rows, columns = rows + square.window[0].start, columns + square.window[1].start
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (35, 64, 25, 54)  # 50 -+ 14.8, 40 -+ 14.8
    assert square.mask().sum() == 30 * 30


@pytest.mark.parametrize(
    ('name', 'area'),
    [('circle', np.pi), ('triangle', 1.305), ('square', 2.1904), ('cross', 4 * 0.36 * (2 - 0.36)), ('star', 1.3225)],
)
def test_tilted_masks_have_the_area_of_their_outline(name, area):
    shape = Shape(CLASSES.index(name), (100.3, 80.7), 50.0, 0.3, 1.0)
    assert shape.mask().sum() == pytest.approx(area * 50**2, rel=0.01)


def test_keypoints_are_the_extremes_of_a_circle_and_the_corners_of_a_square():
    scene = Scene(spec(0))
    scene.owner[:] = 0
    circle = Shape(0, (50.0, 40.0), 20.0, 0.0, 1.0)
    points = np.array(scene._keypoints(circle, scene.owner == 0)).reshape(6, 3)
    assert points.tolist() == [[50, 20, 2], [70, 40, 2], [30, 40, 2], [0, 0, 0], [0, 0, 0], [50, 60, 2]]
    square = Shape(2, (50.0, 40.0), 20.0, 0.0, 1.0)
    points = np.array(scene._keypoints(square, scene.owner == 1)).reshape(6, 3)
    assert points[1].tolist() == pytest.approx([64.8, 25.2, 1])
    assert points[4].tolist() == pytest.approx([35.2, 54.8, 1])
    assert points[[0, 5]].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_keypoints_lie_on_the_edge_of_their_shape():
    for scene in SCENES[:10]:
        for number, instance in enumerate(scene.instances()):
            x, y, v = np.array(instance['keypoints']).reshape(6, 3).T
            visible = scene.owner == number
            for px, py in zip(x[v == 2], y[v == 2]):
                near = visible[max(int(py) - 4, 0) : int(py) + 5, max(int(px) - 4, 0) : int(px) + 5]
                assert near.any()
                assert not near.all()
            x1, y1, x2, y2 = instance['bbox']
            outside = (x < x1 - 3) | (x > x2 + 3) | (y < y1 - 3) | (y > y2 + 3)  # thin tips end before a pixel
            assert not (outside & (v == 2)).any()


def test_mirroring_by_flip_indices_gives_the_keypoints_of_the_mirrored_shape():
    flip = list(ShapesDataset.METAINFO['flip_indices'])
    scene = Scene(spec(0))
    for label in range(5):
        left, right = (
            np.array(scene._keypoints(Shape(label, (80.0, 60.0), 30.0, tilt, 1.0), scene.owner == 0)).reshape(6, 3)
            for tilt in (0.0 if label == 0 else -0.2, 0.0 if label == 0 else 0.2)
        )
        used = left[:, 2] > 0
        left[used, 0] = 160 - left[used, 0]
        assert left[flip][:, :2] == pytest.approx(right[:, :2], abs=0.02)


def test_dataset_and_picture_belong_together():
    dataset = ShapesDataset(length=5, image_size=(128, 160), pipeline=LOAD)
    sample = dataset[3]
    image, instances = render(spec(3))
    assert (sample['img'] == image).all()
    assert sample['instances'] == instances
    assert sample['img_shape'] == sample['ori_shape'] == (128, 160)
    assert sample['flip_indices'] == (0, 2, 1, 4, 3, 5)
    assert len(dataset) == 5
    assert dataset.get_cat_ids(3) == [i['bbox_label'] for i in instances]


def test_objects_stand_out_from_the_background():
    brightness = []
    for scene in SCENES:
        image = paint(scene).astype(int)
        colorful = image.max(-1) - image.min(-1)
        brightness.append(colorful[scene.owner >= 0].mean() - colorful[scene.owner < 0].mean())
    assert np.mean(np.array(brightness) > 40) > 0.9


def test_what_is_done_to_a_picture_does_not_reach_the_cache():
    load = LoadShapesImage()
    info = ShapesDataset(length=1).get_data_info(0)
    first = load(dict(info))['img']
    expected = first.copy()
    first[:] = 0
    assert (load(dict(info))['img'] == expected).all()
    assert (LoadShapesImage(max_cached=0)(dict(info))['img'] == expected).all()
    assert LoadShapesImage(to_float32=True)(dict(info))['img'].dtype == np.float32


def test_through_a_training_pipeline():
    pipeline = [
        *LOAD,
        {'type': 'LoadAnnotations', 'with_bbox': True, 'with_mask': True, 'with_keypoints': True},
        {'type': 'RandomFlip', 'prob': 0.5},
        {'type': 'PackDetInputs'},
    ]
    dataset = ShapesDataset(length=8, pipeline=pipeline)
    runs = []
    for workers in (0, 2):
        sampler = DefaultSampler(dataset, seed=0)
        loader = torch.utils.data.DataLoader(dataset, 4, sampler=sampler, num_workers=workers, collate_fn=list)
        runs.append([sample['inputs'] for batch in loader for sample in batch])
    assert all(torch.equal(a, b) for a, b in zip(*runs))
    sample = dataset[0]['data_samples']
    assert sample.gt_instances.masks.masks.shape[1:] == (160, 160)
    assert sample.gt_instances.keypoints.shape[1:] == (6, 3)


def test_bad_arguments():
    with pytest.raises(ValueError, match='at least 64 px'):
        ShapesDataset(image_size=(32, 128))
    with pytest.raises(ValueError, match='got 0 and 6'):
        ShapesDataset(length=0)
    with pytest.raises(ValueError, match='has the classes'):
        ShapesDataset(metainfo={'classes': ('cat',)})
    with pytest.raises(ValueError, match='draws samples of ShapesDataset'):
        LoadShapesImage()({'img_path': 'a.jpg'})
