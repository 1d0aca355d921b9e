"""Configs of OpenMMLab 2.x become ours, as far as recorded ones and small ones show."""

import copy
import json
import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdetlike.apis import init_detector
from mmdetlike.compat.openmmlab2 import translate, translate_config
from mmdetlike.errors import ConfigError
from mmdetlike.registry import PARAM_SCHEDULERS
from mmdetlike.utils import generation2
from mmdetlike.utils.checkpoint import load_weights
from mmdetlike.utils.config import load_config
from mmdetlike.utils.settings import check_settings, unread_options
from tests.compat.zoo_2x import PAGE, build_parts, built, count, recorded, unlike_3x
from tools.misc import convert_config

DOZEN = [
    'faster_rcnn__faster_rcnn_r50_fpn_1x_coco',
    'fast_rcnn__fast_rcnn_r50_caffe_fpn_1x_coco',
    'cascade_rcnn__cascade_mask_rcnn_r101_fpn_20e_coco',
    'deformable_detr__deformable_detr_r50_16x2_50e_coco',
    'detr__detr_r50_8x2_150e_coco',
    'mask2former__mask2former_r50_lsj_8x2_50e_coco',
    'maskformer__maskformer_r50_mstrain_16x1_75e_coco',
    'panoptic_fpn__panoptic_fpn_r50_fpn_1x_coco',
    'pascal_voc__retinanet_r50_fpn_1x_voc0712',
    'sparse_rcnn__sparse_rcnn_r50_fpn_300_proposals_crop_mstrain_480-800_3x_coco',
    'ssd__ssd300_coco',
    'yolact__yolact_r101_1x8_coco',
    'yolox__yolox_s_8x8_300e_coco',
]
FASTER = DOZEN[0]


def config_2x(name: str = FASTER) -> dict:
    return copy.deepcopy(recorded('configs2x')[name])


def written(folder, config: dict, name: str = 'old.json'):
    path = folder / name
    path.write_text(json.dumps(config))
    return path


@pytest.mark.parametrize('name', DOZEN)
def test_a_dozen_are_those_of_3x_and_their_parts_build(name):
    config = translate_config(config_2x(name))
    assert unlike_3x(name, built(config['model'])) == []
    build_parts(config)


@pytest.mark.slow
def test_the_docs_count_what_is_translated():
    sentence, problems = count()
    assert sentence in PAGE.read_text(), problems


def test_the_config_is_left_as_it_is():
    config = config_2x()
    translate_config(config)
    assert config == config_2x()


def test_data_of_a_config():
    loader = translate_config(config_2x())['train_dataloader']
    assert (loader['batch_size'], loader['num_workers'], loader['persistent_workers']) == (2, 2, True)
    assert loader['dataset'] == dict(
        type='CocoDataset',
        data_root='data/coco/',
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='Resize', scale=[1333, 800], keep_ratio=True),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ],
    )


@pytest.mark.parametrize('form', ['files', 'datasets'])
def test_several_test_sets_are_scored_apart(form):
    config = config_2x()
    dataset = config['data']['val']
    if form == 'files':
        dataset['ann_file'] = [dataset['ann_file'], 'b.json']
    else:
        config['data']['val'] = [dataset, {**dataset, 'ann_file': 'b.json'}]
    config['evaluation'] = dict(interval=1, metric='bbox', save_best='1_bbox_mAP')
    translated = translate_config(config)
    evaluator = translated['val_evaluator']
    assert evaluator['type'] == 'MultiDatasetsEvaluator' and evaluator['dataset_prefixes'] == ['0', '1']
    assert [metric['ann_file'] for metric in evaluator['metrics']] == [
        'data/coco/annotations/instances_val2017.json',
        'b.json',
    ]
    assert translated['default_hooks']['checkpoint']['save_best'] == '1/coco/bbox_mAP'


@pytest.mark.parametrize(
    ('kind', 'metric', 'expected'),
    [
        ('CustomDataset', 'mAP', 'VOCMetric'),
        ('MyDataset', ['recall'], 'VOCMetric'),
        ('MyDataset', 'bbox', 'CocoMetric'),
    ],
)
def test_the_name_of_a_metric_tells_which_one_scores_a_dataset_of_ones_own(kind, metric, expected):
    config = config_2x()
    config['data']['val']['type'] = kind
    config['evaluation'] = dict(metric=metric)
    assert translate_config(config)['val_evaluator']['type'] == expected


def test_test_sets_are_scored_together_where_2x_was_told_so():
    config = config_2x()
    dataset = config['data']['val']
    dataset.update(type='VOCDataset', ann_file=['a.txt', 'b.txt'], separate_eval=False)
    config['evaluation'] = dict(metric='mAP')
    assert translate_config(config)['val_evaluator']['type'] == 'VOCMetric'


def test_the_schedule_of_a_config():
    config = translate_config(config_2x())
    assert config['train_cfg'] == dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
    assert config['param_scheduler'] == [
        dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
        dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
    ]
    assert config['optim_wrapper']['optimizer'] == dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)


def schedule(lr_config: dict, momentum_config: dict | None = None, **runner) -> list[dict]:
    """The schedulers of a config with these settings."""
    config = {**config_2x(), 'lr_config': lr_config, 'momentum_config': momentum_config}
    config['runner'] = runner or dict(type='EpochBasedRunner', max_epochs=10)
    translated = translate_config(config)
    translated['param_scheduler'] = [dict(part) for part in translated['param_scheduler']]
    build_parts(translated)
    return translated['param_scheduler']


def followed(schedulers: list[dict], name: str, epochs: int, epoch_length: int) -> list[float]:
    """The value of each iteration under schedulers of epochs."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.02, momentum=0.9)
    built_ones = []
    for settings in schedulers:
        settings = dict(settings)
        cls = PARAM_SCHEDULERS.get(settings.pop('type'))
        settings.pop('convert_to_iter_based')
        built_ones.append(cls.build_iter_from_epoch(optimizer, **settings, epoch_length=epoch_length))
    seen = []
    for _ in range(epochs * epoch_length):
        seen.append(optimizer.param_groups[0][name])
        optimizer.step()
        for scheduler in built_ones:
            scheduler.step()
    return seen


def between(start: float, stop: float, progress: float) -> float:
    """What a cosine has reached on the way from ``start`` to ``stop``."""
    return stop + (start - stop) * (1 + math.cos(math.pi * progress)) / 2


def test_a_cycle_of_learning_rate_and_momentum():
    cyclic = dict(policy='cyclic', target_ratio=[10, 1e-4], cyclic_times=1, step_ratio_up=0.4)
    against = dict(policy='cyclic', target_ratio=[0.85 / 0.95, 1], cyclic_times=1, step_ratio_up=0.4)
    rate, momentum = schedule(cyclic, against)
    # as documented: every iteration, from 1 to the first ratio and from there to the second
    rates = [between(1, 10, t / 20) if t < 20 else between(10, 1e-4, (t - 20) / 30) for t in range(50)]
    assert followed([rate], 'lr', 10, 5) == pytest.approx([0.02 * factor for factor in rates])
    momenta = [between(1, 17 / 19, t / 20) if t < 20 else between(17 / 19, 1, (t - 20) / 30) for t in range(50)]
    assert followed([momentum], 'momentum', 10, 5) == pytest.approx([0.9 * factor for factor in momenta])


def test_later_cycles_swing_less_far():
    (rate,) = schedule(dict(policy='cyclic', target_ratio=[5, 1], cyclic_times=2, step_ratio_up=0.5, gamma=0.5))
    seen = followed([rate], 'lr', 10, 4)
    assert max(seen[:20]) == pytest.approx(0.1)
    assert max(seen[20:]) == pytest.approx(0.06)
    assert seen[20] == pytest.approx(0.02)


def test_one_cycle():
    one_cycle = dict(policy='OneCycle', max_lr=0.1, pct_start=0.3, div_factor=10)
    rate, momentum = schedule(one_cycle, dict(policy='OneCycle', base_momentum=0.85, max_momentum=0.95))
    seen = followed([rate], 'lr', 10, 10)
    assert seen[0] == pytest.approx(0.01)
    assert max(seen) == pytest.approx(0.1)
    assert seen[-1] == pytest.approx(0.01 / 1e4, abs=1e-6)
    momenta = followed([momentum], 'momentum', 10, 10)
    assert (momenta[0], min(momenta)) == pytest.approx((0.95, 0.85))


@pytest.mark.parametrize(
    ('policy', 'expected'),
    [
        (
            dict(policy='FlatCosineAnnealing', start_percent=0.75, min_lr_ratio=0.1),
            dict(type='CosineAnnealingLR', begin=7, end=10, by_epoch=True, T_max=3, eta_min=0.002),
        ),
        (
            dict(policy='CosineRestart', periods=[4, 6], restart_weights=[1, 0.5], min_lr=1e-5),
            dict(
                type='CosineRestartLR',
                begin=0,
                end=10,
                by_epoch=True,
                periods=[4, 6],
                restart_weights=[1, 0.5],
                eta_min=1e-5,
            ),
        ),
        (
            dict(policy='LinearAnnealing', min_lr=0.002),
            dict(type='LinearLR', begin=0, end=10, by_epoch=True, start_factor=1.0, end_factor=0.1),
        ),
    ],
)
def test_annealing(policy, expected):
    (found,) = schedule(policy)
    assert found == pytest.approx(expected) if 'periods' not in expected else found == expected


def test_schedules_of_iterations_and_of_momentum_by_steps():
    runner = dict(type='IterBasedRunner', max_iters=100)
    steps = dict(policy='step', step=[50, 80], gamma=0.9)
    rate, momentum = schedule(dict(policy='cyclic', by_epoch=False), steps, **runner)
    assert (rate['by_epoch'], rate['end'], 'convert_to_iter_based' in rate) == (False, 100, False)
    assert [phase['length'] for phase in rate['phases']] == [40, 60]
    span = dict(begin=0, end=100, by_epoch=False)
    assert momentum == dict(type='MultiStepMomentum', milestones=[50, 80], gamma=0.9, **span)


def test_yolox_gets_its_three_schedulers_and_averages():
    config = translate_config(config_2x('yolox__yolox_s_8x8_300e_coco'))
    each = dict(by_epoch=True, convert_to_iter_based=True)
    assert config['param_scheduler'] == [
        dict(type='QuadraticWarmupLR', begin=0, end=5, **each),
        dict(type='CosineAnnealingLR', eta_min=0.0005, begin=5, T_max=285, end=285, **each),
        dict(type='ConstantLR', by_epoch=True, factor=1, begin=285, end=300),
    ]
    average = dict(type='EMAHook', ema_type='ExpMomentumEMA', update_buffers=True, momentum=0.0001, priority=49)
    assert config['custom_hooks'][-1] == average


def train_step(step: dict) -> list[dict]:
    config = config_2x()
    config['data']['train']['pipeline'].insert(2, step)
    translated = translate_config(config)['train_dataloader']['dataset']['pipeline']
    return [each for each in translated if each['type'] == step['type']]


sides = st.integers(1, 2000)


@given(height=sides, width=sides)
def test_height_and_width_are_turned_round(height, width):
    size = [height, width]
    assert train_step(dict(type='RandomCrop', crop_size=size))[0]['crop_size'] == [width, height]
    assert train_step(dict(type='Mosaic', img_scale=size))[0]['img_scale'] == [width, height]
    kept = train_step(dict(type='RandomCrop', crop_size=size, crop_type='absolute_range'))
    assert kept[0]['crop_size'] == size


@pytest.mark.parametrize(
    ('step', 'expected'),
    [
        (dict(img_scale=[[800, 600], [900, 600]], multiscale_mode='value'), dict(type='RandomChoiceResize')),
        (dict(img_scale=[[800, 600], [900, 600]]), dict(type='RandomResize', scale=[[800, 600], [900, 600]])),
        (dict(img_scale=[640, 640], ratio_range=[0.5, 2]), dict(type='RandomResize', ratio_range=[0.5, 2])),
        (dict(img_scale=[[640, 480]]), dict(type='Resize', scale=[640, 480], keep_ratio=True)),
    ],
)
def test_the_kinds_of_resize(step, expected):
    config = config_2x()
    config['data']['train']['pipeline'][2] = dict(type='Resize', **step)
    resize = translate_config(config)['train_dataloader']['dataset']['pipeline'][2]
    assert expected.items() <= resize.items()


def test_versions_of_a_test_are_for_tta():
    config = config_2x()
    config['data']['test']['pipeline'][1].update(img_scale=[[1333, 800], [2000, 1200]], flip=True)
    translation = translate(config)
    (step,) = translation.config['tta_pipeline'][1:]
    assert [resize['scale'] for resize in step['transforms'][0]] == [[1333, 800], [2000, 1200]]
    assert [flip['prob'] for flip in step['transforms'][1]] == [0.0, 1.0]
    assert any('--tta runs' in note for note in translation.notes)
    assert translation.config['test_dataloader']['dataset']['pipeline'][1]['scale'] == [1333, 800]


@pytest.mark.parametrize(
    ('change', 'place'),
    [
        (dict(lr_config=dict(policy='inv')), "lr_config.policy='inv': expected one of fixed, step"),
        (dict(lr_config=dict(policy='cyclic', warmup='linear')), "lr_config.warmup='linear'"),
        (dict(runner=dict(type='MyRunner')), "runner.type='MyRunner': expected EpochBasedRunner or IterBasedRunner"),
        (dict(optimizer_config=dict(grad_clip=None, my_key=3)), 'optimizer_config.my_key=3'),
        (dict(log_config=dict(hooks=[dict(type='MyLogger')])), r"log_config.hooks\[0\].type='MyLogger'"),
        (dict(fp16=dict(loss_scale=512.0, opt_level='O1')), "fp16.opt_level='O1'"),
        (dict(momentum_config=dict(policy='poly')), "momentum_config.policy='poly': expected one of step, cosine"),
    ],
)
def test_what_cannot_be_translated_is_named_with_its_path(change, place):
    with pytest.raises(ConfigError, match=place):
        translate_config({**config_2x(), **change})


@pytest.mark.parametrize(
    ('step', 'place'),
    [
        (
            dict(type='Normalize', mean=[0, 0, 0], std=[1, 1, 1], gamma=2),
            r'pipeline\[1\]\.gamma=2: Normalize of 2\.x has no',
        ),
        (dict(type='Resize', img_scale=(8, 8), multiscale_mode='x'), "multiscale_mode='x': expected range or value"),
        (dict(type='Collect', keys=['img'], x=3), r'pipeline\[1\]\.x=3: Collect of 2\.x has no'),
    ],
)
def test_arguments_of_steps_are_not_dropped(step, place):
    config = config_2x()
    config['data']['train']['pipeline'] = [dict(type='LoadImageFromFile'), step]
    with pytest.raises(ConfigError, match=place):
        translate_config(config)


def test_what_a_pipeline_collects_of_its_own_is_told():
    config = config_2x()
    collect = dict(type='Collect', keys=['img', 'gt_bboxes', 'depth'], meta_keys=('img_shape', 'camera'))
    config['data']['train']['pipeline'] = [dict(type='LoadImageFromFile'), collect]
    (note,) = [note for note in translate(config).notes if 'of its own' in note]
    assert note.startswith('data.train.pipeline[1]: depth, camera of its own: PackDetInputs packs more by')


def test_all_of_what_cannot_be_translated_is_named_at_once():
    config = {
        **config_2x(),
        'lr_config': dict(policy='inv'),
        'runner': dict(type='EpochBasedRunner', max_epochs=1, x=2),
    }
    with pytest.raises(ConfigError, match=r'runner\.x=2.*lr_config\.policy'):
        translate_config(config)


@pytest.mark.parametrize('data', [3, dict(train=3), dict(train=dict(type='CocoDataset', pipeline=[3]))])
def test_a_config_of_no_form_is_told(data):
    with pytest.raises(ConfigError, match=r'this config of OpenMMLab 2\.x'):
        translate_config({**config_2x(), 'data': data})


# -- reading files -----------------------------------------------------------------------------------------------------


def test_a_file_is_translated_with_one_notice(tmp_path, monkeypatch):
    notices = []
    monkeypatch.setattr(generation2, 'print_log', lambda text, *args, **kwargs: notices.append(text))
    path = written(tmp_path, config_2x())
    config = load_config(path)
    check_settings(config)
    (notice,) = notices
    assert f'{path} is of OpenMMLab 2.x and has been translated' in notice
    assert f'tools/misc/convert_config.py {path} NEW.py' in notice
    assert config.train_dataloader.batch_size == 2
    assert 'optimizer' not in config


def test_options_may_be_of_either_generation(tmp_path):
    options = {
        'data.samples_per_gpu': 5,
        'model.roi_head.bbox_head.num_classes': 3,
        'val_dataloader.batch_size': 4,
        'load_from': 'x.pth',
    }
    config = load_config(written(tmp_path, config_2x()), options)
    assert config.train_dataloader.batch_size == 5
    assert config.model.roi_head.bbox_head.num_classes == 3
    assert config.val_dataloader.batch_size == 4
    assert config.load_from == 'x.pth'
    assert unread_options(config, options) == []


@pytest.mark.parametrize('key', ['train_dataloader', 'optim_wrapper', 'default_hooks', 'param_scheduler'])
def test_a_half_translated_config_is_refused_as_before(key, tmp_path):
    config = {**config_2x(), key: translate_config(config_2x())[key]}
    loaded = load_config(written(tmp_path, config))
    assert 'data' in loaded
    with pytest.raises(ConfigError, match=r'keys of OpenMMLab 2\.x configs, which have no effect'):
        check_settings(loaded)


def test_a_detector_is_built_of_a_config_of_2x(tmp_path):
    config = config_2x()
    config['model']['backbone'].update(depth=18, base_channels=8)
    config['model']['neck']['in_channels'] = [8, 16, 32, 64]
    model = init_detector(str(written(tmp_path, config)), device='cpu')
    assert model.dataset_meta['classes'][:2] == ('person', 'bicycle')


def test_the_tool_writes_what_is_read_again(tmp_path, capsys):
    source = written(tmp_path, config_2x())
    out = tmp_path / 'new.py'
    convert_config.main([str(source), str(out)])
    assert load_config(out).to_dict() == load_config(source).to_dict()
    with pytest.raises(ConfigError, match=re.escape(f'{out} exists')):
        convert_config.main([str(source), str(out)])
    with pytest.raises(ConfigError, match=r'is not a whole config of OpenMMLab 2\.x'):
        convert_config.main([str(out), str(tmp_path / 'again.py')])


# -- checkpoints -------------------------------------------------------------------------------------------------------

OLD_NAMES = {
    'detr__detr_r50_8x2_150e_coco': {
        'bbox_head.transformer.encoder.layers.0.attentions.0.attn.in_proj_weight': (
            'encoder.layers.0.self_attn.attn.in_proj_weight'
        ),
        'bbox_head.transformer.decoder.layers.3.attentions.1.attn.out_proj.bias': (
            'decoder.layers.3.cross_attn.attn.out_proj.bias'
        ),
        'bbox_head.transformer.decoder.layers.3.ffns.0.layers.1.bias': 'decoder.layers.3.ffn.layers.1.bias',
        'bbox_head.transformer.decoder.post_norm.weight': 'decoder.post_norm.weight',
        'bbox_head.query_embedding.weight': 'query_embedding.weight',
        'bbox_head.input_proj.bias': 'neck.convs.0.conv.bias',
    },
    'deformable_detr__deformable_detr_r50_16x2_50e_coco': {
        'bbox_head.transformer.level_embeds': 'level_embed',
        'bbox_head.transformer.reference_points.weight': 'reference_points_fc.weight',
        'bbox_head.transformer.encoder.layers.5.attentions.0.value_proj.bias': (
            'encoder.layers.5.self_attn.value_proj.bias'
        ),
    },
    'mask2former__mask2former_r50_lsj_8x2_50e_coco': {
        'panoptic_head.transformer_decoder.layers.0.attentions.0.attn.in_proj_bias': (
            'panoptic_head.transformer_decoder.layers.0.cross_attn.attn.in_proj_bias'
        ),
        'panoptic_head.pixel_decoder.encoder.layers.1.attentions.0.output_proj.bias': (
            'panoptic_head.pixel_decoder.encoder.layers.1.self_attn.output_proj.bias'
        ),
    },
    'maskformer__maskformer_r50_mstrain_16x1_75e_coco': {
        'panoptic_head.transformer_decoder.layers.0.attentions.0.attn.in_proj_bias': (
            'panoptic_head.transformer_decoder.layers.0.self_attn.attn.in_proj_bias'
        ),
    },
    'yolact__yolact_r101_1x8_coco': {'segm_head.segm_conv.weight': 'mask_head.segm_branch.segm_conv.weight'},
}


@pytest.mark.parametrize('name', OLD_NAMES)
def test_parameters_of_2x_are_loaded_by_their_old_names(name):
    model = built(translate_config(config_2x(name))['model']).to_empty(device='cpu')
    state = model.state_dict()
    for old, new in OLD_NAMES[name].items():
        state[old] = torch.full_like(state.pop(new), 7.0)
    load_weights(model, dict(state_dict=state), 'old.pth')
    assert all((model.state_dict()[new] == 7).all() for new in OLD_NAMES[name].values())
