import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.visualization import (
    Instances,
    Style,
    draw_boxes,
    draw_instances,
    draw_keypoints,
    draw_labels,
    draw_masks,
)
from mmdetlike.visualization.tags import _intersections, place_tags
from mmdetlike.visualization.text import Typeface, font_size_for, line_width_for, shorten

RED, BLUE = (250, 10, 20), (10, 20, 240)


def grey(height, width, value=128):
    return np.full((height, width, 3), value, np.uint8)


def is_color(image, color):
    return (image == np.array(color)).all(-1)


def test_box_lines_lie_on_the_edges():
    image = grey(100, 200)
    drawn = draw_boxes(image, np.array([[20, 30, 120, 80]]), [RED], line_width=1)
    expected = np.zeros((100, 200), bool)
    expected[30:80, 20:120] = True
    expected[31:79, 21:119] = False
    assert (is_color(drawn, RED) == expected).all()
    assert (drawn[~expected] == 128).all()
    assert (image == 128).all(), 'the given image must stay as it is'


def test_thick_lines_are_centred_and_rimmed():
    drawn = draw_boxes(grey(100, 200), np.array([[20, 30, 120, 80]]), [RED], line_width=4)
    assert is_color(drawn[28:32, 18:122], RED).all()
    assert is_color(drawn[28:82, 18:22], RED).all()
    assert not is_color(drawn[32:78, 22:118], RED).any()
    assert (drawn[27, 18:122] < 128).all() and (drawn[26, 18:122] == 128).all()


def test_lines_of_boxes_beyond_the_image_run_along_its_border():
    drawn = draw_boxes(grey(50, 60), np.array([[-10, -10, 200, 200]]), [RED], line_width=2)
    for side in (drawn[:2], drawn[-2:], drawn[:, :2], drawn[:, -2:]):
        assert is_color(side, RED).all()


def test_boxes_that_cannot_be_seen_are_left_out():
    boxes = np.array([[-50, -50, -10, -10], [70, 0, 90, 20], [np.nan, 0, 10, 10], [0, 0, np.inf, 10]])
    assert (draw_boxes(grey(50, 60), boxes, [RED] * 4) == 128).all()


@given(
    st.lists(st.tuples(*[st.floats(-300, 300)] * 4), max_size=5),
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 12),
    st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_any_boxes_on_any_image(boxes, height, width, line_width, dashed):
    drawn = draw_boxes(grey(height, width), np.array(boxes).reshape(-1, 4), [RED] * len(boxes), line_width, dashed)
    assert drawn.shape == (height, width, 3) and drawn.dtype == np.uint8


def test_dashes_alternate():
    drawn = draw_boxes(grey(40, 200), np.array([[0, 0, 200, 40]]), [(255, 255, 255)], line_width=1, dashed=True)
    assert is_color(drawn[0, 0:4], (255, 255, 255)).all()
    assert is_color(drawn[0, 4:8], (40, 40, 40)).all()
    assert is_color(drawn[0, 8:12], (255, 255, 255)).all()


def test_mask_is_blended_and_traced():
    mask = np.zeros((1, 60, 80), bool)
    mask[0, 10:50, 10:70] = True
    drawn = draw_masks(grey(60, 80, 100), mask, [(200, 0, 100)], alpha=0.5, line_width=1)
    assert (drawn[20:40, 20:60] == (150, 50, 100)).all()
    assert abs(drawn[10, 12:68].astype(int) - (200, 0, 100)).max() < 16, 'the contour is opaque, but antialiased'
    assert (drawn[:8] == 100).all()


def test_small_mask_is_above_a_large_one():
    masks = np.zeros((2, 60, 80), bool)
    masks[0, 20:30, 20:30] = True
    masks[1] = True
    drawn = draw_masks(grey(60, 80), masks, [RED, BLUE], alpha=1.0)
    assert is_color(drawn[25, 25], RED) and is_color(drawn[50, 50], BLUE)


def test_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r'\(5, 6\).*\(50, 60\)'):
        draw_masks(grey(50, 60), np.ones((1, 5, 6), bool), [RED])


def test_masks_stay_below_box_lines():
    boxes = np.array([[30.0, 40, 130, 140], [60, 60, 190, 170]])
    masks = np.ones((2, 200, 220), bool)
    instances = Instances(boxes, np.array([0, 1]), None, masks)
    drawn = draw_instances(grey(200, 220), instances, ('', ''), [RED, BLUE])
    width = line_width_for(drawn.shape)
    for x in (30, 129 if width == 1 else 130):
        column = drawn[70:130, x - width // 2]
        assert (is_color(column, RED) | is_color(column, BLUE)).all()


def test_keypoints():
    points = np.array([[[20.0, 20, 2], [60, 20, 1], [40, 50, 0]]])
    drawn = draw_keypoints(grey(70, 80), points, [RED], links=[(0, 1), (1, 2)], radius=3)
    assert is_color(drawn[20, 20], RED) and is_color(drawn[20, 60], RED)
    assert abs(drawn[20, 30:50].astype(int) - RED).max() < 20, 'visible points are linked'
    assert (drawn[45:] == 128).all(), 'an invisible point and its link must not be drawn'


def test_tag_is_in_the_class_color_with_readable_text():
    drawn = draw_labels(grey(200, 300), np.array([[50, 80, 200, 180]]), ['cat 0.87'], [BLUE], font_size=20)
    rows, columns = np.nonzero((drawn != 128).any(-1))
    assert (rows.min(), rows.max()) == (80 - 26, 79), 'the tag sits on the upper edge of the box'
    assert columns.min() == 50
    tag = drawn[rows.min() : rows.max() + 1, 50 : columns.max() + 1]
    assert is_color(tag[0], BLUE).all() and is_color(tag[:, 0], BLUE).all()
    assert tag.min(-1).max() > 240, 'white text on dark blue'


@given(
    st.lists(st.tuples(*[st.floats(-50, 250)] * 4), min_size=1, max_size=12), st.integers(60, 200), st.integers(60, 200)
)
@settings(max_examples=25, deadline=None)
def test_tags_lie_inside_the_image(boxes, height, width):
    sizes = np.array([(20 + 3 * i, 12) for i in range(len(boxes))])
    corners = place_tags(np.array(boxes), sizes, width, height)
    assert (corners >= 0).all() and (corners + sizes <= (width, height)).all()


def test_tags_are_pushed_apart():
    boxes = np.array([[100.0, 100, 200, 200]] * 8)
    sizes = np.array([(60, 14)] * 8)
    corners = place_tags(boxes, sizes, 400, 300)
    tags = np.concatenate([corners, corners + sizes], 1)
    overlap = _intersections(tags, tags)
    np.fill_diagonal(overlap, 0)
    assert overlap.max() == 0
    assert corners[0].tolist() == [100, 86], 'the first one gets the usual place'


def test_tags_avoid_small_objects():
    boxes = np.array([[100.0, 100, 200, 200], [102, 84, 122, 98]])
    corner = place_tags(boxes, np.array([(60, 14)] * 2), 400, 300)[0]
    assert _intersections(np.array([[*corner, *corner + (60, 14)]]), boxes[1:])[0, 0] == 0


def test_tags_leave_most_of_a_tiny_image_free():
    drawn = draw_labels(grey(64, 64), np.random.default_rng(0).uniform(0, 64, (30, 4)), ['person 0.5'] * 30, [RED] * 30)
    assert 0 < (drawn != 128).any(-1).mean() <= 0.4


def test_long_text_is_shortened():
    font = Typeface(12)
    short = shorten('a very long class name indeed 0.87', font, 90, tail=5)
    assert font.getlength(short) <= 90 and short.endswith('… 0.87') and short.startswith('a v')
    assert shorten('cat', font, 90) == 'cat'
    assert shorten('cat', font, 3) == ''


def test_sizes_follow_the_image():
    assert [font_size_for((s, s)) for s in (20, 100, 500, 4000)] == [9, 9, 13, 62]
    assert [line_width_for((s, s)) for s in (20, 100, 500, 4000)] == [1, 1, 2, 9]
    assert line_width_for((1000, 1000), base=6) == 6


@pytest.mark.parametrize('shape', [(1, 1), (1, 300), (300, 1), (5, 7), (64, 64), (2000, 30)])
def test_any_image_size(shape):
    height, width = shape
    boxes = np.array([[0.0, 0, width, height], [-5, -5, 0.5, 0.5]])
    instances = Instances(boxes, np.array([3, 0]), np.array([0.9, 0.5]), np.ones((2, height, width), bool))
    drawn = draw_instances(grey(height, width), instances, ('a class name', 'b'))
    assert drawn.shape == (height, width, 3)
    assert (drawn != 128).any()


def test_nothing_to_draw_leaves_the_image():
    image = grey(40, 50)
    none = Instances(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0), np.zeros((0, 40, 50), bool), np.zeros((0, 5, 3)))
    assert (draw_instances(image, none) == image).all()
    below = Instances(np.array([[1.0, 1, 30, 30]]), np.array([0]), np.array([0.2]))
    assert (draw_instances(image, below, score_thr=0.3) == image).all()
    assert (draw_instances(image, below, score_thr=0.2) != image).any()


def test_small_images_are_enlarged_when_asked():
    instances = Instances(np.array([[10.0, 8, 30, 24]]), np.array([0]), None, np.ones((1, 32, 64), bool))
    drawn = draw_instances(grey(32, 64), instances, ('',), [RED], min_side=320, style=Style(mask_alpha=0.0))
    assert drawn.shape == (320, 640, 3)
    assert is_color(drawn[160, 100], RED) and is_color(drawn[80, 200], RED)
    assert draw_instances(grey(32, 64), instances, min_side=30).shape == (32, 64, 3)


def test_confident_box_is_above_others():
    instances = Instances(np.array([[20.0, 20, 90, 90]] * 2), np.array([0, 1]), np.array([0.9, 0.8]))
    drawn = draw_instances(grey(100, 100), instances, ('', ''), [RED, BLUE])
    assert is_color(drawn[89, 30:80], RED).all()


def test_mask_without_box_gets_a_tag_but_no_frame():
    mask = np.zeros((1, 100, 200), bool)
    mask[0, 50:90, 60:160] = True
    instances = Instances(np.zeros((1, 4)), np.array([0]), None, mask)
    drawn = draw_instances(grey(100, 200), instances, ('cat',), [RED], style=Style(mask_alpha=0.0))
    assert not is_color(drawn[:30], RED).any(), 'nothing at the corner where the empty box is'
    assert is_color(drawn[40:50, 60:80], RED).any(), 'the tag is above the mask'


def test_bgr_image_takes_bgr_colors_and_gray_image_becomes_color():
    boxes = np.array([[2.0, 2, 20, 20]])
    assert is_color(draw_boxes(grey(30, 30), boxes, [(1, 2, 3)], line_width=1)[2, 2:20], (1, 2, 3)).all()
    assert draw_boxes(np.zeros((30, 30), np.uint8), boxes, [RED]).shape == (30, 30, 3)


@pytest.mark.parametrize('image', [np.zeros((3, 4, 3)), np.zeros((3, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(ValueError, match='expected a uint8 image'):
        draw_boxes(image, np.zeros((0, 4)), [])
