"""The recordings of the original implementations, and how a model of ours is held against one."""

import copy
import gzip
import importlib.util
import json
import sys
import unittest.mock
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.config import ConfigDict

from mmdetlike.registry import MODELS

FOLDER = Path(__file__).parents[1] / 'data' / 'reference'


def recordings() -> list[str]:
    """Names of all recordings, e.g. ``rpn__rpn_r50_fpn_1x_coco``."""
    return sorted(path.name.removesuffix('.json.gz') for path in (FOLDER / 'models').glob('*.json.gz'))


def load(name: str, folder: Path = FOLDER / 'models') -> dict:
    """Read a recording."""
    with gzip.open(folder / f'{name}.json.gz', 'rt') as file:
        return json.load(file)


# recordings all of whose queries have the same score, to the last bits: rounding decides which are the best
TIED = {
    'conditional_detr/conditional-detr_r50_8xb2-50e_coco.py',
    'dab_detr/dab-detr_r50_8xb2-50e_coco.py',
}


def random_stages(recording: dict) -> set[str]:
    """Stages that depend on the random generator; gradients do where the loss does."""
    random = set(recording.get('random', ()))
    return random | {'grad'} if 'loss' in random else random


def compare_stages(recording: dict) -> Iterator[tuple[str, bool, str]]:
    """Yield (stage, whether it agrees, why not) for each stage that doesn't depend on the random generator."""
    compare = module('compare')
    predictions = compare.compare_predictions
    if recording['config'] in TIED:
        recording = copy.deepcopy(recording)
        recording['settings']['test_cfg']['max_per_img'] = 10**6  # all pairs of queries and classes
        predictions = compare_all_predictions
    with unittest.mock.patch.object(compare, 'compare_predictions', predictions):
        for stage, agrees, why in compare.stages(recording, 'mmdetlike'):
            if stage not in random_stages(recording):
                yield stage, bool(agrees), why


def compare_all_predictions(samples: list, recorded: list[dict]) -> tuple[bool, str]:
    """Whether each recorded prediction is one of ours, at whatever rank, to 1e-5 of the score and 0.01 pixels."""
    for i, (sample, wanted) in enumerate(zip(samples, recorded)):
        ours = sample.pred_instances
        best = torch.tensor(wanted['scores'])
        if not torch.allclose(ours.scores[: len(best)], best, atol=1e-5):
            return False, f'image {i}: scores {ours.scores[: len(best)].tolist()}, expected {wanted["scores"]}'
        for score, label, box in zip(best, wanted['labels'], torch.tensor(wanted['bboxes'])):
            same = (ours.labels == int(label)) & ((ours.scores - score).abs() < 1e-5)
            if not bool(((ours.bboxes - box).abs().amax(1) < 0.01)[same].any()):
                return False, f'image {i}: no prediction like {box.tolist()} of class {label}'
    return True, ''


def compare_parts(recording: dict, parts: tuple[str, ...] = ('backbone', 'neck')) -> Iterator[tuple[str, bool, str]]:
    """Yield (stage, whether it agrees, why not) for the parameters and the maps of single parts of a detector.

    For a detector whose head does not exist yet: ``parts`` are built alone, filled under the names that they have in
    the whole, and run one after the other.
    """
    compare = module('compare')
    model = torch.nn.ModuleDict({name: MODELS.build(ConfigDict(recording['settings'][name])) for name in parts})
    compare.fill.fill_(model).eval()
    ours = {key: list(value.shape) for key, value in model.state_dict().items()}
    theirs = {key: shape for key, shape in recording['state'] if key.startswith(tuple(f'{name}.' for name in parts))}
    differ = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    yield 'state', not differ, f'differ: {differ[:3]}'
    preprocessor = MODELS.build(ConfigDict(recording['settings']['data_preprocessor'], batch_augments=None))
    images = list(compare.fill.images(2, *recording['image_size']))
    maps = preprocessor(dict(inputs=images, data_samples=None), False)['inputs']
    with torch.no_grad():
        for name in parts:
            maps = model[name](maps)
            yield name, *compare.compare_probes(compare.tensors(maps), recording[name])


def module(stem: str):
    """A script of the folder of recordings, e.g. ``compare``, which imports its neighbors by their bare names."""
    name = f'mmdetlike_reference_{stem}'
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f'{stem}.py')
        loaded = importlib.util.module_from_spec(spec)
        path = list(sys.path)
        sys.path.insert(0, str(FOLDER))
        try:
            spec.loader.exec_module(loaded)
        finally:
            sys.path[:] = path
        sys.modules[name] = loaded
    return sys.modules[name]
