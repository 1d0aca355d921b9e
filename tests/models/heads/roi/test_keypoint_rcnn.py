"""Keypoint R-CNN: what Detectron2's computes, targets and peaks of heatmaps, errors."""

import re

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.roi.keypoint_roi_head import DeconvKeypointHead, heatmap_targets, keypoint_targets
from mmdetlike.registry import MODELS
from mmdetlike.utils.config import load_config
from tests.models.families import FAMILIES, build
from tests.models.reference_tools import FOLDER, load, module
from tests.models.tiny import losses, make_sample, predict, sampling

# names of Detectron2's parameters -> ours
NAMES = {
    r'^backbone\.bottom_up\.stem\.': 'backbone.',
    r'^backbone\.bottom_up\.res(\d)\.': lambda m: f'backbone.layer{int(m[1]) - 1}.',
    r'conv(\d)\.norm\.': r'bn\1.',
    r'shortcut\.norm\.': 'downsample.1.',
    r'shortcut\.': 'downsample.0.',
    r'^backbone\.fpn_lateral(\d)\.': lambda m: f'neck.lateral_convs.{int(m[1]) - 2}.conv.',
    r'^backbone\.fpn_output(\d)\.': lambda m: f'neck.fpn_convs.{int(m[1]) - 2}.conv.',
    r'^proposal_generator\.rpn_head\.conv\.': 'rpn_head.rpn_conv.',
    r'^proposal_generator\.rpn_head\.objectness_logits\.': 'rpn_head.rpn_cls.',
    r'^proposal_generator\.rpn_head\.anchor_deltas\.': 'rpn_head.rpn_reg.',
    r'^roi_heads\.box_head\.fc(\d)\.': lambda m: f'roi_head.bbox_head.shared_fcs.{int(m[1]) - 1}.',
    r'^roi_heads\.box_predictor\.cls_score\.': 'roi_head.bbox_head.fc_cls.',
    r'^roi_heads\.box_predictor\.bbox_pred\.': 'roi_head.bbox_head.fc_reg.',
    r'^roi_heads\.keypoint_head\.conv_fcn(\d)\.': lambda m: f'roi_head.keypoint_head.convs.{int(m[1]) - 1}.conv.',
    r'^roi_heads\.keypoint_head\.score_lowres\.': 'roi_head.keypoint_head.deconv.',
}


def our_name(name: str) -> str:
    for pattern, replacement in NAMES.items():
        name = re.sub(pattern, replacement, name)
    return name


def detectron2_model(recording):
    """Our detector with the settings and weights of Detectron2's recording."""
    path = FOLDER.parents[2] / 'configs/keypoint_rcnn/keypoint-rcnn_r50_fpn_1x_coco.py'
    cfg = load_config(path).model
    cfg.data_preprocessor.update(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False)
    cfg.backbone.update(style='caffe', norm_cfg=dict(type='BN', requires_grad=False), init_cfg=None)
    for part in (cfg.train_cfg.rpn_proposal, cfg.test_cfg.rpn):
        part.max_per_img = 300
    for part in (cfg.train_cfg.rpn, cfg.train_cfg.rcnn):
        part.sampler.num = 10**6
    model = MODELS.build(cfg)
    state = module('fill_state').state(recording['state'])
    missing, unexpected = model.load_state_dict({our_name(k): v for k, v in state.items()}, strict=False)
    assert not unexpected and all(key.endswith('num_batches_tracked') for key in missing)
    return model


def recorded_batch(model, recording, training):
    compare = module('compare')
    fill_state = module('fill_state')
    samples = compare.make_samples(dict(recording, num_classes=1), 'mmdetlike')
    for i, sample in enumerate(samples):
        boxes = sample.gt_instances.bboxes
        sample.gt_instances.keypoints = torch.from_numpy(fill_state.keypoints(i, boxes.numpy()))
    images = list(compare.fill.images(2, *recording['image_size']))
    return model.data_preprocessor(dict(inputs=images, data_samples=samples), training)


@pytest.mark.slow
def test_detector_agrees_with_detectron2():
    recording = load('d2__COCO-Keypoints__keypoint_rcnn_R_50_FPN_1x', FOLDER / 'foreign')
    model = detectron2_model(recording).eval()
    batch = recorded_batch(model, recording, False)
    with torch.no_grad():
        found = model(**batch, mode='predict')
    for sample, want in zip(found, recording['predict']):
        pred = sample.pred_instances
        # Detectron2 drops boxes that were clipped to nothing
        pred = pred[(pred.bboxes[:, 2:] > pred.bboxes[:, :2]).all(1)]
        assert abs(len(pred) - want['n']) <= 1
        count = len(want['scores'])
        torch.testing.assert_close(pred.scores[:count], torch.tensor(want['scores']), atol=2e-3, rtol=0)
        torch.testing.assert_close(pred.bboxes[:count], torch.tensor(want['bboxes']), atol=0.1, rtol=0)
        theirs = torch.tensor(want['keypoints'])
        ours = pred.keypoints[: len(theirs)]
        off = (ours - theirs[..., :2]).abs().amax(-1) > 1  # of two equal peaks either may be taken
        assert off.float().mean() < 0.05
        ours = pred.keypoint_scores[: len(theirs)]
        torch.testing.assert_close(ours, theirs[..., 2], atol=1e-4, rtol=1e-2)
    model.train()
    terms = model(**recorded_batch(model, recording, True), mode='loss')
    names = dict(loss_cls='loss_cls', loss_bbox='loss_box_reg', loss_keypoint='loss_keypoint')
    for ours, theirs in names.items():
        assert float(terms[ours]) == pytest.approx(recording['loss'][theirs], rel=1e-4)
    sum(terms[name] for name in names).backward()
    grads = {name: p.grad.double().norm() for name, p in model.named_parameters() if p.grad is not None}
    norm = torch.stack(list(grads.values())).square().sum().sqrt()
    assert float(norm) == pytest.approx(recording['grad_norm'], rel=1e-3)
    for name, want in recording['grads']:
        ours = float(grads.get(our_name(name), 0))
        assert ours == pytest.approx(want, rel=1e-2, abs=1e-4 * recording['grad_norm']), name


def test_cells_of_keypoints():
    boxes = torch.tensor([[10.0, 20, 18, 24]])
    keypoints = torch.tensor([[[10.0, 20, 2], [13.9, 22.1, 1], [18, 24, 2], [18.1, 22, 2], [9.9, 22, 2], [14, 22, 0]]])
    cells, valid = heatmap_targets(keypoints, boxes, (4, 8))
    assert valid.tolist() == [[True, True, True, False, False, False]]
    # the border on the right and at the bottom belongs to the last cell
    assert cells[0, :3].tolist() == [0, 2 * 8 + 3, 3 * 8 + 7]


def test_loss_is_a_mean_over_visible_keypoints():
    head = DeconvKeypointHead(num_keypoints=2, num_convs=0, in_channels=3)
    heatmaps = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 8, 8]])
    keypoints = torch.tensor([[[1.5, 2.5, 2], [3, 3, 0]], [[1, 1, 1], [9, 9, 2]]])
    expected = F.cross_entropy(torch.stack([heatmaps[0, 0].flatten(), heatmaps[1, 0].flatten()]), torch.tensor([9, 0]))
    torch.testing.assert_close(head.loss(heatmaps, keypoints, boxes), expected)
    heatmaps.requires_grad_()
    loss = head.loss(heatmaps, keypoints * torch.tensor([1, 1, 0]), boxes)
    loss.backward()
    assert loss == 0 and not heatmaps.grad.any()


def test_loss_of_all_keypoints_that_could_be_there():
    heatmaps = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0.0, 0, 4, 4]])
    keypoints = torch.tensor([[[1.5, 2.5, 2], [3, 3, 2]]])
    plain = DeconvKeypointHead(num_keypoints=2, num_convs=0, in_channels=3)
    head = DeconvKeypointHead(num_keypoints=2, num_convs=0, in_channels=3, loss_normalizer=8)
    # a sum over two keypoints, divided by 8 for each of 3 images
    expected = plain.loss(heatmaps, keypoints, boxes) * 2 / 24
    torch.testing.assert_close(head.loss(heatmaps, keypoints, boxes, num_images=3), expected)
    with pytest.raises(ConfigError, match='loss_normalizer must be positive or None, got 0'):
        DeconvKeypointHead(loss_normalizer=0)


def test_peaks_lie_at_the_centers_of_pixels():
    head = DeconvKeypointHead(num_keypoints=1, num_convs=0, in_channels=3)
    heatmaps = torch.full((2, 1, 4, 4), -50.0)
    heatmaps[:, 0, 1, 2] = 50.0
    boxes = torch.tensor([[10.0, 20, 14, 24], [0, 0, 0.5, 8]])
    points, scores = head.predict(heatmaps, boxes)
    torch.testing.assert_close(points[0], torch.tensor([[12.5, 21.5]]))
    assert float(scores[0, 0]) == pytest.approx(1)
    # regions below a pixel are looked at as one pixel
    assert points[1, 0, 0] == 0.5 and 2 <= points[1, 0, 1] <= 4
    points, scores = head.predict(heatmaps[:0], boxes[:0])
    assert points.shape == (0, 1, 2) and scores.shape == (0, 1)


def test_keypoints_of_rescaled_images():
    model = build('keypoint_rcnn')
    plain = predict(model, [make_sample(2)])[0].pred_instances
    scaled = predict(model, [make_sample(2, scale_factor=(2.0, 0.5))])[0].pred_instances
    assert len(plain) > 0 and plain.keypoints.shape == (len(plain), 4, 2)
    torch.testing.assert_close(scaled.keypoints * torch.tensor([2.0, 0.5]), plain.keypoints)
    torch.testing.assert_close(scaled.keypoint_scores, plain.keypoint_scores)


def test_masks_and_keypoints_together():
    cfg = FAMILIES['mask_rcnn'](3)
    keypoints = FAMILIES['keypoint_rcnn'](3)['roi_head']
    names = ('type', 'keypoint_head', 'keypoint_roi_extractor')
    cfg['roi_head'].update({name: keypoints[name] for name in names})
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(cfg))
    terms = losses(model, [make_sample(3)])
    assert terms['loss_mask'] > 0 and terms['loss_keypoint'] > 0
    pred = predict(model, [make_sample(3)])[0].pred_instances
    assert len(pred) > 0 and len(pred.masks) == len(pred.keypoints) == len(pred)


@pytest.mark.parametrize(
    'keypoints, message',
    [
        (None, r'a keypoint head needs gt_instances.keypoints; 0\.jpg has none \(load them with LoadAnnotations'),
        (torch.zeros(2, 5, 3), r'num_keypoints=4, but the objects of 0\.jpg have 5 keypoints'),
    ],
)
def test_objects_with_other_keypoints(keypoints, message):
    sample = make_sample(2)
    instances = InstanceData(bboxes=sample.gt_instances.bboxes, labels=sample.gt_instances.labels)
    if keypoints is not None:
        instances.keypoints = keypoints
    sample.gt_instances = instances
    result = sampling(instances.bboxes, [1, 2], instances.bboxes)
    with pytest.raises(ConfigError, match=message):
        keypoint_targets([result], [sample], 4)


def test_a_head_without_keypoints():
    with pytest.raises(ConfigError, match='num_keypoints must be at least 1, got 0'):
        DeconvKeypointHead(num_keypoints=0)
