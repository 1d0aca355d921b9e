"""Rules of the house that no linter knows: bases are honest, hooks are public."""

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

# other spellings than American, and words that the field has better ones for: see docs/glossary.md
FORBIDDEN = re.compile(
    r'\b(cent(?:re|red|res)|colour\w*|normalis\w+|initialis\w+|behaviours?|optimis\w+|neighbours?|labelled'
    r'|favour\w*|maps? of the neck)\b',
    re.IGNORECASE,
)
ROOT = Path(__file__).parents[1]
PACKAGES = ('mmdetlike', 'mmdetlike_ops')


class Class(NamedTuple):
    """A class of ours, as its file says."""

    path: Path
    node: ast.ClassDef

    @property
    def bases(self) -> list[str]:
        """Names of its bases, without modules."""
        return [base.attr if isinstance(base, ast.Attribute) else getattr(base, 'id', '') for base in self.node.bases]

    @property
    def methods(self) -> dict[str, ast.FunctionDef]:
        """Its own methods by name."""
        return {item.name: item for item in self.node.body if isinstance(item, ast.FunctionDef)}


def read_classes() -> dict[str, list[Class]]:
    """All classes of the packages by name."""
    found = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob('*.py')):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    found[node.name].append(Class(path, node))
    return found


CLASSES = read_classes()


def ancestors(cls: Class) -> list[Class]:
    """The classes of ours that a class inherits from, near ones first."""
    found = []
    for name in cls.bases:
        for base in CLASSES.get(name, ()):
            if base != cls:
                found += [base, *ancestors(base)]
    return found


def every_class():
    return [cls for same_name in CLASSES.values() for cls in same_name]


def depth(cls: Class) -> int:
    """How many classes of ours stand in a row, this one among them."""
    bases = [base for name in cls.bases for base in CLASSES.get(name, ()) if base != cls]
    return 1 + max(map(depth, bases), default=0)


def test_there_is_something_to_look_at():
    assert len(CLASSES) > 500
    assert depth(CLASSES['RetinaHead'][0]) == 4


def test_nobody_overrides_a_private_method_of_another_file():
    broken = []
    for cls in every_class():
        own = {name for name in cls.methods if name.startswith('_') and not name.startswith('__')}
        for base in ancestors(cls):
            if base.path != cls.path:
                broken += [f'{cls.node.name}.{name} of {base.node.name}' for name in own & set(base.methods)]
    assert broken == []


def test_no_class_stands_more_than_five_of_ours_deep():
    assert {cls.node.name: depth(cls) for cls in every_class() if depth(cls) > 5} == {}


def test_no_class_deletes_what_its_parent_built():
    broken = []
    for cls in every_class():
        builders = [method for name, method in cls.methods.items() if name == '__init__' or name.startswith('build_')]
        for node in (node for method in builders for node in ast.walk(method)):
            if isinstance(node, ast.Delete) and any(isinstance(target, ast.Attribute) for target in node.targets):
                broken.append(f'{cls.node.name}: {ast.unparse(node)}')
    assert broken == []


def test_constructors_of_models_have_no_positional_rest():
    models = ROOT / 'mmdetlike/models'
    of_models = [cls for cls in every_class() if models in cls.path.parents and '__init__' in cls.methods]
    assert len(of_models) > 200
    assert [cls.node.name for cls in of_models if cls.methods['__init__'].args.vararg is not None] == []


# arguments that configs of the toolbox have and that say nothing here: their docstrings tell so
WITHOUT_EFFECT = {
    'CocoMetric': {'sort_categories', 'use_mp_eval'},
    'CocoPanopticMetric': {'nproc'},
    'Conv2dAdaptivePadding': {'padding'},
    'CrowdHumanMetric': {'num_ji_process'},
    'EmbeddingRPNHead': {'num_classes', 'train_cfg', 'test_cfg'},
    'GridHead': {'class_agnostic'},
    'NASFPN': {'add_extra_convs'},
    'PanopticFusionHead': {'loss_panoptic', 'train_cfg'},
    'SSDVGG': {'out_indices', 'input_size', 'l2_norm_scale'},
    'SimplifiedBasicBlock': {'style'},
}


def test_no_class_accepts_what_it_ignores():
    ignored = {}
    for cls in every_class():
        constructor = cls.methods.get('__init__')
        if constructor is None:
            continue
        arguments = constructor.args
        taken = {each.arg for each in [*arguments.args[1:], *arguments.kwonlyargs, arguments.kwarg] if each}
        unread = taken - {node.id for node in ast.walk(constructor) if isinstance(node, ast.Name)}
        if unread:
            ignored[cls.node.name] = unread
    assert ignored == WITHOUT_EFFECT


def test_what_has_no_effect_says_so():
    for name, arguments in WITHOUT_EFFECT.items():
        doc = ' '.join(ast.get_docstring(CLASSES[name][0].node).split())
        for argument in arguments:
            assert re.search(rf'\b{argument}\b[^:]*: (Kept for|Of no effect)', doc), f'{name}.{argument}'


# they hand on everything that a large base or another library takes; help() shows it
HANDS_ON_KEYWORDS = {
    *(
        'ResidualBlock',
        'ResLayer',
        'ResNetV1d',
        'ResNeXt',
        'Res2Net',
        'ResNeSt',
        'RegNet',
        'PyramidVisionTransformerV2',
    ),
    *('DetectoRS_ResNet', 'DetectoRS_ResNeXt', 'TridentResNet', 'RFP', 'BoxInstDataPreprocessor'),
    *('TIMMBackbone', 'TrackDataPreprocessor', 'DDQDETRHead', 'DFINEHead', 'Mask2FormerHead'),
}
WRITTEN_OUT = ('backbones', 'data_preprocessors', 'heads/query', 'heads/mask_query', 'layers', 'losses', 'necks')


def test_constructors_write_out_what_they_take_where_it_is_few():
    rooms = [ROOT / 'mmdetlike/models' / room for room in WRITTEN_OUT]
    inside = [cls for cls in every_class() if any(room in cls.path.parents for room in rooms)]
    constructors = {cls.node.name: cls.methods['__init__'] for cls in inside if '__init__' in cls.methods}
    assert len(constructors) > 100
    starred = {name for name, constructor in constructors.items() if constructor.args.kwarg is not None}
    assert starred - HANDS_ON_KEYWORDS == set()


def test_words_are_those_of_the_glossary():
    code = [path for package in (*PACKAGES, 'tools') for path in (ROOT / package).rglob('*.py')]
    pages = [*(ROOT / 'docs').rglob('*.md')]
    assert len(code) > 600
    assert len(pages) > 40
    found = {}
    for path in (*code, *pages):
        if path.name == 'names_detectron2.md':  # another toolbox's names
            continue
        for match in FORBIDDEN.finditer(path.read_text()):
            found.setdefault(str(path.relative_to(ROOT)), set()).add(match[0])
    assert found == {}


def test_the_search_for_words_finds_some():
    text = 'The colour of centred neighbours is normalised; colors of the center are not.'
    assert FORBIDDEN.findall(text) == ['colour', 'centred', 'neighbours', 'normalised']


def joined_assignments(tree: ast.AST) -> list[str]:
    """Assignments of several names at once of which one is computed, but for swaps."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
            continue
        targets = node.targets[0]
        if not isinstance(targets, ast.Tuple):
            continue
        is_computed = any(isinstance(part, (ast.Call, ast.BinOp)) for part in ast.walk(node.value))
        # what is assigned is read by the other: one after the other it would be overwritten
        first = ast.unparse(targets.elts[0])
        is_swap = any(ast.unparse(part) == first for value in node.value.elts[1:] for part in ast.walk(value))
        if is_computed and not is_swap:
            found.append(ast.unparse(node))
    return found


def test_one_computation_a_line():
    paths = [path for package in (*PACKAGES, 'tools') for path in (ROOT / package).rglob('*.py')]
    found = {str(path.relative_to(ROOT)): joined_assignments(ast.parse(path.read_text())) for path in paths}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_joined_assignments_are_told_from_swaps():
    text = 'a, b = f(x), g(y)\na, b = b - 1, a - 1\nself.a, self.b = a, b\na, b = f(x)\na, b = x.T, y + 1'
    assert joined_assignments(ast.parse(text)) == ['a, b = (f(x), g(y))', 'a, b = (x.T, y + 1)']
