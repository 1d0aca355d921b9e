"""The functions that users call: build a detector from config and checkpoint, predict on pictures and videos."""

from mmdetlike.apis.deployed import Detector
from mmdetlike.apis.detector import init_detector
from mmdetlike.apis.inference import inference_detector
from mmdetlike.apis.inferencer import DetInferencer

__all__ = ['DetInferencer', 'Detector', 'inference_detector', 'init_detector']
