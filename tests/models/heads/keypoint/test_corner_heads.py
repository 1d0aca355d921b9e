"""CornerHead and CentripetalHead, HourglassNet and the loss of embeddings: what the recordings can't see."""

import math

import pytest
import torch

from mmdetlike.models.backbones import HourglassNet
from mmdetlike.models.heads.keypoint import CentripetalHead, CornerHead
from mmdetlike.models.losses import AssociativeEmbeddingLoss
from tests.models.tiny import make_sample
from tests.models.tiny_masks import prepared

TEST = dict(corner_topk=4, local_maximum_kernel=1, distance_threshold=0.5, score_thr=0.6, max_per_img=4)


def empty_maps(*others: str) -> dict[str, torch.Tensor]:
    """Maps of one side, 16 x 16 cells of 4 pixels, with no corner."""
    return dict(heat=torch.full((1, 3, 16, 16), -9.0), **{name: torch.zeros(1, 2, 16, 16) for name in others})


def put(maps, label, row, column, score, **values):
    maps['heat'][0, label, row, column] = math.log(score / (1 - score))
    for name, value in values.items():
        maps[name][0, :, row, column] = torch.tensor(value)


def predict(head, tl, br, sample=None, rescale=False):
    head.forward = lambda x: [dict(tl=tl, br=br)]
    return head.predict(None, [sample or prepared([make_sample(0)])[0]], rescale)[0]


def test_corners_of_one_embedding_become_a_box():
    tl = empty_maps('off', 'emb')
    br = empty_maps('off', 'emb')
    put(tl, 1, 2, 3, 0.9, off=[0.5, 0.25], emb=[1.0, 1.0])
    put(br, 1, 8, 9, 0.7, emb=[1.2, 1.2])  # its partner
    put(br, 1, 10, 12, 0.8, emb=[2.0, 2.0])  # of another object
    put(br, 2, 9, 9, 0.8, emb=[1.0, 1.0])  # of another class
    put(br, 1, 1, 1, 0.8, emb=[1.0, 1.0])  # to the left and above
    pred = predict(CornerHead(3, 4, 1, 2, test_cfg=TEST), tl, br)
    assert pred.bboxes.tolist() == [[14, 9, 36, 32]] and pred.labels.tolist() == [1]
    assert pred.scores.tolist() == pytest.approx([0.8])


def test_boxes_are_those_of_the_image_before_padding_and_resizing():
    tl = empty_maps('off', 'emb')
    br = empty_maps('off', 'emb')
    put(tl, 0, 2, 3, 0.9)
    put(br, 0, 8, 9, 0.9)
    sample = prepared([make_sample(0, scale_factor=(2.0, 4.0))])[0]
    sample.set_metainfo(dict(border=torch.tensor([4.0, 60.0, 2.0, 62.0]).numpy()))
    pred = predict(CornerHead(3, 4, 1, 2, test_cfg=TEST), tl, br, sample, rescale=True)
    assert pred.bboxes.tolist() == [[5, 1, 17, 7]]


def test_corners_that_point_at_one_center_become_a_box():
    tl = empty_maps('off', 'guiding_shift', 'centripetal_shift')
    br = empty_maps('off', 'guiding_shift', 'centripetal_shift')
    put(tl, 0, 2, 2, 0.8, centripetal_shift=[math.log(4), math.log(3)])  # center (6, 5)
    put(br, 0, 8, 10, 0.8, centripetal_shift=[math.log(4), math.log(2)])  # (6, 6)
    put(br, 0, 8, 12, 0.9, centripetal_shift=[math.log(1), math.log(1)])  # (11, 7), not in the middle
    pred = predict(CentripetalHead(3, 4, 1, test_cfg=TEST), tl, br)
    assert pred.bboxes.tolist() == [[8, 8, 40, 32]]
    # both centers have the same x, so the rectangle between them is empty and the score stays
    assert pred.scores.tolist() == pytest.approx([0.8])
    put(br, 0, 8, 10, 0.8, centripetal_shift=[math.log(3.5), math.log(2)])  # (6.5, 6): 0.5 of (8 / 2.4) * (6 / 2.4)
    pred = predict(CentripetalHead(3, 4, 1, test_cfg=TEST), tl, br)
    assert pred.scores.tolist() == pytest.approx([0.8 * math.exp(-0.5 * 2.4**2 / 48)])


def test_targets_on_paper():
    sample = prepared([make_sample([[9, 17, 30, 40], [60, 60, 64, 64]])])[0]
    targets = CentripetalHead(3, 4, 1).targets(torch.zeros(1, 3, 16, 16), [sample])
    # (2.25, 4.25) to (7.5, 10) in cells, center (4.875, 7.125); the corner at the border belongs to the last cell
    assert targets.corners == [[((4, 2), (10, 7)), ((15, 15), (15, 15))]]
    tl = targets.sides['tl'].values
    br = targets.sides['br'].values
    assert tl['off'][0, :, 4, 2].tolist() == [0.25, 0.25] and br['off'][0, :, 10, 7].tolist() == [0.5, 0]
    assert tl['guiding_shift'][0, :, 4, 2].tolist() == [2.875, 3.125]
    assert br['guiding_shift'][0, :, 10, 7].tolist() == [2.125, 2.875]
    shift = torch.tensor([2.625, 2.875]).log()
    torch.testing.assert_close(tl['centripetal_shift'][0, :, 4, 2], shift)
    torch.testing.assert_close(br['centripetal_shift'][0, :, 10, 7], shift)


def test_embeddings_are_pulled_together_and_pushed_apart():
    first = torch.zeros(2, 1, 4, 4)
    second = torch.zeros(2, 1, 4, 4)
    first[0, 0, 0, 0], second[0, 0, 3, 3] = 1.0, 2.0  # mean 1.5, each half a unit off
    first[0, 0, 1, 1], second[0, 0, 2, 2] = 2.0, 2.0  # half a unit from the other object
    match = [[((0, 0), (3, 3)), ((1, 1), (2, 2))], []]
    pull, push = AssociativeEmbeddingLoss(pull_weight=2.0, push_weight=3.0)(first, second, match)
    assert float(pull) == pytest.approx(2 * (0.25 + 0.25) / 2) and float(push) == pytest.approx(3 * 0.5)


def test_maps_of_any_size_are_doubled_to_what_they_were():
    net = HourglassNet(2, 1, (4, 4, 4), (1, 1, 1), feat_channel=4)
    assert [tuple(m.shape) for m in net(torch.zeros(2, 3, 28, 44))] == [(2, 4, 7, 11)]


@pytest.mark.parametrize(
    'arguments, message',
    [
        (
            dict(downsample_times=2, stage_channels=(4, 4), stage_blocks=(1, 1)),
            r'\+ 1 = 3 sizes, got 2 and 2',
        ),
        (dict(num_stacks=0), 'at least 1, got 0 and 5'),
    ],
)
def test_numbers_of_sizes_that_do_not_agree_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HourglassNet(**arguments)


def test_the_head_initializes_itself():
    with pytest.raises(ValueError, match='CornerHead initializes itself'):
        CornerHead(3, 4, init_cfg=dict(type='Normal', layer='Conv2d'))
