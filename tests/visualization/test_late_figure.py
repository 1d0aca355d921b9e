import copy

import numpy as np

from mmdetlike.visualization import DetLocalVisualizer
from tests.utils import python


def test_a_visualizer_makes_no_figure_before_it_is_drawn_on():
    code = """
import sys
from mmdetlike.visualization import DetLocalVisualizer
visualizer = DetLocalVisualizer()
print('matplotlib' in sys.modules)
"""
    assert python('-c', code).stdout.strip() == 'False'


def test_methods_of_mmengine_draw_on_it():
    visualizer = DetLocalVisualizer(image=np.zeros((40, 60, 3), np.uint8))
    visualizer.draw_bboxes(np.array([[10, 10, 30, 30]]), edge_colors='r', line_widths=4)
    picture = visualizer.get_image()
    assert picture.shape == (40, 60, 3)
    assert picture[20, 10, 0] > 200
    assert picture[20, 20].max() == 0


def test_a_visualizer_can_be_copied_before_and_after():
    visualizer = DetLocalVisualizer()
    assert copy.deepcopy(visualizer).dpi == visualizer.dpi == visualizer.fig_save.get_dpi()
    visualizer.set_image(np.full((20, 30, 3), 7, np.uint8))
    again = copy.copy(visualizer)
    assert again.get_image().shape == (20, 30, 3)
