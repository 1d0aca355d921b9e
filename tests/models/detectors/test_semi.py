"""Student and teacher: what is frozen, loaded and predicted, pseudo-labels from view to view, and their losses."""

import math

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmdetlike.datasets import SeededIndex, ShapesDataset
from mmdetlike.errors import ConfigError
from mmdetlike.models.detectors.semi import TeacherView, jitter, to_original
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, Warp
from mmdetlike.utils.checkpoint import check_fit
from tests.models.tiny import PREPROCESSOR, config, detector, make_sample

EVERYTHING = dict(pseudo_label_initial_score_thr=0.0, rpn_pseudo_thr=0.0, cls_pseudo_thr=0.0, reg_pseudo_thr=math.inf)


def build(kind='SoftTeacher', inner='faster_rcnn', **cfg):
    torch.manual_seed(0)
    preprocessor = dict(type='MultiBranchDataPreprocessor', data_preprocessor=PREPROCESSOR)
    model = MODELS.build(dict(type=kind, detector=config(inner), data_preprocessor=preprocessor, **cfg))
    model.teacher.load_state_dict(model.student.state_dict())
    return model


MIRRORED = Warp.flip((64, 64))


def views(number=2, student=MIRRORED, ori_shape=(32, 32)):
    """Images and samples of both unlabeled views: of twice the size, the student's also by the warp ``student``."""
    doubled = Warp.resize(ori_shape, (64, 64))
    inputs, samples = {}, {}
    for branch, matrix in (('unsup_teacher', doubled.matrix), ('unsup_student', student.matrix @ doubled.matrix)):
        inputs[branch] = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(number)]
        meta = dict(img_shape=(64, 64), ori_shape=ori_shape, homography_matrix=matrix)
        samples[branch] = [make_sample(0, index=i) for i in range(number)]
        for sample in samples[branch]:
            sample.set_metainfo(meta)
    return dict(inputs=inputs, data_samples=samples)


def full_batch(number=2):
    torch.manual_seed(1)
    data = views(number)
    data['inputs']['sup'] = [torch.randint(0, 256, (3, 64, 48), dtype=torch.uint8)]
    data['data_samples']['sup'] = [make_sample(2, shape=(64, 48))]
    return data


def losses_of(model, data):
    return model.train()(**model.data_preprocessor(data, True), mode='loss')


def total(term):
    return term if isinstance(term, torch.Tensor) else torch.stack(term).sum()


def instances(boxes, scores=None, **columns):
    scores = [1.0] * len(boxes) if scores is None else scores
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    labels = torch.zeros(len(boxes), dtype=torch.long)
    return InstanceData(bboxes=boxes, scores=torch.tensor(scores), labels=labels, **columns)


@pytest.mark.parametrize('kind, inner', [('SoftTeacher', 'faster_rcnn'), ('SemiBaseDetector', 'retinanet')])
@pytest.mark.parametrize('thresholds', [EVERYTHING, {}])
def test_the_student_alone_learns(kind, inner, thresholds):
    known = MODELS.get(kind).default_train_cfg
    model = build(kind, inner, semi_train_cfg={key: value for key, value in thresholds.items() if key in known})
    losses = losses_of(model, full_batch())
    assert {name.split('_')[0] for name in losses} == {'sup', 'unsup'}
    total, _ = model.parse_losses(losses)
    total.backward()
    assert torch.isfinite(total)
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.teacher.parameters())
    assert any(parameter.grad.abs().sum() > 0 for parameter in model.student.parameters() if parameter.grad is not None)
    assert model.student.training and not any(module.training for module in model.teacher.modules())


def test_a_teacher_that_is_not_frozen_follows_the_mode():
    model = build(semi_train_cfg=dict(freeze_teacher=False))
    assert model.train().teacher.training and all(p.requires_grad for p in model.teacher.parameters())


def test_terms_have_the_names_and_weights_of_their_branch():
    once = build(semi_train_cfg=EVERYTHING)
    other = build(semi_train_cfg=dict(EVERYTHING, sup_weight=3.0, unsup_weight=0.5))
    plain, weighted = (losses_of(model, full_batch()) for model in (once, other))
    names = ['loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox']
    assert sorted(plain) == sorted(['sup_acc', *[f'{part}_{name}' for name in names for part in ('sup', 'unsup')]])
    for name in names:
        for part, factor in (('sup', 3.0), ('unsup', 0.5)):
            before, after = (total(terms[f'{part}_{name}']) for terms in (plain, weighted))
            torch.testing.assert_close(after, before * factor)
    torch.testing.assert_close(weighted['sup_acc'], plain['sup_acc'])


def test_branches_may_be_missing():
    data = full_batch()
    for values in data.values():
        values['unsup_teacher'] = values['unsup_student'] = [None]
    assert all(name.startswith('sup_') for name in losses_of(build(), data))
    assert all(name.startswith('unsup_') for name in losses_of(build(), views()))


# -- pseudo-labels -----------------------------------------------------------------------------------------------------


def test_pseudo_labels_are_projected_into_the_students_view():
    model = build(semi_train_cfg=dict(min_pseudo_bbox_wh=(3, 5)))
    samples = views(1)['data_samples']['unsup_student']
    # of 10 x 12, of 2 x 12 and of 10 x 4 pixels in the student's view, and one that reaches over the edge
    found = instances([[1, 2, 6, 8], [1, 2, 2, 8], [1, 2, 6, 4], [30, 30, 40, 40]], scores=[0.9, 0.8, 0.7, 0.6])
    projected = model.project_pseudo_instances([found], samples)[0].gt_instances
    assert projected.bboxes.tolist() == [[52, 4, 62, 16]] and projected.scores.tolist() == pytest.approx([0.9])
    model.semi_train_cfg.min_pseudo_bbox_wh = (1, 1)
    projected = model.project_pseudo_instances([found], samples)[0].gt_instances
    assert projected.bboxes[-1].tolist() == [0, 60, 4, 64] and len(projected) == 4
    assert len(samples[0].gt_instances) == 0  # they are copies


def test_pseudo_labels_are_what_the_teacher_is_sure_of():
    everything = build(semi_train_cfg=EVERYTHING)
    data = everything.data_preprocessor(views(), True)
    pseudo, view = everything.get_pseudo_instances(
        data['inputs']['unsup_teacher'], data['data_samples']['unsup_teacher']
    )
    predicted = everything.teacher.predict(
        data['inputs']['unsup_teacher'], [s.new() for s in data['data_samples']['unsup_teacher']], rescale=False
    )
    for found, sample in zip(pseudo, predicted):
        torch.testing.assert_close(found.bboxes * 2, sample.pred_instances.bboxes)  # views are twice the original
        assert len(found) > 0 and found.reg_uncs.shape == (len(found),)
    assert view.features[0].shape[0] == 2
    median = float(torch.cat([found.scores for found in pseudo]).median())
    sure = build(semi_train_cfg=dict(EVERYTHING, pseudo_label_initial_score_thr=median))
    fewer, _ = sure.get_pseudo_instances(data['inputs']['unsup_teacher'], data['data_samples']['unsup_teacher'])
    assert [len(found) for found in fewer] == [int((found.scores > median).sum()) for found in pseudo]


# -- losses ------------------------------------------------------------------------------------------------------------


def test_background_is_weighted_by_the_teachers_score_of_it():
    """No pseudo-label is sure enough: every sampled region is background; views are the same."""
    model = build(semi_train_cfg=dict(cls_pseudo_thr=2.0))
    x = tuple(torch.randn(1, 8, 64 // stride, 64 // stride) for stride in (8, 16, 32))
    teachers = views(1, student=Warp.affine(np.eye(3), (64, 64), (64, 64)))['data_samples']['unsup_student']
    boxes = torch.tensor([[0.0, 0, 20, 20], [10, 10, 40, 60], [30, 5, 60, 25]])
    teachers[0].gt_instances = instances([[0, 0, 20, 20]])
    loss = model.classification_loss(x, [InstanceData(bboxes=boxes)], teachers, TeacherView(teachers, x))
    rois = torch.cat([torch.zeros(3, 1), boxes], 1)
    logits = model.student.roi_head.bbox_head(model.student.roi_head.bbox_roi_extractor(x, rois))[0]
    background = logits.softmax(1)[:, -1]  # student and teacher are the same here
    weighted = -(background.log() * background).sum() / background.sum().clamp(min=1)
    torch.testing.assert_close(loss, weighted)


def test_regions_go_from_the_students_view_to_the_teachers():
    model = build()
    data = views(1)['data_samples']
    torch.manual_seed(2)
    half = torch.randn(1, 8, 8, 4)
    x = tuple(torch.cat([half, half.flip(3) * 0], 3) for _ in range(3))  # something on the left alone
    view = TeacherView(data['unsup_teacher'], x)
    left, right = torch.tensor([[2.0, 2, 30, 40]]), torch.tensor([[34.0, 2, 62, 40]])
    # the student's view is mirrored: its right side is the teacher's left
    scores = model.background_scores([torch.cat([right, left])], data['unsup_student'], view)
    rois = torch.cat([torch.zeros(2, 1), torch.cat([left, right])], 1)
    expected = model.teacher.roi_head.bbox_head(model.teacher.roi_head.bbox_roi_extractor(x, rois))[0].softmax(1)[:, -1]
    torch.testing.assert_close(scores, expected)
    assert abs(float(scores[0] - scores[1])) > 1e-4


def test_deltas_learn_from_steady_boxes_alone():
    model = build(semi_train_cfg=dict(reg_pseudo_thr=0.02))
    x = tuple(torch.randn(1, 8, 64 // stride, 64 // stride) for stride in (8, 16, 32))
    proposals = [InstanceData(bboxes=torch.tensor([[1.0, 1, 20, 20], [30, 30, 60, 60]]))]
    steady = make_sample(0)
    steady.gt_instances = instances([[0, 0, 20, 20]], reg_uncs=torch.tensor([0.01]))
    shaky = make_sample(0)
    shaky.gt_instances = instances([[0, 0, 20, 20]], reg_uncs=torch.tensor([0.02]))
    assert float(model.regression_losses(x, proposals, [steady])['loss_bbox']) > 0
    assert {name: float(value) for name, value in model.regression_losses(x, proposals, [shaky]).items()} == dict(
        loss_bbox=0
    )


def test_deviations_are_relative_to_half_the_width_and_height():
    """A teacher that moves nothing leaves the jitter as it is: uniform, so its deviation is scale / sqrt(3)."""
    model = build(semi_train_cfg=dict(jitter_times=4000, jitter_scale=0.06))
    torch.nn.init.zeros_(model.teacher.roi_head.bbox_head.fc_reg.weight)
    torch.nn.init.zeros_(model.teacher.roi_head.bbox_head.fc_reg.bias)
    x = tuple(torch.randn(1, 8, 64 // stride, 64 // stride) for stride in (8, 16, 32))
    view = TeacherView([make_sample(0)], x)
    square, flat = model.box_deviations([instances([[20, 20, 40, 40], [20, 30, 50, 36]])], view)[0]
    assert float(square) == pytest.approx(0.06 / math.sqrt(3), rel=0.05)
    assert float(flat) == pytest.approx(0.06 / math.sqrt(3), rel=0.05)
    assert model.box_deviations([instances([])], view)[0].shape == (0,)


def test_jitter_stays_within_its_share_of_each_side():
    boxes = torch.tensor([[10.0, 10, 30, 110], [5, 5, 5, 5]])
    moved = jitter(boxes, 50, 0.1).view(50, 2, 4) - boxes
    limits = torch.tensor([[2.0, 10, 2, 10], [0.1, 0.1, 0.1, 0.1]])
    assert bool((moved.abs() <= limits + 1e-5).all()) and bool((moved.abs().amax(0) > limits / 2).all())


# -- parts, checkpoints and mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize('part', ['student', 'teacher'])
def test_either_part_predicts(part):
    model = build(semi_test_cfg=dict(predict_on=part, forward_on=part, extract_feat_on=part)).eval()
    other = model.teacher if part == 'student' else model.student
    for parameter in other.parameters():
        parameter.data.fill_(math.nan)
    data = model.data_preprocessor(dict(inputs=[torch.zeros(3, 64, 64).byte()], data_samples=[make_sample(0)]))
    with torch.no_grad():
        sample = model(**data, mode='predict')[0]
        assert isinstance(sample, DetDataSample) and bool(torch.isfinite(sample.pred_instances.scores).all())
        assert all(bool(torch.isfinite(maps).all()) for maps in model.extract_feat(data['inputs']))
        assert len(model(data['inputs'])) == 2


def test_the_checkpoint_of_a_plain_detector_fills_both():
    model, plain = build(), detector('faster_rcnn', seed=5)
    assert check_fit(model, plain.state_dict(), 'plain.pth', strict=True) is None
    model.load_state_dict(plain.state_dict())
    for part in (model.student, model.teacher):
        assert all(torch.equal(value, plain.state_dict()[key]) for key, value in part.state_dict().items())


def test_the_checkpoint_of_a_pair_keeps_them_apart():
    first, second = build(), build()
    for parameter in first.teacher.parameters():
        parameter.data.add_(1)
    second.load_state_dict(first.state_dict())
    assert all(torch.equal(value, first.state_dict()[key]) for key, value in second.state_dict().items())


@pytest.mark.parametrize(
    'cfg, message',
    [
        (
            dict(semi_train_cfg=dict(cls_psuedo_thr=0.5)),
            "semi_train_cfg has no setting 'cls_psuedo_thr'; did you mean 'cls",
        ),
        (dict(semi_train_cfg=dict(jitter_times=1)), 'jitter_times must be 2 at least, got 1'),
        (dict(semi_test_cfg=dict(predict_on='both')), "predict_on must be 'student' or 'teacher', got 'both'"),
        (dict(inner='retinanet'), 'such as FasterRCNN, got RetinaNet'),
    ],
)
def test_settings_are_checked(cfg, message):
    with pytest.raises(ConfigError, match=message):
        build(**cfg)


def test_batches_are_checked():
    model = build()
    plain = model.data_preprocessor(dict(inputs=[torch.zeros(3, 64, 64).byte()], data_samples=[make_sample(1)]))
    with pytest.raises(ConfigError, match=r'by branch \(sup, .*\), got Tensor and list: end the pipelines with MultiB'):
        model(**plain, mode='loss')
    data = full_batch()
    data['data_samples']['unsup_student'].reverse()
    with pytest.raises(ConfigError, match=r"same images in the same order, got \['0.jpg', '1.jpg'\] and \['1.jpg'"):
        losses_of(model, data)
    data = full_batch()
    for values in data.values():
        values['supervised'] = values.pop('sup')
    with pytest.raises(
        ConfigError, match='has the branches unsup_teacher, unsup_student, supervised; expected are sup'
    ):
        losses_of(model, data)


def test_a_sample_without_homography_says_what_to_do():
    data = full_batch()
    for sample in data['data_samples']['unsup_teacher']:
        del sample.homography_matrix
    with pytest.raises(ConfigError, match=r'0.jpg has no homography_matrix.* add it to meta_keys of PackDetInputs'):
        losses_of(build(semi_train_cfg=ConfigDict(EVERYTHING)), data)


STEPS = [
    dict(type='RandomResize', scale=[(96, 64), (160, 128)], keep_ratio=True),
    dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical']),
]


@pytest.mark.parametrize('seed', range(5))
def test_boxes_go_through_the_views_of_a_pipeline(seed):
    """What a perfect teacher sees in its view lies on the annotated objects of the student's."""
    keys = ('ori_shape', 'img_shape', 'homography_matrix')
    pack = dict(type='PackDetInputs', meta_keys=keys)
    views_of = dict(teacher=[*STEPS, pack], student=[*STEPS, dict(type='TranslateX', min_mag=0.1, max_mag=0.1), pack])
    pipeline = [
        dict(type='LoadShapesImage'),
        dict(type='LoadAnnotations'),
        dict(type='MultiBranch', branch_field=['teacher', 'student'], **views_of),
    ]
    dataset = ShapesDataset(length=1, image_size=(64, 80), seed=seed, pipeline=pipeline)
    seen = dataset[SeededIndex(0, seed)]['data_samples']
    teachers, students = seen['teacher'], seen['student']
    perfect = InstanceData(bboxes=teachers.gt_instances.bboxes.tensor, labels=teachers.gt_instances.labels)
    projected = build().project_pseudo_instances([to_original(perfect, teachers)], [students])[0].gt_instances
    assert len(projected) == len(students.gt_instances)
    torch.testing.assert_close(projected.bboxes, students.gt_instances.bboxes.tensor, atol=1e-3, rtol=0)
