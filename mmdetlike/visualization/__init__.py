"""Samples in, pictures out: drawing, contact sheets, training curves and the visualizer of the Runner."""

from .color_mode import ColorMode
from .contact_sheet import contact_sheet, save_image
from .draw import Style, draw_boxes, draw_instances, draw_keypoints, draw_labels, draw_masks
from .following import InstanceFollower
from .instances import Instances, panoptic_instances, to_instances
from .local_visualizer import DetLocalVisualizer
from .palette import distinct_colors, get_palette, readable_text_color
from .plots import plot_training_curves

__all__ = [
    'ColorMode',
    'DetLocalVisualizer',
    'InstanceFollower',
    'Instances',
    'Style',
    'contact_sheet',
    'distinct_colors',
    'draw_boxes',
    'draw_instances',
    'draw_keypoints',
    'draw_labels',
    'draw_masks',
    'get_palette',
    'panoptic_instances',
    'plot_training_curves',
    'readable_text_color',
    'save_image',
    'to_instances',
]
