"""Query detectors: padding, proposals, denoising."""

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.detectors.deformable_detr import proposal_anchors
from mmdetlike.models.heads.query import QueryContext
from mmdetlike.models.layers.transformer import (
    RTDETRDecoder,
    SinePositionalEncoding,
    build_positional_encoding,
    flatten_pyramid,
)
from mmdetlike.models.utils import padding_masks
from tests.models.tiny import make_sample
from tests.models.tiny_mask_queries import PIXEL_DECODERS, mask_head
from tests.models.tiny_queries import DIMS, deformable, detr, dino, features, two_stage


def predictions(model, feats, masks, samples):
    with torch.no_grad():
        outs = model.forward_transformer(feats, QueryContext(samples, masks))
        return model.bbox_head(outs)[-1], model.bbox_head.predict(outs)


@pytest.mark.parametrize('make', [detr, deformable, lambda: deformable(with_box_refine=True), two_stage, dino])
def test_an_image_is_the_same_alone_and_padded_in_a_batch(make):
    model = make()
    for parameter in model.parameters():  # offsets of deformable attention that are not zero
        torch.nn.init.normal_(parameter, std=0.3)
    if getattr(model, 'as_two_stage', False):
        # the score of a proposal that is padding: below the best ones of the image
        for bias in (model.memory_trans_fc.bias, model.memory_trans_norm.bias, model.bbox_head.cls_branches[-1].bias):
            torch.nn.init.zeros_(bias)
    if hasattr(model.decoder, 'ref_point_head'):
        # DINO makes positions of queries from places in the padded level: these alone know of the padding
        for parameter in model.decoder.ref_point_head.parameters():
            torch.nn.init.zeros_(parameter)
    strides = (16, 32) if model.bbox_head.__class__.__name__ != 'DETRHead' else (32,)
    small, large = (96, 64), (128, 160)
    generator = torch.Generator().manual_seed(1)
    alone = [torch.randn(1, DIMS, small[0] // s, small[1] // s, generator=generator) for s in strides]
    batch = [torch.randn(2, DIMS, large[0] // s, large[1] // s, generator=generator) for s in strides]
    for one, both in zip(alone, batch):
        both[1, :, : one.shape[2], : one.shape[3]] = one[0]  # the padding holds noise
    samples = [make_sample(0, shape=large), make_sample(0, shape=small)]
    first = predictions(model, alone, None, samples[1:])
    second = predictions(model, batch, padding_masks([large, small], large, 'cpu'), samples)
    for of_alone, of_batch in zip(first[0], second[0]):
        torch.testing.assert_close(of_alone[0], of_batch[1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(first[1][0].bboxes, second[1][1].bboxes, rtol=1e-3, atol=1e-2)
    assert len(first[1][0]) == 5


def test_proposals_are_boxes_of_pixels():
    feats = [torch.zeros(2, 4, 4, 4), torch.zeros(2, 4, 2, 2)]
    masks = padding_masks([(8, 8), (8, 4)], (8, 8), 'cpu')
    anchors, usable = proposal_anchors(flatten_pyramid(feats, masks, SinePositionalEncoding(2)))
    torch.testing.assert_close(anchors.sigmoid()[0, 5], torch.tensor([0.375, 0.375, 0.05, 0.05]))
    torch.testing.assert_close(anchors.sigmoid()[0, 17], torch.tensor([0.75, 0.25, 0.1, 0.1]))
    torch.testing.assert_close(anchors.sigmoid()[1, 5], torch.tensor([0.75, 0.375, 0.05, 0.05]))
    assert usable[0].all() and usable[1].tolist() == [x < 2 for _ in range(4) for x in range(4)] + [True, False] * 2
    assert anchors[1][~usable[1]].isinf().all() and anchors[usable].isfinite().all()


def test_number_of_position_features():
    assert build_positional_encoding(dict(normalize=True), 12).num_feats == 6
    message = 'num_feats must be half of the 16 channels of the transformer, got 16'
    for model in (detr, deformable):
        with pytest.raises(ValueError, match=message):
            model(positional_encoding=dict(num_feats=16))
    with pytest.raises(ValueError, match=message):
        mask_head('Mask2FormerHead', positional_encoding=dict(num_feats=16))
    with pytest.raises(ValueError, match=message):
        pixel_decoder = dict(PIXEL_DECODERS['Mask2FormerHead'], positional_encoding=dict(num_feats=16))
        mask_head('Mask2FormerHead', pixel_decoder=pixel_decoder)


@pytest.mark.parametrize('counts', [(2, 0), (0, 0)])
def test_terms_of_denoising_are_there_without_objects(counts):
    model, samples = dino().train(), [make_sample(count, index=i) for i, count in enumerate(counts)]
    terms = model.bbox_head.loss(model.forward_transformer(features(), QueryContext(samples)))
    names = {
        f'{before}loss_{name}' for name in ('cls', 'bbox', 'iou') for before in ('', 'd0.', 'dn_', 'd0.dn_', 'enc_')
    }
    assert set(terms) == names
    assert all(value.isfinite() for value in terms.values())
    if not any(counts):
        assert terms['dn_loss_cls'] == terms['d0.dn_loss_bbox'] == terms['dn_loss_iou'] == 0
    sum(terms.values()).backward()
    assert model.dn_query_generator.label_embedding.weight.grad is not None


def test_fewer_proposals_than_queries():
    model, samples = dino(num_queries=50).train(), [make_sample(2), make_sample(1, index=1)]
    outs = model.forward_transformer(features(), QueryContext(samples))
    assert outs.hidden_states[0].shape == (2, outs.denoising.count + 20, DIMS)
    assert model.bbox_head.loss(outs)['loss_cls'].isfinite()


def test_dino_needs_two_stages():
    with pytest.raises(ValueError, match='DINO needs as_two_stage=True and with_box_refine=True'):
        dino(with_box_refine=False)


def test_two_stage_queries_start_from_the_likeliest_proposals():
    model = two_stage()
    with torch.no_grad():
        outs = model.forward_transformer(features(1), QueryContext())
    best = outs.enc_cls_score[0, :, 0].topk(6).indices
    torch.testing.assert_close(outs.references[0][0], outs.enc_bbox_pred[0, best])
    assert len(model.bbox_head.cls_branches) == 3
    # each layer's references are the boxes of the layer before
    with torch.no_grad():
        boxes = [boxes for _, boxes in model.bbox_head(outs)]
    torch.testing.assert_close(outs.references[1], boxes[0])


def test_predictions_in_training_mode_need_no_objects():
    model, sample = dino().train(), make_sample(0, shape=(64, 64))
    del sample.gt_instances
    outs = model.forward_transformer(features(1), QueryContext([sample]))
    assert outs.denoising is None and len(model.bbox_head.predict(outs)[0]) == 5


def test_denoising_queries_are_no_predictions():
    model, sample = dino().train(), make_sample(2, shape=(64, 64))
    outs = model.forward_transformer(features(1), QueryContext([sample]))
    best = model.bbox_head.predict(outs)[0]
    outs.denoising = None
    outs.hidden_states = [hidden[:, -6:] for hidden in outs.hidden_states]
    outs.references = [reference[:, -6:] for reference in outs.references]
    torch.testing.assert_close(best.bboxes, model.bbox_head.predict(outs)[0].bboxes)


def test_a_head_of_another_width_is_refused():
    with pytest.raises(ValueError, match='embed_dims of bbox_head must be the 16 channels of the decoder, got 8'):
        detr(bbox_head=dict(type='DETRHead', num_classes=3, embed_dims=8))


def test_an_encoder_of_another_width_is_refused():
    wide = dict(self_attn_cfg=dict(embed_dims=2 * DIMS, num_heads=2), ffn_cfg=dict(feedforward_channels=8))
    message = f'embed_dims of encoder and decoder must be the same number, got {2 * DIMS} and {DIMS}'
    with pytest.raises(ConfigError, match=message):
        detr(encoder=dict(num_layers=1, layer_cfg=wide))


def test_class_weights_of_a_query_head_are_those_of_its_classes():
    loss = dict(type='CrossEntropyLoss', class_weight=[1.0, 1.0])
    message = 'class_weight of loss_cls has 2 numbers, but DETRHead has 4 classes, the last of which is background'
    with pytest.raises(ValueError, match=message):
        detr(bbox_head=dict(type='DETRHead', num_classes=3, embed_dims=DIMS, loss_cls=loss))


def test_pixels_are_read_by_a_known_method():
    attention = dict(embed_dims=8, num_heads=2)
    layer = dict(self_attn_cfg=attention, cross_attn_cfg=dict(attention, method='nearest'))
    with pytest.raises(ConfigError, match=r"one of \['default', 'discrete'\], got 'nearest'"):
        RTDETRDecoder(1, layer)
