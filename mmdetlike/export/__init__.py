"""Detectors as artifacts that run elsewhere: programs of torch, compiled packages and ONNX models."""

from mmdetlike.export.deploy import deploy
from mmdetlike.export.manifest import Manifest, read_manifest

__all__ = ['Manifest', 'deploy', 'read_manifest']
