"""Detectors with a teacher: what is no part of their state, where its weights come from, what they learn."""

import pytest
import torch

from mmdetlike.errors import UserError
from mmdetlike.models.losses import KnowledgeDistillationKLDivLoss
from mmdetlike.registry import MODELS
from tests.models.families import FAMILIES, build
from tests.models.tiny import losses, make_sample

TAUGHT = ['ld', 'lad']


@pytest.mark.parametrize('family', TAUGHT)
def test_the_teacher_is_no_part_of_state_or_training(family):
    model = build(family)
    student = build('gfl' if family == 'ld' else 'paa')
    assert list(model.state_dict()) == list(student.state_dict())
    assert len(list(model.parameters())) == len(list(student.parameters()))
    before = {key: value.clone() for key, value in model.teacher_model.state_dict().items()}
    loss, _ = model.parse_losses(losses(model, [make_sample(3)]))
    loss.backward()
    assert all(parameter.grad is None for parameter in model.teacher_model.parameters())
    assert all(torch.equal(before[key], value) for key, value in model.teacher_model.state_dict().items())


@pytest.mark.parametrize('family', TAUGHT)
def test_the_teacher_moves_with_the_student(family):
    model = build(family).to(torch.float64)
    assert {parameter.dtype for parameter in model.teacher_model.parameters()} == {torch.float64}
    model.to('meta')
    assert {parameter.device.type for parameter in model.teacher_model.parameters()} == {'meta'}


@pytest.mark.parametrize('eval_teacher', [True, False])
def test_mode_of_the_teacher(eval_teacher):
    model = MODELS.build(dict(FAMILIES['ld'](), eval_teacher=eval_teacher))
    assert model.train().teacher_model.training is not eval_teacher
    assert model.eval().teacher_model.training is False


def test_a_checkpoint_fills_the_teacher(tmp_path):
    teacher = build('gfl', seed=3)
    torch.save(dict(state_dict=teacher.state_dict()), tmp_path / 'teacher.pth')
    model = MODELS.build(dict(FAMILIES['ld'](), teacher_ckpt=str(tmp_path / 'teacher.pth')))
    model.init_weights()
    for key, value in model.teacher_model.state_dict().items():
        torch.testing.assert_close(value, teacher.state_dict()[key])


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    torch.save(dict(state_dict=build('paa').state_dict()), tmp_path / 'teacher.pth')
    model = MODELS.build(dict(FAMILIES['ld'](), teacher_ckpt=str(tmp_path / 'teacher.pth')))
    with pytest.raises(UserError, match=r'teacher_ckpt .*teacher\.pth does not fit GFL: .*missing'):
        model.init_weights()


def test_a_missing_teacher_is_named():
    cfg = dict(FAMILIES['ld'](), teacher_config='configs/gfl/gfl_r11_fpn_ms-2x_coco.py')
    with pytest.raises(FileNotFoundError, match=r'gfl_r11_fpn_ms-2x_coco\.py.*did you mean .*gfl_r101_fpn_ms-2x_coco'):
        MODELS.build(cfg)


@torch.no_grad()
def test_a_teacher_that_says_the_same_teaches_nothing():
    model = build('ld')
    model.teacher_model.load_state_dict(model.state_dict())
    terms = model.parse_losses(losses(model, [make_sample(3)]))[1]
    model.teacher_model.load_state_dict(build('gfl', seed=1).state_dict())
    others = model.parse_losses(losses(model, [make_sample(3)]))[1]
    assert float(terms['loss_ld']) == pytest.approx(0, abs=1e-6)
    assert float(others['loss_ld']) > 1e-4
    assert float(others['loss_dfl']) == pytest.approx(float(terms['loss_dfl']))


@torch.no_grad()
def test_the_student_learns_the_positives_of_the_teacher():
    model, samples = build('lad'), [make_sample(4)]
    model.teacher_model.load_state_dict(model.state_dict())
    expected = model.parse_losses(losses(model, samples))[1]
    paa = build('paa')
    paa.load_state_dict(model.state_dict())
    got = paa.parse_losses(losses(paa, samples))[1]
    assert float(expected['loss_cls']) == pytest.approx(float(got['loss_cls']))
    assert float(expected['loss_iou']) == pytest.approx(float(got['loss_iou']))


def test_divergence_by_hand():
    pred, target = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * 3.0, 0.0]])
    loss = KnowledgeDistillationKLDivLoss(T=2, loss_weight=0.5)(pred, target)
    p = torch.tensor(3.0).sigmoid()
    divergence = p * (2 * p).log() + (1 - p) * (2 * (1 - p)).log()
    torch.testing.assert_close(loss, 0.5 * 4 * divergence / 2)
    with pytest.raises(ValueError, match='needs T >= 1, got 0'):
        KnowledgeDistillationKLDivLoss(T=0)
