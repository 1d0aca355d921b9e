"""Detectors as artifacts that run elsewhere: programs of torch, compiled packages and ONNX models."""

from mmdetlike.export.deploy import deploy
from mmdetlike.export.manifest import Manifest, read_manifest
from mmdetlike.export.tracing import TracingAdapter

__all__ = ['Manifest', 'TracingAdapter', 'deploy', 'read_manifest']
