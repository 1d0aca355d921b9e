"""The branches of Deformable DETR's head."""

import torch

from mmdetlike.models.heads.query import QueryContext
from tests.models.tiny_queries import deformable, features


def test_branches_are_shared_without_refinement():
    shared, own = deformable().bbox_head, deformable(with_box_refine=True).bbox_head
    assert shared.cls_branches[0] is shared.cls_branches[1] and own.cls_branches[0] is not own.cls_branches[1]
    model = deformable()
    model.init_weights()
    with torch.no_grad():
        outs = model.forward_transformer(features(1), QueryContext())
        logits, boxes = model.bbox_head(outs)[-1]
    # without training, boxes are of about a tenth of the image around their references
    torch.testing.assert_close(boxes[..., :2], outs.references[0])
    torch.testing.assert_close(boxes[..., 2:], torch.tensor(-2.0).sigmoid().expand(1, 6, 2))
    assert logits.sigmoid().mean() < 0.05
