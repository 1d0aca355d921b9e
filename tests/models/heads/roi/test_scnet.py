"""SCNet: context of the image, features relayed from boxes to masks, masks of the last stage alone."""

import pytest
import torch
import torch.nn.functional as F

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.roi.scnet_roi_head import GlobalContextHead, residual_convs
from mmdetlike.registry import MODELS
from tests.models.families import FAMILIES, build
from tests.models.tiny import batch, losses, make_sample


def test_masks_are_of_no_stage():
    terms = losses(build('scnet'), [make_sample(3), make_sample(1, index=1)])
    assert {'loss_mask', 'loss_semantic_seg', 'loss_glbctx', 's0.loss_cls', 's2.loss_bbox'} <= set(terms)
    assert [name for name in terms if 'mask' in name] == ['loss_mask']


def test_regions_see_the_context_of_their_image():
    model = build('scnet').eval()
    head = model.roi_head
    x = model.extract_feat(batch(model, [make_sample(2), make_sample(2, index=1)])['inputs'])
    maps, terms = head.image_context(x)
    assert terms == {} and len(maps) == len(x) + 2
    rois = torch.tensor([[1.0, 4, 4, 20, 20], [0, 4, 4, 20, 20]])
    with_context = head.features('mask_roi_extractor', 0, maps, rois)
    head.glbctx_head = None
    without = head.features('mask_roi_extractor', 0, maps, rois)
    torch.testing.assert_close(with_context - without, maps[-2][[1, 0]].expand_as(without), atol=1e-5, rtol=1e-4)


def test_classes_of_an_image():
    head = GlobalContextHead(num_convs=0, in_channels=2, conv_out_channels=2, num_classes=3, loss_weight=3.0)
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    samples = [make_sample(2), make_sample(0)]  # classes 0 and 1, and none
    expected = 3 * F.binary_cross_entropy_with_logits(logits, torch.tensor([[1.0, 1, 0], [0, 0, 0]]))
    torch.testing.assert_close(head.loss(logits, samples), expected)


def test_residual_blocks():
    (block,) = residual_convs(2, 2, 2)
    x = torch.randn(1, 2, 4, 4)
    torch.testing.assert_close(block(x), x + block.conv2(F.relu(block.conv1(x))))
    (normed,) = residual_convs(2, 4, 4, norm_cfg=dict(type='GN', num_groups=2))
    assert set(dict(normed.named_children())) == {'conv1', 'conv2', 'gn1', 'gn2', 'relu'} and normed.conv1.bias is None
    with pytest.raises(ConfigError, match='needs an even num_convs and conv_out_channels=in_channels, got num_convs=3'):
        residual_convs(3, 4, 4)


def test_masks_are_needed():
    cfg = FAMILIES['scnet'](3)['roi_head']
    with pytest.raises(ConfigError, match='SCNetRoIHead needs mask_head and mask_roi_extractor'):
        MODELS.build(dict(cfg, mask_head=None, mask_roi_extractor=None))
