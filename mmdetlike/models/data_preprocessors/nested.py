"""Batches of more than images: branches, such as labeled and unlabeled images, and clips of videos."""

from collections.abc import Mapping, Sequence

from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from .data_preprocessor import DetDataPreprocessor


@MODELS.register_module()
class MultiBranchDataPreprocessor(BaseDataPreprocessor):
    """Prepare each branch of a batch by the same inner preprocessor.

    A batch of branches, as the transform ``MultiBranch`` makes it, has ``inputs`` and ``data_samples`` by branch. Each
    branch is padded and stacked on its own, so branches may differ in the sizes and the number of their images. A
    plain batch, as in testing, goes through the inner preprocessor as it is.

    Args:
        data_preprocessor: Config of the inner preprocessor, such as ``DetDataPreprocessor``.
    """

    def __init__(self, data_preprocessor: dict) -> None:
        super().__init__()
        self.data_preprocessor = MODELS.build(data_preprocessor)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch as the inner preprocessor does, by branch if it came by branch.

        Its ``inputs`` are a list of images or, by branch, lists of images and None for samples that the branch lacks;
        ``data_samples`` have the same form, or are None. Branches without any image are left out. Where both don't
        belong together, or no branch has an image, this is a ``ConfigError``.
        """
        if not isinstance(data['inputs'], Mapping):
            return self.data_preprocessor(data, training)
        batches = split_branches(data)
        prepared = {branch: self.data_preprocessor(batch, training) for branch, batch in batches.items()}
        return {key: {branch: batch[key] for branch, batch in prepared.items()} for key in ('inputs', 'data_samples')}

    def to(self, *args, **kwargs) -> 'MultiBranchDataPreprocessor':
        """Move to another device, the inner preprocessor too: torch moves parameters and buffers alone."""
        self.data_preprocessor.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def cuda(self, *args, **kwargs) -> 'MultiBranchDataPreprocessor':
        self.data_preprocessor.cuda(*args, **kwargs)
        return super().cuda(*args, **kwargs)

    def cpu(self, *args, **kwargs) -> 'MultiBranchDataPreprocessor':
        self.data_preprocessor.cpu(*args, **kwargs)
        return super().cpu(*args, **kwargs)


def split_branches(data: dict) -> dict[str, dict]:
    """A batch for each branch that has an image, without the None of samples that a branch lacks."""
    images = {branch: _present(values) for branch, values in data['inputs'].items()}
    samples = dict.fromkeys(images)
    if data.get('data_samples') is not None:
        samples = _samples_of(data['data_samples'], images)
    if not any(images.values()):
        raise ConfigError(
            f'no sample of the batch has an image in any of the branches {", ".join(images)}: each dataset needs a '
            f'pipeline for one of them in MultiBranch'
        )
    return {branch: dict(inputs=images[branch], data_samples=samples[branch]) for branch in images if images[branch]}


def _present(values) -> list:
    return [value for value in values if value is not None]


def _samples_of(given: Mapping, images: dict[str, list]) -> dict[str, list]:
    if not isinstance(given, Mapping):
        raise ConfigError(f'inputs come by branch, so data_samples must too; got a {type(given).__name__}')
    samples = {branch: _present(values) for branch, values in given.items()}
    counts = [{branch: len(values) for branch, values in kind.items()} for kind in (images, samples)]
    if counts[0] != counts[1]:
        raise ConfigError(f'a batch has images {counts[0]}, but data_samples {counts[1]}; each image needs its own')
    return samples


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
