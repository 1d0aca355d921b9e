"""Data preprocessor of videos: clips of a loader -> one normalized, padded batch of clips."""

from collections.abc import Sequence

from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from .data_preprocessor import DetDataPreprocessor


@MODELS.register_module()
class TrackDataPreprocessor(DetDataPreprocessor):
    """Prepare clips, each frame as ``DetDataPreprocessor`` does it, all padded to one size.

    Args:
        use_det_processor: In training, batches are plain images, as for the detector within a tracker.
    """

    def __init__(self, use_det_processor: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.use_det_processor = use_det_processor

    def forward(self, data: dict, training: bool = False) -> dict:
        """A list of N clips (T, C, h, w), and their samples or None, as one batch (N, T, C, H, W).

        Raises:
            ConfigError: The clips have different numbers of frames, or ``inputs`` are no clips.
        """
        if training and self.use_det_processor:
            return super().forward(data, training)
        clips = data['inputs']
        samples = data.get('data_samples')
        length = _common_length(clips)
        # as one batch of frames, so that all clips are padded to one size
        frames = [image for clip in clips for image in clip]
        frame_samples = None if samples is None else [frame for clip in samples for frame in clip]
        prepared = super().forward(dict(inputs=frames, data_samples=frame_samples), training)
        if samples is not None:
            samples = [clip.new() for clip in samples]
            for i, clip in enumerate(samples):
                clip.video_data_samples = list(prepared['data_samples'][i * length : (i + 1) * length])
        return dict(inputs=prepared['inputs'].unflatten(0, (len(clips), length)), data_samples=samples)


def _common_length(clips: Sequence[Tensor]) -> int:
    shapes = [tuple(clip.shape) for clip in clips]
    if any(len(shape) != 4 for shape in shapes):
        raise ConfigError(f'inputs must be clips (T, C, h, w), got shapes {shapes}; PackTrackInputs makes them')
    lengths = sorted({shape[0] for shape in shapes})
    if len(lengths) != 1:
        raise ConfigError(
            f'the clips of a batch have {lengths} frames: choose equally many of each (UniformRefFrameSample), or take '
            f'batch_size=1'
        )
    return lengths[0]
