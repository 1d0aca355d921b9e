from .checkpoint_hook import CheckpointHook
from .checks import CheckInvalidLossHook, NumClassCheckHook
from .epoch_hook import SetEpochInfoHook
from .report_hook import ReportHook
from .seed_hook import DistSamplerSeedHook
from .visualization_hook import DetVisualizationHook

__all__ = [
    'CheckInvalidLossHook',
    'CheckpointHook',
    'DetVisualizationHook',
    'DistSamplerSeedHook',
    'NumClassCheckHook',
    'ReportHook',
    'SetEpochInfoHook',
]
