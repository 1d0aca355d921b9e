"""Generate the parts of the documentation that follow from the code: tables of methods and types, code, diagrams.

    python tools/docs/generate.py            # writes
    python tools/docs/generate.py --check    # names what is out of step

A page holds ``<!-- generated: KIND ARGUMENTS -->`` and, after what is generated, ``<!-- end -->``.
"""

import argparse
import re
import sys
from pathlib import Path

import code_facts
import diagrams
import foreign_names
import gallery as pictures
import zoo

DOCS = code_facts.ROOT / 'docs'
BLOCK = re.compile(r'(<!-- generated: (\S+) ?(.*?) -->\n)(.*?)(<!-- end -->)', re.DOTALL)
# the module that a type is from -> its group in the table; more specific ones first
GROUPS = {
    'mmdetlike.models.backbones': 'backbones',
    'mmdetlike.models.necks': 'necks',
    'mmdetlike.models.heads.dense': 'dense heads',
    'mmdetlike.models.heads.roi': 'RoI heads and their parts',
    'mmdetlike.models.heads.semantic': 'semantic and panoptic heads',
    'mmdetlike.models.detectors': 'detectors',
    'mmdetlike.models.test_time_augs': 'test-time augmentation',
    'mmdetlike.models.losses': 'losses',
    'mmdetlike.models.data_preprocessors': 'data preprocessors',
    'mmdetlike.models.task_modules.assigners': 'assigners, match costs, overlaps',
    'mmdetlike.models.task_modules.bbox_coder': 'coders',
    'mmdetlike.models.task_modules.prior_generators': 'priors',
    'mmdetlike.models.task_modules.samplers': 'samplers',
    'mmdetlike.datasets.transforms': 'transforms',
    'mmdetlike.datasets': 'datasets and their samplers',
    'mmdetlike.evaluation': 'metrics',
    'mmdetlike.visualization': 'visualizers',
    'mmdetlike.engine': 'runner, loops, hooks, optimizers',
    '': 'layers, also those of torch and of `mmdetlike_ops`',
}
# the toolbox has no such types
OURS = {
    'CallbackHook',
    'CategoryAreaCrop',
    'ExpectedResultsHook',
    'FixedSizeCrop',
    'FrozenBN',
    'LoadShapesImage',
    'MonitorCheckHook',
    'PointRangeAssigner',
    'PreciseBNHook',
    'RandomBrightness',
    'RandomContrast',
    'RandomExtent',
    'RandomLighting',
    'RandomRotation',
    'RandomSaturation',
    'RecordWarps',
    'RegisteredDataset',
    'ShardSampler',
    'StreamingDetDataset',
    'RepeatFactorSampler',
    'ReportHook',
    'SOLOV2MaskFeatures',
    'ShapesDataset',
    'SummedMaskFeatures',
    'TIMMBackbone',
}


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [f'| {" | ".join(line)} |\n' for line in [header, *rows]]
    return ''.join([lines[0], '|' + '---|' * len(header) + '\n', *lines[1:]])


def methods(arguments: str) -> str:
    """Methods of a class: what each does, by its docstring, and who overrides it."""
    owner, *names = arguments.split()
    rows = []
    for name in names:
        full = f'{owner}.{name}'
        who = ', '.join(f'`{each}`' for each in code_facts.overriders(full))
        who = {'own': f'supplied by {who}', 'may': who, 'fixed': 'nobody'}[code_facts.kind_of(full)]
        rows.append([f'`{name}`', code_facts.summary(full).replace('|', '\\|').replace('``', '`'), who])
    return table([f'`{owner}.`', 'what it does', 'who overrides it'], rows)


def code(arguments: str) -> str:
    """A piece of a file: ``path symbol``, or the whole of it."""
    path, _, symbol = arguments.partition(' ')
    text = code_facts.source(path, symbol) if symbol else (code_facts.ROOT / path).read_text().rstrip()
    return f'```python\n{text}\n```\n'


def lines(arguments: str) -> str:
    """The lines of a file that hold a text: ``path text``."""
    path, _, text = arguments.partition(' ')
    found = [line.rstrip() for line in (code_facts.ROOT / path).read_text().splitlines() if text in line]
    return '```python\n' + ''.join(f'{line}\n' for line in found) + '```\n'


def types(arguments: str) -> str:
    """All registered names, grouped by the modules that they are from."""
    names: dict[str, set[str]] = {prefix: set() for prefix in GROUPS}
    for registry in code_facts.registered().values():
        for name, module in registry.items():
            names[next(prefix for prefix in GROUPS if module.startswith(prefix))].add(name)
    rows = []
    for prefix, found in names.items():
        shown = ', '.join(f'`{name}`' + (' (ours)' if name in OURS else '') for name in sorted(found))
        rows.append([GROUPS[prefix], shown])
    return table(['what', '`type`'], rows)


def families(arguments: str) -> str:
    """The table of the zoo, or its sums."""
    if arguments == 'sums':
        return table(['of `mmdetlike/models`', 'lines'], zoo.sums())
    return table(zoo.HEADER, zoo.rows())


def gallery(heading: str) -> str:
    """The transforms under a heading of the gallery with their pictures, or ``others``, which have none."""
    if heading == 'others':
        modules = code_facts.registered()['TRANSFORMS']
        names = [name for name, module in modules.items() if module.startswith('mmdetlike.datasets.transforms')]
        return table(
            ['`type`', 'what it does'],
            [[f'`{name}`', _cell_summary(name)] for name in sorted(names) if name not in pictures.SHOWN],
        )
    rows = []
    for name, arguments in pictures.GROUPS[heading].items():
        shown = ', '.join(f'{key}={value!r}' for key, value in arguments.items())
        rows.append([f'`{name}({shown})`', _cell_summary(name), f'![{name}](images/transforms/{name}.jpg)'])
    return table(['`type`', 'what it does', 'three draws'], rows)


def _cell_summary(name: str) -> str:
    return code_facts.summary(name).replace('|', '\\|').replace('``', '`')


def datasets(arguments: str) -> str:
    """What each page of docs/datasets is about: its heading, and types and base configs that its first line names."""
    rows = []
    for page in sorted((DOCS / 'datasets').glob('*.md')):
        title, first = page.read_text().split('\n\n', 2)[:2]
        readers, _, bases = first.partition('Base configs:')
        cells = [', '.join(f'`{name}`' for name in re.findall(r'`(.*?)`', text)) for text in (readers, bases)]
        rows.append([f'[{title.removeprefix("# ")}](datasets/{page.name})', *cells])
    return table(['your data', '`type`', '`configs/_base_/datasets/`'], rows)


def published(arguments: str) -> str:
    """The scores of the published weights whose configs are shipped."""
    return table(['model', '`configs/`', 'scores, %'], zoo.published_rows())


def names(toolbox: str) -> str:
    """The names of another toolbox beside ours, a table for each section."""
    covered, missing = foreign_names.counts(toolbox)
    parts = [f'{covered} names are covered, {missing} are not (–).\n']
    for section, entries in foreign_names.read(toolbox).items():
        parts.append(f'## {section}\n\n{table(["theirs", "here", "remark"], foreign_names.rows(entries))}')
    return '\n'.join(parts)


KINDS = dict(
    names=names,
    methods=methods,
    code=code,
    lines=lines,
    types=types,
    families=families,
    gallery=gallery,
    datasets=datasets,
    published=published,
)


def filled(page: str) -> str:
    """The text of a page with all its blocks generated anew."""
    return BLOCK.sub(lambda m: f'{m[1]}\n{KINDS[m[2]](m[3])}\n{m[5]}', page)


def contents() -> dict[Path, str]:
    """Every file that is generated, wholly or in part, with what it should hold."""
    pages = {path: filled(path.read_text()) for path in sorted(DOCS.glob('**/*.md'))}
    return {**pages, **{DOCS / 'images' / file: diagrams.draw(file) for file in diagrams.DIAGRAMS}}


def main() -> None:
    """Write or check all files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='write nothing, fail if a file is out of step')
    args = parser.parse_args()
    # once: what a page imports may register types that another page lists
    every = contents()
    stale = [path for path, text in every.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(path.relative_to(code_facts.ROOT))
    if args.check:
        sys.exit(1 if stale else 0)
    for path in stale:
        path.write_text(every[path])


if __name__ == '__main__':
    main()
