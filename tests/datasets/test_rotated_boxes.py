"""Rotated boxes on their way from annotations to a detector's input."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmdetlike.datasets import ShapesDataset
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.shapes.render import Scene, SceneSpec
from mmdetlike.datasets.transforms import (
    ConvertBoxType,
    CopyPaste,
    FilterAnnotations,
    LoadAnnotations,
    MinIoURandomCrop,
    Mosaic,
    PackDetInputs,
    Pad,
    RandomAffine,
    RandomCrop,
    RandomFlip,
    RandomShift,
    Resize,
)
from mmdetlike.datasets.transforms.erasing import hidden_shares
from mmdetlike.datasets.transforms.recorded_size import rescale_sample
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.bbox import HorizontalBoxes, QuadriBoxes, RotatedBoxes, geometry
from mmdetlike.structures.warp import Warp
from tests.structures.test_rotated_boxes import polygon

TURNED = [30.0, 20.0, 24.0, 10.0, 0.5]
SIZE = (60, 80)


def instance(box, label=0):
    return dict(bbox=box, bbox_label=label, ignore_flag=0)


def sample(boxes=(TURNED,), box_type='rbox', **fields):
    """A white filled picture of each box on black, so that pixels tell where it is."""
    img = np.zeros((*SIZE, 3), np.uint8)
    for box in boxes:
        corners = geometry.corners(geometry.to_rotated(torch.tensor(box))).numpy()
        cv2.fillPoly(img, [np.round(corners - 0.5).astype(int)], (255, 255, 255))
    results = dict(img=img, img_shape=SIZE, ori_shape=SIZE, img_path='a.jpg', **fields)
    results['instances'] = [instance(box) for box in boxes]
    return LoadAnnotations(box_type=box_type)(results)


@pytest.mark.parametrize('numbers', [4, 5, 8])
def test_any_annotation_is_read_as_rotated_boxes(numbers):
    turned = torch.tensor([TURNED])
    box = {
        4: geometry.to_horizontal(turned),
        5: turned,
        8: geometry.corners(turned).flatten(-2),
    }[numbers][0].tolist()
    boxes = sample([box])['gt_bboxes']
    assert type(boxes) is RotatedBoxes
    expected = geometry.to_rotated(geometry.to_horizontal(turned)) if numbers == 4 else turned
    torch.testing.assert_close(boxes.tensor, expected, atol=1e-4, rtol=1e-5)


def test_quadrilaterals_are_read_and_converted():
    corners = geometry.corners(torch.tensor(TURNED)).flatten().tolist()
    results = sample([corners], 'qbox')
    assert type(results['gt_bboxes']) is QuadriBoxes
    rotated = ConvertBoxType(dict(gt_bboxes='rbox', proposals='rbox'))(dict(results))
    torch.testing.assert_close(rotated['gt_bboxes'].tensor, torch.tensor([TURNED]), atol=1e-4, rtol=1e-5)
    upright = ConvertBoxType(dict(gt_bboxes='hbox'))(results)['gt_bboxes']
    assert type(upright) is HorizontalBoxes
    assert upright.tensor[0].tolist() == pytest.approx(polygon(torch.tensor(TURNED)).bounds, abs=1e-3)
    with pytest.raises(ConfigError, match=r"\['gt_bboxes'\]='obox' is no kind of boxes; there are hbox, qbox, rbox"):
        ConvertBoxType(dict(gt_bboxes='obox'))


def test_samples_without_objects_have_boxes_of_their_kind():
    assert sample([], 'rbox')['gt_bboxes'].shape == (0, 5)
    assert sample([], 'hbox')['gt_bboxes'].shape == (0, 4)


def test_turned_annotations_are_not_read_as_axis_aligned_boxes():
    sentence = r"a\.jpg: its boxes have 5 numbers \(rotated boxes\), but LoadAnnotations reads .* set box_type='rbox'"
    with pytest.raises(DataError, match=sentence):
        sample(box_type='hbox')
    with pytest.raises(DataError, match=r'a\.jpg: its boxes have 4 and 5 numbers'):
        sample([[1.0, 2, 3, 4], TURNED])
    with pytest.raises(DataError, match=r'a\.jpg: a box has 4, 5 or 8 numbers, but \[1\.0, .* has 6'):
        LoadAnnotations(box_type='rbox')(dict(instances=[instance([1.0, 2, 3, 4, 5, 6])], img_path='a.jpg'))


def coverage(results):
    """The share of white pixels within the boxes, and of the boxes' area that is white."""
    white = results['img'][..., 0] > 127
    inside = np.zeros(white.shape, np.uint8)
    for corners in geometry.corners(results['gt_bboxes'].tensor).numpy():
        cv2.fillPoly(inside, [np.round(corners - 0.5).astype(int)], 1)
    both = (white & (inside > 0)).sum()
    return both / max(white.sum(), 1), both / max(inside.sum(), 1)


MOVES = dict(
    flip=lambda: RandomFlip(1.0, 'horizontal'),
    diagonal=lambda: RandomFlip(1.0, 'diagonal'),
    resize=lambda: Resize((160, 120)),
    stretch=lambda: Resize((80, 120)),
    affine=lambda: RandomAffine(180, 0.05, (0.9, 1.1), 0.0, border_val=(0, 0, 0)),
    shift=lambda: RandomShift(1.0, 8, 1),
    pad=lambda: Pad(size=(100, 100)),
    crop=lambda: RandomCrop((70, 50)),
)


@pytest.mark.parametrize('name', sorted(MOVES))
def test_boxes_follow_the_pixels(name):
    np.random.seed(0)
    for _ in range(3):
        moved = MOVES[name]()(sample())
        assert type(moved['gt_bboxes']) is RotatedBoxes and len(moved['gt_bboxes']) == 1
        found, filled = coverage(moved)
        # a box that is stretched unevenly is larger than what it encloses
        assert found > 0.85 and filled > (0.6 if name == 'stretch' else 0.8)


def test_boxes_whose_center_leaves_the_image_are_dropped():
    results = sample([TURNED, [78.0, 30, 24, 10, 0.0]])
    shift = RandomShift(1.0, 1, 1)
    warp = Warp.window(SIZE, -4, 0, *SIZE)
    kept = shift.keeps(warp.boxes(results['gt_bboxes']), warp)
    assert kept.tolist() == [True, False]


def test_hidden_boxes_are_erased_by_their_own_area():
    boxes = RotatedBoxes([[30, 30, 40, 6, np.pi / 4], [30, 15, 6, 6, 0.3]])
    # three fifths of the tilted box's length lie above y = 34.3; of its enclosing box it is less
    shares = hidden_shares(boxes, [(0, 0, 80, 34)], SIZE)
    assert shares[0] == pytest.approx(0.64, abs=0.04) and shares[1] == 1


def test_small_boxes_are_filtered():
    results = FilterAnnotations((5, 5))(sample([TURNED, [40.0, 30, 20, 2, 0.3]]))
    assert len(results['gt_bboxes']) == 1


def test_crops_that_need_overlaps():
    np.random.seed(0)
    crop = MinIoURandomCrop(min_ious=(0.1,), min_crop_size=0.5)
    assert all(type(crop(sample())['gt_bboxes']) is RotatedBoxes for _ in range(5))


def test_pasted_objects_cover_whole_boxes():
    np.random.seed(1)
    target = sample([[60.0, 45, 20, 8, -0.4]])
    paste = CopyPaste(selected=False)
    pasted = paste.mix(target, [sample()])
    assert len(pasted['gt_bboxes']) == 2
    assert min(coverage(pasted)) > 0.85


def test_mosaic_of_rotated_boxes():
    np.random.seed(0)
    mosaic = Mosaic(img_scale=(80, 60), pad_val=0)
    mixed = mosaic.mix(sample(), [sample() for _ in range(3)])
    assert type(mixed['gt_bboxes']) is RotatedBoxes and len(mixed['gt_bboxes']) >= 3


def test_boxes_of_two_kinds_are_not_mixed():
    upright = [sample([[10.0, 10, 30, 30]], 'hbox') for _ in range(3)]
    with pytest.raises(ConfigError, match='boxes are RotatedBoxes and HorizontalBoxes; load boxes of one box_type'):
        Mosaic(img_scale=(80, 60)).mix(sample(), upright)


def mixed(name, **settings):
    transform = TRANSFORMS.build(dict(type=name, prob=1.0, **settings))
    return lambda results: transform.mix(results, [sample() for _ in range(transform.num_others)])


def built(name, **settings):
    return TRANSFORMS.build(dict(type=name, **settings))


def with_classes(transform):
    return lambda results: transform(dict(results, gt_seg_map=np.zeros(SIZE, np.uint8)))


# how to make the registered transforms that need arguments; the others are made without any
STEPS = dict(
    CachedMixUp=lambda: mixed('CachedMixUp', img_scale=(80, 60)),
    CachedMosaic=lambda: mixed('CachedMosaic', img_scale=(80, 60)),
    CategoryAreaCrop=lambda: with_classes(built('CategoryAreaCrop', crop_size=(60, 50), allow_negative_crop=True)),
    CenterCrop=lambda: built('CenterCrop', crop_size=(60, 50)),
    Compose=lambda: built('Compose', transforms=[dict(type='RandomFlip', prob=1.0)]),
    ConvertBoxType=lambda: built('ConvertBoxType', box_type_mapping=dict(gt_bboxes='rbox')),
    CopyPaste=lambda: lambda results: CopyPaste().mix(results, [sample()]),
    CutOut=lambda: built('CutOut', n_holes=2, cutout_shape=(5, 5)),
    Expand=lambda: built('Expand', prob=1.0),
    FixedSizeCrop=lambda: built('FixedSizeCrop', crop_size=(60, 50)),
    FixScaleResize=lambda: built('FixScaleResize', scale=(100, 90), keep_ratio=True),
    FixShapeResize=lambda: built('FixShapeResize', width=100, height=90, keep_ratio=True),
    MixUp=lambda: mixed('MixUp', img_scale=(80, 60)),
    Mosaic=lambda: mixed('Mosaic', img_scale=(80, 60)),
    Normalize=lambda: built('Normalize', mean=(1, 2, 3), std=(4, 5, 6)),
    Pad=lambda: built('Pad', size_divisor=32),
    ProposalBroadcaster=lambda: built('ProposalBroadcaster', transforms=[dict(type='RandomFlip', prob=1.0)]),
    RandAugment=lambda: built('RandAugment', aug_space=[[dict(type='RandomFlip', prob=1.0)]], aug_num=1),
    RandomBrightness=lambda: built('RandomBrightness', intensity_min=0.5, intensity_max=1.5),
    RandomContrast=lambda: built('RandomContrast', intensity_min=0.5, intensity_max=1.5),
    RandomExtent=lambda: built('RandomExtent', scale_range=(0.8, 1.2), shift_range=(0.1, 0.1)),
    RandomLighting=lambda: built('RandomLighting', scale=0.5),
    RandomRotation=lambda: built('RandomRotation', angle=(-30, 30)),
    RandomSaturation=lambda: built('RandomSaturation', intensity_min=0.5, intensity_max=1.5),
    RandomApply=lambda: built('RandomApply', transforms=[dict(type='RandomFlip', prob=1.0)]),
    RandomCenterCropPad=lambda: built('RandomCenterCropPad', crop_size=(60, 60)),
    RandomChoice=lambda: built('RandomChoice', transforms=[[dict(type='RandomFlip', prob=1.0)]]),
    RandomChoiceResize=lambda: built('RandomChoiceResize', scales=[(100, 60), (40, 80)]),
    RandomCrop=lambda: built('RandomCrop', crop_size=(60, 50), allow_negative_crop=True),
    RandomErasing=lambda: built('RandomErasing', n_patches=2, ratio=(0.2, 0.3)),
    RandomFlip=lambda: built('RandomFlip', prob=1.0, direction='vertical'),
    RandomOrder=lambda: built('RandomOrder', transforms=[dict(type='RandomFlip', prob=1.0)]),
    RandomResize=lambda: built('RandomResize', scale=(100, 60), ratio_range=(0.5, 2)),
    RandomShift=lambda: built('RandomShift', prob=1.0),
    Resize=lambda: built('Resize', scale=(70, 90)),
    ResizeShortestEdge=lambda: built('ResizeShortestEdge', scale=70),
    SegRescale=lambda: built('SegRescale', scale_factor=0.5),
)
# these read, pack, multiply or collect samples, or make upright boxes of masks; Albu refuses turned boxes, Corrupt
# needs a package and moves nothing
OTHERS = {
    *('MultiBranch', 'TestTimeAug', 'TransformBroadcaster', 'UniformRefFrameSample', 'InferencerLoader', 'InstaBoost'),
    *('ImageToTensor', 'ToTensor', 'Transpose', 'Albu', 'BoxesFromMasks', 'Corrupt'),
}


def moving_transforms():
    """The names of all registered transforms of ours that take a sample and return one."""
    ours = [name for name, cls in TRANSFORMS.module_dict.items() if cls.__module__.startswith('mmdetlike.')]
    return sorted(name for name in ours if not name.startswith(('Load', 'Pack')) and name not in OTHERS)


@pytest.mark.parametrize('name', moving_transforms())
def test_transforms_keep_rotated_boxes(name):
    np.random.seed(3)
    step = STEPS[name]() if name in STEPS else built(name)
    for _ in range(3):
        results = step(sample([TURNED, [50.0, 40, 16, 8, -1.2]]))
        boxes = results['gt_bboxes']
        assert type(boxes) is RotatedBoxes and boxes.tensor.isfinite().all()
        assert len(boxes) == len(results['gt_bboxes_labels']) == len(results['gt_ignore_flags'])
        assert (boxes.widths > 0).all() and (boxes.heights > 0).all()


def test_annotations_follow_a_picture_of_another_size():
    results = dict(instances=[instance(TURNED)])
    rescale_sample(results, Warp.resize((60, 80), (120, 160)))
    assert results['instances'][0]['bbox'] == pytest.approx([60, 40, 48, 20, 0.5])


def test_packed_samples_keep_the_kind():
    packed = PackDetInputs()(sample())['data_samples']
    assert type(packed.gt_instances.bboxes) is RotatedBoxes
    assert packed.ignored_instances.bboxes.shape == (0, 5)


def test_rotated_shapes():
    pipeline = [dict(type='LoadShapesImage'), dict(type='LoadAnnotations', box_type='rbox')]
    dataset = ShapesDataset(length=3, rotated=True, image_size=(128, 128), pipeline=pipeline)
    plain = ShapesDataset(length=3, image_size=(128, 128), pipeline=pipeline)
    for i in range(3):
        results = dataset[i]
        assert type(results['gt_bboxes']) is RotatedBoxes and len(results['gt_bboxes']) > 0
        scene = Scene(results['scene'])
        for number, (box, shape) in enumerate(zip(results['gt_bboxes'].tensor, scene.shapes)):
            y, x = np.nonzero(scene.owner == number)
            middles = torch.from_numpy(np.stack([x, y], -1) + 0.5).float()
            assert (geometry.side_distances(middles, box) > -0.1).all()
            turn = geometry.wrap(box[4] - shape.tilt, -0.1, torch.pi / 2)
            assert abs(turn) < 0.05
    assert any(not np.array_equal(dataset[i]['img'], plain[i]['img']) for i in range(3))


def test_upright_shapes_are_as_they_were():
    """The same pictures for the same arguments: these are from before shapes could be rotated."""
    scene = Scene(SceneSpec(0, 'train', 0, 128, 128, 6))
    assert [instance['bbox'] for instance in scene.instances()] == [[51, 40, 97, 88], [17, 41, 47, 71]]


def test_the_quickstart_pipeline_makes_rotated_boxes():
    cfg = Config.fromfile('configs/_base_/datasets/shapes_rotated_detection.py')
    dataset = ShapesDataset(length=1, rotated=True, image_size=(128, 128), pipeline=cfg.train_pipeline)
    assert type(dataset[0]['data_samples'].gt_instances.bboxes) is RotatedBoxes
