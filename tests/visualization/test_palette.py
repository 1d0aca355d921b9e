import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.errors import ConfigError
from mmdetlike.utils.colors import to_oklab
from mmdetlike.visualization.palette import (
    contrast,
    distinct_colors,
    get_palette,
    readable_text_color,
)


def test_colors_are_distinct_and_stable():
    colors = distinct_colors(80)
    assert len(set(colors)) == 80
    assert colors[:7] == distinct_colors(7)
    assert colors == distinct_colors(80)
    lab = np.array([to_oklab(color) for color in colors])
    gaps = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    np.fill_diagonal(gaps, 1)
    assert gaps[:20, :20].min() > 0.07
    assert gaps.min() > 0.03


def test_many_and_no_colors():
    assert distinct_colors(0) == []
    assert len(set(distinct_colors(1203))) == 1203
    assert len(distinct_colors(6000)) == 6000
    with pytest.raises(ValueError, match='-1'):
        distinct_colors(-1)


def test_oklab_of_white_is_neutral():
    np.testing.assert_allclose(to_oklab((255, 255, 255)), (1, 0, 0), atol=1e-3)


@given(st.tuples(*[st.integers(0, 255)] * 3))
@settings(max_examples=25, deadline=None)
def test_text_is_readable_on_any_color(color):
    assert contrast(readable_text_color(color), color) >= 4.5


def test_preferred_text_color_is_used_where_legible():
    assert readable_text_color((0, 0, 0), (200, 200, 200)) == (200, 200, 200)
    assert readable_text_color((255, 255, 0), (200, 200, 200)) == (0, 0, 0)
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)


def test_get_palette():
    assert get_palette(None, 3) == get_palette('random', 3) == distinct_colors(3)
    assert get_palette((1, 2, 3), 2) == [(1, 2, 3)] * 2
    assert get_palette([(1, 2, 3), (4, 5, 6)], 2) == [(1, 2, 3), (4, 5, 6)]
    assert get_palette([[1, 2, 3], [4, 5, 6], [7, 8, 9]], 3) == [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    assert get_palette('lime', 1) == [(0, 255, 0)]
    with pytest.raises(ValueError, match="'grene' is neither"):
        get_palette('grene', 2)
    with pytest.raises(ValueError, match='0 to 255'):
        get_palette([(1, 2, 300)], 1)


def test_a_short_palette_is_filled_up_with_one_warning():
    with pytest.warns(UserWarning, match='the palette has 1 colors for 41 classes') as caught:
        colors = get_palette([(220, 20, 60)], 41)
        assert get_palette([(220, 20, 60)], 41) == colors
    assert len(caught) == 1
    assert colors == [(220, 20, 60), *distinct_colors(41)[1:]]
    assert get_palette([], 2) == distinct_colors(2)


def test_colors_in_other_forms():
    assert get_palette(['red', '#0000ff', 'lime'], 3) == [(255, 0, 0), (0, 0, 255), (0, 255, 0)]
    assert get_palette([(0.5, 0.5, 1.0), (1.0, 0, 0)], 2) == [(128, 128, 255), (255, 0, 0)]
    assert get_palette(np.array([[1, 2, 3], [4, 5, 6]]), 2) == [(1, 2, 3), (4, 5, 6)]


@pytest.mark.parametrize(
    'color', [(300, 0, 0), (0, -5, 0), (220, 20), 'redd', None, 5, ('a', 'b', 'c'), (np.nan, 0, 0)]
)
def test_what_is_no_color_is_refused(color):
    with pytest.raises(ConfigError, match='a color is a name'):
        get_palette([color], 1)
