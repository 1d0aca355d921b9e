"""Any dense head may be the first stage: its classes are one, and its losses don't hide those of the second stage."""

import pytest
import torch

from mmdetlike.registry import MODELS
from tests.models.families import FAMILIES
from tests.models.tiny import config, losses, make_sample, predict


def with_first_stage(family):
    """A Faster R-CNN that proposes by the dense head of ``family``."""
    cfg = config('faster_rcnn')
    dense = FAMILIES[family](3)
    cfg['rpn_head'] = dense['bbox_head']
    cfg['train_cfg'] = dict(cfg['train_cfg'], rpn=dense.get('train_cfg') or {})
    torch.manual_seed(0)
    return MODELS.build(cfg)


@pytest.mark.parametrize('family', ['retinanet', 'fcos', 'atss', 'gfl', 'centernet_update', 'autoassign', 'fovea'])
def test_losses_of_both_stages_are_there(family):
    model = with_first_stage(family)
    samples = [make_sample([[4, 4, 24, 24], [20, 8, 44, 30], [2, 30, 60, 62]])]
    assert samples[0].gt_instances.labels.tolist() == [0, 1, 2]
    terms = losses(model, samples)
    second = {'loss_cls', 'loss_bbox', 'acc'}
    first = set(terms) - second
    assert second <= set(terms)
    assert len(first) > 1 and all(name.startswith('rpn_') for name in first)
    assert len(predict(model.eval(), samples)) == 1


@pytest.mark.parametrize('family', ['retinanet', 'fcos'])
def test_objects_of_all_classes_are_learned_as_one(family):
    model = with_first_stage(family).rpn_head
    samples = [make_sample([[4, 4, 24, 24], [20, 8, 44, 30], [2, 30, 60, 62]])]
    maps = [torch.rand(1, 8, side, side) for side in (8, 4, 2)]
    preds = model.flatten(model(maps))
    labels = model.targets(preds, samples).labels
    assert (labels == 0).sum() > 0 and set(labels.unique().tolist()) == {0, 1}
    objects = model.targets(preds, samples).samplings[0].pos_assigned_gt_inds
    assert set(objects.tolist()) == {0, 1, 2}
    assert (labels == 0).sum() == len(objects)


def test_the_rpn_keeps_its_names():
    torch.manual_seed(0)
    terms = losses(MODELS.build(config('faster_rcnn')), [make_sample(3)])
    assert {'loss_rpn_cls', 'loss_rpn_bbox'} <= set(terms)
