"""CenterNetHead and the heads of CondInst: targets on paper, decoding, dynamic masks."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData

from mmdetlike.models.heads.keypoint import CenterNetHead
from mmdetlike.models.task_modules.assigners import PointRangeAssigner
from mmdetlike.models.utils import aligned_bilinear, crop_or_pad, mask_centroids, masks_at_stride, masks_in_image
from mmdetlike.registry import MODELS
from mmdetlike.structures import BitmapMasks
from tests.models.tiny import candidates
from tests.models.tiny_masks import condinst_heads, masked_sample, prepared

# -- CenterNet -------------------------------------------------------------------------------------------------------


def center_head(**test_cfg):
    torch.manual_seed(0)
    return CenterNetHead(4, 8, 3, test_cfg=dict(topk=5, local_maximum_kernel=3, max_per_img=4, **test_cfg))


def test_center_targets_on_paper():
    sample = prepared([masked_sample([[8, 16, 30, 40], [50, 60, 62, 64]])])[0]
    targets = center_head().targets(torch.zeros(1, 3, 16, 16), [sample])
    # centres (19, 28) and (56, 62) in pixels, so (4.75, 7) and (14, 15.5) in cells of 4 pixels
    wh, offset = targets.values['wh'], targets.values['off']
    assert targets.heat.eq(1).nonzero().tolist() == [[0, 0, 7, 4], [0, 1, 15, 14]]
    assert wh[0, :, 7, 4].tolist() == [5.5, 6] and wh[0, :, 15, 14].tolist() == [3, 1]
    assert offset[0, :, 7, 4].tolist() == [0.75, 0] and offset[0, :, 15, 14].tolist() == [0, 0.5]
    assert int(targets.weight.sum()) == 2
    # the radius for 6 x 5.5 cells and an overlap of 0.3 is 1.9, so 1: a bell of 3 x 3 with a deviation of half a cell
    assert float(targets.heat[0, 0, 7, 5]) == pytest.approx(math.exp(-2)) and float(targets.heat[0, 0, 7, 6]) == 0


def test_center_losses():
    head, samples = center_head(), prepared([masked_sample([[8, 16, 30, 40]]), masked_sample(0)])
    x = [torch.randn(2, 4, 16, 16)]
    terms = head.loss(x, samples)
    _, (wh,), (offset,) = head(x)
    expected = (wh[0, :, 7, 4] - torch.tensor([5.5, 6.0])).abs().mean() * 0.1
    torch.testing.assert_close(terms['loss_wh'], expected)
    torch.testing.assert_close(terms['loss_offset'], (offset[0, :, 7, 4] - torch.tensor([0.75, 0])).abs().mean())


def center_maps(head):
    heatmap = torch.full((1, 3, 16, 16), 0.01)
    heatmap[0, 2, 5, 6], heatmap[0, 2, 5, 7], heatmap[0, 0, 9, 9] = 0.9, 0.8, 0.7  # the second is no local maximum
    wh, offset = torch.zeros(2, 1, 2, 16, 16)
    wh[0, :, 5, 6], offset[0, :, 5, 6] = torch.tensor([4.0, 2.0]), torch.tensor([0.5, 0.25])
    wh[0, :, 9, 9] = 6.0
    head.forward = lambda x: ([heatmap], [wh], [offset])
    return head


def test_centers_become_boxes():
    head, sample = center_maps(center_head()), prepared([masked_sample(0, scale_factor=(2.0, 4.0))])[0]
    pred = head.predict(None, [sample], rescale=False)[0]
    assert (
        len(pred) == 4 and pred.labels[:2].tolist() == [2, 0] and pred.scores[:2].tolist() == pytest.approx([0.9, 0.7])
    )
    assert pred.bboxes[:2].tolist() == [[18, 17, 34, 25], [24, 24, 48, 48]]
    rescaled = head.predict(None, [sample], rescale=True)[0]
    assert rescaled.bboxes[0].tolist() == [9, 4.25, 17, 6.25]


def test_centers_of_a_padded_image():
    head, sample = center_maps(center_head()), prepared([masked_sample(0)])[0]
    sample.set_metainfo(dict(border=np.array([10, 50, 4, 60], np.float32)))
    assert head.predict(None, [sample])[0].bboxes[0].tolist() == [14, 7, 30, 15]


def test_centers_can_be_suppressed():
    head, sample = center_maps(center_head(nms=dict(type='nms', iou_threshold=0.5))), prepared([masked_sample(0)])[0]
    pred = head.predict(None, [sample])[0]
    assert pred.scores[:2].tolist() == pytest.approx([0.9, 0.7])


def test_center_head_initialises_itself():
    head = center_head()
    head.init_weights()
    assert float(head.heatmap_head[-1].bias[0].detach()) == pytest.approx(-math.log(9))
    assert float(head.wh_head[0].weight.detach().std()) < 0.002
    with pytest.raises(ValueError, match='init_cfg must be None'):
        CenterNetHead(4, 8, 3, init_cfg=dict(type='Normal'))
    with pytest.raises(ValueError, match='num_classes must be at least 1'):
        CenterNetHead(4, 8, 0)


# -- CondInst --------------------------------------------------------------------------------------------------------


def condinst(**kwargs):
    torch.manual_seed(0)
    heads = condinst_heads(**kwargs)
    test_cfg = dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=20, nms_pre=100, mask_thr=0.5)
    return [MODELS.build(dict(head, test_cfg=test_cfg)) for head in heads.values()]


def objects_of(params, priors):
    """Objects with the parameters of their mask networks and priors (n, 4) x, y, stride, stride."""
    return InstanceData(params=params, points=priors[:, :2], strides=priors[:, 2:])


def levels(batch=1):
    return [torch.randn(batch, 8, side, side) for side in (8, 4, 2)]


def test_points_are_sampled_around_centres_of_mass():
    assigner = PointRangeAssigner([(-1, 1e8)], center_sample_radius=1.5)
    points = candidates([[x + 4.0, 4.0] for x in range(0, 64, 8)])
    gt = InstanceData(bboxes=torch.tensor([[0.0, 0, 64, 8]]), labels=torch.tensor([0]))
    around_box = assigner.assign(points, gt).gt_inds.nonzero().flatten().tolist()
    gt.centers = torch.tensor([[8.0, 4.0]])
    around_mass = assigner.assign(points, gt).gt_inds.nonzero().flatten().tolist()
    assert around_box == [3, 4] and around_mass == [0, 1]


def test_centres_of_mass():
    masks = np.zeros((2, 4, 6), np.uint8)
    masks[0, 1:3, 2:5] = 1
    centers, areas = mask_centroids(masks)
    assert centers.tolist() == [[3, 1.5], [0, 0]] and areas.tolist() == [6, 0]
    assert mask_centroids(masks[:0])[0].shape == (0, 2)


def test_dynamic_masks_are_grouped_convolutions():
    _, mask_head = condinst()
    feat, priors = torch.randn(8, 5, 6), torch.tensor([[12.0, 20.0, 8.0, 8.0], [30.0, 4.0, 16.0, 16.0]])
    params = torch.randn(2, 169)
    for i in range(2):
        ys, xs = torch.meshgrid(torch.arange(5) * 8 + 4, torch.arange(6) * 8 + 4, indexing='ij')
        distance = (priors[i, :2, None, None] - torch.stack([xs, ys])) / (priors[i, 2] * 8)
        x, p = torch.cat([distance, feat])[None], params[i]
        x = F.conv2d(x, p[:80].view(8, 10, 1, 1), p[152:160]).relu()
        x = F.conv2d(x, p[80:144].view(8, 8, 1, 1), p[160:168]).relu()
        x = F.conv2d(x, p[144:152].view(1, 8, 1, 1), p[168:])
        expected = aligned_bilinear(x, 2)[0, 0]
        torch.testing.assert_close(
            mask_head.mask_logits(feat, objects_of(params, priors))[i], expected, rtol=1e-4, atol=1e-4
        )
    assert mask_head.mask_logits(feat, objects_of(params[:0], priors[:0])).shape == (0, 10, 12)


def test_mask_targets_are_pixels_near_the_middle_of_cells():
    masks = np.zeros((1, 16, 16), np.uint8)
    masks[0, 2, 6] = masks[0, 3, 3] = 1
    sample = masked_sample(1, (16, 16))
    sample.gt_instances.masks = BitmapMasks(masks, 16, 16)
    target = masks_at_stride(sample, 4, (4, 4), 'a head')
    assert target.nonzero().tolist() == [[0, 0, 1]]


def test_mask_loss_is_the_mean_over_positives():
    box_head, mask_head = condinst()
    x, samples = levels(2), prepared([masked_sample([[0, 0, 20, 24], [20, 30, 60, 62]]), masked_sample(0)])
    _, positives = box_head.loss_with_positives(x, samples)
    assert len(positives[0]) > 1 and len(positives[1]) == 0
    assert positives[0].gt_inds.unique().tolist() == [0, 1]
    logits = mask_head(x, positives)[0].sigmoid()
    gt = masks_at_stride(samples[0], 4, logits.shape[-2:], 'a head')[positives[0].gt_inds]
    dice = 1 - 2 * (logits * gt).sum((1, 2)) / (logits.square().sum((1, 2)) + gt.sum((1, 2)) + 1e-5)
    torch.testing.assert_close(mask_head.loss(x, samples, positives)['loss_mask'], dice.mean(), rtol=1e-4, atol=1e-5)


def test_positives_of_the_mask_branch_are_limited():
    gt_inds, quality = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0.1, 0.9, 0.5, 0.2, 0.3, 0.1])
    positives = InstanceData(gt_inds=gt_inds, quality=quality, prior_inds=torch.arange(6))
    assert len(condinst(max_masks_to_train=4)[1].sample(positives)) == 4
    assert len(condinst(max_masks_to_train=9)[1].sample(positives)) == 6
    best = condinst(topk_masks_per_img=4)[1].sample(positives)
    assert sorted(best.prior_inds.tolist()) == [1, 2, 3, 4]
    with pytest.raises(ValueError, match='set one of max_masks_to_train=4 and topk_masks_per_img=4'):
        condinst(max_masks_to_train=4, topk_masks_per_img=4)


def test_mask_head_refuses_what_does_not_fit():
    _, mask_head = condinst(feat_channels=4)
    with pytest.raises(
        ValueError, match='a mask of this head has 69 parameters, but num_params of the box head is 169'
    ):
        mask_head.mask_logits(torch.zeros(8, 2, 2), objects_of(torch.zeros(1, 169), torch.ones(1, 4)))
    with pytest.raises(ValueError, match='mask_stride=8 must be a multiple of mask_out_stride=3'):
        condinst(mask_out_stride=3)


# -- functions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('factor', [1, 2, 4])
def test_aligned_bilinear_keeps_values_in_their_places(factor):
    maps = torch.randn(2, 3, 4, 5)
    large = aligned_bilinear(maps, factor)
    assert large.shape == (2, 3, 4 * factor, 5 * factor)
    torch.testing.assert_close(large[..., factor // 2 :: factor, factor // 2 :: factor], maps)
    assert aligned_bilinear(maps[:0], factor).shape == (0, 3, 4 * factor, 5 * factor)
    with pytest.raises(ValueError, match='factor must be at least 1'):
        aligned_bilinear(maps, 0)


def test_masks_in_image_cut_padding_and_rescale():
    masks = torch.zeros(40, 8, 8)
    masks[:, :4, :4] = 1
    out = masks_in_image(masks, lambda m: F.interpolate(m, scale_factor=2.0), (8, 12), (4, 6), 0.5)
    assert out.shape == (40, 4, 6) and out[39, :, :4].all() and not out[:, :, 4:].any()
    assert torch.equal(crop_or_pad(torch.ones(1, 2, 3), (3, 2))[0], torch.tensor([[1.0, 1], [1, 1], [0, 0]]))
