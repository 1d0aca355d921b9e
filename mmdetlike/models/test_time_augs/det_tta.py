"""Test-time augmentation: one prediction of several versions of an image."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.utils import suppress
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList, map_back
from mmdetlike.structures.bbox import RotatedBoxes, geometry
from mmdetlike.structures.warp import Warp
from mmdetlike_ops import weighted_boxes_fusion

MERGED = ('bboxes', 'scores', 'labels', 'masks', 'keypoints', 'keypoint_scores')
FUSED = ('bboxes', 'scores', 'labels')
# axes of masks (n, height, width) that each direction mirrors
MIRRORED_AXES = {'horizontal': (2,), 'vertical': (1,), 'diagonal': (1, 2)}


@MODELS.register_module()
class DetTTAModel(BaseTTAModel):
    """A detector that looks at several versions of each image, as ``TestTimeAug`` makes them, and joins what it finds.

    What is found in a version is mapped back to the original image: its size by the detector, its mirroring here. Of
    all versions together, duplicates are suppressed; an object's mask and keypoints are those of its best box. Or boxes
    are fused (Weighted Boxes Fusion, arXiv 1910.13302), for detectors of axis-aligned boxes alone.

    Args:
        module: The detector, or its config.
        data_preprocessor: Another one than the detector's config has.
        tta_cfg: ``nms``, the settings of ``batched_nms`` by which duplicates are suppressed, by default at an IoU of
            0.5; or ``fusion``, arguments of ``mmdetlike_ops.weighted_boxes_fusion``, ``dict()`` for its defaults.
            Besides, ``max_per_img``, how many objects of an image are kept at most, and ``flip_indices``, which
            keypoint of an object each one of its mirror image is; those of the detector's ``dataset_meta`` where it
            isn't given.

    Raises:
        ConfigError: ``tta_cfg`` has other keys, or ``nms`` and ``fusion``.
    """

    def __init__(
        self,
        module: dict | nn.Module,
        data_preprocessor: dict | nn.Module | None = None,
        tta_cfg: dict | None = None,
    ) -> None:
        if isinstance(module, dict):
            own = {} if data_preprocessor is None else dict(data_preprocessor=data_preprocessor)
            module = MODELS.build({**module, **own})
        super().__init__(module)
        settings = dict(tta_cfg or {})
        self.nms = settings.pop('nms', None)
        self.fusion = settings.pop('fusion', None)
        self.max_per_img = settings.pop('max_per_img', 100)
        self.flip_indices = settings.pop('flip_indices', None)
        if settings:
            raise ConfigError(
                f'tta_cfg takes nms, fusion, max_per_img and flip_indices, got also {", ".join(sorted(settings))}'
            )
        if self.nms is not None and self.fusion is not None:
            raise ConfigError('tta_cfg takes nms or fusion, not both')

    def merge_preds(self, data_samples_list: Sequence[Sequence[DetDataSample]]) -> SampleList:
        """One sample for each image, with the objects of all its predicted versions in pixels of the original image.

        Predictions that can't be joined are a ``ConfigError``.
        """
        return [self.merge(versions) for versions in data_samples_list]

    def merge(self, versions: Sequence[DetDataSample]) -> DetDataSample:
        """The sample of one image; its metainfo is that of the first version that is not mirrored."""
        found = [self.map_back(version) for version in versions]
        merged = versions[plain_version(versions)].clone()
        merged.pred_instances = self.suppressed(found) if self.fusion is None else self.fused(found)
        return merged

    def suppressed(self, found: Sequence[InstanceData]) -> InstanceData:
        """What was found in all versions, without duplicates."""
        every = InstanceData.cat(list(found))
        kind = 'nms_rotated' if every.bboxes.shape[-1] == geometry.ROTATED else 'nms'
        return suppress(every, self.nms or dict(type=kind, iou_threshold=0.5), self.max_per_img)

    def fused(self, found: Sequence[InstanceData]) -> InstanceData:
        """What was found in all versions, boxes that overlap made into one.

        Of masks, keypoints and rotated boxes no mean is defined: they are a ``ConfigError``.
        """
        rest = set(found[0].keys()) - set(FUSED)
        if rest:
            raise ConfigError(f'fusion joins boxes alone, but {type(self.module).__name__} predicts {sorted(rest)}')
        columns = [[each[name] for each in found] for name in FUSED]
        geometry.require_horizontal(columns[0][0], 'fusion of boxes')
        boxes, scores, labels = weighted_boxes_fusion(*columns, **self.fusion)
        return InstanceData(bboxes=boxes, scores=scores, labels=labels)[: self.max_per_img]

    def map_back(self, version: DetDataSample) -> InstanceData:
        """What was found in a version, mirrored as the original image is; the detector has undone resizing."""
        found = version.get('pred_instances')
        if found is None or set(found.keys()) - set(MERGED):
            fields = 'no pred_instances' if found is None else ', '.join(sorted(found.keys()))
            raise ConfigError(
                f'DetTTAModel joins {", ".join(MERGED)}, but {type(self.module).__name__} predicts {fields}'
            )
        if not version.metainfo.get('flip'):  # absent where the pipeline never mirrors, see TestTimeAug
            return found
        direction = version.flip_direction
        mirrored = map_back(found, Warp.flip(version.ori_shape, direction).matrix)
        if found.bboxes.shape[-1] == geometry.ROTATED:  # corners don't tell which of its sides an angle is counted from
            boxes = RotatedBoxes(found.bboxes)
            boxes.flip_(version.ori_shape, direction)
            mirrored.bboxes = boxes.tensor
        if 'masks' in found:
            mirrored.masks = torch.flip(found.masks, MIRRORED_AXES[direction])
        if 'keypoints' in found and direction != 'diagonal':
            # mirrored once, a left hand is a right hand
            order = self.keypoint_order(found.keypoints.shape[1])
            mirrored.keypoints = mirrored.keypoints[:, order]
            if 'keypoint_scores' in found:
                mirrored.keypoint_scores = found.keypoint_scores[:, order]
        return mirrored

    def keypoint_order(self, count: int) -> list[int]:
        """Which of ``count`` keypoints of an object each one of its mirror image is; a ``ConfigError`` if not known."""
        meta = getattr(self.module, 'dataset_meta', None) or {}
        indices = self.flip_indices if self.flip_indices is not None else meta.get('flip_indices')
        if indices is None or len(indices) != count:
            raise ConfigError(
                f'mirrored versions need flip_indices of {count} keypoints, in tta_cfg or metainfo, got {indices}'
            )
        return list(indices)


def plain_version(versions: Sequence[DetDataSample]) -> int:
    """Index of the first version that is not mirrored, which a picture is shown of; 0 if all are."""
    return next((i for i, version in enumerate(versions) if not version.metainfo.get('flip')), 0)
