"""Configs of Detectron2's model zoo by name: as recorded, all published ones, and detectors from them."""

import gzip
import json
import pickle
import warnings

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmdetlike import model_zoo
from mmdetlike.apis import init_detector
from mmdetlike.apis.foreign import foreign_detector
from mmdetlike.cli.foreign import config_file
from mmdetlike.compat.detectron2 import (
    convert_state_dict,
    model_config,
    whole_config,
    zoo_address,
    zoo_config,
    zoo_names,
)
from mmdetlike.errors import CheckpointError, ConfigError
from mmdetlike.registry import TRANSFORMS
from mmdetlike.utils.published import find_published, published
from tests.compat.zoo_2x import built
from tests.models.reference_tools import FOLDER, load, module

# what was recorded otherwise than the zoo has it, so that nothing is drawn and random weights find something
RECORDED_ANEW = (
    'MODEL.DEVICE',
    'MODEL.RPN.BATCH_SIZE_PER_IMAGE',
    'MODEL.RPN.POST_NMS_TOPK_TEST',
    'MODEL.RPN.POST_NMS_TOPK_TRAIN',
    'MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE',
)
LOWER_THRESHOLD = ('Misc/mask_rcnn_R_50_FPN_3x_gn.yaml', 'Misc/panoptic_fpn_R_101_dconv_cascade_gn_3x.yaml')
RECORDINGS = [path for path in sorted((FOLDER / 'foreign').glob('d2__*')) if 'Rotated' not in path.name]
OF_DETECTRON2 = [name for name, entry in published().items() if entry.addresses[0].startswith('detectron2:')]


def settings_of(cfg: dict, prefix: str = '') -> dict:
    """Every setting by its dotted key."""
    found = {}
    for key, value in cfg.items():
        found.update(settings_of(value, f'{prefix}{key}.') if isinstance(value, dict) else {prefix + key: value})
    return found


@pytest.mark.parametrize('path', RECORDINGS, ids=lambda path: path.name.removesuffix('.json.gz'))
def test_named_config_is_the_recorded_one(path):
    recording = json.loads(gzip.decompress(path.read_bytes()))
    theirs = settings_of(recording['cfg'])
    ours = settings_of(zoo_config(f'detectron2://{recording["config"]}'))
    anew = [*RECORDED_ANEW, *(['MODEL.ROI_HEADS.SCORE_THRESH_TEST'] if recording['config'] in LOWER_THRESHOLD else [])]
    shared = (ours.keys() & theirs.keys()) - set(anew)
    assert len(shared) > 140
    assert {key: ours[key] for key in shared} == {key: theirs[key] for key in shared}


def test_every_published_name_is_known():
    assert len(OF_DETECTRON2) == 64
    assert set(OF_DETECTRON2) <= set(zoo_names())


def test_programs_in_python_are_known_by_what_they_set():
    whole = whole_config(zoo_config('detectron2://new_baselines/mask_rcnn_R_101_FPN_200ep_LSJ.py'))
    model = whole['model']
    assert (model['backbone']['depth'], model['backbone']['frozen_stages']) == (101, -1)
    assert model['rpn_head']['num_convs'] == 2
    box_head = model['roi_head']['bbox_head']
    assert (box_head['num_shared_convs'], box_head['num_shared_fcs']) == (4, 1)
    assert box_head['norm_cfg'] == model['neck']['norm_cfg'] == dict(type='SyncBN')
    jitter = whole['train_dataloader']['dataset']['pipeline'][2]
    assert (jitter['scale'], jitter['ratio_range']) == ((1024, 1024), (0.1, 2.0))
    assert whole['train_cfg']['max_iters'] == 2 * 184375
    assert whole['optim_wrapper']['type'] == 'AmpOptimWrapper'
    assert whole['param_scheduler'][0]['end'] == 500


# what RegNetX-4GF and RegNetY-4GF are known by: widths and numbers of blocks of their stages
REGNETS = {
    'regnetx_4gf_dds': ([80, 240, 560, 1360], [2, 5, 14, 2], 40, 0),
    'regnety_4gf_dds': ([128, 192, 512, 1088], [2, 6, 12, 2], 64, 0.25),
}


def regnet_state(widths, depths, group_width, se_ratio):
    """Names and shapes of their state dict, each entry filled with its own number."""
    norm = ('weight', 'bias', 'running_mean', 'running_var')
    shapes = {'stem.conv.weight': (32, 3, 3, 3), **{f'stem.bn.{part}': (32,) for part in norm}}
    channels = 32
    for stage, (width, depth) in enumerate(zip(widths, depths), start=1):
        for block in range(1, depth + 1):
            name = f's{stage}.b{block}'
            convs = dict(a=(width, channels, 1, 1), b=(width, group_width, 3, 3), c=(width, width, 1, 1))
            shapes.update({f'{name}.f.{letter}.weight': shape for letter, shape in convs.items()})
            shapes.update({f'{name}.f.{letter}_bn.{part}': (width,) for letter in convs for part in norm})
            if block == 1:
                shapes[f'{name}.proj.weight'] = (width, channels, 1, 1)
                shapes.update({f'{name}.bn.{part}': (width,) for part in norm})
            if hidden := round(se_ratio * channels):
                for layer, out, inp in ((0, hidden, width), (2, width, hidden)):
                    shapes[f'{name}.f.se.f_ex.{layer}.weight'] = (out, inp, 1, 1)
                    shapes[f'{name}.f.se.f_ex.{layer}.bias'] = (out,)
            channels = width
    numbered = enumerate(shapes.items())
    return {f'backbone.bottom_up.{name}': torch.full(shape, float(number)) for number, (name, shape) in numbered}


@pytest.mark.parametrize('backbone', REGNETS)
def test_regnets_take_their_weights(backbone):
    model = built(model_config(zoo_config(f'new_baselines/mask_rcnn_{backbone}_FPN_100ep_LSJ')))
    state = regnet_state(*REGNETS[backbone])
    converted = convert_state_dict(state, model)
    own = {name for name in model.state_dict() if name.startswith('backbone.')}
    assert {name for name in converted if name.startswith('backbone.')} == own
    model.backbone.load_state_dict({name.removeprefix('backbone.'): converted[name] for name in own}, strict=True)
    theirs = state['backbone.bottom_up.s3.b2.f.b_bn.running_mean']
    assert torch.equal(converted['backbone.layer3.1.bn2.running_mean'], theirs)
    assert model.neck.lateral_convs[3].conv.in_channels == REGNETS[backbone][0][3]


@pytest.mark.slow
@pytest.mark.parametrize('name', zoo_names())
def test_named_config_builds(name):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        whole = whole_config(zoo_config(name))
    classes = zoo_config(name)['MODEL']['ROI_HEADS']['NUM_CLASSES']
    model = built(Config(whole).model)
    if getattr(model, 'roi_head', None) is not None:
        heads = model.roi_head.bbox_head
        assert (heads[0] if isinstance(heads, torch.nn.ModuleList) else heads).num_classes == classes
    for loader in ('train_dataloader', 'val_dataloader'):
        dataset = whole[loader]['dataset']
        for transform in dataset.get('datasets', [dataset])[0]['pipeline']:
            TRANSFORMS.build(transform)


@pytest.mark.parametrize(
    ('name', 'datasets', 'metric'),
    [
        ('LVISv1-InstanceSegmentation/mask_rcnn_R_50_FPN_1x', ['LVISV1Dataset'], 'LVISMetric'),
        ('LVISv0.5-InstanceSegmentation/mask_rcnn_R_50_FPN_1x', ['LVISV05Dataset'], 'LVISMetric'),
        ('Cityscapes/mask_rcnn_R_50_FPN', ['CityscapesDataset'], 'CocoMetric'),
        ('PascalVOC-Detection/faster_rcnn_R_50_C4', ['VOCDataset', 'VOCDataset'], 'VOCMetric'),
        ('COCO-Keypoints/keypoint_rcnn_R_50_FPN_3x', ['CocoDataset'], 'CocoMetric'),
    ],
)
@pytest.mark.filterwarnings('ignore:not translated')
def test_named_data_sets_have_their_own_classes_and_metric(name, datasets, metric):
    whole = whole_config(zoo_config(name))
    learned = whole['train_dataloader']['dataset']
    assert [part['type'] for part in learned.get('datasets', [learned])] == datasets
    assert whole['val_evaluator']['type'] == metric


@pytest.mark.filterwarnings('ignore:not translated')
def test_settings_of_training_reach_their_parts():
    lvis = whole_config(zoo_config('LVISv1-InstanceSegmentation/mask_rcnn_R_50_FPN_1x'))
    assert lvis['train_dataloader']['sampler'] == dict(type='RepeatFactorSampler', oversample_thr=0.001)
    precise = whole_config(zoo_config('Misc/scratch_mask_rcnn_R_50_FPN_9x_syncbn'))
    assert precise['custom_hooks'] == [dict(type='PreciseBNHook', interval=2500, num_iters=200)]
    largest = whole_config(zoo_config('Misc/cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv'))
    crop, resize = largest['train_dataloader']['dataset']['pipeline'][2:4]
    assert (crop['type'], crop['crop_type'], crop['crop_size']) == ('RandomCrop', 'relative_range', (0.9, 0.9))
    assert (resize['type'], resize['scale']) == ('RandomResize', [(1440, 640), (1440, 864)])


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('detectron2://COCO-Detection/faster_rcnn_R_50_FPN.yaml', 'did you mean COCO-Detection/faster_rcnn_R_50_FPN_'),
        (
            'detectron2://nowhere/x',
            r"has no config 'nowhere/x' that is known here; expected a folder of COCO-Detection",
        ),
    ],
)
def test_unknown_names_are_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        foreign_detector(name)


def test_settings_of_training_are_told_to_who_trains():
    name = 'detectron2://COCO-Detection/retinanet_R_50_FPN_1x.yaml'
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert foreign_detector(name).config.model.type == 'RetinaNet'
    with pytest.warns(UserWarning, match='not translated from the config of Detectron2: MODEL.WEIGHTS'):
        config_file(name)


@pytest.mark.filterwarnings('ignore:not translated')
def test_a_command_line_takes_the_name():
    path = config_file('detectron2://COCO-Detection/retinanet_R_50_FPN_1x.yaml')
    assert path.name == 'retinanet_R_50_FPN_1x.py'
    assert Config.fromfile(path).model.type == 'RetinaNet'


def test_weights_are_found_by_the_same_name():
    entry = find_published('detectron2://COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml')
    assert entry.url.endswith('/mask_rcnn_R_50_FPN_3x/137849600/model_final_f10217.pkl')
    assert zoo_address('detectron2://a/b.pkl') == 'https://dl.fbaipublicfiles.com/detectron2/a/b.pkl'
    assert zoo_address('/home/b.pkl') == '/home/b.pkl'


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:not translated')
def test_detector_by_name_takes_its_weights_from_a_file_and_from_the_zoo(tmp_path, monkeypatch):
    recording = load('d2__COCO-InstanceSegmentation__mask_rcnn_R_50_FPN_1x', FOLDER / 'foreign')
    state = {name: value.numpy() for name, value in module('fill_state').state(recording['state']).items()}
    path = tmp_path / 'checkpoints' / 'model_final_a54504.pkl'
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(dict(model=state)))
    # torch's cache folder, where a fetched file lies
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    name = 'detectron2://COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml'
    fetched = 'detectron2://COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x/137260431/model_final_a54504.pkl'
    for settings in (dict(checkpoint=path), dict(checkpoint=fetched), dict(pretrained=True)):
        model = init_detector(name, device='cpu', **settings)
        found = model.roi_head.mask_head.conv_logits.weight.detach().numpy()
        assert np.array_equal(found, state['roi_heads.mask_head.predictor.weight'])
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'empty'))
    monkeypatch.setattr('mmdetlike.utils.checkpoint.download', _offline)
    with pytest.raises(CheckpointError, match='offline'):
        init_detector(name, fetched, device='cpu')


def _offline(url, path):
    raise CheckpointError('offline')


@pytest.mark.filterwarnings('ignore:not translated')
def test_the_zoo_module_has_the_names_as_detectron2_writes_them():
    config = model_zoo.get_config('COCO-Detection/retinanet_R_50_FPN_1x.yaml', trained=True)
    assert config.model.type == 'RetinaNet'
    assert config.load_from.endswith('/190397773/model_final_bfca0b.pkl')
    with pytest.raises(ConfigError, match=r'expected detectron2://COCO-Detection/retinanet_R_50_FPN_1x as its config'):
        init_detector('COCO-Detection/retinanet_R_50_FPN_1x.yaml')
