"""Objects of several versions of an image, joined."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from mmdetlike.datasets.transforms import PackDetInputs, RandomFlip, Resize, TestTimeAug
from mmdetlike.errors import ConfigError
from mmdetlike.models.test_time_augs import DetTTAModel, plain_version
from mmdetlike.structures import BitmapMasks, DetDataSample
from mmdetlike.structures.bbox import HorizontalBoxes, RotatedBoxes, bbox_flip
from tests.models.families import build
from tests.models.tiny import box_masks, detector

SHAPE = (48, 64)
DIRECTIONS = ('horizontal', 'vertical', 'diagonal')


def version(flip=False, direction=None, **fields) -> DetDataSample:
    """A predicted version of an image of ``SHAPE``."""
    meta = dict(ori_shape=SHAPE, flip=flip, flip_direction=direction, img_path='a.jpg')
    return DetDataSample(metainfo=meta, pred_instances=InstanceData(**fields))


def objects(boxes, scores, labels=None) -> dict:
    labels = [0] * len(boxes) if labels is None else labels
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return dict(bboxes=boxes, scores=torch.tensor(scores), labels=torch.tensor(labels, dtype=torch.long))


def tta(**cfg) -> DetTTAModel:
    return DetTTAModel(detector('retinanet').eval(), tta_cfg=cfg)


@pytest.mark.parametrize('direction', DIRECTIONS)
def test_what_is_found_in_a_mirror_image_is_mirrored_back(direction):
    boxes = [[4.0, 6, 20, 30], [30, 2, 60, 12]]
    masks = torch.zeros(2, *SHAPE, dtype=torch.bool)
    masks[0, 6:30, 4:20] = True
    masks[1, 2:12, 30:60] = True
    found = objects(boxes, [0.9, 0.8])
    axes = dict(horizontal=(2,), vertical=(1,), diagonal=(1, 2))[direction]
    mirrored = dict(found, bboxes=bbox_flip(found['bboxes'], SHAPE, direction), masks=masks.flip(axes))
    (merged,) = tta().merge_preds([(version(True, direction, **mirrored),)])
    torch.testing.assert_close(merged.pred_instances.bboxes, found['bboxes'])
    assert torch.equal(merged.pred_instances.masks, masks)


def test_duplicates_of_a_class_are_suppressed_and_the_best_are_kept():
    plain = version(**objects([[0, 0, 10, 10], [20, 20, 30, 30]], [0.6, 0.5]))
    mirrored = objects([[54, 0, 63, 10], [34, 20, 44, 30], [0, 40, 5, 45]], [0.7, 0.4, 0.3], [0, 1, 0])
    merged = tta().merge([version(True, 'horizontal', **mirrored), plain])
    assert merged.pred_instances.scores.tolist() == pytest.approx([0.7, 0.5, 0.4, 0.3])
    assert merged.pred_instances.bboxes[0].tolist() == [1, 0, 10, 10]
    assert merged.pred_instances.labels.tolist() == [0, 0, 1, 0]  # two classes at one place are two objects
    assert merged.flip is False
    all_but_many = tta(max_per_img=2, nms=dict(type='nms', iou_threshold=1.0))
    few = all_but_many.merge([version(True, 'horizontal', **mirrored), plain])
    assert few.pred_instances.scores.tolist() == pytest.approx([0.7, 0.6])


def test_nothing_found_in_any_version():
    merged = tta().merge([version(**objects([], [])), version(True, 'horizontal', **objects([], []))])
    assert len(merged.pred_instances) == 0


def test_what_cannot_be_joined_is_refused():
    with pytest.raises(ConfigError, match=r'joins bboxes.*, but RetinaNet predicts bboxes, centers'):
        tta().merge([version(**objects([[0, 0, 9, 9]], [0.5]), centers=torch.zeros(1, 2))])
    segments = DetDataSample(metainfo=dict(flip=False), pred_panoptic_seg=PixelData(sem_seg=torch.zeros(1, 4, 4)))
    with pytest.raises(ConfigError, match='RetinaNet predicts no pred_instances'):
        tta().merge([segments])
    with pytest.raises(ConfigError, match='tta_cfg takes nms, fusion, max_per_img and flip_indices, got also iou'):
        tta(iou=0.5)
    with pytest.raises(ConfigError, match='nms or fusion, not both'):
        tta(nms=dict(iou_threshold=0.5), fusion={})


@pytest.mark.parametrize('direction', DIRECTIONS)
def test_rotated_boxes_are_mirrored_back(direction):
    turned = RotatedBoxes([[20.0, 15, 10, 4, 0.3]])
    mirrored = turned.clone()
    mirrored.flip_(SHAPE, direction)
    rest = dict(scores=torch.tensor([0.9]), labels=torch.tensor([0]))
    (merged,) = tta().merge_preds(
        [(version(True, direction, bboxes=mirrored.tensor, **rest), version(bboxes=turned.tensor, **rest))]
    )
    torch.testing.assert_close(merged.pred_instances.bboxes, turned.tensor)  # one: the other is a duplicate


@pytest.mark.parametrize('direction', DIRECTIONS)
def test_keypoints_are_mirrored_back_and_left_ones_are_left_again(direction):
    points = torch.tensor([[[10.0, 8, 1], [14, 8, 1], [12, 20, 1]]])
    x = 64 - points[..., :1] if direction != 'vertical' else points[..., :1]
    y = 48 - points[..., 1:2] if direction != 'horizontal' else points[..., 1:2]
    order = [0, 1, 2] if direction == 'diagonal' else [1, 0, 2]
    seen = torch.cat([x, y, points[..., 2:]], dim=-1)[:, order]
    scores = torch.tensor([[0.5, 0.6, 0.7]])
    one = objects([[4, 4, 20, 30]], [0.9])
    one['bboxes'] = bbox_flip(one['bboxes'], SHAPE, direction)
    found = version(True, direction, **one, keypoints=seen, keypoint_scores=scores[:, order])
    merged = tta(flip_indices=[1, 0, 2]).merge([found]).pred_instances
    torch.testing.assert_close(merged.keypoints, points)
    torch.testing.assert_close(merged.keypoint_scores, scores)
    model = tta()
    model.module.dataset_meta = dict(flip_indices=[1, 0, 2])
    torch.testing.assert_close(model.merge([found]).pred_instances.keypoints, points)
    if direction != 'diagonal':
        with pytest.raises(ConfigError, match='need flip_indices of 3 keypoints, in tta_cfg or metainfo, got None'):
            tta().merge([found])


def test_boxes_are_fused_by_choice():
    plain = version(**objects([[0, 0, 10, 10]], [0.8]))
    mirrored = version(True, 'horizontal', **objects([[54, 0, 64, 12]], [0.4]))
    fused = tta(fusion=dict(iou_thr=0.5)).merge([plain, mirrored]).pred_instances
    assert fused.bboxes[0].tolist() == pytest.approx([0, 0, 10, (0.8 * 10 + 0.4 * 12) / 1.2])
    assert fused.scores.tolist() == pytest.approx([0.6])
    assert len(tta(fusion={}, max_per_img=1).merge([plain, mirrored]).pred_instances) == 1
    with pytest.raises(ConfigError, match=r"fusion joins boxes alone, but RetinaNet predicts \['masks'\]"):
        masks = torch.zeros(1, *SHAPE, dtype=torch.bool)
        tta(fusion={}).merge([version(**objects([[0, 0, 10, 10]], [0.8]), masks=masks)])


def test_samples_say_whether_they_are_mirrored():
    silent = PackDetInputs(meta_keys=('img_id', 'ori_shape'))
    with pytest.raises(ConfigError, match="put 'flip' and 'flip_direction' into meta_keys of PackDetInputs"):
        TestTimeAug([[RandomFlip(1.0), RandomFlip(0.0)], [silent]])(picture())
    assert len(TestTimeAug([[Resize((64, 48)), Resize((32, 24))], [silent]])(picture())['inputs']) == 2


def test_the_plain_version_is_the_first_that_is_not_mirrored():
    mirrored = version(True, 'horizontal', **objects([], []))
    plain = version(**objects([], []))
    assert plain_version([mirrored, plain, plain]) == 1
    assert plain_version([mirrored]) == 0


def picture() -> dict:
    image = torch.randint(0, 256, (*SHAPE, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8).numpy()
    return dict(img=image, img_shape=SHAPE, ori_shape=SHAPE, scale_factor=(1.0, 1.0), img_id=0, img_path='a.jpg')


def batch_of(*transforms) -> dict:
    """A batch of one picture as a dataloader collates it."""
    made = TestTimeAug([*transforms, [PackDetInputs()]])(picture())
    return {name: [[each] for each in values] for name, values in made.items()}


class Oracle(torch.nn.Module):
    """Finds the annotated objects of a version, in pixels of the original image but mirrored as the version is."""

    def test_step(self, data):
        samples = []
        for sample in data['data_samples']:
            truth = sample.gt_instances
            height, width = sample.ori_shape
            boxes = truth.bboxes.tensor / torch.tensor([*sample.scale_factor] * 2)
            masks = truth.masks.resize((height, width)).to_tensor(torch.bool, 'cpu')
            scores = torch.linspace(0.9, 0.5, len(boxes))
            sample.pred_instances = InstanceData(bboxes=boxes, scores=scores, labels=truth.labels, masks=masks)
            samples.append(sample)
        return samples


@pytest.mark.parametrize('direction', DIRECTIONS)
def test_objects_found_in_every_version_are_found_once_and_in_their_place(direction):
    boxes = np.array([[2, 4, 22, 20], [30, 10, 62, 40], [8, 26, 28, 46]], np.float32)
    masks = box_masks(torch.tensor(boxes), SHAPE)
    annotated = dict(
        picture(),
        gt_bboxes=HorizontalBoxes(boxes),
        gt_bboxes_labels=np.array([0, 1, 2]),
        gt_masks=BitmapMasks(masks, *SHAPE),
    )
    scales = [Resize((64, 48)), Resize((96, 96), keep_ratio=False), Resize((128, 96))]
    flips = [RandomFlip(1.0, direction), RandomFlip(0.0)]
    made = TestTimeAug([scales, flips, [PackDetInputs()]])(annotated)
    data = {name: [[each] for each in values] for name, values in made.items()}
    found = DetTTAModel(Oracle()).test_step(data)[0].pred_instances
    torch.testing.assert_close(found.bboxes, torch.tensor(boxes))
    assert found.labels.tolist() == [0, 1, 2]
    assert torch.equal(found.masks, torch.from_numpy(masks).bool())


@pytest.mark.parametrize('family', ['faster_rcnn', 'mask_rcnn', 'fcos'])
@torch.no_grad()
def test_one_plain_version_gives_what_the_detector_gives(family):
    model = build(family).eval()
    data = batch_of([RandomFlip(0.0)])
    merged = DetTTAModel(model, tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.7))).test_step(data)[0].pred_instances
    plain = model.test_step({name: values[0] for name, values in batch_of([RandomFlip(0.0)]).items()})[0].pred_instances
    assert len(plain) > 0
    assert set(merged.keys()) == set(plain.keys())
    for name in set(plain.keys()):
        torch.testing.assert_close(merged[name], plain[name])


@torch.no_grad()
def test_scales_and_mirroring_end_in_pixels_of_the_original_image():
    model = build('mask_rcnn').eval()
    scales = [Resize((64, 48)), Resize((128, 96))]
    (merged,) = DetTTAModel(model).test_step(batch_of(scales, [RandomFlip(1.0), RandomFlip(0.0)]))
    found = merged.pred_instances
    assert 0 < len(found) <= 100
    assert found.masks.shape == (len(found), *SHAPE)
    limit = torch.tensor([64.0, 48, 64, 48])
    assert (found.bboxes >= 0).all() and (found.bboxes <= limit).all()
    assert (found.scores.diff() <= 0).all()
    assert merged.flip is False and merged.img_shape == SHAPE
