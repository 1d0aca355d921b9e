"""DeepLab and Panoptic-DeepLab on maps small enough to compute by hand."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData, PixelData

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.semantic import (
    CenterFusionHead,
    CenterOffsetHead,
    DeepLabDecoder,
    DeepLabV3Head,
    DeepLabV3PlusHead,
    PanopticDeepLabSemanticHead,
)
from mmdetlike.models.heads.semantic.panoptic_deeplab_head import group_pixels
from mmdetlike.models.losses import HardPixelLoss
from mmdetlike.structures import DetDataSample
from mmdetlike.structures.mask import BitmapMasks
from tests.models.tiny import make_sample

GROUPS = dict(type='GN', num_groups=2)
SMALL = dict(aspp_channels=8, dilations=(1, 2, 3), norm_cfg=GROUPS)
DECODER = dict(SMALL, project_channels=(4,), channels=(8,))


def maps(channels=(4, 8), strides=(4, 16), size=64):
    torch.manual_seed(0)
    return [torch.rand(1, c, size // s, size // s) for c, s in zip(channels, strides)]


# -- DeepLab ---------------------------------------------------------------------------------------------------------


def test_v3_has_the_size_of_its_map():
    head = DeepLabV3Head(5, in_channels=8, channels=8, dilations=(1, 2, 3), norm_cfg=GROUPS)
    assert head(maps()).shape == (1, 5, 4, 4)


@pytest.mark.parametrize('separable', [False, True])
def test_v3_plus_has_the_size_of_its_finest_map(separable):
    head = DeepLabV3PlusHead(5, in_channels=(4, 8), decoder=dict(DECODER, separable=separable))
    assert head(maps()).shape == (1, 5, 16, 16)


def test_decoder_refines_level_by_level():
    decoder = DeepLabDecoder((2, 4, 8), (0, 1, 2), project_channels=(2, 4), channels=(6, 8), **SMALL)
    x = maps((2, 4, 8), (4, 8, 16))
    pooled = decoder.eval().aspp(x[2])
    middle = torch.cat([decoder.projections[1](x[1]), F.interpolate(pooled, (8, 8), mode='bilinear')], 1)
    middle = decoder.fusions[1](middle)
    finest = torch.cat([decoder.projections[0](x[0]), F.interpolate(middle, (16, 16), mode='bilinear')], 1)
    torch.testing.assert_close(decoder(x), decoder.fusions[0](finest))
    assert decoder(x).shape == (1, 6, 16, 16)


def test_a_decoder_of_lists_that_differ_is_refused():
    with pytest.raises(ConfigError, match=r'in_channels=\[4, 8\].*project_channels=\[4, 4\]'):
        DeepLabDecoder((4, 8), project_channels=(4, 4), channels=(8,))


def test_a_class_without_logits_is_named():
    head = DeepLabV3PlusHead(4, in_channels=(4, 8), decoder=DECODER)
    sample = make_sample(2)  # three classes of things, two of stuff
    with pytest.raises(ConfigError, match=r'logits of 4 classes, but gt_sem_seg of 0\.jpg has pixels of class 4: set'):
        head.loss(maps(), [sample])


def test_label_maps_that_are_not_padded_are_told():
    head = DeepLabV3PlusHead(5, in_channels=(4, 8), decoder=DECODER)
    with pytest.raises(ValueError, match=r'sizes \(height, width\) \(32, 64\) and \(64, 64\): set .*pad_seg=True'):
        head.loss(maps(), [make_sample(1), make_sample(1, shape=(32, 64))])


# -- the hardest pixels ----------------------------------------------------------------------------------------------


def test_the_hardest_pixels_count():
    logits = torch.tensor([[[[3.0, 0.0, -1.0, 5.0, 2.0]], [[0.0, 0.0, 0.0, 0.0, 0.0]]]])
    target = torch.tensor([[[0, 0, 0, 1, 255]]])
    each = F.softplus(torch.tensor([-3.0, 0.0, 1.0, 5.0]))  # the last pixel has no class
    expected = each[[2, 3]].mean()
    torch.testing.assert_close(HardPixelLoss(kept_share=0.4)(logits, target), expected)
    torch.testing.assert_close(HardPixelLoss(kept_share=1)(logits, target), each.sum() / 5)
    # a weight makes a pixel one of the hardest
    weight = torch.tensor([[[200.0, 1.0, 1.0, 1.0, 1.0]]])
    torch.testing.assert_close(HardPixelLoss(kept_share=0.2)(logits, target, weight), 200 * each[0])


@pytest.mark.parametrize('share', [0, 1.5])
def test_no_share_of_pixels(share):
    with pytest.raises(ValueError, match=rf'kept_share={share} should be above 0 and at most 1'):
        HardPixelLoss(kept_share=share)


# -- Panoptic-DeepLab ------------------------------------------------------------------------------------------------


def test_small_instances_weigh_more():
    head = PanopticDeepLabSemanticHead(5, (4, 8), DECODER, head_channels=8, small_area=101)
    sample = make_sample([[0, 0, 10, 10], [20, 20, 40, 40]])
    weights = head.pixel_weights([sample])
    assert weights.shape == (1, 64, 64) and weights[0, 5, 5] == 3 and weights[0, 30, 30] == weights[0, 60, 0] == 1


def test_targets_of_centers():
    head = CenterOffsetHead((4, 8), DECODER, radius=3)
    sample = make_sample([[0, 0, 11, 5], [20, 20, 20.2, 20.2]])  # the second one has no pixel, so no center
    sample.gt_instances.masks.masks[1] = 0
    centers, ways, things, crowds = head.targets(sample, torch.device('cpu'))
    assert (centers == 1).nonzero().tolist() == [[0, 2, 5]]
    assert ways[:, 0, 0].tolist() == [5, 2] and ways[:, 4, 10].tolist() == [-5, -2]
    assert int(things.sum()) == 55 and not crowds.any() and not ways[:, ~things].any()


def test_crowds_and_pixels_without_a_class_say_nothing_of_centers():
    head = CenterOffsetHead((4, 8), DECODER).eval()
    sample = make_sample(1)
    x = maps()
    crowd = torch.zeros(1, 64, 64, dtype=torch.uint8)
    crowd[:, :32] = 1
    sample.ignored_instances = InstanceData(masks=BitmapMasks(crowd.numpy(), 64, 64))
    sample.gt_sem_seg.sem_seg[:, 32:] = 255
    terms = head.loss(x, [sample])
    assert float(terms['loss_center'].detach()) == 0 and float(terms['loss_offset'].detach()) > 0


def test_ways_are_in_pixels_of_the_original():
    head = CenterOffsetHead((4, 8), DECODER).eval()
    torch.nn.init.zeros_(head.conv_offset.weight)
    head.conv_offset.bias.data = torch.tensor([1.0, 2.0])  # in pixels of a map of stride 4
    meta = dict(batch_input_shape=(64, 64), img_shape=(64, 32), ori_shape=(128, 32))
    with torch.no_grad():
        ((centers, ways),) = head.predict(maps(), [DetDataSample(metainfo=meta)], rescale=True)
    assert centers.shape == (1, 128, 32) and ways.shape == (2, 128, 32)
    assert ways[:, 7, 7].tolist() == pytest.approx([4.0, 16.0])


def fusion(**settings):
    cfg = dict(dict(center_thr=0.1, center_kernel=3, stuff_area_limit=1), **settings)
    return CenterFusionHead(num_things_classes=2, num_stuff_classes=1, test_cfg=cfg)


CLASSES = torch.tensor([[0, 0, 2, 1, 1], [0, 1, 2, 1, 1]])


def scene():
    """Logits of ``CLASSES``, two centers, and ways of zero."""
    logits = 20.0 * F.one_hot(CLASSES, 3).permute(2, 0, 1)
    centers = torch.zeros(1, 2, 5)
    centers[0, 0, 0] = 0.5
    centers[0, 1, 4] = 0.9
    return logits, centers, torch.zeros(2, 2, 5)


def test_pixels_go_to_the_nearest_center_and_choose_its_class():
    result = fusion().predict_image(*scene())
    # the better center is the first; the pixel of class 1 on the left is outvoted
    assert result['pred_panoptic_seg'].sem_seg.tolist() == [[[2000, 2000, 2, 1001, 1001], [2000, 2000, 2, 1001, 1001]]]
    assert torch.equal(result['pred_sem_seg'].sem_seg[0], CLASSES)
    found = result['pred_instances']
    assert found.labels.tolist() == [1, 0] and found.bboxes.tolist() == [[3, 0, 5, 2], [0, 0, 2, 2]]
    # the mean probability of class 0 in the second mask is 3/4
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.5 * 0.75]), atol=1e-4, rtol=0)


def test_ways_lead_to_another_center():
    ways = torch.zeros(2, 2, 5)
    ways[0, 0, 1] = 3.0
    owner = group_pixels(CLASSES < 2, ways, torch.tensor([[4.0, 1.0], [0.0, 0.0]]))
    assert owner.tolist() == [[2, 1, 0, 1, 1], [2, 2, 0, 1, 1]]


def test_without_centers_things_are_no_segment():
    result = fusion(center_thr=0.95).predict_image(*scene())
    assert result['pred_panoptic_seg'].sem_seg.tolist() == [[[3, 3, 2, 3, 3], [3, 3, 2, 3, 3]]]
    assert len(result['pred_instances']) == 0 and result['pred_instances'].masks.shape == (0, 2, 5)


def test_small_stuff_is_dropped():
    result = fusion(stuff_area_limit=3).predict_image(*scene())
    assert result['pred_panoptic_seg'].sem_seg[0, :, 2].tolist() == [3, 3]


def test_a_center_without_pixels_is_no_instance():
    logits, centers, ways = scene()
    centers[0, 0, 2] = 0.3
    ways[0, 0] = torch.tensor([0.0, -1.0, 0.0, 1.0, 0.0])  # away from it, to the two others
    result = fusion(center_kernel=1).predict_image(logits, centers, ways)
    assert len(result['pred_instances']) == 2


def test_segments_need_masks():
    head = CenterOffsetHead((4, 8), DECODER)
    sample = make_sample(1)
    del sample.gt_instances.masks
    with pytest.raises(ValueError, match=r'CenterOffsetHead needs gt_instances\.masks; 0\.jpg has none'):
        head.loss(maps(), [sample])
    sample.gt_sem_seg = PixelData(sem_seg=torch.zeros(1, 64, 64))
    assert head.targets(make_sample(0), torch.device('cpu'))[0].sum() == 0
