"""Every config of the repository: it loads, its model builds, and where there is a recording it says the same."""

import contextlib
import gzip
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict

from mmdetlike.compat.openmmlab2 import translate_config
from mmdetlike.registry import MODELS, TRANSFORMS
from mmdetlike.utils import register_all_modules
from mmdetlike.utils.config import load_config
from mmdetlike.utils.published import published
from tests.compat import zoo_2x, zoo_3x

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(p for p in (ROOT / 'configs').glob('*/*.py') if p.parent.name != '_base_')
RECORDINGS = {
    p.name.removesuffix('.json.gz').replace('__', '/') + '.py': p
    for p in (ROOT / 'tests/data/reference/models').glob('*.json.gz')
}
# what was changed for the recordings: no pretrained weights, nothing drawn at random
RECORDING_ONLY = {
    'init_cfg': None,
    'teacher_ckpt': None,
    'pretrained': None,
    'num': 10**6,
    'pos_fraction': 0.5,
    'neg_pos_ub': -1,
    'drop_path_rate': 0.0,
    'dropout': 0.0,
    'ffn_drop': 0.0,
    'attn_drop': 0.0,
}
# keys, by family, in which we differ from the whole configs of the original on purpose
DECIDED_OTHERWISE = {
    # their cosine is 5 epochs longer than the part of the training that it is for, and evaluation stays rare at the
    # end; averages of an older file load too
    'yolox': ('param_scheduler.1.T_max', 'train_cfg.dynamic_intervals', 'custom_hooks.2.strict_load'),
    # 8 GPUs with 32 images each are 256, not 16; the recalls at 1 and 10 boxes are not shown
    'rtmdet': ('auto_scale_lr.base_batch_size', 'val_evaluator.proposal_nums', 'test_evaluator.proposal_nums'),
}
# folder -> what its configs need
OPTIONAL_PACKAGES = {'albu_example': 'albumentations', 'timm_example': 'timm'}
SAMPLER_KEYS = ('num', 'pos_fraction', 'add_gt_as_proposals')


def plain(value):
    """Settings as the recordings have them: tuples as lists, one process, samplers that take everything."""
    if value == 'SyncBN':
        return 'BN'
    if isinstance(value, dict):
        if value.get('type') == 'CombinedSampler':
            value = dict(type='RandomSampler', neg_pos_ub=-1, **{k: v for k, v in value.items() if k in SAMPLER_KEYS})
        return {key: RECORDING_ONLY.get(key, plain(inner)) for key, inner in value.items()}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize('path', CONFIGS, ids=lambda p: str(p.relative_to(ROOT / 'configs')))
def test_config_loads_and_its_model_builds(path):
    register_all_modules()
    cfg = load_config(path)
    if 'model' not in cfg:  # what others inherit
        assert path.parent.name == 'common' or path.stem.endswith(('schedule', '_tta'))
        return
    if path.parent.name in OPTIONAL_PACKAGES:
        pytest.importorskip(OPTIONAL_PACKAGES[path.parent.name])
    with torch.device('meta'):
        model = MODELS.build(ConfigDict(plain(cfg.model)))
    assert sum(p.numel() for p in model.parameters()) > 0
    for split in ('train', 'val', 'test'):
        for dataset in inner_datasets(cfg[f'{split}_dataloader'].dataset):
            for step in dataset.pipeline:
                TRANSFORMS.build(step)


@pytest.mark.slow
def test_necks_take_the_maps_of_their_backbones(monkeypatch):
    """Those of every config, each pair once; a model builds with a neck for other maps, too."""
    register_all_modules()
    # autocast knows no device meta
    monkeypatch.setattr(torch, 'autocast', lambda *args, **kwargs: contextlib.nullcontext())
    pairs = {}
    for path in CONFIGS:
        model = load_config(path).get('model', {})
        if path.parent.name not in OPTIONAL_PACKAGES and 'backbone' in (model := model.get('detector', model)):
            pair = plain([model.backbone, model.get('neck')])
            pairs.setdefault(json.dumps(pair, default=str), (path.stem, *pair))
    misfits = {name: error for name, *pair in pairs.values() if (error := misfit(*pair))}
    assert len(pairs) > 200
    assert misfits == {}


def misfit(backbone: dict, neck: dict | list | None) -> str:
    """What a neck, or the necks of a sequence, says to the maps of a backbone; nothing if it takes them."""
    necks = neck if isinstance(neck, list) else [neck] if neck else []
    with torch.device('meta'), torch.no_grad():
        stages = [MODELS.build(ConfigDict(part)).eval() for part in (backbone, *necks)]
        try:
            torch.nn.Sequential(*stages)(torch.zeros(1, 3, 512, 512))
        except (RuntimeError, ValueError) as error:
            return str(error)
    return ''


def inner_datasets(dataset):
    """The datasets that read something, without their wrappers, as RepeatDataset or ConcatDataset."""
    inner = dataset.get('datasets', [dataset.dataset] if 'dataset' in dataset else [])
    return [found for part in inner for found in inner_datasets(part)] if inner else [dataset]


@pytest.mark.parametrize('name', sorted(RECORDINGS))
def test_config_says_what_the_original_says(name):
    with gzip.open(RECORDINGS[name], 'rt') as file:
        recorded = json.load(file)['settings']
    ours = plain(load_config(ROOT / 'configs' / name).model.to_dict())
    assert dropped_nones(ours) == dropped_nones(plain(recorded))


@pytest.mark.parametrize('name', sorted(zoo_3x.shipped() & set(zoo_3x.recorded())))
def test_config_says_all_that_the_original_says(name):
    known = DECIDED_OTHERWISE.get(name.split('/')[0], ())
    assert [text for text in zoo_3x.differences(name) if not text.startswith(known)] == []


def recorded_in_2x() -> dict[str, str]:
    """Our configs of published weights that are recorded of 2.x alone -> the names of these recordings."""
    by_name = {name.split('__', 1)[1]: name for name in zoo_2x.recorded('configs2x')}
    alone = zoo_3x.shipped() - set(zoo_3x.recorded())
    entries = {entry.config.removesuffix('.py'): by_name.get(entry.old_name) for entry in published().values()}
    # its weights are in a folder of another model
    del entries['faster_rcnn/faster-rcnn_r50_fpn_bounded-iou_1x_coco']
    return {name: recording for name, recording in entries.items() if name in alone and recording}


@pytest.mark.parametrize('name, recording', sorted(recorded_in_2x().items()))
def test_a_model_that_2x_alone_has_recorded_is_what_that_says(name, recording):
    ours = zoo_2x.built(load_config(ROOT / 'configs' / f'{name}.py').model)
    theirs = zoo_2x.built(translate_config(zoo_2x.recorded('configs2x')[recording])['model'])
    assert zoo_2x.unlike(recording, ours, theirs) == []


def dropped_nones(value):
    if isinstance(value, dict):
        return {key: dropped_nones(inner) for key, inner in value.items() if inner is not None}
    return [dropped_nones(v) for v in value] if isinstance(value, list) else value
