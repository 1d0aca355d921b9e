"""Colors by class or by instance, gray pictures, small masks left out, colors of connections."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.errors import ConfigError
from mmdetlike.structures import DetDataSample
from mmdetlike.visualization import ColorMode, DetLocalVisualizer, Style, draw_instances, draw_keypoints
from mmdetlike.visualization.color_mode import gray_outside

IMAGE = np.full((60, 80, 3), (200, 100, 50), np.uint8)


def two_of_a_class(side=20):
    masks = np.zeros((2, 60, 80), bool)
    masks[0, 10:30, 10:30] = True
    masks[1, 35 : 35 + side, 50 : 50 + side] = True
    boxes = np.array([[10, 10, 30, 30], [50, 35, 50 + side, 35 + side]], float)
    return dict(bboxes=boxes, labels=np.zeros(2, int), masks=masks)


def test_instances_of_a_class_are_told_apart_only_by_instance():
    def centers(mode):
        drawn = draw_instances(IMAGE, two_of_a_class(), style=Style(color_mode=mode))
        return drawn[25, 25].tolist(), drawn[48, 62].tolist()

    first, second = centers(ColorMode.SEGMENTATION)
    assert first == second
    first, second = centers(ColorMode.IMAGE)
    assert first != second


def test_the_picture_is_gray_outside_of_masks():
    drawn = draw_instances(IMAGE, two_of_a_class(), style=Style(color_mode=ColorMode.IMAGE_BW))
    assert len(set(drawn[55, 5].tolist())) == 1
    assert len(set(drawn[25, 25].tolist())) > 1
    assert np.ptp(gray_outside(IMAGE, None), axis=2).max() == 0


def test_small_masks_are_left_out():
    drawn = draw_instances(IMAGE, two_of_a_class(side=4), style=Style(min_mask_area=50))
    assert np.array_equal(drawn[35:39, 50:54], IMAGE[35:39, 50:54])
    assert not np.array_equal(drawn[12:28, 12:28], IMAGE[12:28, 12:28])


def test_connections_have_colors_of_their_own():
    points = np.array([[[10, 30, 2], [40, 30, 2], [70, 30, 2]]], float)
    colors = [(255, 0, 0), (0, 0, 255)]
    drawn = draw_keypoints(IMAGE, points, [(0, 255, 0)], [(0, 1), (1, 2)], link_colors=colors)
    for x, color in ((25, colors[0]), (55, colors[1]), (40, (0, 255, 0))):
        assert np.abs(drawn[30, x].astype(int) - color).max() < 20  # lines are smoothed
    with pytest.raises(ValueError, match='2 links of keypoints to draw but 1 colors'):
        draw_keypoints(IMAGE, points, [(0, 255, 0)], [(0, 1), (1, 2)], link_colors=colors[:1])


def test_the_visualizer_takes_the_mode_by_name(tmp_path):
    found = two_of_a_class(side=4)
    fields = dict(bboxes=torch.tensor(found['bboxes']), labels=torch.tensor(found['labels']))
    sample = DetDataSample(pred_instances=InstanceData(**fields, scores=torch.ones(2), masks=found['masks']))
    visualizer = DetLocalVisualizer(color_mode='image_bw', area_threshold=50)
    visualizer.dataset_meta = dict(classes=('cat',))
    visualizer.add_datasample('a', IMAGE, sample, out_file=str(tmp_path / 'a.png'))
    drawn = visualizer.get_image()
    assert np.ptp(drawn[40:58, 56:78].astype(int), axis=2).max() == 0  # the small one's place is gray
    with pytest.raises(ConfigError, match="color_mode='bw'; expected one of image, segmentation, image_bw"):
        DetLocalVisualizer(color_mode='bw')
