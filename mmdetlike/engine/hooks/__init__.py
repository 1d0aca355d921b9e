from .batch_pictures_hook import BatchPicturesHook
from .callback_hook import CallbackHook
from .channels_hook import ChannelCheckHook
from .checkpoint_hook import CheckpointHook
from .checks import CheckInvalidLossHook, NumClassCheckHook
from .early_stopping_hook import EarlyStoppingHook
from .epoch_hook import SetEpochInfoHook
from .expected_results_hook import ExpectedResultsHook
from .half_gradients_hook import Fp16CompresssionHook
from .inference_timer_hook import InferenceTimerHook
from .mean_teacher_hook import MeanTeacherHook
from .monitor_check import MonitorCheckHook
from .optimize_hook import OptimizeHook
from .precise_bn_hook import PreciseBNHook
from .report_hook import ReportHook
from .seed_hook import DistSamplerSeedHook
from .switch_hooks import PipelineSwitchHook, YOLOXModeSwitchHook
from .sync_norm_hook import SyncNormHook
from .visualization_hook import DetVisualizationHook

__all__ = [
    'BatchPicturesHook',
    'CallbackHook',
    'ChannelCheckHook',
    'CheckInvalidLossHook',
    'CheckpointHook',
    'DetVisualizationHook',
    'DistSamplerSeedHook',
    'EarlyStoppingHook',
    'Fp16CompresssionHook',
    'ExpectedResultsHook',
    'InferenceTimerHook',
    'MeanTeacherHook',
    'MonitorCheckHook',
    'NumClassCheckHook',
    'OptimizeHook',
    'PipelineSwitchHook',
    'PreciseBNHook',
    'ReportHook',
    'SetEpochInfoHook',
    'SyncNormHook',
    'YOLOXModeSwitchHook',
]
