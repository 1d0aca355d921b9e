"""Detectors of a few thousand parameters, and samples to call them with."""

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData

import mmdetlike.models  # noqa: F401  registers the models
from mmdetlike.models.heads.dense import FlatPredictions
from mmdetlike.models.task_modules import AssignResult, SamplingResult
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample
from mmdetlike.structures.bbox import geometry
from mmdetlike.structures.mask import BitmapMasks

BACKBONE = dict(type='ResNet', depth=18, base_channels=8)
NECK = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=8, start_level=1, num_outs=3)
PREPROCESSOR = dict(type='DetDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True, pad_size_divisor=32)
L1 = dict(type='L1Loss', loss_weight=1.0)
RPN_HEAD = dict(
    type='RPNHead',
    in_channels=8,
    feat_channels=8,
    anchor_generator=dict(type='AnchorGenerator', scales=[2], ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32]),
    loss_bbox=L1,
)
RPN_TRAIN = dict(
    assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, ignore_iof_thr=0.5),
    sampler=dict(type='RandomSampler', num=64, pos_fraction=0.5, add_gt_as_proposals=False),
    allowed_border=-1,
    pos_weight=-1,
)
PROPOSALS = dict(nms_pre=100, max_per_img=30, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)
RCNN_TRAIN = dict(
    assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, match_low_quality=False, ignore_iof_thr=0.5),
    sampler=dict(type='RandomSampler', num=32, pos_fraction=0.25),
    pos_weight=-1,
)
DETECT = dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20)


def retina_head(num_classes: int = 3) -> dict:
    """Config of a RetinaHead for the maps of ``NECK``."""
    return dict(
        type='RetinaHead',
        num_classes=num_classes,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=2,
            scales_per_octave=1,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32],
        ),
        loss_cls=dict(type='FocalLoss'),
        loss_bbox=L1,
    )


def roi_head(num_classes: int = 3) -> dict:
    """Config of a StandardRoIHead for the maps of ``NECK``."""
    return dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=0),
            out_channels=8,
            featmap_strides=[8, 16, 32],
            finest_scale=24,
        ),
        bbox_head=dict(
            type='Shared2FCBBoxHead',
            in_channels=8,
            fc_out_channels=16,
            roi_feat_size=3,
            num_classes=num_classes,
            loss_bbox=L1,
        ),
    )


def config(kind: str, num_classes: int = 3) -> dict:
    """Config of a detector: ``'rpn'``, ``'retinanet'``, ``'faster_rcnn'`` or ``'fast_rcnn'``."""
    parts = dict(backbone=BACKBONE, neck=NECK, data_preprocessor=PREPROCESSOR)
    if kind == 'retinanet':
        assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, ignore_iof_thr=0.5)
        train = dict(assigner=assigner, allowed_border=-1, pos_weight=-1)
        test = dict(DETECT, nms_pre=100, min_bbox_size=0)
        return dict(parts, type='RetinaNet', bbox_head=retina_head(num_classes), train_cfg=train, test_cfg=test)
    train = dict(rpn=RPN_TRAIN, rpn_proposal=PROPOSALS, rcnn=RCNN_TRAIN)
    test = dict(rpn=PROPOSALS, rcnn=DETECT)
    heads = dict(roi_head=roi_head(num_classes)) if kind != 'rpn' else {}
    if kind != 'fast_rcnn':
        heads['rpn_head'] = RPN_HEAD
    name = dict(rpn='RPN', faster_rcnn='FasterRCNN', fast_rcnn='FastRCNN')[kind]
    return dict(parts, type=name, train_cfg=train, test_cfg=test, **heads)


KINDS = ('rpn', 'retinanet', 'faster_rcnn', 'fast_rcnn')


def detector(kind: str, num_classes: int = 3, seed: int = 0):
    """A detector with PyTorch's random weights, so that its scores are far from 0 and 1."""
    torch.manual_seed(seed)
    return MODELS.build(config(kind, num_classes))


def random_boxes(count: int, shape: tuple[int, int] = (64, 64), seed: int = 0) -> torch.Tensor:
    """Boxes (count, 4) of at least 2 pixels a side inside an image of ``shape`` (h, w)."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor([shape[1], shape[0]], dtype=torch.float32)
    low = torch.rand(count, 2, generator=generator) * (size - 4)
    high = low + 2 + torch.rand(count, 2, generator=generator) * (size - low - 2)
    return torch.cat([low, high], dim=1)


def box_masks(boxes: torch.Tensor, shape: tuple[int, int]) -> np.ndarray:
    """Masks (n, h, w) of the pixels whose centres lie in ``boxes``: none of boxes between centres."""
    y, x = (torch.arange(side) + 0.5 for side in shape)
    x1, y1, x2, y2 = boxes[:, :, None].unbind(1)
    inside = ((y >= y1) & (y < y2))[:, :, None] & ((x >= x1) & (x < x2))[:, None]
    return inside.numpy().astype(np.uint8)


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """The corners of boxes (n, 4) as keypoints (n, 4, 3), all visible but the last."""
    x1, y1, x2, y2 = boxes.unbind(1)
    points = torch.stack([x1, y1, x2, y1, x2, y2, x1, y2], dim=1).unflatten(1, (4, 2))
    visibility = torch.tensor([2.0, 2.0, 1.0, 0.0]).expand(len(boxes), 4)
    return torch.cat([points, visibility[..., None]], dim=-1)


def inside_and_outside(boxes: torch.Tensor) -> torch.Tensor:
    """Points (n, 3, 3) of boxes: the center, labeled 1, the upper left corner, labeled 0, and one without label."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    points = torch.stack([middle, boxes[:, :2], middle], dim=1)
    return torch.cat([points, torch.tensor([1.0, 0.0, -1.0]).expand(len(boxes), 3)[..., None]], dim=-1)


def semantic_map(masks: np.ndarray, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """(h, w) classes of pixels: of objects, and two of stuff left and right."""
    height, width = masks.shape[1:]
    classes = (num_classes + (torch.arange(width) >= width // 2).long()).repeat(height, 1)
    for mask, label in zip(masks, labels):
        classes[torch.from_numpy(mask).bool()] = label
    return classes


def make_sample(boxes, shape=(64, 64), num_classes=3, scale_factor=(1.0, 1.0), ignored=(), index=0) -> DetDataSample:
    """A sample of an image of ``shape`` with ``boxes`` as objects, their count of random ones, and given proposals.

    Masks fill their boxes, whose corners are the keypoints; the semantic map has two classes of stuff around them.
    """
    if isinstance(boxes, int):
        boxes = random_boxes(boxes, shape, seed=index)
    boxes = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    ori_shape = tuple(round(side / scale) for side, scale in zip(shape, reversed(scale_factor)))
    meta = dict(img_id=index, img_path=f'{index}.jpg', img_shape=shape, ori_shape=ori_shape, scale_factor=scale_factor)
    sample = DetDataSample(metainfo=meta)
    labels = torch.arange(len(boxes)) % num_classes
    masks = box_masks(boxes, shape)
    instances = dict(bboxes=boxes, labels=labels, masks=BitmapMasks(masks, *shape), keypoints=corners(boxes))
    instances['points'] = inside_and_outside(boxes)
    sample.gt_instances = InstanceData(**instances)
    sample.gt_sem_seg = PixelData(sem_seg=semantic_map(masks, labels, num_classes)[None])
    ignored = torch.as_tensor(ignored, dtype=torch.float32).reshape(-1, 4)
    sample.ignored_instances = InstanceData(bboxes=ignored, labels=torch.zeros(len(ignored), dtype=torch.long))
    sample.proposals = InstanceData(bboxes=random_boxes(20, shape, seed=100 + index))
    return sample


def batch(model, samples, training: bool = False, seed: int = 0) -> dict:
    """Preprocessed random images with their samples."""
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randint(0, 256, (3, *s.img_shape), generator=generator, dtype=torch.uint8) for s in samples]
    return model.data_preprocessor(dict(inputs=images, data_samples=list(samples)), training)


def losses(model, samples) -> dict:
    """Loss terms of random images."""
    return model.train()(**batch(model, samples, training=True), mode='loss')


@torch.no_grad()
def predict(model, samples) -> list[DetDataSample]:
    """Samples with predictions for random images."""
    return model.eval()(**batch(model, samples), mode='predict')


def candidates(priors, counts=None, strides=None, **predictions) -> InstanceData:
    """What a head shows an assigner: a row for each of ``priors`` (n, 2 or 4), of which levels have ``counts``."""
    priors = torch.as_tensor(priors, dtype=torch.float32)
    counts = [len(priors)] if counts is None else counts
    points = priors if priors.shape[-1] == 2 else geometry.centers(priors)
    strides = torch.full((len(priors), 2), 8.0) if strides is None else torch.as_tensor(strides)
    level_ids = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    columns = {name: torch.as_tensor(value) for name, value in predictions.items()}
    return InstanceData(priors=priors, points=points, strides=strides, level_ids=level_ids, **columns)


def flat_predictions(head, sizes, num_priors, **maps) -> FlatPredictions:
    """Predictions ``maps`` (B, N, c) at the priors of ``head``, for feature maps of ``sizes``."""
    priors = None if head is None else head.priors(sizes, torch.device('cpu'))
    return FlatPredictions(maps, priors, sizes, num_priors)


def sampling(boxes, gt_inds, gt_bboxes, is_gt=None):
    """All boxes, of objects counted from 1 or 0 for background."""
    gt_inds = torch.tensor(gt_inds)
    labels = torch.where(gt_inds > 0, gt_inds - 1, -1)
    result = AssignResult(len(gt_bboxes), gt_inds, torch.zeros(len(boxes)), labels)
    is_gt = torch.zeros(len(boxes), dtype=torch.bool) if is_gt is None else torch.tensor(is_gt)
    pos, neg = (gt_inds > 0).nonzero()[:, 0], (gt_inds == 0).nonzero()[:, 0]
    return SamplingResult(pos, neg, boxes, gt_bboxes, result, is_gt)
