"""Branches that learn at predicted boxes, and that predict for given ones."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from tests.models.families import FAMILIES, build
from tests.models.tiny import batch, losses, make_sample


def recorded(model, monkeypatch):
    """The positives' boxes that the mask branch is given."""
    seen = []
    branch = model.roi_head.branches['mask']
    original = branch.loss

    def loss(stage, x, sampled, outs, samples):
        seen.append([result.pos_priors for result in sampled])
        return original(stage, x, sampled, outs, samples)

    monkeypatch.setattr(branch, 'loss', loss)
    return seen


def test_masks_learn_at_predicted_boxes(monkeypatch):
    model = build('mask_rcnn')
    # every box is predicted half a width to the right of its region: the deltas are divided by the deviations
    head = model.roi_head.bbox_head
    torch.nn.init.zeros_(head.fc_reg.weight)
    shift = torch.tensor([0.5 / head.bbox_coder.stds[0], 0, 0, 0]).repeat(3)
    head.fc_reg.bias.data = shift
    seen = recorded(model, monkeypatch)
    boxes = torch.tensor([[8.0, 8, 24, 40]])
    torch.manual_seed(0)
    terms = losses(model, [make_sample(boxes)])
    model.roi_head.stage_cfgs[0].train_on_pred_boxes = True
    torch.manual_seed(0)
    moved_terms = losses(model, [make_sample(boxes)])
    (at_proposals,), (at_predicted,) = seen
    width = at_proposals[:, 2] - at_proposals[:, 0]
    expected = at_proposals.clone()
    expected[:, 0::2] += 0.5 * width[:, None]
    torch.testing.assert_close(at_predicted, expected.clamp(max=64))
    # what boxes learn is the same; the object now fills half of what masks see
    torch.testing.assert_close(moved_terms['loss_bbox'], terms['loss_bbox'])
    assert moved_terms['loss_mask'] != terms['loss_mask']


def test_queries_learn_masks_at_predicted_boxes_in_any_case(monkeypatch):
    model = build('queryinst')
    seen = recorded(model, monkeypatch)
    for at_predicted in (False, True):
        for cfg in model.roi_head.stage_cfgs:
            cfg.train_on_pred_boxes = at_predicted
        torch.manual_seed(0)
        losses(model, [make_sample(2)])
    first, second = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert len(first) == model.roi_head.num_stages
    for of_stage, again in zip(first, second):
        torch.testing.assert_close(again, of_stage)


def test_several_boxes_of_a_region_are_none_to_learn_at():
    cfg = FAMILIES['crowddet']()
    masks = FAMILIES['mask_rcnn']()
    for part in ('mask_roi_extractor', 'mask_head'):
        cfg['roi_head'][part] = masks['roi_head'][part]
    cfg['train_cfg']['rcnn']['mask_size'] = masks['train_cfg']['rcnn']['mask_size']
    assert torch.isfinite(losses(MODELS.build(cfg), [make_sample(2)])['loss_mask'])
    cfg['train_cfg']['rcnn']['train_on_pred_boxes'] = True
    with pytest.raises(ConfigError, match=r'train_on_pred_boxes=True needs one box for each region.*num_instance=2'):
        MODELS.build(cfg)


def test_predicted_boxes_need_features_of_their_own():
    cfg = FAMILIES['mask_rcnn']()
    cfg['train_cfg']['rcnn']['train_on_pred_boxes'] = True
    MODELS.build(cfg)
    cfg['roi_head']['mask_roi_extractor'] = None
    with pytest.raises(ConfigError, match='train_on_pred_boxes=True needs a mask_roi_extractor'):
        MODELS.build(cfg)


@torch.no_grad()
@pytest.mark.parametrize('family', ['mask_rcnn', 'htc'])
def test_given_boxes_are_kept_and_get_the_masks_of_found_ones(family):
    model = build(family).eval()
    sample = make_sample(1, scale_factor=(2.0, 1.0))
    data = batch(model, [sample])
    (found,) = [s.pred_instances for s in model(**data, mode='predict')]
    given = found[:3]
    scaled = given.bboxes * torch.tensor([2.0, 1, 2, 1])  # in pixels of the network's input
    data['data_samples'][0].given_boxes = InstanceData(bboxes=scaled, labels=given.labels, scores=given.scores)
    (again,) = [s.pred_instances for s in model(**data, mode='predict')]
    torch.testing.assert_close(again.bboxes, given.bboxes)
    assert torch.equal(again.masks, given.masks) and torch.equal(again.labels, given.labels)
    data['data_samples'][0].given_boxes = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long), scores=torch.zeros(0)
    )
    (none,) = [s.pred_instances for s in model(**data, mode='predict')]
    assert none.masks.shape == (0, *sample.ori_shape)


@torch.no_grad()
def test_panoptic_without_fusion():
    cfg = FAMILIES['panoptic_fpn']()
    cfg['test_cfg']['panoptic']['enabled'] = False
    model = MODELS.build(cfg).eval()
    (result,) = model(**batch(model, [make_sample(2)]), mode='predict')
    assert 'pred_panoptic_seg' not in result and 'masks' in result.pred_instances
    classes = result.pred_sem_seg.sem_seg
    assert classes.shape == (1, 64, 64) and int(classes.min()) >= 3 and int(classes.max()) <= 5
