"""Translating all recorded configs of OpenMMLab 2.x; ``python -m tests.compat.zoo_2x`` counts for the docs."""

import functools
import inspect
import json
import lzma
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

from mmdetlike.compat.openmmlab2 import translate_config
from mmdetlike.errors import UserError
from mmdetlike.registry import DATASETS, HOOKS, METRICS, MODELS, PARAM_SCHEDULERS, TRANSFORMS
from mmdetlike.utils.setup_env import register_all_modules
from tests.compat.described import described, differences

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'tests/data/openmmlab2'
LVIS = ROOT / 'tests/data/evaluation/lvis.json'
PAGE = ROOT / 'docs/migrate_from_2x.md'
# settings that 3.x has decided anew, and of which configs; the translation keeps what the config of 2.x says
DECIDED_ANEW = {
    'pad_mask': 'htc|scnet|fpg',  # left out where batches are padded anyway
    'allowed_border': '^rpn__',  # RPN learns from anchors that reach beyond the image
    'pad_size_divisor': '^efficientnet__',  # RetinaNet pads to 32, and in 2.x not at all
}


@functools.cache
def recorded(name: str) -> dict:
    """A recording by its file's stem: ``configs2x`` or ``models3x``."""
    return json.loads(lzma.decompress((FOLDER / f'{name}.json.xz').read_bytes()))


def built(model: dict) -> torch.nn.Module:
    """A model without weights, as those of a backbone are not here."""
    register_all_modules()
    with torch.device('meta'), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return MODELS.build(_without_weights(model))


def _without_weights(value):
    if isinstance(value, dict):
        return {key: _without_weights(part) for key, part in value.items() if key not in ('init_cfg', 'pretrained')}
    return [_without_weights(part) for part in value] if isinstance(value, list) else value


def build_parts(config: dict) -> None:
    """Build or check all of a config but its model: pipelines, datasets by class, metrics, hooks, schedules.

    Raises:
        UserError: A part isn't here, or not with these arguments.
    """
    register_all_modules()
    for kind in ('train', 'val', 'test'):
        _check_dataset(config[f'{kind}_dataloader']['dataset'])
    _build_pipeline(config.get('tta_pipeline', []))
    evaluators = config['val_evaluator']
    for metric in evaluators if isinstance(evaluators, list) else [evaluators]:
        METRICS.build(_without_files(metric))
    for hook in [*config['default_hooks'].values(), *config.get('custom_hooks', [])]:
        HOOKS.build({key: value for key, value in hook.items() if key != 'priority'})
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    for schedule in config['param_scheduler']:
        settings = {key: value for key, value in schedule.items() if key != 'convert_to_iter_based'}
        PARAM_SCHEDULERS.build(settings, default_args=dict(optimizer=optimizer))


def _without_files(metric: dict) -> dict:
    """A metric without files, which are not here; that of LVIS reads its file at once, so it gets another one."""
    kept = {key: value for key, value in metric.items() if key not in ('ann_file', 'seg_prefix')}
    return dict(kept, ann_file=_lvis_file()) if metric['type'] == 'LVISMetric' else kept


@functools.cache
def _lvis_file() -> str:
    path = Path(tempfile.mkdtemp(), 'lvis.json')
    path.write_text(json.dumps(json.loads(LVIS.read_text())['truth']))
    return str(path)


def _check_dataset(dataset: dict) -> None:
    """Build its pipeline, and see that its class takes the arguments; building it would need its files."""
    cls = DATASETS.get(dataset['type'])
    makers = [vars(base)['__init__'] for base in cls.__mro__ if '__init__' in vars(base)]
    known = {name for maker in makers[:-1] for name in inspect.signature(maker).parameters}
    unknown = set(dataset) - known - {'type'}
    assert not unknown, f'{dataset["type"]} takes no {sorted(unknown)}'
    _build_pipeline(dataset.get('pipeline', []))
    for inner in _inner(dataset):
        _check_dataset(inner)


def _inner(dataset: dict) -> Iterator[dict]:
    yield from dataset.get('datasets', [])
    if 'dataset' in dataset:
        yield dataset['dataset']


def _build_pipeline(steps: list) -> None:
    for step in steps:
        TRANSFORMS.build(dict(step))


def unlike_3x(name: str, model: torch.nn.Module) -> list[str]:
    """What differs from the 3.x config of the same model, but for what 3.x has decided anew."""
    return unlike(name, model, built(recorded('models3x')[name]['model']))


def unlike(name: str, model: torch.nn.Module, other: torch.nn.Module) -> list[str]:
    """What differs between two models of a config's name, but for what 3.x has decided anew."""
    found = differences(described(model), described(other))
    anew = [setting for setting, names in DECIDED_ANEW.items() if re.search(names, name)]
    return [text for text in found if not any(setting in text for setting in anew)]


def outcome(name: str) -> dict[str, str]:
    """How far a config gets: ``model``, ``parts`` and ``same`` to 'yes' or the reason why not."""
    config = translate_config(recorded('configs2x')[name])
    result = {}
    if 'model' in config:
        result['model'] = _tried(lambda: built(config['model']))
        if result['model'] == 'yes' and name in recorded('models3x'):
            unlike = unlike_3x(name, built(config['model']))
            result['same'] = 'yes' if not unlike else '; '.join(unlike[:3])
    result['parts'] = _tried(lambda: build_parts(config))
    return result


def _tried(build) -> str:
    try:
        build()
    except (UserError, FileNotFoundError) as error:
        return re.sub(r'\s+', ' ', str(error))
    return 'yes'


def count() -> tuple[str, list[str]]:
    """The sentence for the docs, and a line for each config that doesn't get all the way."""
    outcomes = {name: outcome(name) for name in recorded('configs2x')}
    counts = Counter((key, value == 'yes') for each in outcomes.values() for key, value in each.items())
    sentence = (
        f'Of {len(outcomes)} recorded configs of 2.x all are translated. {counts["model", True]} of '
        f'{counts["model", True] + counts["model", False]} models build, and of those {counts["same", True]} of '
        f'{counts["same", True] + counts["same", False]} equal that of the 3.x config of the same model, but for '
        f'{len(DECIDED_ANEW)} settings that 3.x has decided anew. Data, metrics, '
        f'hooks and schedules of {counts["parts", True]} build.'
    )
    problems = [
        f'{name}: {key}: {value}' for name, each in outcomes.items() for key, value in each.items() if value != 'yes'
    ]
    return sentence, problems


if __name__ == '__main__':
    told, lines = count()
    begin, end = '<!-- counted -->', '<!-- counted: end -->'
    text = PAGE.read_text()
    PAGE.write_text(re.sub(f'{begin}.*?{end}', f'{begin}\n{told}\n{end}', text, flags=re.DOTALL))
    print('\n'.join([*lines, told]))
