"""Detectron2's YAML files and pickles: bases, defaults, what is refused; a detector from both."""

import collections
import io
import os
import pickle
import re

import numpy as np
import pytest
import torch

from mmdetlike.apis import inference_detector, init_detector
from mmdetlike.compat.detectron2 import is_detectron2_config, model_config, read_config, read_pickle, whole_config
from mmdetlike.compat.detectron2.backbone_weights import in_a_detector
from mmdetlike.compat.detectron2.lists import evaluate
from mmdetlike.compat.detectron2.whole import untranslated_settings
from mmdetlike.errors import CheckpointError, ConfigError
from mmdetlike.registry import TRANSFORMS
from tests.models.reference_tools import FOLDER, load, module

BASE = """
MODEL:
  META_ARCHITECTURE: "RetinaNet"
  BACKBONE:
    NAME: "build_retinanet_resnet_fpn_backbone"
  RESNETS:
    OUT_FEATURES: ["res3", "res4", "res5"]
  ANCHOR_GENERATOR:
    SIZES: !!python/object/apply:eval ["[[x, x * 2**(1.0/3), x * 2**(2.0/3) ] for x in [32, 64, 128, 256, 512 ]]"]
  FPN:
    IN_FEATURES: ["res3", "res4", "res5"]
  RETINANET:
    SMOOTH_L1_LOSS_BETA: 0.0
SOLVER:
  IMS_PER_BATCH: 16
  BASE_LR: 0.01
  STEPS: (60000, 80000)
  MAX_ITER: 90000
INPUT:
  MIN_SIZE_TRAIN: (640, 672, 704, 736, 768, 800)
VERSION: 2
"""
CHILD = """
_BASE_: "../Base-RetinaNet.yaml"
MODEL:
  WEIGHTS: "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
  MASK_ON: False
  RESNETS:
    DEPTH: 50
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / 'Base-RetinaNet.yaml').write_text(BASE)
    path = tmp_path / 'COCO-Detection' / 'retinanet_R_50_FPN_1x.yaml'
    path.parent.mkdir()
    path.write_text(CHILD)
    return path


def test_bases_and_defaults_make_the_resolved_config(config):
    recorded = load('d2__COCO-Detection__retinanet_R_50_FPN_1x', FOLDER / 'foreign')['cfg']
    found = read_config(config)
    assert is_detectron2_config(config)
    # which the recording changed so that nothing is drawn
    drawn = ('RPN', 'ROI_HEADS', 'DEVICE')
    assert {k: v for k, v in found['MODEL'].items() if k not in drawn} == {
        k: v for k, v in recorded['MODEL'].items() if k not in drawn
    }
    assert found['SOLVER']['STEPS'] == recorded['SOLVER']['STEPS'] == [60000, 80000]
    assert found['MODEL']['RPN']['BATCH_SIZE_PER_IMAGE'] == 256


def test_whole_config_has_the_schedule(config):
    whole = whole_config(read_config(config))
    assert whole['train_cfg']['max_iters'] == 90000
    assert whole['param_scheduler'][1]['milestones'] == [60000, 80000]
    assert whole['optim_wrapper']['optimizer']['lr'] == 0.01
    assert whole['train_dataloader']['dataset']['pipeline'][2]['scales'][0] == (1333, 640)


@pytest.mark.parametrize(
    ('name', 'dataset', 'metrics'),
    [
        (
            'COCO-PanopticSegmentation__panoptic_fpn_R_50_1x',
            'CocoPanopticDataset',
            ['CocoPanopticMetric', 'CocoMetric'],
        ),
        ('Misc__semantic_R_50_FPN_1x', 'BaseSegDataset', ['SemSegMetric']),
        ('COCO-Detection__retinanet_R_50_FPN_1x', 'CocoDataset', ['CocoMetric']),
    ],
)
@pytest.mark.filterwarnings('ignore:not translated')
def test_whole_config_reads_and_evaluates_what_the_model_learns(name, dataset, metrics):
    whole = whole_config(load(f'd2__{name}', FOLDER / 'foreign')['cfg'])
    assert whole['train_dataloader']['dataset']['type'] == whole['val_dataloader']['dataset']['type'] == dataset
    evaluator = whole['val_evaluator']
    assert [metric['type'] for metric in (evaluator if isinstance(evaluator, list) else [evaluator])] == metrics
    for loader in ('train_dataloader', 'val_dataloader'):
        for transform in whole[loader]['dataset']['pipeline']:
            TRANSFORMS.build(transform)


def test_settings_that_are_left_out_are_named(config):
    cfg = read_config(config)
    (weights,) = untranslated_settings(cfg)
    assert weights.startswith("MODEL.WEIGHTS='detectron2://ImageNetPretrained/MSRA/R-50.pkl'")
    cfg['MODEL']['WEIGHTS'] = ''
    assert untranslated_settings(cfg) == []
    cfg['SOLVER']['LR_SCHEDULER_NAME'] = 'WarmupStepWithFixedGammaLR'
    cfg['TEST']['AUG']['ENABLED'] = True
    cfg['DATASETS']['TRAIN'] = ['mine_train']
    with pytest.warns(UserWarning, match=r'LR_SCHEDULER_NAME=.*TEST.AUG.ENABLED=True .*; DATASETS=mine_train'):
        whole_config(cfg)


def test_settings_of_the_solver_are_translated(config):
    cfg = read_config(config)
    cfg['MODEL']['WEIGHTS'] = ''
    cfg['SOLVER'].update(LR_SCHEDULER_NAME='WarmupCosineLR', BASE_LR_END=0.001, WARMUP_METHOD='constant')
    cfg['SOLVER'].update(BIAS_LR_FACTOR=2.0, WEIGHT_DECAY_BIAS=0.0)
    cfg['SOLVER']['CLIP_GRADIENTS']['ENABLED'] = True
    whole = whole_config(cfg)
    assert [schedule['type'] for schedule in whole['param_scheduler']] == ['ConstantLR', 'CosineAnnealingLR']
    assert whole['param_scheduler'][1]['eta_min'] == 0.001
    wrapper = whole['optim_wrapper']
    assert wrapper['clip_grad'] == dict(type='value', clip_value=1.0)
    assert wrapper['paramwise_cfg'] == dict(norm_decay_mult=0.0, bias_lr_mult=2.0, bias_decay_mult=0.0)
    cfg['SOLVER']['CLIP_GRADIENTS']['CLIP_TYPE'] = 'norm'
    assert whole_config(cfg)['optim_wrapper']['clip_grad'] == dict(
        type='norm_per_parameter', max_norm=1.0, norm_type=2.0
    )


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('_BASE_: nowhere.yaml', 'nowhere.yaml, the _BASE_ of'),
        ('_BASE_: config.yaml', 'is its own _BASE_'),
        ('MODEL:\n  RESNET:\n    DEPTH: 50', 'MODEL.RESNET is no setting of Detectron2'),
        ('MODEL:\n  RPN: 3', 'MODEL.RPN is 3, expected settings below it'),
        ('MODEL: !!python/object/apply:os.system ["true"]', 'is no Detectron2 config that can be read'),
        ('MODEL:\n  A: !!python/object/apply:eval ["__import__(\'os\')"]', 'is more than a list of numbers'),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path, text, message):
    path = tmp_path / 'config.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_config(path)


@pytest.mark.parametrize('text', ['9 ** 9 ** 9', '[1] * 10', 'x', '"a"', '[x for x in [1] if x]', 'f(1)'])
def test_only_lists_of_numbers_are_computed(text):
    with pytest.raises(ValueError, match='more than a list of numbers'):
        evaluate(text)


def test_pickle_of_arrays_is_read(tmp_path):
    path = tmp_path / 'model_final.pkl'
    weights = collections.OrderedDict(a=np.arange(6, dtype=np.float32).reshape(2, 3), b=np.array(2.5))
    path.write_bytes(pickle.dumps(dict(model=weights, __author__='Detectron2 Model Zoo')))
    found = read_pickle(path)
    assert torch.equal(found['a'], torch.arange(6.0).reshape(2, 3))
    assert float(found['b']) == 2.5


def test_pickle_that_names_code_is_refused_and_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'made'),)

    path = tmp_path / 'evil.pkl'
    path.write_bytes(pickle.dumps(dict(model=Evil())))
    with pytest.raises(CheckpointError, match=r'evil.pkl is not read: it holds posix.mkdir; only arrays, tensors'):
        read_pickle(path)
    assert not (tmp_path / 'made').exists()


def test_pickle_of_tensors_is_read(tmp_path):
    path = tmp_path / 'model_final.pkl'
    weights = dict(a=torch.arange(6.0).reshape(2, 3).T, b=torch.nn.Parameter(torch.ones(2)))
    path.write_bytes(pickle.dumps(dict(model=weights)))
    found = read_pickle(path)
    assert torch.equal(found['a'], weights['a'])
    assert found['b'].tolist() == [1, 1] and not found['b'].requires_grad


@pytest.mark.parametrize('key', ['model', 'blobs'])
def test_a_backbone_under_caffe2s_names_is_read(tmp_path, key):
    path = tmp_path / 'R-50.pkl'
    names = {
        'conv1_w': 'stem.conv1.weight',
        'res_conv1_bn_s': 'stem.conv1.norm.weight',
        'res2_0_branch1_w': 'res2.0.shortcut.weight',
        'res2_0_branch2a_bn_b': 'res2.0.conv1.norm.bias',
        'res5_2_branch2c_gn_s': 'res5.2.conv3.norm.weight',
        'res3_1_branch2b_bn_riv': 'res3.1.conv2.norm.running_var',
    }
    weights = {name: np.full(2, i, np.float32) for i, name in enumerate(names)}
    path.write_bytes(pickle.dumps({key: {**weights, 'fc1000_w': np.zeros(1), 'conv1_w_momentum': np.zeros(1)}}))
    found = read_pickle(path)
    assert {name: value[0].item() for name, value in found.items()} == {n: i for i, n in enumerate(names.values())}
    path.write_bytes(pickle.dumps({key: {**weights, 'rpn_cls_logits_fpn2_w': np.zeros(1)}}))
    with pytest.raises(CheckpointError, match="Caffe2's names, as rpn_cls_logits_fpn2_w: expected Detectron2's, or"):
        read_pickle(path)


def test_a_backbone_alone_is_a_part_of_a_detector():
    state = {name: torch.ones(1) for name in ('stem.conv1.weight', 'res5.0.conv1.weight', 'fc.weight')}
    in_backbone = in_a_detector(state, with_res5_in_head=False)
    assert set(in_backbone) == {'backbone.stem.conv1.weight', 'backbone.res5.0.conv1.weight'}
    in_head = in_a_detector(state, with_res5_in_head=True)
    assert set(in_head) == {'backbone.stem.conv1.weight', 'roi_heads.res5.0.conv1.weight'}
    assert in_a_detector({'backbone.bottom_up.stem.conv1.weight': 1}, False) == {
        'backbone.bottom_up.stem.conv1.weight': 1
    }


def test_a_tensor_whose_numbers_name_code_is_refused(tmp_path):
    inner = io.BytesIO()
    torch.save(Evil(), inner, _use_new_zipfile_serialization=False)

    class Storage:
        def __reduce__(self):
            return torch.storage._load_from_bytes, (inner.getvalue(),)

    path = tmp_path / 'evil.pkl'
    path.write_bytes(pickle.dumps(dict(model=dict(a=Storage()))))
    with pytest.raises(CheckpointError, match=r'not read: it holds a tensor whose content is more than numbers'):
        read_pickle(path)


class Evil:
    """Calls ``eval`` where it is unpickled."""

    def __reduce__(self):
        return eval, ('1 / 0',)


def dumped(value) -> bytes:
    return pickle.dumps(dict(model=value))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'is no whole pickle'),
        (b'not a pickle', 'is no whole pickle'),
        (pickle.dumps([1]), 'holds a list'),
        (dumped({3: np.zeros(2)}), r'holds \[3\], expected names of parameters'),
        (dumped({'a': 3.0}), 'a is a float, expected an array of numbers'),
        (dumped({'a': {'b': np.zeros(2)}}), 'a is a dict, expected an array of numbers'),
        (dumped({'a': np.array(['x'])}), 'a is a ndarray of <U1, expected an array of numbers'),
        (dumped({'a': np.array([Evil()], object)}), 'is not read: it holds builtins.eval'),
        # names with a dot would lead anywhere from what is allowed
        (b'\x80\x04\x8c\x05numpy\x8c\x0bndarray.dot\x93.', 'is not read: it holds numpy.ndarray.dot'),
        # an array of 128 TiB
        (b'\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93\x8a\x06\0\0\0\0\0\x10\x85R.', 'is no whole pickle: MemoryError'),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / 'x.pkl'
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf'x\.pkl:? {message}'):
        read_pickle(path)


@pytest.mark.slow
def test_detector_from_yaml_and_pickle(config, tmp_path):
    recording = load('d2__COCO-Detection__retinanet_R_50_FPN_1x', FOLDER / 'foreign')
    state = {name: value.numpy() for name, value in module('fill_state').state(recording['state']).items()}
    path = tmp_path / 'model_final.pkl'
    path.write_bytes(pickle.dumps(dict(model=state)))
    model = init_detector(config, path, device='cpu')
    assert model.dataset_meta['classes'][0] == 'person'
    assert np.array_equal(model.bbox_head.retina_cls.weight.detach().numpy(), state['head.cls_score.weight'])
    picture = module('fill').images(1)[0].permute(1, 2, 0).numpy()
    assert len(inference_detector(model, picture).pred_instances) > 0


@pytest.mark.slow
def test_detector_from_torchvision_name(tmp_path):
    recording = load('tv__fcos_resnet50_fpn', FOLDER / 'foreign')
    state = module('fill_state').state(recording['state'])
    torch.save(state, tmp_path / 'fcos.pth')
    name = 'torchvision://fcos_resnet50_fpn?min_size=192&max_size=256&weights=COCO_V1'
    model = init_detector(name, tmp_path / 'fcos.pth', device='cpu')
    assert model.dataset_meta['classes'][0] == 'person'
    assert model.dataset_meta['classes'][11:13] == ('unused_12', 'stop sign')
    assert model.dataset_meta['classes'][89] == 'toothbrush'
    assert torch.equal(model.bbox_head.conv_reg.weight, state['head.regression_head.bbox_reg.weight'])
    picture = module('fill').images(1)[0].permute(1, 2, 0).numpy()
    found = inference_detector(model, picture).pred_instances
    wanted = recording['predict'][0]['scores']
    assert found.scores[:5].tolist() == pytest.approx(wanted[:5], abs=1e-4)


def test_a_key_without_meaning_is_told_and_a_wrong_value_refused(config):
    config.write_text(f'{CHILD}SOLVR: {{BASE_LR: 0.1}}\nWANDB: {{RUN: {{NAME: x}}}}\nSOLVER: {{WEIGHT_DECAY: 1e-4}}\n')
    cfg = read_config(config)
    cfg['MODEL']['WEIGHTS'] = ''
    cfg['MODEL']['RETINANET']['PRIOR_PROB'] = 0.02
    cfg['MODEL']['ROI_MASK_HEAD']['NUM_CONV'] = 4  # of a part that a RetinaNet doesn't have
    told = "without effect on this model: MODEL.RETINANET.PRIOR_PROB=0.02, SOLVR.BASE_LR=0.1, WANDB.RUN.NAME='x'$"
    with pytest.warns(UserWarning, match=told):
        assert whole_config(cfg)['optim_wrapper']['optimizer']['weight_decay'] == 1e-4


@pytest.mark.filterwarnings('error')
def test_settings_of_the_run_are_translated(config, tmp_path):
    weights = tmp_path / 'mine.pkl'
    weights.touch()
    cfg = read_config(config)
    cfg['MODEL']['WEIGHTS'] = str(weights)
    cfg.update(SEED=3, OUTPUT_DIR='out', VIS_PERIOD=20, CUDNN_BENCHMARK=True)
    whole = whole_config(cfg)
    assert whole['load_from'] == str(weights)
    assert whole['randomness'] == dict(seed=3)
    assert whole['work_dir'] == 'out'
    assert whole['env_cfg'] == dict(cudnn_benchmark=True)
    assert whole['custom_hooks'] == [dict(type='BatchPicturesHook', interval=20)]
    assert whole['train_dataloader']['batch_sampler'] == dict(type='AspectRatioBatchSampler')
    cfg['DATALOADER']['ASPECT_RATIO_GROUPING'] = False
    assert 'batch_sampler' not in whole_config(cfg)['train_dataloader']


@pytest.mark.parametrize(
    'text, message',
    [
        ('SOLVER: {BASE_LR: fast}', r"SOLVER\.BASE_LR is 'fast', expected a number, as 0\.001"),
        ('SOLVER: {AMP: {ENABLED: 1}}', r'SOLVER\.AMP\.ENABLED is 1, expected True or False'),
        ('SOLVER: {AMPX: {ENABLED: 1}}', r'SOLVER\.AMPX is no setting of Detectron2'),
        ('INPUT: {MIN_SIZE_TRAIN: 800}', r'INPUT\.MIN_SIZE_TRAIN is 800, expected a list, as \[800\]'),
        ('INPUT: 3', 'INPUT is 3, expected settings below it$'),
        ('MODEL: {RPN: {HEAD_NAME: 5}}', r'MODEL\.RPN\.HEAD_NAME is 5, expected text'),
        ('_BASE_: [a.yaml, b.yaml]', r"_BASE_ is \['a\.yaml', 'b\.yaml'\], expected the path of one file"),
        ('_BASE_: other.yaml', r'mine\.yaml is its own _BASE_'),
    ],
)
def test_what_a_file_may_not_say(text, message, tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text(f'{text}\n')
    (tmp_path / 'other.yaml').write_text('_BASE_: mine.yaml\n')
    with pytest.raises(ConfigError, match=message):
        read_config(path)


@pytest.mark.parametrize('part, key', [('ROI_BOX_HEAD', 'NAME'), ('ROI_KEYPOINT_HEAD', 'NAME'), ('RPN', 'HEAD_NAME')])
def test_heads_of_ones_own_are_refused(part, key):
    cfg = load('d2__COCO-Keypoints__keypoint_rcnn_R_50_FPN_1x', FOLDER / 'foreign')['cfg']
    cfg['MODEL'][part][key] = 'MyHead'
    with pytest.raises(ConfigError, match=rf"MODEL\.{part}\.{key} is 'MyHead', which has no counterpart here"):
        model_config(cfg)
