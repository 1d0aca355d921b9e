"""The sample of a clip: annotations of its frames and the predictions of a tracker."""

from collections.abc import Iterator, Sequence

from mmengine.structures import BaseDataElement

from mmdetlike.structures.det_data_sample import DetDataSample


class TrackDataSample(BaseDataElement):
    """The frames of a clip, each a `DetDataSample`, in the order of time.

    ``clip[i]`` is a frame, ``clip[i:j]`` a list of them. What moves or converts a sample (``to``, ``cuda``, ``cpu``,
    ``numpy``, ``to_tensor``, ``detach``, ``clone``) does so with every frame.

    Metainfo may have ``key_frames_inds`` and ``ref_frames_inds``: indices of the key frames, in which objects are to
    be found, and of the reference frames that they are compared with.

    Raises:
        TypeError: ``video_data_samples`` is set to something else than a list of `DetDataSample`.
    """

    @property
    def video_data_samples(self) -> list[DetDataSample]:
        """The frames."""
        return self._video_data_samples

    @video_data_samples.setter
    def video_data_samples(self, frames: DetDataSample | Sequence[DetDataSample]) -> None:
        frames = [frames] if isinstance(frames, DetDataSample) else frames
        if not isinstance(frames, (list, tuple)):
            raise TypeError(f'video_data_samples must be a list of DetDataSample, got a {type(frames).__name__}.')
        others = [index for index, frame in enumerate(frames) if not isinstance(frame, DetDataSample)]
        if others:
            kind = type(frames[others[0]]).__name__
            raise TypeError(f'video_data_samples must be a list of DetDataSample, but frame {others[0]} is a {kind}.')
        self.set_field(list(frames), '_video_data_samples', dtype=list)

    @video_data_samples.deleter
    def video_data_samples(self) -> None:
        del self._video_data_samples

    def __len__(self) -> int:
        """The number of frames."""
        return len(self._video_data_samples) if 'video_data_samples' in self else 0

    def __bool__(self) -> bool:
        """Always true: by ``__len__`` alone a clip without frames would be false, hence be taken for no sample."""
        return True

    def __getitem__(self, index: int | slice) -> DetDataSample | list[DetDataSample]:
        """One frame by its index, or a list of frames by a slice.

        Raises:
            IndexError: There is no such frame.
        """
        if not isinstance(index, slice) and not -len(self) <= index < len(self):
            raise IndexError(f'the clip has {len(self)} frames, there is no frame {index}.')
        return self._video_data_samples[index] if len(self) else []

    def __iter__(self) -> Iterator[DetDataSample]:
        return iter(self[:])

    def get_key_frames(self) -> list[DetDataSample]:
        """The frames of ``key_frames_inds``.

        Raises:
            ValueError: The metainfo has none, or they are not among the frames.
        """
        return self._frames_of('key_frames_inds')

    def get_ref_frames(self) -> list[DetDataSample]:
        """The frames of ``ref_frames_inds``.

        Raises:
            ValueError: The metainfo has none, or they are not among the frames.
        """
        return self._frames_of('ref_frames_inds')

    def _frames_of(self, key: str) -> list[DetDataSample]:
        indices = self.metainfo.get(key)
        if indices is None:
            raise ValueError(
                f'the clip has no {key} in its metainfo, only {", ".join(self.metainfo_keys()) or "nothing"}.'
            )
        outside = [index for index in indices if not -len(self) <= index < len(self)]
        if outside:
            raise ValueError(f'{key}={list(indices)} has {outside}, but the clip has only {len(self)} frames.')
        return [self[index] for index in indices]

    def _map_frames(self, method: str, *args, **kwargs) -> 'TrackDataSample':
        """A copy of the clip with each frame replaced by the result of its method of the name ``method``."""
        copy = self.new()
        if 'video_data_samples' in self:
            copy.video_data_samples = [getattr(frame, method)(*args, **kwargs) for frame in self]
        return copy

    def to(self, *args, **kwargs) -> 'TrackDataSample':
        """A copy whose tensors are converted as by ``Tensor.to``."""
        return self._map_frames('to', *args, **kwargs)

    def cuda(self) -> 'TrackDataSample':
        """A copy with all tensors on the GPU."""
        return self._map_frames('cuda')

    def cpu(self) -> 'TrackDataSample':
        """A copy with all tensors on the CPU."""
        return self._map_frames('cpu')

    def detach(self) -> 'TrackDataSample':
        """A copy with all tensors detached from the graph."""
        return self._map_frames('detach')

    def numpy(self) -> 'TrackDataSample':
        """A copy with arrays instead of tensors."""
        return self._map_frames('numpy')

    def to_tensor(self) -> 'TrackDataSample':
        """A copy with tensors instead of arrays."""
        return self._map_frames('to_tensor')

    def clone(self) -> 'TrackDataSample':
        """A copy, frame by frame; values are shared as by ``DetDataSample.clone``."""
        return self._map_frames('clone')


TrackSampleList = Sequence[TrackDataSample]
OptTrackSampleList = TrackSampleList | None
