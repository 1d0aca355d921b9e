"""Student and teacher in a training: the moving average, validation of both, resuming, and what doesn't fit."""

import copy
import itertools
import math
import shutil

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn

from mmdetlike.engine import launch
from mmdetlike.engine.hooks import MeanTeacherHook
from mmdetlike.engine.hooks.checks import batch_paths
from mmdetlike.errors import ConfigError
from mmdetlike.structures import DetDataSample, TrackDataSample
from tests.utils import tiny_config, train, without_validation

BRANCHES = ['sup', 'unsup_teacher', 'unsup_student']
FLIP = dict(type='RandomFlip', prob=0.5)
PACK = dict(type='PackDetInputs', meta_keys=('img_path', 'ori_shape', 'img_shape', 'homography_matrix'))
LABELED = [
    dict(type='LoadShapesImage'),
    dict(type='LoadAnnotations'),
    FLIP,
    dict(type='MultiBranch', branch_field=BRANCHES, sup=dict(type='PackDetInputs')),
]
UNLABELED = [
    dict(type='LoadShapesImage'),
    dict(type='LoadEmptyAnnotations'),
    dict(
        type='MultiBranch',
        branch_field=BRANCHES,
        unsup_teacher=[FLIP, PACK],
        unsup_student=[FLIP, dict(type='RandAugment', aug_space=[dict(type='Rotate'), dict(type='ShearX')]), PACK],
    ),
]


def config(work_dir, iterations=4, **overrides):
    cfg = tiny_config(work_dir)
    thresholds = ('pseudo_label_initial_score_thr', 'rpn_pseudo_thr', 'cls_pseudo_thr')
    cfg.model = dict(
        type='SoftTeacher',
        detector=cfg.model,
        data_preprocessor=dict(
            type='MultiBranchDataPreprocessor', data_preprocessor=copy.deepcopy(cfg.model.data_preprocessor)
        ),
        semi_train_cfg=dict(dict.fromkeys(thresholds, 0.0), reg_pseudo_thr=math.inf),
    )
    data = dict(type='ShapesDataset', length=6, image_size=(64, 64), max_objects=3)
    cfg.train_dataloader = dict(
        batch_size=3,
        num_workers=0,
        sampler=dict(type='MultiSourceSampler', batch_size=3, source_ratio=[1, 2]),
        dataset=dict(
            type='ConcatDataset', datasets=[dict(data, pipeline=LABELED), dict(data, split='more', pipeline=UNLABELED)]
        ),
    )
    cfg.val_dataloader.dataset.length = 2
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations)
    cfg.val_cfg = dict(type='TeacherStudentValLoop')
    cfg.default_hooks.checkpoint.update(interval=1, by_epoch=False)
    cfg.log_processor = dict(by_epoch=False)
    cfg.custom_hooks = [dict(type='MeanTeacherHook', momentum=0.25)]
    cfg.merge_from_dict(overrides)
    return cfg


class Pairs(Hook):
    """The student's and the teacher's state, before the training and after each iteration."""

    def __init__(self):
        self.states = []

    def note(self, runner):
        model = runner.model
        self.states.append(copy.deepcopy((model.student.state_dict(), model.teacher.state_dict())))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if not self.states:
            self.note(runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.note(runner)


def test_the_teacher_is_the_students_average(tmp_path):
    pairs = Pairs()
    _, losses = train(without_validation(config(tmp_path)), pairs)
    assert {name.split('_')[0] for name in losses[0]} == {'loss', 'sup', 'unsup'}
    student, teacher = pairs.states[0]
    assert all(torch.equal(value, teacher[name]) for name, value in student.items())
    for (_, before), (student, after) in itertools.pairwise(pairs.states):
        for name, value in after.items():
            if value.is_floating_point() and 'running' not in name:
                torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * student[name])
    trained = 'rpn_head.rpn_conv.weight'
    assert not torch.equal(pairs.states[-1][0][trained], pairs.states[0][0][trained])


def test_buffers_are_averaged_if_asked_for():
    student, teacher = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    nn.init.constant_(student.weight, 3.0)
    student.running_mean.fill_(1.0)
    student.num_batches_tracked.fill_(7)
    MeanTeacherHook(momentum=0.5).update(student, teacher)
    assert teacher.weight.tolist() == [2.0, 2.0] and teacher.running_mean.tolist() == [0.0, 0.0]
    MeanTeacherHook(momentum=0.5, skip_buffer=False).update(student, teacher)
    assert teacher.weight.tolist() == [2.5, 2.5] and teacher.running_mean.tolist() == [0.5, 0.5]
    assert int(teacher.num_batches_tracked) == 7


def test_the_teacher_moves_every_so_many_iterations(tmp_path):
    pairs = Pairs()
    train(without_validation(config(tmp_path, custom_hooks=[dict(type='MeanTeacherHook', interval=2)])), pairs)
    weights = [teacher['rpn_head.rpn_conv.weight'] for _, teacher in pairs.states]
    assert [torch.equal(a, b) for a, b in itertools.pairwise(weights)] == [True, False, True, False]


def test_a_resumed_training_goes_on_bit_for_bit(tmp_path):
    runner, whole = train(without_validation(config(tmp_path / 'whole')))
    (tmp_path / 'resumed').mkdir()
    shutil.copy(tmp_path / 'whole' / 'iter_2.pth', tmp_path / 'resumed')
    cfg = without_validation(config(tmp_path / 'resumed'))
    cfg.resume = True
    resumed_runner, resumed = train(cfg)
    assert resumed == {iteration: whole[iteration] for iteration in (2, 3)}
    for key, value in runner.model.state_dict().items():
        assert torch.equal(value, resumed_runner.model.state_dict()[key]), key


class Validation(Hook):
    """What is called in a validation, and what comes out."""

    def __init__(self):
        self.called = []

    def before_val_epoch(self, runner):
        for name in ('teacher', 'student'):
            part = getattr(runner.model, name)
            part.register_forward_hook(lambda *_, name=name: self.called.append(name))

    def after_val_epoch(self, runner, metrics=None):
        self.metrics = metrics


def test_both_are_validated(tmp_path):
    seen = Validation()
    cfg = config(tmp_path, iterations=1)
    cfg.default_hooks.checkpoint.save_best = 'teacher/coco/bbox_mAP'
    train(cfg, seen)
    assert seen.called == ['teacher', 'student']  # one batch each
    assert {'teacher/coco/bbox_mAP', 'student/coco/bbox_mAP'} <= set(seen.metrics)
    assert len(list(tmp_path.glob('best_teacher*.pth'))) == 1


def test_scores_to_choose_by_have_the_prefix_of_one_of_them(tmp_path):
    cfg = config(tmp_path)
    cfg.default_hooks.checkpoint.save_best = 'coco/bbox_mAP'
    message = "save_best='coco/bbox_mAP': .* did you mean 'teacher/coco/bbox_mAP'"
    with pytest.raises(ConfigError, match=message):
        launch(cfg, 'train')


def test_a_detector_alone_has_no_teacher(tmp_path):
    cfg = without_validation(tiny_config(tmp_path, custom_hooks=[dict(type='MeanTeacherHook')]))
    with pytest.raises(ConfigError, match=r'a student and a teacher are needed, .* got FasterRCNN'):
        launch(cfg, 'train')


@pytest.mark.parametrize(
    'overrides, message',
    [
        (
            dict(train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1, _delete_=True)),
            'train_dataloader.sampler: MultiSourceSampler never ends, but EpochBasedTrainLoop counts epochs',
        ),
        (
            dict(train_dataloader=dict(batch_size=2)),
            'MultiSourceSampler makes batches of batch_size=3, but train_dataloader has batch_size=2; give both',
        ),
    ],
)
def test_loops_and_samplers_fit_each_other(tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        launch(without_validation(config(tmp_path, **overrides)), 'train')


def test_channels_of_branches_are_checked(tmp_path):
    cfg = without_validation(config(tmp_path))
    cfg.model.detector.backbone.in_channels = 1
    with pytest.raises(ConfigError, match=r'shapes_\w+.png has 3 channels after the train_pipeline, .* takes 1'):
        launch(cfg, 'train')


def test_a_batch_of_branches_or_clips_names_each_image_once():
    samples = [DetDataSample(metainfo=dict(img_path=f'{name}.jpg')) for name in 'abc']
    branches = dict(sup=[samples[0], None], unsup_teacher=[None, samples[1]], unsup_student=[None, samples[1].clone()])
    assert batch_paths(dict(data_samples=branches)) == ['a.jpg', 'b.jpg']
    clip = TrackDataSample()
    clip.video_data_samples = samples
    assert batch_paths(dict(data_samples=[clip, samples[0]])) == ['a.jpg', 'b.jpg', 'c.jpg']


@pytest.mark.parametrize(
    'kwargs, message', [(dict(momentum=1.0), 'momentum must'), (dict(interval=0), 'interval must')]
)
def test_arguments_are_checked(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        MeanTeacherHook(**kwargs)
