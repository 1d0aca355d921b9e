"""Text in any script, with whatever fonts are installed."""

import unicodedata
import warnings

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdetlike.visualization import contact_sheet, draw_instances, text
from mmdetlike.visualization.text import Typeface, is_legible, legible_names, split_by_font, tidy, with_placeholders

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
