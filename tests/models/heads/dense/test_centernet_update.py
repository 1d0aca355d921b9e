"""CenterNet on a pyramid: which points learn what."""

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.dense.centernet_update_head import nearest_object
from mmdetlike.registry import MODELS
from tests.models.families import FAMILIES, build
from tests.models.tiny import batch, make_sample

SIZES = [(8, 8), (4, 4), (2, 2)]


def pairs_of(boxes):
    """The head, and how its points lie to objects with ``boxes`` in an image of 64 pixels."""
    head = build('centernet_update').bbox_head
    return head, head.pairs(
        head.priors(SIZES, torch.device('cpu')), torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    )


def test_an_object_is_of_the_levels_of_its_size():
    # half a diagonal of 11.3 is in the ranges of the first two levels
    _, pairs = pairs_of([[20, 20, 36, 36]])
    suits = pairs.suits[:, 0].split([64, 16, 4])
    assert suits[0].any() and suits[1].any() and not suits[2].any()
    centers = pairs.is_center[:, 0].split([64, 16, 4])
    assert [part.nonzero().flatten().tolist() for part in centers] == [[3 * 8 + 3], [1 * 4 + 1], [0]]


def test_boxes_are_learned_around_centers_inside_of_objects():
    _, pairs = pairs_of([[20, 20, 36, 36]])
    nearest = nearest_object(pairs)
    first = (nearest[:64].view(8, 8) == 0).nonzero().tolist()
    # of the 3 x 3 cells around (3, 3), whose points are at 20, 28 and 36, one lies inside of the box
    assert first == [[3, 3]]


def test_the_heat_of_a_center_is_one_and_falls():
    head, pairs = pairs_of([[20, 20, 36, 36], [8, 8, 24, 24]])
    heat = head.heatmap(pairs, torch.tensor([1, 1]))[:64].view(8, 8, 3)
    assert heat[3, 3, 1] == 1 and heat[2, 2, 1] == 1
    assert heat[..., [0, 2]].max() == 0
    assert 0 < heat[3, 4, 1] < 1


def test_no_object_leaves_no_heat():
    head, pairs = pairs_of([])
    assert head.heatmap(pairs, torch.zeros(0, dtype=torch.long)).max() == 0
    assert nearest_object(pairs).max() == -1


def test_a_good_box_near_the_center_is_a_positive_of_its_class():
    head, pairs = pairs_of([[16, 16, 40, 40]])
    model = build('centernet_update').eval()
    data = batch(model, [make_sample([[16, 16, 40, 40]])])
    preds = head.flatten(head(model.extract_feat(data['inputs'])))
    points = preds.priors.points
    box = torch.tensor([16.0, 16.0, 40.0, 40.0])
    preds.maps['bbox_pred'] = torch.zeros_like(preds.bbox_pred)
    objects = data['data_samples'][0].gt_instances
    at_center, _ = head.class_positives(preds, objects, pairs)
    beside = 2 * 8 + 3  # the cell above the center's on the first level
    preds.maps['bbox_pred'][0, beside] = torch.cat([points[beside] - box[:2], box[2:] - points[beside]])
    with_beside, owners = head.class_positives(preds, objects, pairs)
    assert set(with_beside.tolist()) == {*at_center.tolist(), beside}
    assert beside not in at_center.tolist() and owners.max() == 0


def test_wrong_settings_are_named():
    head = dict(FAMILIES['centernet_update'](3)['bbox_head'])
    with pytest.raises(ConfigError, match='must be a GaussianFocalLoss, got FocalLoss'):
        MODELS.build(dict(head, loss_cls=dict(type='FocalLoss')))
    with pytest.raises(ConfigError, match='3 strides, so it needs as many regress_ranges, got 1'):
        MODELS.build(dict(head, regress_ranges=[(0, 1e8)]))
