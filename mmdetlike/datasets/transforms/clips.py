"""Transforms of clips, which are samples that hold the frames of a video, as ``BaseVideoDataset`` gives them."""

from collections.abc import Sequence

import numpy as np
import torch

from mmdetlike.datasets.transforms.base import BaseTransform
from mmdetlike.datasets.transforms.formatting import META_KEYS, PackDetInputs
from mmdetlike.datasets.transforms.wrappers import Step, build_pipeline
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures import TrackDataSample

FRAME_META_KEYS = (*META_KEYS, 'frame_id', 'video_id', 'video_length')


@TRANSFORMS.register_module()
class UniformRefFrameSample(BaseTransform):
    """Choose a key frame at random, and reference frames near it to compare it with; they stay in the order of time.

    Where too few frames are near, some are chosen more than once.

    Args:
        num_ref_imgs: Number of reference frames.
        frame_range: How many frames before and after the key frame they may lie: a number for both, or
            (lowest, highest) offset, such as (-5, 5).
        filter_key_img: The key frame isn't a reference frame as well, unless there is no other frame.

    Raises:
        ConfigError: ``frame_range`` isn't such a range.
    """

    needs = ('frames',)

    def __init__(
        self, num_ref_imgs: int = 1, frame_range: int | Sequence[int] = 10, filter_key_img: bool = True
    ) -> None:
        bounds = (-frame_range, frame_range) if isinstance(frame_range, int) else tuple(frame_range)
        if len(bounds) != 2 or not bounds[0] <= 0 <= bounds[1]:
            raise ConfigError(f'frame_range must be a number or (lowest <= 0, highest >= 0), got {frame_range}')
        self.num_ref_imgs = num_ref_imgs
        self.frame_range = bounds
        self.filter_key_img = filter_key_img

    def transform(self, results: dict) -> dict:
        frames = results['frames']
        key = np.random.randint(len(frames))
        chosen = sorted([(key, True), *((index, False) for index in self._draw_references(key, len(frames)))])
        # frames may be there twice, and each is changed on its own
        results['frames'] = [dict(frames[index]) for index, _ in chosen]
        results['key_frame_flags'] = [is_key for _, is_key in chosen]
        return results

    def _draw_references(self, key: int, count: int) -> list[int]:
        lowest, highest = self.frame_range
        near = range(max(key + lowest, 0), min(key + highest, count - 1) + 1)
        candidates = [index for index in near if index != key or not self.filter_key_img] or [key]
        too_few = len(candidates) < self.num_ref_imgs
        return np.random.choice(candidates, self.num_ref_imgs, replace=too_few).tolist()


@TRANSFORMS.register_module()
class TransformBroadcaster(BaseTransform):
    """Run transforms of images on each frame of a clip; if one returns None for a frame, the clip is given up.

    Args:
        transforms: A transform or a list of them.
        share_random_params: All frames see the same random choices: they are flipped together, and so on.
    """

    needs = ('frames',)

    def __init__(self, transforms: Step | Sequence[Step], share_random_params: bool = False) -> None:
        self.transforms = build_pipeline(transforms)
        self.share_random_params = share_random_params

    def transform(self, results: dict) -> dict | None:
        state = np.random.get_state()
        frames = []
        for frame in results['frames']:
            if self.share_random_params:
                np.random.set_state(state)
            frames.append(self.transforms(frame))
        if any(frame is None for frame in frames):
            return None
        results['frames'] = frames
        return results


@TRANSFORMS.register_module()
class PackTrackInputs(BaseTransform):
    """Pack a clip: ``inputs`` (T, c, h, w) and ``data_samples``, a `TrackDataSample`.

    Each frame is packed as by `PackDetInputs`; identities are ``gt_instances.instances_ids`` (n,). The clip's metainfo
    has ``video_id``, ``video_length``, ``key_frames_inds`` and ``ref_frames_inds``.

    Args:
        meta_keys: What of a frame becomes metainfo beside ``default_meta_keys``.
        default_meta_keys: What of a frame becomes metainfo.

    Raises:
        ConfigError: Frames have images of different sizes.
    """

    needs = ('frames',)

    def __init__(
        self, meta_keys: Sequence[str] | None = None, default_meta_keys: Sequence[str] = FRAME_META_KEYS
    ) -> None:
        self.meta_keys = tuple(dict.fromkeys((*default_meta_keys, *(meta_keys or ()))))
        self._pack = PackDetInputs(self.meta_keys)

    def transform(self, results: dict) -> dict:
        packed = [self._pack(frame) for frame in results['frames']]
        sizes = {tuple(frame['inputs'].shape) for frame in packed}
        if len(sizes) > 1:
            raise ConfigError(
                f'the frames of video {results.get("video_id")!r} have images of the shapes {sorted(sizes)}: resize '
                f'and crop them by TransformBroadcaster(share_random_params=True)'
            )
        flags = results.get('key_frame_flags', [True] * len(packed))
        meta = {key: results[key] for key in ('video_id', 'video_length') if key in results}
        meta['key_frames_inds'] = [index for index, is_key in enumerate(flags) if is_key]
        meta['ref_frames_inds'] = [index for index, is_key in enumerate(flags) if not is_key]
        sample = TrackDataSample(metainfo=meta)
        sample.video_data_samples = [frame['data_samples'] for frame in packed]
        return {'inputs': torch.stack([frame['inputs'] for frame in packed]), 'data_samples': sample}
