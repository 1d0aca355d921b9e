"""YOLACT: suppression, cropped masks, padded batches."""

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.dense import YOLACTProtonet
from mmdetlike.models.heads.dense.predictions import Candidates
from mmdetlike.models.heads.dense.yolact_head import cropped, fast_nms, masks_of_size
from tests.models.families import build
from tests.models.tiny import batch, losses, make_sample


def found(boxes, scores, labels):
    """Candidates with these boxes."""
    count = torch.arange(len(boxes))
    return Candidates(torch.tensor(scores), torch.tensor(labels), count, torch.tensor(boxes, dtype=torch.float32))


CHAIN = [[0, 0, 10, 10], [0, 3, 10, 13], [0, 6, 10, 16]]


def test_a_suppressed_box_suppresses_too():
    # the second overlaps the first, the third overlaps the second alone: ordinary suppression would keep it
    kept = fast_nms(found(CHAIN, [0.9, 0.8, 0.7], [0, 0, 0]), 0.5, -1)
    assert kept.tolist() == [0]


def test_boxes_of_another_class_do_not_suppress():
    kept = fast_nms(found(CHAIN, [0.9, 0.8, 0.7], [0, 1, 0]), 0.5, -1)
    assert sorted(kept.tolist()) == [0, 1, 2]


def test_of_each_class_the_best_alone_are_looked_at():
    apart = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]
    kept = fast_nms(found(apart, [0.7, 0.9, 0.8], [0, 0, 1]), 0.5, 1)
    assert sorted(kept.tolist()) == [1, 2]


def test_nothing_is_suppressed_where_nothing_is_found():
    nothing = found(CHAIN, [0.9, 0.8, 0.7], [0, 0, 0])[torch.zeros(0, dtype=torch.long)]
    assert fast_nms(nothing, 0.5, 5).tolist() == []


def test_a_mask_is_cut_a_pixel_beyond_its_box():
    masks = cropped(torch.ones(1, 8, 16), torch.tensor([[16.0, 8.0, 32.0, 16.0]]), (32, 64))
    rows, columns = masks[0].nonzero(as_tuple=True)
    # in pixels of the mask, a quarter of the image's, the box is 4, 2, 8, 4
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 4, 3, 8)


def test_masks_of_a_smaller_image_of_the_batch_keep_their_scale():
    sample = make_sample([[0, 0, 16, 16]], (32, 32))
    sample.set_metainfo(dict(batch_input_shape=(64, 64)))
    mask = masks_of_size(sample, (16, 16))[0]
    assert mask.sum() == 16 and mask[:4, :4].all()


def test_numbers_of_prototypes_must_agree():
    with pytest.raises(ConfigError, match='the last is num_protos=32'):
        YOLACTProtonet(num_classes=3, in_channels=8, proto_channels=(8, 16), proto_kernel_sizes=(3, 1))
    model = build('yolact')
    model.mask_head.num_protos = 5
    with pytest.raises(ConfigError, match='num_protos of mask_head is 5, but that of bbox_head is 4'):
        losses(model, [make_sample(2)])


def test_without_mining_all_anchors_are_classified():
    model = build('yolact')
    model.bbox_head.use_ohem = False
    model.bbox_head.loss_cls.reduction = 'mean'
    terms = losses(model, [make_sample(2)])
    assert len(terms['loss_cls']) == 3


def test_an_image_without_objects_learns_from_all_its_negatives():
    model = build('yolact').train()
    data = batch(model, [make_sample(0)], training=True)
    terms = model(**data, mode='loss')
    x = model.extract_feat(data['inputs'])
    preds = model.bbox_head.flatten(model.bbox_head(x))
    background = -preds.cls_score[0].log_softmax(-1)[:, -1]
    assert terms['loss_cls'][0].item() == pytest.approx(background.sum().item(), rel=1e-4)
