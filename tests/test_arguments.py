"""Whoever asks for a class's arguments, by help, IDE or tool, sees all of them with their meaning."""

import inspect

import pytest

from mmdetlike import registry as registry_module
from mmdetlike.arguments import argument_docs, parameters_of, show_all_arguments, signature_of
from mmdetlike.registry import MODELS, Registry
from mmdetlike.utils import register_all_modules

register_all_modules()
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


def test_every_argument_of_every_registered_class_is_documented():
    torch_knows = {'device', 'dtype'}
    missing = {cls.__name__: sorted(set(parameters_of(cls)) - set(argument_docs(cls))) for cls in registered_classes()}
    assert {name: names for name, names in missing.items() if set(names) - torch_knows} == {}


@pytest.mark.parametrize('name', ['RetinaHead', 'RTMDetInsSepBNHead', 'FasterRCNN', 'SingleStageDetector', 'CSPNeXt'])
def test_a_model_shows_no_keywords_that_could_be_anything(name):
    kinds = {parameter.kind for parameter in inspect.signature(MODELS.get(name)).parameters.values()}
    assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    assert 'init_cfg: Weight initiali' in inspect.getdoc(MODELS.get(name))


def test_a_text_that_refers_to_a_base_is_replaced_by_that_of_the_base():
    doc = inspect.getdoc(MODELS.get('CascadeRoIHead'))
    assert 'As of' not in doc
    assert '    bbox_roi_extractor: Pools features of proposals.' in doc
    assert '    shared_head: Must be None.' in doc
