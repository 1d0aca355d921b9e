"""Data and its geometry: boxes, masks, warps and the sample that holds what is known about an image."""

from mmdetlike.structures.bbox import BaseBoxes, HorizontalBoxes, bbox_overlaps, get_box_tensor
from mmdetlike.structures.det_data_sample import DetDataSample, OptSampleList, SampleList
from mmdetlike.structures.mask import BaseInstanceMasks, BitmapMasks, PolygonMasks
from mmdetlike.structures.track_data_sample import OptTrackSampleList, TrackDataSample, TrackSampleList
from mmdetlike.structures.warp import Warp, map_back, project_boxes

__all__ = [
    'BaseBoxes',
    'BaseInstanceMasks',
    'BitmapMasks',
    'DetDataSample',
    'HorizontalBoxes',
    'OptSampleList',
    'OptTrackSampleList',
    'PolygonMasks',
    'SampleList',
    'TrackDataSample',
    'TrackSampleList',
    'Warp',
    'bbox_overlaps',
    'get_box_tensor',
    'map_back',
    'project_boxes',
]
