"""Masks of queries: MaskFormer and Mask2Former."""

import pytest
import torch
import torch.nn.functional as F

from mmdetlike.errors import ConfigError
from mmdetlike.models.utils import padding_of
from tests.models.tiny_mask_queries import CLASSES_OF_THINGS, KINDS, mask_head, mask_maps, segment_sample
from tests.models.tiny_queries import DIMS


@pytest.mark.parametrize('kind', KINDS)
def test_segments_of_a_sample(kind):
    head, sample = mask_head(kind), segment_sample()
    segments = head.segments(sample)
    assert segments.labels.tolist() == [0, 1, 2, 3] and segments.masks.dtype == torch.float32
    assert segments.masks[2:].sum((1, 2)).tolist() == [64 * 32] * 2
    del sample.gt_sem_seg
    with pytest.raises(ValueError, match=r'needs gt_sem_seg; 0\.jpg has none'):
        head.segments(sample)
    assert mask_head(kind, num_stuff_classes=0, loss_cls=CLASSES_OF_THINGS).segments(sample).labels.tolist() == [0, 1]
    del sample.gt_instances.masks
    with pytest.raises(ValueError, match=rf'{kind} needs gt_instances.masks; 0\.jpg has none'):
        head.segments(sample)


@pytest.mark.parametrize('kind', KINDS)
def test_predictions_are_those_of_the_last_layer(kind):
    head, samples = mask_head(kind), [segment_sample(), segment_sample(index=1, shape=(64, 48))]
    with torch.no_grad():
        layers = head(mask_maps(), padding_of(samples, 'cpu'))
        cls_score, masks = head.predict(mask_maps(), samples)
    assert len(layers) == (2 if kind == 'MaskFormerHead' else 3)
    assert cls_score.shape == (2, 7, 5) and masks.shape == (2, 7, 16, 16)
    torch.testing.assert_close(cls_score, layers[-1][0])
    torch.testing.assert_close(masks, layers[-1][1])


@pytest.mark.parametrize('size', [(8, 8), (4, 4), (2, 2), (3, 5)])
def test_masked_attention_hides_what_is_outside_of_masks(size):
    head = mask_head('Mask2FormerHead')
    with torch.no_grad():
        query, feats = torch.randn(2, 7, DIMS), torch.randn(2, DIMS, 16, 16)
        small = F.interpolate(feats, size, mode='bilinear', align_corners=False)
        hidden = head.masked_attention(query, small, 2)
        masks = F.interpolate(head.predict_masks(query, feats)[1], size, mode='bilinear', align_corners=False)
    outside = masks.flatten(2) < 0
    outside[outside.all(-1)] = False
    assert hidden.shape == (4, 7, size[0] * size[1])
    assert torch.equal(hidden.view(2, 2, 7, -1)[:, 0], outside) and torch.equal(hidden[0], hidden[1])
    assert not hidden.all(-1).any()


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('counts', [(2, 1), (0, 0)])
def test_mask_terms(kind, counts):
    head = mask_head(kind, num_stuff_classes=0, loss_cls=CLASSES_OF_THINGS)
    samples = [segment_sample(count, index=i) for i, count in enumerate(counts)]
    terms = head.loss(mask_maps(), samples)
    layers = ('', 'd0.') if kind == 'MaskFormerHead' else ('', 'd0.', 'd1.')
    assert set(terms) == {f'{b}loss_{n}' for b in layers for n in ('cls', 'mask', 'dice')}
    assert all(value.isfinite() for value in terms.values())
    assert (terms['loss_mask'] > 0) == any(counts)
    sum(terms.values()).backward()


def test_losses_of_masks_by_definition():
    head = mask_head('MaskFormerHead', num_stuff_classes=0, loss_cls=CLASSES_OF_THINGS)
    sample = segment_sample(1)
    gt = [head.segments(sample)]
    torch.manual_seed(3)
    logits, masks = torch.randn(1, 7, 3), torch.randn(1, 7, 16, 16)
    terms = head.losses(logits, masks, gt, [(torch.tensor([4]), torch.tensor([0]))])
    p = F.interpolate(masks[:, 4:5], size=(64, 64), mode='bilinear', align_corners=False)[0, 0].sigmoid()
    y = gt[0].masks[0]
    # the mask head's focal loss takes the object for class 0, so alpha is the object's weight
    right, alpha = torch.where(y > 0, p, 1 - p), torch.where(y > 0, 0.25, 0.75)
    torch.testing.assert_close(terms['mask'], 20 * (-alpha * (1 - right) ** 2 * right.log()).mean())
    dice = 1 - (2 * (p * y).sum() + 1e-3) / (p.sum() + y.sum() + 1e-3)
    torch.testing.assert_close(terms['dice'], dice)
    log_p = logits[0].log_softmax(-1)
    others = [i for i in range(7) if i != 4]
    torch.testing.assert_close(terms['cls'], -(log_p[4, 0] + 0.1 * log_p[others, 2].sum()) / 1.6)


def test_matching_of_masks():
    head, sample = mask_head('MaskFormerHead'), segment_sample()
    gt = head.segments(sample)
    small = F.interpolate(gt.masks[:, None], (16, 16), mode='nearest')[:, 0]
    masks = torch.full((7, 16, 16), -9.0)
    masks[[6, 2, 0, 5]] = small * 18 - 9
    logits = torch.zeros(1, 7, 5)
    ((queries, segments),) = head.match(logits, masks[None], [gt], [sample])
    assert dict(zip(queries.tolist(), segments.tolist())) == {6: 0, 2: 1, 0: 2, 5: 3}


def test_levels_to_attend_to_are_those_of_the_pixel_decoder():
    with pytest.raises(ConfigError, match=r'num_transformer_feat_level=2 must be the number of maps .*, 3'):
        mask_head('Mask2FormerHead', num_transformer_feat_level=2)


@pytest.mark.parametrize('kind', ['MaskFormerHead', 'Mask2FormerHead'])
def test_class_weights_are_those_of_the_classes(kind):
    message = f'class_weight of loss_cls has 134 numbers, but {kind} has 5 classes, the last of which is background'
    with pytest.raises(ConfigError, match=message):
        mask_head(kind, loss_cls=dict(type='CrossEntropyLoss', class_weight=[1.0] * 133 + [0.1]))
