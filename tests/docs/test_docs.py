"""The documentation says what the code says: names, code, tables, diagrams, links."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mmdetlike.registry import DATASETS
from mmdetlike.utils.published import published
from tests.test_house import CLASSES, ancestors, every_class

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / 'docs').glob('**/*.md'))
LINK = re.compile(r'\]\((?!https?:)([^)#\s]+)(?:#[\w-]+)?\)')
ANCHOR = re.compile(r'\]\(((?!https?:)[^)#\s]*)#([^)\s]+)\)')
# lines of code and measurements are written when they are measured, not with every commit
MEASURED = re.compile(r'<!-- generated: families .*?<!-- end -->', re.DOTALL)


@pytest.fixture(scope='module')
def tools():
    """The modules of tools/docs, which import each other by their bare names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'tools/docs'))
        names = ('canvas', 'code_facts', 'diagrams', 'zoo', 'gallery', 'generate')
        yield {name: importlib.import_module(name) for name in names}
        for name in names:
            del sys.modules[name]


@pytest.fixture(scope='module')
def generated(tmp_path_factory):
    """Page -> its text as generated, by a process of its own: other tests register types here."""
    out = tmp_path_factory.mktemp('docs') / 'pages.json'
    code = (
        "import sys, json, pathlib; sys.path.insert(0, 'tools/docs'); import generate; pages = sys.argv[2:]; "
        'texts = {page: generate.filled(pathlib.Path(page).read_text()) for page in pages}; '
        'pathlib.Path(sys.argv[1]).write_text(json.dumps(texts))'
    )
    subprocess.run([sys.executable, '-c', code, out, *PAGES], cwd=ROOT, check=True, capture_output=True)
    return json.loads(out.read_text())


@pytest.mark.parametrize('page', PAGES, ids=lambda path: path.name)
def test_pages_are_as_generated(page, generated):
    text = page.read_text()
    assert MEASURED.sub('', text) == MEASURED.sub('', generated[str(page)]), 'run python tools/docs/generate.py'


@pytest.mark.parametrize('page', PAGES, ids=lambda path: path.name)
def test_generated_parts_end(page):
    """One without an end is never generated again, and nothing else would tell."""
    text = page.read_text()
    kinds = re.findall(r'<!-- (generated|measured|end)', text)
    assert kinds[1::2] == ['end'] * (len(kinds) // 2) and 'end' not in kinds[::2] and len(kinds) % 2 == 0, kinds


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    text = re.sub(r'\]\([^)]*\)', '', heading).strip().lower()
    return re.sub(r'[^\w\- ]', '', text).replace(' ', '-')


@pytest.mark.parametrize('page', [ROOT / 'README.md', *PAGES], ids=lambda path: path.name)
def test_links_lead_to_headings(page):
    for target, anchor in ANCHOR.findall(page.read_text()):
        file = page.parent / target if target else page
        headings = re.findall(r'^#+ (.*)$', file.read_text(), re.MULTILINE)
        assert anchor in map(slug, headings), f'{target}#{anchor}'


def test_diagrams_are_as_generated(tools):
    for file in tools['diagrams'].DIAGRAMS:
        drawn = (ROOT / 'docs/images' / file).read_text()
        assert drawn == tools['diagrams'].draw(file), 'run python tools/docs/generate.py'


def test_every_method_named_exists(tools):
    text = (ROOT / 'docs/pipelines.md').read_text()
    named = set(re.findall(r'`([A-Z]\w+\.[a-z_]\w*)`', text))
    tables = re.findall(r'<!-- generated: methods (\w+) (.*?) -->', text)
    named |= {f'{owner}.{method}' for owner, methods in tables for method in methods.split()}
    assert len(named) > 60
    for name in named:
        tools['code_facts'].resolve(name)


def test_every_method_drawn_is_in_a_table(tools):
    """Or is a function or a part that the config builds."""
    diagrams, text = tools['diagrams'], (ROOT / 'docs/pipelines.md').read_text()
    tables = re.findall(r'<!-- generated: methods (\w+) (.*?) -->', text)
    listed = {f'{owner}.{method}' for owner, methods in tables for method in methods.split()}
    for draw, owner in diagrams.DIAGRAMS.values():
        canvas = tools['canvas'].Canvas(diagrams.WIDTH, owner, tools['code_facts'].kind_of)
        draw(canvas)
        drawn = {name for name in canvas.names if re.fullmatch(r'[A-Z]\w+\.\w+', name)}
        assert drawn and drawn <= listed, drawn - listed


def test_a_name_that_is_gone_is_noticed(tools):
    with pytest.raises(LookupError, match='DenseHead has no get_targets_single'):
        tools['code_facts'].kind_of('DenseHead.get_targets_single')
    with pytest.raises(LookupError, match=r'atss_head\.py has no RetinaHead'):
        tools['code_facts'].source('mmdetlike/models/heads/dense/atss_head.py', 'RetinaHead')


def test_a_page_out_of_step_is_noticed(tools):
    page = (ROOT / 'docs/add_a_dense_head.md').read_text()
    changed = page.replace('return self.losses_by_level(', 'return self.losses_of_levels(')
    assert changed != page and tools['generate'].filled(changed) == page


def test_the_page_of_a_dense_head_shows_its_whole_file():
    page = (ROOT / 'docs/add_a_dense_head.md').read_text()
    path = 'mmdetlike/models/heads/dense/atss_head.py'
    pieces = re.findall(rf'<!-- generated: code {path} \S+ -->\n\n```python\n(.*?)\n```', page, re.DOTALL)
    shown, file = (
        [line for line in text.splitlines() if line] for text in ('\n'.join(pieces), (ROOT / path).read_text())
    )
    assert shown == file


def test_families_name_what_exists(tools):
    families, claimed = tools['zoo'].families(), []
    for family in families:
        assert tools['zoo'].is_here(family), family['name']
        claimed += family['files']
        held = tools['zoo'].recorded()[family['name']]
        assert held <= family['recorded'], family['name']
        if held:  # configs come with the recording
            assert all((ROOT / 'configs' / folder).is_dir() for folder in family['configs']), family['name']
    assert len(claimed) == len(set(claimed))
    assert [name for name in claimed if not (ROOT / 'mmdetlike/models' / name).is_file()] == []


def test_lines_add_up(tools):
    *parts, (_, total) = tools['zoo'].sums()
    assert sum(int(lines) for _, lines in parts) == int(total.strip('*'))


def test_a_row_shows_what_was_measured(tools, monkeypatch):
    numbers = dict(
        times={'atss/atss_r50_fpn_1x_coco.py': dict(predict=107, original=170)},
        quickstarts={'atss_r18_fpn_shapes': dict(bbox=0.6104, minutes=6.2)},
    )
    monkeypatch.setattr(tools['zoo'], 'measured', lambda: numbers)
    row = next(row for row in tools['zoo'].rows() if row[0] == 'ATSS')
    assert row[-3:] == ['107', '170', '0.610, 6.2']


def test_scores_of_several_quickstarts_have_their_names(tools):
    measured = dict(mask_r18=dict(bbox=0.63, segm=0.54, minutes=9.4), panoptic_r18=dict(bbox=0.5, PQ=75.7, minutes=12))
    told = tools['zoo'].scores(['faster_r18', 'mask_r18', 'panoptic_r18'], measured)
    assert told == 'mask 0.630 (0.540), 9.4; panoptic 0.500, PQ 75.7, 12.0'
    assert tools['zoo'].scores(['faster_r18'], measured) == ''


def test_published_scores_are_on_the_page():
    page = (ROOT / 'docs/zoo.md').read_text()
    rows = set(re.findall(r'^\| `(\S+)` \|', page[page.index('<!-- generated: published -->') :], re.MULTILINE))
    assert {'atss_r50_fpn_1x_coco', 'torchvision://fcos_resnet50_fpn?weights=COCO_V1'} <= rows
    assert len([row for row in rows if row.startswith('detectron2://')]) == 64
    missing = sum(bool(entry.config) and entry.name not in rows for entry in published().values())
    assert f'Of the 585 models of OpenMMLab, {missing} have no config' in page


def test_every_quickstart_belongs_to_a_family(tools):
    named = [name for family in tools['zoo'].families() for name in family['quickstarts']]
    assert sorted(named) == sorted(path.stem for path in (ROOT / 'configs/quickstart').glob('*_shapes.py'))


@pytest.mark.parametrize('page', [*PAGES, ROOT / 'README.md', ROOT / 'CONTRIBUTING.md'], ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    prose = re.sub(r'```.*?```', '', page.read_text(), flags=re.DOTALL)
    for target in LINK.findall(prose):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_blocks_of_yaml_and_json_are_such(page):
    for kind, block in re.findall(r'^```(yaml|json)\n(.*?)^```', page.read_text(), re.DOTALL | re.MULTILINE):
        assert (yaml.safe_load if kind == 'yaml' else json.loads)(block)


def test_every_page_is_in_the_navigation():
    nav = (ROOT / 'mkdocs.yml').read_text()
    assert [page.name for page in PAGES if page.name not in nav] == []


WRAPPERS = {'ClassBalancedDataset', 'ConcatDataset', 'MultiImageMixDataset', 'RepeatDataset', 'BaseDetDataset'}


def test_every_format_has_a_page_with_its_folder_tree():
    DATASETS.import_from_location()
    ours = {name for name, cls in DATASETS.module_dict.items() if cls.__module__.startswith('mmdetlike.datasets')}
    pages = [page.read_text() for page in sorted((ROOT / 'docs/datasets').glob('*.md'))]
    readers, bases = [], []
    for text in pages:
        types, _, configs = text.split('\n\n')[1].partition('Base configs')
        readers += re.findall(r'`(\w+)`', types)
        bases += re.findall(r'`([\w.]+)`', configs)
    assert set(readers) == ours - WRAPPERS - {'LVISDataset'}  # another name of LVISV1Dataset
    assert all((ROOT / f'configs/_base_/datasets/{base}.py').is_file() for base in bases)
    without_folder = ('RegisteredDataset', 'UnlabeledDataset')
    assert all('data/' in text for text in pages if not any(name in text for name in without_folder))


def test_times_are_added_to_what_a_file_holds(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tests/data/reference'))
    speed = importlib.import_module('speed')
    path = tmp_path / 'measured.json'
    path.write_text(json.dumps(dict(mAP=dict(ATSS='0.61'), times={'a.py': dict(predict=3)})))
    speed.save(path, 'a.py', dict(train=9))
    speed.save(path, 'b.py', dict(predict=4))
    expected = {'a.py': dict(predict=3, train=9), 'b.py': dict(predict=4)}
    assert json.loads(path.read_text()) == dict(mAP=dict(ATSS='0.61'), times=expected)


METHODS = re.compile(r'<!-- generated: methods (\w+) (.*?) -->')
OF_TORCH = {'train', 'init_weights'}


def test_every_public_method_that_is_overridden_is_in_a_table():
    page = (ROOT / 'docs/pipelines.md').read_text()
    tables = {}
    for owner, names in METHODS.findall(page):
        tables.setdefault(owner, set()).update(names.split())
    assert len(tables) > 15
    left_out = set()
    for cls in every_class():
        for base in ancestors(cls):
            if base.node.name in tables:
                # a method of a base's base may be told of there
                lineage = [base, *ancestors(base)]
                told = set().union(*(tables.get(each.node.name, set()) for each in lineage))
                overridden = {name for name in {*cls.methods} & {*base.methods} if not name.startswith('_')}
                left_out |= {f'{base.node.name}.{name}' for name in overridden - told - OF_TORCH}
    assert left_out == {'BaseDetector.loss'}  # `SemiBaseDetector.loss`, in a table of its own


def test_the_tables_are_of_classes_that_are_there():
    page = (ROOT / 'docs/pipelines.md').read_text()
    assert {owner for owner, _ in METHODS.findall(page)} <= {*CLASSES}
