"""What users call: a detector from a config and a checkpoint, and its predictions for pictures and videos."""

from mmdetlike.apis.deployed import Detector
from mmdetlike.apis.detector import init_detector
from mmdetlike.apis.inference import inference_detector
from mmdetlike.apis.inferencer import DetInferencer

__all__ = ['DetInferencer', 'Detector', 'inference_detector', 'init_detector']
