"""Each part but the model that a recorded config of OpenMMLab 3.x names exists here and builds with its arguments.

Equal arguments are built once. Of ``tests/data/openmmlab3`` no config is about tracking or about detectors that read
text: their types are those of ``EXCEPTED``, which aren't here.
"""

import functools
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import default_collate
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from torch import nn
from torch.utils.data import DataLoader

from mmdetlike.datasets import ConcatDataset, ShapesDataset
from mmdetlike.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    MODELS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
)
from mmdetlike.utils import register_all_modules
from tests.compat.zoo_3x import recorded
from tests.test_base_datasets import lazy, open_images  # noqa: F401

# of tracking, of captions and phrases, and of models of other packages: no recorded config may name one
EXCEPTED = {
    *('ReIDDataset', 'TrackImgSampler', 'TrackAspectRatioBatchSampler', 'ReIDMetrics', 'YouTubeVISMetric'),
    *('MOTChallengeMetric', 'CocoVideoMetric', 'TrackVisualizationHook', 'GroundingVisualizationHook'),
    *('CocoCaptionDataset', 'RefCocoDataset', 'ODVGDataset', 'Flickr30kDataset', 'COCOCaptionMetric', 'RefSegMetric'),
    *('ODVGMetric', 'DODCocoMetric', 'gRefCOCOMetric', 'Flickr30kMetric', 'DumpODVGResults', 'RandomSamplingNegPos'),
}
MET_ONLY_IN_MODELS = ('model', 'tta_model', 'auto_scale_lr', 'load_from', 'env_cfg')


def parts(config: dict) -> Iterator[tuple[str, dict]]:
    """Kind and settings of all parts of a config but its model."""
    for split in ('train', 'val', 'test'):
        dataloader = config.get(f'{split}_dataloader') or {}
        if 'dataset' in dataloader:
            yield 'dataset', dataloader['dataset']
        for kind in ('sampler', 'batch_sampler'):
            if dataloader.get(kind):
                yield kind, dataloader[kind]
        yield from (('metric', metric) for metric in one_or_several(config.get(f'{split}_evaluator')))
        if config.get(f'{split}_cfg'):
            yield 'loop', config[f'{split}_cfg']
    yield from (('transform', step) for step in config.get('tta_pipeline') or [])
    for hook in [*(config.get('default_hooks') or {}).values(), *(config.get('custom_hooks') or [])]:
        yield 'hook', hook
    yield from (('schedule', schedule) for schedule in one_or_several(config.get('param_scheduler')))
    if config.get('optim_wrapper'):
        yield 'optimizer', config['optim_wrapper']
    if config.get('log_processor'):
        yield 'log_processor', config['log_processor']


def one_or_several(settings: dict | list | None) -> list[dict]:
    return [settings] if isinstance(settings, dict) else settings or []


def named_in(settings: object) -> Iterator[str]:
    """The types that settings name, at all depths."""
    if isinstance(settings, dict):
        if isinstance(settings.get('type'), str):
            yield settings['type']
        for value in settings.values():
            yield from named_in(value)
    elif isinstance(settings, list):
        for value in settings:
            yield from named_in(value)


def distinct() -> dict[str, list[str]]:
    """Kind and type -> the distinct settings, as JSON."""
    found = defaultdict(dict)
    for config in recorded().values():
        for kind, settings in parts(config):
            found[f'{kind}-{settings["type"]}'][json.dumps(settings, sort_keys=True)] = None
    return {name: list(texts) for name, texts in sorted(found.items())}


@functools.cache
def shapes() -> ShapesDataset:
    pipeline = [{'type': 'LoadShapesImage'}, {'type': 'PackDetInputs'}]
    return ShapesDataset(length=10, image_size=(64, 80), pipeline=pipeline)


def build_sampler(settings: dict) -> object:
    dataset = ConcatDataset([shapes(), shapes()]) if 'source_ratio' in settings else shapes()
    return DATA_SAMPLERS.build(settings, default_args=dict(dataset=dataset, seed=0))


def build_batch_sampler(settings: dict) -> object:
    sampler = DATA_SAMPLERS.build(dict(type='DefaultSampler', dataset=shapes(), shuffle=False))
    return DATA_SAMPLERS.build(settings, default_args=dict(sampler=sampler, batch_size=2))


def build_loop(settings: dict) -> object:
    if 'EpochBased' in settings['type']:
        settings.pop('by_epoch', None)  # the original says both, which mmengine refuses
    endless = 'Iter' in settings['type']
    sampler = DATA_SAMPLERS.build(dict(type='InfiniteSampler' if endless else 'DefaultSampler', dataset=shapes()))
    dataloader = DataLoader(shapes(), batch_size=2, sampler=sampler, collate_fn=default_collate)
    runner = SimpleNamespace(visualizer=SimpleNamespace(), build_evaluator=lambda config: config)
    arguments = dict(runner=runner, dataloader=dataloader)
    if 'Train' not in settings['type']:
        arguments['evaluator'] = Evaluator([])
    return LOOPS.build(settings, default_args=arguments)


def build_schedule(settings: dict) -> object:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    if settings.pop('convert_to_iter_based', False):
        cls = PARAM_SCHEDULERS.get(settings.pop('type'))
        return cls.build_iter_from_epoch(**settings, epoch_length=10, optimizer=optimizer)
    return PARAM_SCHEDULERS.build(settings, default_args=dict(optimizer=optimizer))


def build_optimizer(settings: dict) -> object:
    # learning rates that decrease layer by layer ask which layer of ConvNeXt a parameter is of
    arch = dict(depths=[1, 1, 1, 1], channels=[8, 8, 8, 8])
    backbone = MODELS.build(dict(type='ConvNeXt', arch=arch))
    return build_optim_wrapper(nn.ModuleDict(dict(backbone=backbone)), settings)


def build_metric(settings: dict) -> object:
    settings = {key: value for key, value in settings.items() if key not in ('ann_file', 'seg_prefix')}
    if settings['type'] == 'LVISMetric':
        Path('lvis.json').write_text('{"images": [], "annotations": [], "categories": []}')
        settings['ann_file'] = 'lvis.json'
    return METRICS.build(settings)


BUILDERS: dict[str, Callable[[dict], object]] = {
    'dataset': lambda settings: DATASETS.build(lazy(settings)),
    'sampler': build_sampler,
    'batch_sampler': build_batch_sampler,
    'metric': build_metric,
    'loop': build_loop,
    'transform': TRANSFORMS.build,
    'hook': lambda settings: HOOKS.build({key: value for key, value in settings.items() if key != 'priority'}),
    'schedule': build_schedule,
    'optimizer': build_optimizer,
    'log_processor': LOG_PROCESSORS.build,
}
DISTINCT = distinct()


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', DISTINCT)
def test_all_that_is_recorded_of_a_type_builds(name, open_images):  # noqa: F811
    register_all_modules()
    for text in DISTINCT[name]:
        settings = json.loads(text)
        if 'Albu' in text:
            pytest.importorskip('albumentations')
        assert BUILDERS[name.split('-')[0]](settings) is not None


def test_all_parts_are_looked_at():
    known = {'train_cfg', 'val_cfg', 'test_cfg', 'tta_pipeline', 'default_hooks', 'custom_hooks', 'param_scheduler'}
    known |= {f'{split}_{kind}' for split in ('train', 'val', 'test') for kind in ('dataloader', 'evaluator')}
    known |= {'optim_wrapper', 'log_processor', *MET_ONLY_IN_MODELS}
    assert {key for config in recorded().values() for key in config} <= known
    assert not EXCEPTED & {name for config in recorded().values() for name in named_in(config)}
