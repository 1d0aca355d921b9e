"""Whoever asks for a class's arguments, by help, IDE or tool, sees all of them with their meaning."""

import inspect
import re

import pytest

from mmdetlike import registry as registry_module
from mmdetlike.arguments import REFERENCE, argument_docs, parameters_of, show_all_arguments, signature_of
from mmdetlike.registry import MODELS, Registry
from mmdetlike.utils import register_all_modules

register_all_modules()
TORCH_KNOWS = {'device', 'dtype'}
REGISTRIES = [registry for registry in vars(registry_module).values() if isinstance(registry, Registry)]


def registered_classes():
    """Each class of ours that configs can name."""
    for registry in REGISTRIES:
        registry.import_from_location()
        for cls in registry.module_dict.values():
            if inspect.isclass(cls) and cls.__module__.startswith('mmdetlike'):
                yield cls


class Base:
    """A base.

    Args:
        width: How wide.
        height, depth: How high
            and how deep.
        kind: Of what kind; the middle one fixes it.
        kwargs: Not looked at.

    Raises:
        ValueError: Never.
    """

    def __init__(self, width: int, height: int = 2, depth: int = 3, *, kind: str, **kwargs) -> None:
        pass


class Middle(Base):
    """In between, without arguments of its own but the kind."""

    def __init__(self, **kwargs) -> None:
        super().__init__(kind='middle', **kwargs)


@show_all_arguments
class Top(Middle):
    """A top.

    Args:
        color: Of what color.
        height: Another height.
        kwargs: See ``Middle``.

    Raises:
        KeyError: Never.
    """

    def __init__(self, color: str = 'red', height: int = 5, **kwargs) -> None:
        super().__init__(height=height, **kwargs)


def test_parameters_follow_keywords_into_bases():
    assert list(parameters_of(Top)) == ['color', 'height', 'width', 'depth']
    assert parameters_of(Top)['height'].default == 5
    assert list(parameters_of(Middle)) == ['width', 'height', 'depth']


def test_the_signature_shows_them():
    assert str(inspect.signature(Top)) == ("(color: str = 'red', height: int = 5, *, width: int, depth: int = 3)")
    assert signature_of(Top).bind('blue', width=1).arguments == dict(color='blue', width=1)


def test_the_docstring_tells_what_they_mean():
    assert inspect.getdoc(Top) == '\n'.join(
        [
            'A top.',
            '',
            'Args:',
            '    color: Of what color.',
            '    height: Another height.',
            '    width: How wide.',
            '    depth: How high and how deep.',
            '',
            'Raises:',
            '    KeyError: Never.',
        ]
    )


@show_all_arguments
class Explicit(Base):
    """A class that writes out what it takes.

    Args:
        width, kind: As of ``Base``.
        height: Its own.
        path: As of ``pathlib.Path``.
    """

    def __init__(self, width: int, kind: str, height: int = 2, path: str = '') -> None:
        super().__init__(width, height, kind=kind)


def test_references_to_a_base_are_followed_where_they_lead_somewhere():
    assert inspect.getdoc(Explicit) == '\n'.join(
        [
            'A class that writes out what it takes.',
            '',
            'Args:',
            '    height: Its own.',
            '    path: As of ``pathlib.Path``.',
            '    width: How wide.',
            '    kind: Of what kind; the middle one fixes it.',
        ]
    )


@show_all_arguments
class Maker:
    """A class that makes others.

    Args:
        color: See `Top`, but for its frame.
        height: As of ``tests.Base``; counted from the floor.
        part: See ``helper``.
        nothing: See ``Nowhere``.

    What is made belongs to the caller.
    """

    def __init__(self, color: str, height: int, part: str, nothing: str, **options) -> None:
        super().__init__()
        self.options = options


def helper(part: str) -> None:
    """Help.

    Args:
        part: Which part.
    """


def test_references_to_other_classes_and_functions_are_followed():
    assert argument_docs(Maker) == dict(
        color='Of what color. But for its frame.',
        height='How high and how deep. Counted from the floor.',
        part='Which part.',
        nothing='See ``Nowhere``.',
    )
    assert inspect.getdoc(Maker).endswith('part: Which part.\n\nWhat is made belongs to the caller.')


def test_keywords_that_are_not_for_the_base_are_shown_as_they_are():
    assert str(inspect.signature(Maker)) == '(color: str, height: int, part: str, nothing: str, **options)'


def test_every_argument_of_every_registered_class_is_documented():
    missing = {cls.__name__: sorted(set(parameters_of(cls)) - set(argument_docs(cls))) for cls in registered_classes()}
    assert {name: names for name, names in missing.items() if set(names) - TORCH_KNOWS} == {}


def test_no_argument_of_a_registered_class_is_told_by_a_reference_alone():
    references = [
        f'{cls.__name__}.{name}: {text}'
        for cls in registered_classes()
        for name, text in argument_docs(cls).items()
        if REFERENCE.match(text) or text.startswith('See above')
    ]
    assert references == []


def test_help_tells_of_every_argument_of_every_registered_class():
    for cls in registered_classes():
        entries = re.findall(r'^ +([\w, *]+?)\s*(?:\(.*\))?:', inspect.getdoc(cls), re.MULTILINE)
        told = {name.strip(' *') for entry in entries for name in entry.split(',')}
        assert set(parameters_of(cls)) - told - TORCH_KNOWS == set(), cls.__name__


# their keywords are for something that a config names
KEEP_KEYWORDS = {'RandomResize', 'RandomChoiceResize', 'TIMMBackbone'}


def test_signatures_show_nothing_that_could_be_anything():
    anything = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    shown = {cls: inspect.signature(cls).parameters.values() for cls in registered_classes()}
    found = {cls.__name__ for cls, parameters in shown.items() if {p.kind for p in parameters} & anything}
    assert found == KEEP_KEYWORDS


@pytest.mark.parametrize('name', ['RetinaHead', 'RTMDetInsSepBNHead', 'FasterRCNN', 'CSPNeXt'])
def test_what_initializes_the_weights_is_told(name):
    assert 'init_cfg: Weight initiali' in inspect.getdoc(MODELS.get(name))


def test_a_head_that_names_all_of_its_arguments_tells_what_each_means():
    text = inspect.getdoc(MODELS.get('RetinaHead'))
    assert '    train_cfg: ``assigner``, ``sampler``, ``allowed_border``, ``pos_weight``.' in text
    assert 'As of' not in text


def test_what_a_head_adds_to_the_settings_of_its_base_is_told():
    assert '``neg_pos_ratio``' in argument_docs(MODELS.get('SSDHead'))['train_cfg']
    assert '``conf_thr``' in inspect.getdoc(MODELS.get('YOLOV3Head'))
