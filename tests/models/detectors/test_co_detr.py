"""Co-DETR: what auxiliary heads add to training, and that they leave prediction alone."""

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.auxiliary import AssignedPriors
from mmdetlike.registry import MODELS
from tests.models.families import build
from tests.models.families.collaborative import auxiliary_heads
from tests.models.tiny import batch, make_sample

BOXES = [[4.0, 4.0, 40.0, 44.0], [20.0, 16.0, 60.0, 60.0]]


def losses_of(model, samples):
    torch.manual_seed(0)
    return model(**batch(model, samples, training=True), mode='loss')


def samples():
    return [make_sample(BOXES), make_sample(0, index=1)]


@pytest.mark.parametrize('family', ['co_dino', 'co_deformable_detr'])
def test_each_head_and_its_queries_have_losses_in_every_layer(family):
    losses = losses_of(build(family).train(), samples())
    regions = {'aux0.loss_rpn_cls', 'aux0.loss_rpn_bbox', 'aux0.loss_cls', 'aux0.loss_bbox', 'aux0.acc'}
    dense = {'aux1.loss_cls', 'aux1.loss_bbox', 'aux1.loss_centerness'}
    queries = {f'{layer}aux{i}_loss_{term}' for layer in ('', 'd0.') for i in (0, 1) for term in ('cls', 'bbox', 'iou')}
    assert {name for name in losses if 'aux' in name} == regions | dense | queries


def test_the_weights_are_those_of_the_paper():
    model = build('co_dino').train()
    model.lambda_dec, model.lambda_enc = 1.0, 0.5  # two layers: the heads' own losses as they are
    plain = losses_of(model, samples())
    model.lambda_dec, model.lambda_enc = 3.0, 2.0
    weighted = losses_of(model, samples())
    for name, factor in (('aux0.loss_cls', 4), ('aux0.acc', 1), ('d0.aux1_loss_iou', 3), ('loss_iou', 1)):
        torch.testing.assert_close(weighted[name], plain[name] * factor)


def test_it_predicts_what_the_detector_without_auxiliary_heads_does():
    model, plain = build('co_dino').eval(), build('dino').eval()
    state = model.state_dict()
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        got, expected = model.detect(images)[0], plain.detect(images)[0]
    for name in ('boxes', 'scores', 'labels'):
        assert torch.equal(got[name], expected[name])


def test_queries_are_the_positives_and_know_their_objects():
    auxiliary = build('co_dino').auxiliary_heads[1]
    boxes = torch.tensor([[0.0, 0, 32, 32], [16, 16, 64, 64], [0, 0, 8, 8]])
    priors = [
        AssignedPriors(boxes, torch.rand(3, 16), torch.tensor([1, 0])),
        AssignedPriors(boxes[:1], torch.rand(1, 16), torch.tensor([], dtype=torch.long)),
    ]
    content, positions, references, targets = auxiliary.queries(priors, samples())
    assert content.shape == (2, 2, 16) and positions is None
    # of the second image a negative, then the whole image
    expected = [[0.25, 0.25, 0.5, 0.5], [0.625, 0.625, 0.75, 0.75]], [[0.25, 0.25, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]
    torch.testing.assert_close(references, torch.tensor(expected))
    assert targets.labels.tolist() == [[1, 0], [3, 3]]
    torch.testing.assert_close(targets.pos_gt_bboxes, torch.tensor(BOXES)[[1, 0]])


def test_of_too_many_positives_some_are_chosen():
    boxes = torch.arange(40.0).reshape(10, 4)
    chosen = AssignedPriors(boxes, boxes, torch.arange(10)).resized(4, (64, 64))
    assert len(set(chosen.objects.tolist())) == 4
    assert torch.equal(chosen.boxes, boxes[chosen.objects])


def test_a_region_head_of_several_stages_is_refused():
    cfg = auxiliary_heads(3)[0]
    roi_head = dict(cfg['roi_head'], mask_head=dict(type='FCNMaskHead', num_classes=3, in_channels=16))
    with pytest.raises(ConfigError, match='one stage that predicts boxes alone'):
        MODELS.build(dict(cfg, roi_head=roi_head, embed_dims=16, num_classes=3))
