"""Data and its geometry: boxes, masks, warps and the sample that holds what is known about an image."""

from mmdetlike.structures.bbox import (
    BaseBoxes,
    BoxMode,
    HorizontalBoxes,
    bbox_overlaps,
    get_box_tensor,
    pairwise_ioa,
)
from mmdetlike.structures.det_data_sample import DetDataSample, OptSampleList, SampleList
from mmdetlike.structures.grid_warp import GridWarp
from mmdetlike.structures.image_list import ImageList
from mmdetlike.structures.keypoints import Keypoints, heatmaps_to_keypoints
from mmdetlike.structures.mask import BaseInstanceMasks, BitmapMasks, PolygonMasks, ROIMasks
from mmdetlike.structures.track_data_sample import OptTrackSampleList, TrackDataSample, TrackSampleList
from mmdetlike.structures.warp import Warp, map_back, project_boxes
from mmdetlike.structures.warp_list import WarpList

__all__ = [
    'BaseBoxes',
    'BaseInstanceMasks',
    'BitmapMasks',
    'BoxMode',
    'DetDataSample',
    'GridWarp',
    'HorizontalBoxes',
    'ImageList',
    'Keypoints',
    'OptSampleList',
    'OptTrackSampleList',
    'PolygonMasks',
    'ROIMasks',
    'SampleList',
    'TrackDataSample',
    'TrackSampleList',
    'Warp',
    'WarpList',
    'bbox_overlaps',
    'get_box_tensor',
    'heatmaps_to_keypoints',
    'map_back',
    'pairwise_ioa',
    'project_boxes',
]
