"""Families of detectors: papers, parts, lines of code, recordings and measurements, as docs/zoo.md shows them.

    python tools/docs/zoo.py                 # prints the table and the sums

``families.json`` names them. Lines are those of the files under mmdetlike/models that came with a family, docstrings
and blank lines included; a file that several families use counts where it is named. ``docs/zoo_measured.json`` holds
what was measured: ``times``, which tests/data/reference/speed.py writes, and ``quickstarts``, which
measure_quickstarts.py does.
"""

import argparse
import functools
import gzip
import inspect
import json
from collections import Counter
from pathlib import Path

import code_facts

from mmdetlike.utils.published import published

CONFIGS = code_facts.ROOT / 'configs'
MODELS = code_facts.ROOT / 'mmdetlike/models'
RECORDINGS = code_facts.ROOT / 'tests/data/reference/models'
MEASURED = code_facts.ROOT / 'docs/zoo_measured.json'
# the class that is a pipeline -> its name
PIPELINES = dict(
    DenseHead='dense',
    RoIHead='RoI',
    QueryHead='query',
    DetectionTransformer='query',
    TransformerDecoder='query',
    MaskFormerHead='masks of queries',
    MaskGridHead='masks of grid cells',
)
PIPELINE_FILES = (
    'heads/head.py',
    'heads/dense/base.py',
    'heads/dense/predictions.py',
    'heads/dense/anchor_head.py',
    'heads/dense/anchor_free_head.py',
    'layers/tower.py',
    'heads/common.py',
    'heads/query/base.py',
    'heads/query/common.py',
    'layers/transformer/detr_layers.py',
    'heads/roi/roi_head.py',
    'heads/roi/stage.py',
    'detectors/base.py',
    'detectors/single_stage.py',
    'detectors/two_stage.py',
)
HEADER = [
    'family',
    'paper',
    '`configs/`',
    'detector',
    'what its heads supply',
    'own lines',
    'recordings',
    'predict',
    'original',
    'mAP, minutes',
]


def families() -> list[dict]:
    """The content of ``families.json``."""
    return json.loads((Path(__file__).parent / 'families.json').read_text())


def measured() -> dict[str, dict]:
    """``times`` and ``quickstarts``."""
    return json.loads(MEASURED.read_text())


def count_lines(paths: list[Path]) -> int:
    """Lines of all files, docstrings and blank ones too."""
    return sum(len(path.read_text().splitlines()) for path in paths)


def files_of(family: dict) -> list[Path]:
    """The files that came with a family, as far as they exist."""
    return [MODELS / name for name in family['files'] if (MODELS / name).exists()]


def is_here(family: dict) -> bool:
    """Whether its detectors are registered."""
    return all(name in code_facts.DEFINITIONS for name in family['detectors'] + family['heads'])


def supplied(family: dict) -> str:
    """The steps of its pipelines that the heads of a family define, pipeline by pipeline."""
    found: dict[str, list[str]] = {}
    modules = {f'mmdetlike.models.{name.removesuffix(".py").replace("/", ".")}' for name in family['files']}
    for head in (code_facts.DEFINITIONS[name] for name in family['heads']):
        base = next((c for c in inspect.getmro(head) if c.__name__ in PIPELINES), None)
        if base is None:
            found.setdefault('of its own', []).append(head.__name__)
            continue
        names = found.setdefault(PIPELINES[base.__name__], [])
        brought = [c for c in inspect.getmro(head) if c is not base and (c is head or c.__module__ in modules)]
        own = {name for c in brought for name in vars(c)}
        names += [name for name, value in vars(base).items() if name in own and is_step(name, value)]
    return '; '.join(
        f'{pipeline}: ' + ', '.join(f'`{name}`' for name in dict.fromkeys(names)) if names else pipeline
        for pipeline, names in found.items()
    )


def is_step(name: str, value: object) -> bool:
    """Whether something that a pipeline class defines is a step of it, not a setting."""
    is_method = callable(value) or isinstance(value, (property, staticmethod))
    return is_method and not name.startswith('_') and name != 'init_weights'


@functools.cache
def recorded() -> Counter:
    """Family -> recordings that the tests hold us to.

    A recording counts for the family whose folder of configs it is in, of two with that folder for the one with its
    detector; else (a neck's) for the first family with its detector.
    """
    by_folder = {folder: family['name'] for family in families() for folder in family['configs']}
    by_detector = {kind: family['name'] for family in reversed(families()) for kind in family['detectors']}
    by_both = {
        (f, kind): family['name'] for family in families() for f in family['configs'] for kind in family['detectors']
    }
    found = Counter()
    for path in RECORDINGS.glob('*.json.gz'):
        with gzip.open(path, 'rt') as file:
            kind = json.load(file)['settings']['type']
        folder = path.name.split('__')[0]
        found[by_both.get((folder, kind)) or by_folder.get(folder) or by_detector.get(kind)] += 1
    return found


def scores(names: list[str], measured_scores: dict[str, dict]) -> str:
    """Those of a family's quickstarts: ``bbox mAP (segm mAP), minutes``, after their names where there are several."""
    texts = []
    for name in names:
        if name not in measured_scores:
            continue
        found = dict(measured_scores[name])
        minutes = f'{found.pop("minutes"):.1f}'
        if 'epochs' in found:
            minutes += f' ({found.pop("epochs")} epochs)'
        text = f'{found.pop("bbox"):.3f}' if 'bbox' in found else ''
        text += f' ({found.pop("segm"):.3f})' if 'segm' in found else ''
        shown = [text] if text else []
        shown += [f'{kind} {value:.3g}' for kind, value in found.items()]
        text = ', '.join([*shown, minutes])
        texts.append(f'{name.split("_")[0]} {text}' if len(names) > 1 else text)
    return '; '.join(texts)


def rows() -> list[list[str]]:
    """A row a family."""
    numbers = measured()
    lines = []
    for family in families():
        here = is_here(family)
        name = family['name']
        time = numbers['times'].get(family['timed'], {})
        lines.append(
            [
                name,
                ', '.join(family['papers']),
                ', '.join(f'`{folder}`' for folder in family['configs']),
                ', '.join(f'`{kind}`' for kind in family['detectors']),
                supplied(family) if here else 'not here yet',
                str(count_lines(files_of(family)) or '') if here else '',
                family.get('beside') or f'{recorded()[name]} of {family["recorded"]}',
                str(time.get('predict', '')),
                str(time.get('original', '')),
                scores(family['quickstarts'], numbers['quickstarts']),
            ]
        )
    return lines


def published_rows() -> list[list[str]]:
    """Name, place and scores of each model whose weights are published and whose config is known here."""
    shipped = {path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob('*.py')}
    ours = [entry for entry in published().values() if entry.config in shipped]
    theirs = [entry for entry in published().values() if entry.foreign_name]
    return [
        [
            f'`{entry.foreign_name or entry.name}`',
            '' if entry.foreign_name else f'`{entry.config.rpartition("/")[0]}`',
            ', '.join(f'{name} {value:g}' for name, value in entry.scores.items()),
        ]
        for entry in [
            *sorted(ours, key=lambda entry: (entry.config.rpartition('/')[0], entry.name)),
            *sorted(theirs, key=lambda entry: entry.foreign_name),
        ]
    ]


def sums() -> list[list[str]]:
    """Lines of mmdetlike/models by what they are for."""
    left = set(MODELS.rglob('*.py'))
    groups = {'families, as above': {path for family in families() for path in files_of(family)}}
    groups['the pipelines and what their heads share'] = {MODELS / name for name in PIPELINE_FILES}
    for folder in ('backbones', 'necks', 'heads', 'task_modules', 'losses', 'layers'):
        groups[f'other files of `{folder}`'] = set((MODELS / folder).rglob('*.py'))
    lines = []
    for name, paths in groups.items():
        lines.append([name, str(count_lines(sorted(paths & left)))])
        left -= paths
    lines.append(['all else', str(count_lines(sorted(left)))])
    return [*lines, ['**together**', f'**{count_lines(sorted(MODELS.rglob("*.py")))}**']]


def main() -> None:
    """Print the table, or the recordings whose times it shows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--recordings', action='store_true', help='print the files of the recordings that are timed')
    if parser.parse_args().recordings:
        paths = [RECORDINGS / f'{f["timed"].removesuffix(".py").replace("/", "__")}.json.gz' for f in families()]
        print(*(path.relative_to(code_facts.ROOT) for path in paths if path.exists()), sep='\n')
        return
    for row in [HEADER, *rows(), *sums()]:
        print(' | '.join(row))


if __name__ == '__main__':
    main()
