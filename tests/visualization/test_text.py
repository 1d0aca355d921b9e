"""Text in any script, with whatever fonts are installed."""

import unicodedata
import warnings

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.structures import InstanceData

from mmdetlike.errors import ConfigError
from mmdetlike.structures import DetDataSample
from mmdetlike.visualization import DetLocalVisualizer, contact_sheet, draw_instances, text
from mmdetlike.visualization.text import (
    Typeface,
    find_font,
    is_legible,
    legible_names,
    split_by_font,
    tidy,
    with_placeholders,
)

FONTS = f'{matplotlib.get_data_path()}/fonts/ttf'


@pytest.fixture
def fonts(monkeypatch):
    """Installed fonts, given as a list of files."""

    def install(default: str, *others: str) -> None:
        monkeypatch.setattr(text, 'default_font', lambda: f'{FONTS}/{default}')
        monkeypatch.setattr(text, 'other_fonts', lambda: tuple(f'{FONTS}/{other}' for other in others))
        text.font_of.cache_clear()

    yield install
    monkeypatch.undo()
    text.font_of.cache_clear()


def drawn(name: str) -> np.ndarray:
    objects = dict(bboxes=np.array([[8, 30, 90, 60.0]]), scores=np.array([0.9]), labels=np.array([0]))
    return draw_instances(np.zeros((80, 120, 3), np.uint8), objects, classes=(name,))


def test_another_installed_font_is_found(fonts):
    fonts('cmr10.ttf')
    assert not is_legible('Я')
    fonts('cmr10.ttf', 'nothing.ttf', 'DejaVuSans.ttf')
    assert is_legible('Ягуар cat')
    assert [piece for _, piece in split_by_font('aЯb')] == ['a', 'Я', 'b']
    assert [file.rsplit('/')[-1] for file, _ in split_by_font('aЯ')] == ['cmr10.ttf', 'DejaVuSans.ttf']
    width = Typeface(20).getlength('aЯb')
    assert width == pytest.approx(sum(Typeface(20).getlength(letter) for letter in 'aЯb'))


def test_a_name_that_no_font_has_becomes_its_number_with_one_warning(fonts):
    fonts('cmr10.ttf')
    with pytest.warns(
        UserWarning, match=r"all letters of 2 of the 3 class names, such as 'Ягуар': .* as 'class 0'"
    ) as caught:
        assert legible_names(('Ягуар', 'cat', 'Кот')) == ('class 0', 'cat', 'class 2')
        legible_names(('Ягуар', 'cat', 'Кот'))
    assert len(caught) == 1
    with pytest.warns(UserWarning, match='no installed font'):
        named = drawn('Ягуар')
    np.testing.assert_array_equal(named, drawn('class 0'))
    assert with_placeholders('Кот 1.jpg') == '??? 1.jpg'


@pytest.mark.parametrize(
    ('name', 'shown'),
    [
        ('a\nb', 'a b'),
        ('a\x00b', 'a b'),
        ('tab\there', 'tab here'),
        ('\u202ertl', 'rtl'),
        ('zero\u200bwidth', 'zerowidth'),
    ],
)
def test_control_characters(name, shown):
    assert tidy(name) == shown
    np.testing.assert_array_equal(drawn(name), drawn(shown))


@pytest.mark.parametrize('name', [5, None, '', 'x' * 100000, '\ud83d'])
def test_strange_names(name):
    assert drawn(name).any()


@given(st.text(max_size=12))
def test_any_name_can_be_drawn(name):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        drawn(name)
        contact_sheet([(np.zeros((16, 16, 3), np.uint8), None)], cell=80, captions=[name])
    assert not any(unicodedata.category(character) == 'Cc' for character in tidy(name))


def test_a_chosen_font_comes_first(fonts):
    serif = f'{FONTS}/DejaVuSerif.ttf'
    fonts('cmr10.ttf')
    assert [file for file, _ in split_by_font('cat', serif)] == [serif]
    assert legible_names(('Кот',), serif) == ('Кот',)  # which no installed font has
    assert Typeface(20, serif).getlength('cat') != Typeface(20).getlength('cat')


def visualized(**arguments) -> np.ndarray:
    visualizer = DetLocalVisualizer(**arguments)
    visualizer.dataset_meta = dict(classes=('cat',))
    objects = InstanceData(bboxes=torch.tensor([[30.0, 60, 150, 110]]), labels=torch.zeros(1, dtype=torch.long))
    return visualizer.draw_datasample(np.zeros((120, 180, 3), np.uint8), DetDataSample(gt_instances=objects))


def test_font_and_size_of_tags():
    usual = visualized()
    assert (visualized(font=f'{FONTS}/DejaVuSerif.ttf') != usual).any()
    assert (visualized(font='DejaVu Serif') == visualized(font=f'{FONTS}/DejaVuSerif.ttf')).all()
    heights = [np.flatnonzero(visualized(font_size=size)[:, 60].any(axis=1)).min() for size in (9, 30)]
    assert heights[0] > heights[1] + 20  # the tag begins higher above the box


@pytest.mark.parametrize(
    ('font', 'sentence'),
    [
        ('nowhere/x.ttf', r"font='nowhere/x.ttf': there is no such file"),
        ('DejaVu Sens', r"font='DejaVu Sens' is neither the path .* installed family \(closest: DejaVu Sans"),
        (__file__, 'the file is no font'),
        (7, 'font=7 should be the path of a font file'),
        ('', "font='' should be the path"),
    ],
)
def test_fonts_that_are_not_there(font, sentence):
    with pytest.raises(ConfigError, match=sentence):
        find_font(font)


@pytest.mark.parametrize('size', [0, -3, 2.5, True, '12'])
def test_sizes_that_are_none(size):
    with pytest.raises(ConfigError, match=r'font_size=.* should be a whole number of pixels above 0'):
        DetLocalVisualizer(font_size=size)
