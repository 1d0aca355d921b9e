"""The pipeline of query heads: transformers, padding, denoising, matching, losses, predictions."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import PixelData

from mmdetlike.models.detectors.deformable_detr import proposal_anchors
from mmdetlike.models.heads.query.detr_head import (
    QueryOutputs,
    QueryTargets,
    build_class_loss,
    query_targets,
)
from mmdetlike.models.layers.transformer import (
    CdnQueryGenerator,
    SinePositionalEncoding,
    TransformerDecoder,
    TransformerEncoder,
    build_sine_encoding,
    flatten_pyramid,
    move,
    padding_at,
)
from mmdetlike.models.utils import padding_masks, padding_of
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps
from mmdetlike.structures.mask import BitmapMasks

from .tiny import BACKBONE, make_sample

DIMS = 16
ATTENTION = dict(embed_dims=DIMS, num_heads=2)
DEFORMABLE = dict(embed_dims=DIMS, num_heads=2, num_levels=2, num_points=2)
FFN = dict(embed_dims=DIMS, feedforward_channels=20)
ENCODER_LAYER = dict(self_attn_cfg=ATTENTION, ffn_cfg=FFN)
DECODER_LAYER = dict(self_attn_cfg=ATTENTION, cross_attn_cfg=ATTENTION, ffn_cfg=FFN)
DEFORMABLE_ENCODER = dict(num_layers=1, layer_cfg=dict(self_attn_cfg=DEFORMABLE, ffn_cfg=FFN))
DEFORMABLE_DECODER = dict(
    num_layers=2, layer_cfg=dict(self_attn_cfg=ATTENTION, cross_attn_cfg=DEFORMABLE, ffn_cfg=FFN), post_norm_cfg=None
)
FOCAL = dict(type='FocalLoss', use_sigmoid=True)
COSTS = [dict(type='ClassificationCost'), dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'), dict(type='IoUCost')]
FOCAL_COSTS = [dict(type='FocalLossCost'), *COSTS[1:]]


def build(seed=0, **cfg):
    torch.manual_seed(seed)
    return MODELS.build(cfg).eval()


def neck(levels):
    return dict(type='ChannelMapper', in_channels=[32, 64][-levels:], out_channels=DIMS, kernel_size=1, num_outs=levels)


def parts(levels, costs):
    return dict(
        backbone=dict(BACKBONE, out_indices=(2, 3)[-levels:]),
        neck=neck(levels),
        positional_encoding=dict(num_feats=DIMS // 2, normalize=True),
        train_cfg=dict(assigner=dict(type='HungarianAssigner', match_costs=costs)),
        test_cfg=dict(max_per_img=5),
    )


def detr(**cfg):
    head = dict(type='DETRHead', num_classes=3, embed_dims=DIMS)
    encoder = dict(num_layers=1, layer_cfg=ENCODER_LAYER)
    decoder = dict(num_layers=2, layer_cfg=DECODER_LAYER)
    return build(
        **{**parts(1, COSTS), 'type': 'DETR', 'num_queries': 6, 'encoder': encoder, 'decoder': decoder,
           'bbox_head': head, **cfg}
    )  # fmt: skip


def deformable(kind='DeformableDETR', head='DeformableDETRHead', **cfg):
    settings = dict(num_queries=6, encoder=DEFORMABLE_ENCODER, decoder=DEFORMABLE_DECODER, num_feature_levels=2)
    bbox_head = dict(type=head, num_classes=3, embed_dims=DIMS, loss_cls=FOCAL)
    return build(**{**parts(2, FOCAL_COSTS), **settings, 'bbox_head': bbox_head, 'type': kind, **cfg})


def dino(**cfg):
    groups = dict(dynamic=True, num_dn_queries=8)
    settings = dict(as_two_stage=True, with_box_refine=True, dn_cfg=dict(group_cfg=groups))
    return deformable('DINO', 'DINOHead', **{**settings, **cfg})


# -- positions and padding -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('options', [dict(), dict(normalize=True), dict(normalize=True, offset=-0.5, scale=3.0)])
def test_rows_and_columns_are_encoded_once(options):
    encoding = SinePositionalEncoding(8, **options)
    by_mask = encoding(torch.zeros(2, 5, 7, dtype=torch.bool))
    assert torch.equal(encoding(None, input=torch.zeros(2, 3, 5, 7)), by_mask)


def test_number_of_position_features():
    assert build_sine_encoding(dict(normalize=True), 12).num_feats == 6
    message = 'num_feats must be half of the 16 channels of the transformer, got 16'
    for model in (detr, deformable):
        with pytest.raises(ValueError, match=message):
            model(positional_encoding=dict(num_feats=16))
    with pytest.raises(ValueError, match=message):
        mask_head('Mask2FormerHead', positional_encoding=dict(num_feats=16))
    with pytest.raises(ValueError, match=message):
        pixel_decoder = dict(PIXEL_DECODERS['Mask2FormerHead'], positional_encoding=dict(num_feats=16))
        mask_head('Mask2FormerHead', pixel_decoder=pixel_decoder)


def test_padding_masks():
    assert padding_masks([(4, 6), (4, 6, 3)], (4, 6), 'cpu') is None
    masks = padding_masks([(4, 6), (2, 3)], (4, 6), 'cpu')
    assert not masks[0].any() and (~masks[1]).nonzero().tolist() == [[y, x] for y in range(2) for x in range(3)]
    assert padding_at(masks, (2, 2))[1].tolist() == [[False, True], [True, True]]
    assert padding_at(None, (2, 2)) is None


def test_reference_points_and_valid_ratios():
    masks = padding_masks([(8, 8), (8, 4)], (8, 8), 'cpu')
    feats = [torch.randn(2, 4, 4, 4), torch.randn(2, 4, 2, 2)]
    pyramid = flatten_pyramid(feats, masks, SinePositionalEncoding(2), torch.ones(2, 4))
    assert pyramid.spatial_shapes.tolist() == [[4, 4], [2, 2]] and pyramid.level_start_index.tolist() == [0, 16]
    assert pyramid.valid_ratios.tolist() == [[[1, 1], [1, 1]], [[0.5, 1], [0.5, 1]]]
    points = pyramid.reference_points()
    assert points.shape == (2, 20, 2, 2)
    assert points[0, 5, 0].tolist() == [0.375, 0.375] and points[0, 17, 1].tolist() == [0.75, 0.25]
    # the pixel at 0.375 of a map of which half is image is at 0.75 of the image, and at 0.375 of each level again
    assert points[1, 5, 1].tolist() == [0.375, 0.375]
    torch.testing.assert_close(pyramid.feats[:, 16:], feats[1].flatten(2).transpose(1, 2))
    torch.testing.assert_close(pyramid.pos[0, 0] - 1, SinePositionalEncoding(2)(masks[:1, ::2, ::2])[0, :, 0, 0])
    with pytest.raises(ValueError, match='the pyramid has 2 maps, the transformer is built for 3 levels'):
        flatten_pyramid(feats, masks, SinePositionalEncoding(2), torch.ones(3, 4))


def predictions(model, feats, masks, samples):
    with torch.no_grad():
        outs = model.transform(feats, masks, None)
        return model.bbox_head(outs)[-1], model.bbox_head.predict(outs, samples)


def two_stage():
    return deformable(as_two_stage=True, with_box_refine=True)


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
    anchors, usable = proposal_anchors(flatten_pyramid(feats, masks, SinePositionalEncoding(2), None))
    torch.testing.assert_close(anchors.sigmoid()[0, 5], torch.tensor([0.375, 0.375, 0.05, 0.05]))
    torch.testing.assert_close(anchors.sigmoid()[0, 17], torch.tensor([0.75, 0.25, 0.1, 0.1]))
    torch.testing.assert_close(anchors.sigmoid()[1, 5], torch.tensor([0.75, 0.375, 0.05, 0.05]))
    assert usable[0].all() and usable[1].tolist() == [x < 2 for _ in range(4) for x in range(4)] + [True, False] * 2
    assert anchors[1][~usable[1]].isinf().all() and anchors[usable].isfinite().all()


def test_move():
    deltas = torch.tensor([[0.5, -0.5, 1.0, 2.0]])
    points = move(torch.tensor([[0.5, 0.8]]), deltas)
    expected = torch.tensor([[0.5, -0.5, 1.0, 2.0]]) + torch.tensor([[0.0, torch.tensor(4.0).log(), 0, 0]])
    torch.testing.assert_close(points, expected.sigmoid())
    torch.testing.assert_close(move(torch.full((1, 4), 0.5), deltas), deltas.sigmoid())


def test_layers_by_list_and_recomputed_activations():
    layers = [ENCODER_LAYER, dict(ENCODER_LAYER, ffn_cfg=dict(FFN, feedforward_channels=7))]
    encoder = TransformerEncoder(2, layers, num_cp=2)
    assert encoder.layers[1].ffn.layers[0][0].out_features == 7
    query = torch.randn(1, 5, DIMS, requires_grad=True)
    plain = TransformerEncoder(2, layers)
    plain.load_state_dict(encoder.state_dict())
    pos, mask = torch.randn(1, 5, DIMS), torch.tensor([[False, False, True, False, True]])
    grads = [torch.autograd.grad(e(query, pos, key_padding_mask=mask).sum(), query)[0] for e in (encoder, plain)]
    torch.testing.assert_close(*grads)
    with pytest.raises(ValueError, match='layer_cfg has 2 entries, num_layers=3 are expected'):
        TransformerEncoder(3, layers)


def test_decoder_returns_every_layer_or_the_last():
    torch.manual_seed(0)
    decoder = TransformerDecoder(3, DECODER_LAYER)
    last = TransformerDecoder(3, DECODER_LAYER, return_intermediate=False)
    last.load_state_dict(decoder.state_dict())
    query = torch.randn(1, 4, DIMS)
    inputs = dict(query_pos=query * 2, key=torch.randn(1, 6, DIMS), value=torch.randn(1, 6, DIMS))
    every, one = decoder(query, **inputs), last(query, **inputs)
    assert len(every) == 3 and len(one) == 1
    torch.testing.assert_close(every[-1], one[0])


@pytest.mark.parametrize('cfg', [dict(post_norm_cfg=dict(type='LN')), dict(return_intermediate=False)])
def test_deformable_decoder_refuses(cfg):
    with pytest.raises(ValueError, match='a deformable decoder has no post_norm_cfg and returns all layers'):
        deformable(decoder=dict(DEFORMABLE_DECODER, **cfg))


# -- denoising -------------------------------------------------------------------------------------------------------


def generator(**cfg):
    torch.manual_seed(0)
    settings = dict(num_classes=3, embed_dims=4, num_matching_queries=5, group_cfg=dict(num_dn_queries=12))
    return CdnQueryGenerator(**{**settings, **cfg})


def test_attention_of_denoising_queries():
    queries = generator()([make_sample(2), make_sample(1, index=1)])
    assert (queries.num_groups, queries.max_objects, queries.count) == (6, 2, 24)
    for row, column in itertools.product(range(29), range(29)):
        same_group = row // 4 == column // 4 and row < 24
        hidden = column < 24 and not same_group
        assert bool(queries.attn_mask[row, column]) == hidden, (row, column)


def test_places_of_positives():
    queries = generator(group_cfg=dict(num_dn_queries=6))([make_sample(3), make_sample(1, index=1)])
    assert queries.num_groups == 2
    places, objects = queries.positives(3)
    assert places.tolist() == [0, 1, 2, 6, 7, 8] and objects.tolist() == [0, 1, 2] * 2
    assert queries.positives(1)[0].tolist() == [0, 6]
    # where there is no object, neither content nor box
    filled = queries.content.abs().sum(-1) > 0
    assert filled[0].all() and filled[1].tolist() == [True, False, False] * 4


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 0.9))
def test_noise_of_boxes_is_bounded(seed, scale):
    make = generator(box_noise_scale=scale, group_cfg=dict(dynamic=False, num_groups=200))
    torch.manual_seed(seed)
    box = torch.tensor([0.4, 0.35, 0.6, 0.65])
    noisy = bbox_cxcywh_to_xyxy(make._noisy_boxes(box[None], 200).sigmoid()).unflatten(0, (200, 2))[:, :, 0]
    moved = (noisy - box).abs() / torch.tensor([0.1, 0.15, 0.1, 0.15]) / scale
    whole = (noisy[..., 2:] - noisy[..., :2] > 0.01).all(-1)  # others are squeezed to nothing
    positives, negatives = (moved[:, i][whole[:, i]] for i in (0, 1))
    assert len(positives) > 100 and bool((positives < 1.01).all()) and positives.max() > 0.9
    assert len(negatives) > 0 and bool(((negatives > 0.99) & (negatives < 2.01)).all())


def test_no_noise():
    make = generator(box_noise_scale=0.0, label_noise_scale=0.0)
    sample = make_sample([[8.0, 8, 24, 40]], shape=(64, 32))
    queries = make([sample])
    expected = torch.tensor([0.5, 0.375, 0.5, 0.5])
    torch.testing.assert_close(queries.boxes.sigmoid(), expected.expand(1, 24, 4))
    torch.testing.assert_close(queries.content, make.label_embedding.weight[0].expand(1, 24, 4))


def test_share_of_noisy_labels():
    torch.manual_seed(0)
    labels = torch.zeros(1, 20000, dtype=torch.long)
    noisy = generator(label_noise_scale=0.6)._noisy_labels(labels)
    assert float((noisy != 0).float().mean()) == pytest.approx(0.3 * 2 / 3, abs=0.02)
    assert sorted(noisy.unique().tolist()) == [0, 1, 2]


@pytest.mark.parametrize('objects, groups', [(1, 12), (5, 2), (12, 1), (30, 1), (0, 12)])
def test_dynamic_groups(objects, groups):
    assert generator().num_groups(objects) == groups
    assert generator(group_cfg=dict(dynamic=False, num_groups=4)).num_groups(objects) == 4


@pytest.mark.parametrize('group_cfg', [None, dict(num_groups=3), dict(dynamic=False), dict(num_dn_queries=0)])
def test_groups_need_their_number(group_cfg):
    with pytest.raises(ValueError, match='group_cfg needs num_dn_queries if dynamic, else num_groups'):
        generator(group_cfg=group_cfg)


def features(batch=2, size=64, strides=(16, 32)):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, DIMS, size // s, size // s, generator=generator) for s in strides]


@pytest.mark.parametrize('counts', [(2, 0), (0, 0)])
def test_terms_of_denoising_are_there_without_objects(counts):
    model, samples = dino(), [make_sample(count, index=i) for i, count in enumerate(counts)]
    terms = model.bbox_head.loss(model.transform(features(), None, samples), samples)
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
    model, samples = dino(num_queries=50), [make_sample(2), make_sample(1, index=1)]
    outs = model.transform(features(), None, samples)
    assert outs.hidden_states[0].shape == (2, outs.denoising.count + 20, DIMS)
    assert model.bbox_head.loss(outs, samples)['loss_cls'].isfinite()


def test_dino_needs_two_stages():
    with pytest.raises(ValueError, match='DINO needs as_two_stage=True and with_box_refine=True'):
        dino(with_box_refine=False)


# -- heads -----------------------------------------------------------------------------------------------------------


def detr_head(**cfg):
    test = dict(max_per_img=4)
    return build(**{**dict(type='DETRHead', num_classes=3, embed_dims=4, test_cfg=test), **cfg})


def test_query_targets():
    samples = [
        make_sample([[0.0, 0, 8, 8], [4, 4, 16, 20]], shape=(32, 64)),
        make_sample([[1.0, 1, 5, 9]], shape=(16, 16)),
    ]
    samples[0].gt_instances.labels = torch.tensor([2, 1])
    found = [(torch.tensor([0, 3]), torch.tensor([1, 0])), (torch.tensor([2]), torch.tensor([0]))]
    targets = query_targets(found, samples, 4, 3)
    assert targets.labels.tolist() == [[1, 3, 3, 2], [3, 3, 0, 3]]
    assert targets.pos_inds.tolist() == [0, 3, 6] and targets.num_neg == 5
    assert targets.pos_gt_bboxes.tolist() == [[4, 4, 16, 20], [0, 0, 8, 8], [1, 1, 5, 9]]
    assert targets.pos_sizes.tolist() == [[64, 32, 64, 32]] * 2 + [[16] * 4]
    assert query_targets(found, samples, 4, 3, binary=True).labels.tolist() == [[0, 3, 3, 0], [3, 3, 0, 3]]


def targets_of(labels, pos_inds, boxes, size=(40.0, 20.0)):
    labels, boxes = torch.tensor(labels), torch.tensor(boxes).reshape(-1, 4)
    sizes = torch.tensor(size * 2).expand(len(boxes), 4)
    pos = torch.tensor(pos_inds, dtype=torch.long)
    return QueryTargets(labels, torch.ones(labels.shape), pos, boxes, sizes, labels.numel() - len(pos))


LOGITS = torch.tensor([[[2.0, 0, 0, 1], [0, 1, 0, 3], [0, 0, 1, 1]]])
BOXES = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.2, 0.2, 0.1, 0.1], [0.25, 0.5, 0.25, 0.5]]])


def test_losses_of_softmax():
    head = detr_head()
    targets = targets_of([[0, 3, 3]], [0], [[16.0, 6, 24, 16]])
    terms = head.losses(LOGITS, BOXES, targets)
    log_p = LOGITS[0].log_softmax(-1)
    # background weighs a tenth, in the sum and in what it is divided by
    torch.testing.assert_close(terms['cls'], -(log_p[0, 0] + 0.1 * log_p[1, 3] + 0.1 * log_p[2, 3]) / 1.2)
    # predicted 16, 6, 24, 14: the centre is half a pixel off vertically and the height two pixels
    torch.testing.assert_close(terms['bbox'], torch.tensor(5 * (1 / 20 + 2 / 20)))
    torch.testing.assert_close(terms['iou'], torch.tensor(2 * (1 - 64 / 80)))


def test_losses_without_objects():
    terms = detr_head().losses(LOGITS, BOXES, targets_of([[3, 3, 3]], [], []))
    assert terms['bbox'] == 0 and terms['iou'] == 0
    # divided by at least one, though three queries of background weigh 0.3
    torch.testing.assert_close(terms['cls'], -0.1 * LOGITS[0].log_softmax(-1)[:, 3].sum())


def test_quality_focal_loss():
    loss = dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0)
    head = detr_head(loss_cls=loss)
    targets = targets_of([[0, 3, 3]], [0], [[16.0, 6, 24, 16]])
    quality = torch.zeros(3, 3)
    quality[0, 0] = bbox_overlaps(torch.tensor([[16.0, 6, 24, 14]]), torch.tensor([[16.0, 6, 24, 16]]))
    logits = LOGITS[:, :, :3]
    entropy = F.binary_cross_entropy_with_logits(logits[0], quality, reduction='none')
    expected = (entropy * (quality - logits[0].sigmoid()) ** 2).sum()
    torch.testing.assert_close(head.losses(logits, BOXES, targets)['cls'], expected)


def test_class_loss_settings():
    loss, background = build_class_loss(dict(type='CrossEntropyLoss', class_weight=2.0), 2)
    assert background == 2.0 and list(loss.class_weight) == [2.0] * 3
    loss, background = build_class_loss(dict(type='CrossEntropyLoss', class_weight=1.0, bg_cls_weight=0.1), 2)
    assert background == 0.1 and list(loss.class_weight) == [1.0, 1.0, 0.1]
    assert build_class_loss(FOCAL, 2)[1] == 0.0
    with pytest.raises(ValueError, match='num_classes must be at least 1, got 0'):
        detr_head(num_classes=0)


def test_selection_by_softmax_is_one_object_for_each_query():
    sample = make_sample(0, shape=(20, 40), scale_factor=(2.0, 0.5))
    got = detr_head().select(LOGITS[0], BOXES[0], sample, rescale=False)
    p = LOGITS[0].softmax(-1)
    torch.testing.assert_close(got.scores, torch.stack([p[0, 0], p[2, 2], p[1, 1]]))
    assert got.labels.tolist() == [0, 2, 1]
    torch.testing.assert_close(got.bboxes[0], torch.tensor([16.0, 6, 24, 14]))
    large = detr_head().select(LOGITS[0], BOXES[0], sample, rescale=True)
    torch.testing.assert_close(large.bboxes[0], torch.tensor([8.0, 12, 12, 28]))


def test_selection_by_sigmoid_takes_pairs_and_clips():
    head = detr_head(loss_cls=FOCAL)
    logits = torch.tensor([[3.0, 2, -1], [0, 1, -2]])
    boxes = torch.tensor([[0.0, 0.5, 0.5, 2.0], [0.5, 0.5, 0.5, 0.5]])
    sample = make_sample(0, shape=(20, 40))
    got = head.select(logits, boxes, sample, False)
    assert got.labels.tolist() == [0, 1, 1, 0]  # more than there are queries
    torch.testing.assert_close(got.scores, torch.tensor([3.0, 2, 1, 0]).sigmoid())
    assert got.bboxes.tolist() == [[0, 0, 10, 20], [0, 0, 10, 20], [10, 5, 30, 15], [10, 5, 30, 15]]
    assert len(detr_head(loss_cls=FOCAL, test_cfg=dict(max_per_img=99)).select(logits, boxes, sample, False)) == 6
    assert len(detr_head(loss_cls=FOCAL, test_cfg=None).select(logits, boxes, sample, False)) == 2


def test_every_layer_has_its_terms():
    head = detr_head(train_cfg=dict(assigner=dict(type='HungarianAssigner', match_costs=COSTS)))
    outs = QueryOutputs([torch.randn(2, 5, 4) for _ in range(3)], [])
    samples = [make_sample(2), make_sample(0, index=1)]
    terms = head.loss(outs, samples)
    assert set(terms) == {f'{b}loss_{n}' for b in ('', 'd0.', 'd1.') for n in ('cls', 'bbox', 'iou')}
    last = head.loss(QueryOutputs(outs.hidden_states[2:], []), samples)
    for name, value in last.items():
        torch.testing.assert_close(terms[name], value)


def test_two_stage_queries_start_from_the_likeliest_proposals():
    model = two_stage()
    with torch.no_grad():
        outs = model.transform(features(1), None, None)
    best = outs.enc_cls_score[0, :, 0].topk(6).indices
    torch.testing.assert_close(outs.references[0][0], outs.enc_bbox_pred[0, best])
    assert len(model.bbox_head.cls_branches) == 3
    # each layer's references are the boxes of the layer before
    with torch.no_grad():
        boxes = [boxes for _, boxes in model.bbox_head(outs)]
    torch.testing.assert_close(outs.references[1], boxes[0])


def test_branches_are_shared_without_refinement():
    shared, own = deformable().bbox_head, deformable(with_box_refine=True).bbox_head
    assert shared.cls_branches[0] is shared.cls_branches[1] and own.cls_branches[0] is not own.cls_branches[1]
    model = deformable()
    model.init_weights()
    with torch.no_grad():
        outs = model.transform(features(1), None, None)
        logits, boxes = model.bbox_head(outs)[-1]
    # without training, boxes are of about a tenth of the image around their references
    torch.testing.assert_close(boxes[..., :2], outs.references[0])
    torch.testing.assert_close(boxes[..., 2:], torch.tensor(-2.0).sigmoid().expand(1, 6, 2))
    assert logits.sigmoid().mean() < 0.05


# -- masks of queries ------------------------------------------------------------------------------------------------

NORM = dict(type='GN', num_groups=4)
SINE = dict(num_feats=DIMS // 2, normalize=True)
PIXEL_DECODERS = dict(
    MaskFormerHead=dict(
        type='TransformerEncoderPixelDecoder',
        norm_cfg=NORM,
        encoder=dict(num_layers=1, layer_cfg=ENCODER_LAYER),
        positional_encoding=SINE,
    ),
    Mask2FormerHead=dict(
        type='MSDeformAttnPixelDecoder',
        num_outs=3,
        norm_cfg=NORM,
        encoder=dict(
            num_layers=1, layer_cfg=dict(self_attn_cfg=dict(DEFORMABLE, num_levels=3), ffn_cfg=FFN)
        ),
        positional_encoding=SINE,
    ),
)  # fmt: skip
MASK_LOSSES = dict(
    MaskFormerHead=dict(),
    Mask2FormerHead=dict(loss_mask=dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='mean', loss_weight=5.0)),
)
MASK_COSTS = [dict(type='ClassificationCost'), dict(type='DiceCost', pred_act=True, eps=1.0)]


def mask_head(kind, **cfg):
    settings = dict(
        in_channels=[4, 6, 8, 10],
        feat_channels=DIMS,
        out_channels=DIMS,
        num_things_classes=2,
        num_stuff_classes=2,
        num_queries=7,
        pixel_decoder=PIXEL_DECODERS[kind],
        transformer_decoder=dict(num_layers=2, layer_cfg=DECODER_LAYER, return_intermediate=True),
        positional_encoding=SINE,
        loss_cls=dict(type='CrossEntropyLoss', class_weight=[1.0] * 4 + [0.1]),
        train_cfg=dict(
            assigner=dict(type='HungarianAssigner', match_costs=MASK_COSTS), num_points=9, oversample_ratio=3.0,
            importance_sample_ratio=0.75,
        ),
        **MASK_LOSSES[kind],
    )  # fmt: skip
    return build(**{**settings, 'type': kind, **cfg})


def mask_maps(batch=2):
    generator = torch.Generator().manual_seed(0)
    sizes = zip((4, 6, 8, 10), (16, 8, 4, 2))
    return [torch.randn(batch, c, size, size, generator=generator) for c, size in sizes]


def segment_sample(count=2, index=0, shape=(64, 64)):
    sample = make_sample(count, index=index, num_classes=2, shape=shape)
    sample.set_metainfo(dict(batch_input_shape=(64, 64)))
    masks = torch.zeros(count, 64, 64, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, sample.gt_instances.bboxes.int().tolist()):
        mask[y1:y2, x1:x2] = 1
    sample.gt_instances.masks = BitmapMasks(masks.numpy(), 64, 64)
    sample.gt_sem_seg = PixelData(sem_seg=(torch.arange(64) // 32 + 2).expand(1, 64, 64).contiguous())
    return sample


KINDS = ('MaskFormerHead', 'Mask2FormerHead')


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


CLASSES_OF_THINGS = dict(type='CrossEntropyLoss', class_weight=[1.0] * 2 + [0.1])


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
        hidden = head._outside(query, small, 2)
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
