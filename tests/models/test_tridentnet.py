"""TridentNet: what the recording doesn't show: testing by all branches, and errors."""

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones import TridentResNet
from mmdetlike.models.backbones.trident_resnet import TridentConv
from mmdetlike.models.heads.roi import StandardRoIHead
from mmdetlike.registry import MODELS

from .families import build
from .families.pyramids import tridentnet
from .tiny import make_sample

BRANCHES = dict(num_branch=3, test_branch_idx=1, trident_dilations=(1, 2, 3))
STAGES = dict(base_channels=2, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,))


def test_branches_share_filters_and_differ_in_dilation():
    conv = TridentConv(1, 1, trident_dilations=(1, 2, 3), test_branch_idx=1)
    torch.nn.init.ones_(conv.weight)
    point = torch.zeros(1, 1, 7, 7)
    point[0, 0, 3, 3] = 1
    for dilation, out in zip((1, 2, 3), conv(point.repeat(3, 1, 1, 1))):
        ys, xs = out[0].nonzero().unbind(1)
        assert sorted(set(ys.tolist())) == sorted(set(xs.tolist())) == [3 - dilation, 3, 3 + dilation]
    assert conv.eval()(point).nonzero()[:, 2].unique().tolist() == [1, 3, 5]


def test_one_branch_of_testing_is_that_of_all():
    torch.manual_seed(0)
    one = TridentResNet(50, **BRANCHES, **STAGES).eval()
    everything = TridentResNet(50, **dict(BRANCHES, test_branch_idx=-1), **STAGES).eval()
    everything.load_state_dict(one.state_dict())
    images = torch.randn(2, 3, 64, 64)
    (all_maps,) = everything(images)
    assert all_maps.shape[0] == 6
    torch.testing.assert_close(one(images)[0], all_maps[2:4])


def test_what_several_branches_find_is_one_object(monkeypatch):
    model = build('tridentnet_of_all_branches')
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])

    def of_branch(image, score):
        scores = torch.full((2,), score)
        return dict(bboxes=boxes + image, scores=scores, labels=torch.zeros(2, dtype=torch.long))

    found = [of_branch(image, 0.5 + 0.1 * branch) for branch in range(3) for image in range(2)]
    monkeypatch.setattr(StandardRoIHead, 'detect_boxes', lambda self, x, proposals, samples, counts: found)
    results = model.roi_head.predict_boxes((), [None] * 6, [make_sample(1), make_sample(1)])
    assert [len(result) for result in results] == [2, 2]
    torch.testing.assert_close(results[1].bboxes, boxes + 1)
    torch.testing.assert_close(results[1].scores, torch.full((2,), 0.7))


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        (dict(test_branch_idx=3), r'-1 \(all branches\) or below num_branch=3, got 3'),
        (dict(trident_dilations=(1, 2)), r'num_branch=3 dilations, got \[1, 2\]'),
        (dict(depth=18), r'a depth of \[50, 101, 152\], got 18'),
        (dict(out_indices=(1, 2)), r'expected out_indices=\(2,\) and frozen_stages up to 2, got \(1, 2\) and -1'),
    ],
)
def test_settings_that_do_not_fit_are_named(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        TridentResNet(**{'depth': 50, **BRANCHES, **STAGES, **changes})


def test_the_head_has_the_branches_of_the_backbone():
    cfg = tridentnet(3)
    cfg['roi_head']['num_branch'] = 2
    with pytest.raises(ConfigError, match=r"expected {'num_branch': 3, 'test_branch_idx': 1}, got {'num_branch': 2, "):
        MODELS.build(cfg)
