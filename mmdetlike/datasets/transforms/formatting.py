"""Packing, the last step of a pipeline: arrays become tensors, and a sample what a detector takes."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from mmdetlike.datasets.transforms.base import BaseTransform
from mmdetlike.datasets.transforms.instances import PACKED_NAMES
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures import DetDataSample
from mmdetlike.structures.bbox import HorizontalBoxes

META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')


@TRANSFORMS.register_module()
class PackDetInputs(BaseTransform):
    """Pack a sample for a detector: a dict of ``inputs`` (c, h, w) and ``data_samples``, a `DetDataSample`.

    ``gt_instances`` has ``bboxes`` (`HorizontalBoxes`), ``labels`` (n,) int64, ``masks`` and ``keypoints`` (n, k, 3)
    as far as loaded; instances with ``gt_ignore_flags`` set are in ``ignored_instances``. ``gt_sem_seg`` has
    ``sem_seg`` (1, h, w); ``proposals`` has ``bboxes`` and ``scores``.

    Args:
        meta_keys: What of ``results`` becomes metainfo.

    Raises:
        ConfigError: A meta key which isn't one of the default ones is missing in ``results``.
    """

    keeps_images = True

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        sample = DetDataSample(metainfo=self._metainfo(results))
        sample.gt_instances, sample.ignored_instances = _instances(results)
        if results.get('proposals') is not None:
            sample.proposals = _proposals(results)
        if 'gt_seg_map' in results:
            sample.gt_sem_seg = _semantic(results)
        packed = {'data_samples': sample}
        if 'img' in results:
            packed['inputs'] = image_to_tensor(results['img'])
        return packed

    def _metainfo(self, results: dict) -> dict:
        # a picture that no geometric step has moved is mapped onto its original by the identity
        results = {'homography_matrix': np.eye(3), **results}
        missing = [key for key in self.meta_keys if key not in results and key not in META_KEYS]
        if missing:
            raise ConfigError(
                f'PackDetInputs has {missing} in meta_keys, which the sample {results.get("img_path") or ""} lacks; it '
                f'has: {", ".join(sorted(results))}.'
            )
        return {key: results[key] for key in self.meta_keys if key in results}


def image_to_tensor(img: np.ndarray) -> Tensor:
    """An image (h, w) or (h, w, c) as a contiguous tensor (c, h, w) of the same dtype."""
    img = img[..., None] if img.ndim == 2 else img
    return torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1)))


def _instances(results: dict) -> tuple[InstanceData, InstanceData]:
    """Split the annotated instances into those that count and those to be ignored."""
    fields = {name: results[key] for key, name in PACKED_NAMES.items() if results.get(key) is not None}
    flags = results.get('gt_ignore_flags')
    counted = InstanceData()
    ignored = InstanceData()
    for name, values in fields.items():
        if name == 'bboxes' and isinstance(values, (np.ndarray, Tensor)):
            values = HorizontalBoxes(values)
        ignore = np.zeros(len(values), dtype=bool) if flags is None else flags
        counted[name] = _tensor(values[~ignore])
        ignored[name] = _tensor(values[ignore])
    return counted, ignored


def _tensor(values):
    return torch.from_numpy(values) if isinstance(values, np.ndarray) else values


def _proposals(results: dict) -> InstanceData:
    proposals = InstanceData(bboxes=results['proposals'])
    if results.get('proposals_scores') is not None:
        proposals.scores = _tensor(results['proposals_scores'])
    return proposals


def _semantic(results: dict) -> PixelData:
    semantic = PixelData(sem_seg=torch.from_numpy(np.ascontiguousarray(results['gt_seg_map']))[None])
    if 'ignore_index' in results:
        semantic.set_metainfo({'ignore_index': results['ignore_index']})
    return semantic
