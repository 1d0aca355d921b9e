"""Test-time augmentation: one prediction of several versions of an image."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.utils import suppress
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList
from mmdetlike.structures.bbox import bbox_flip, geometry

DEFAULT_NMS = dict(type='nms', iou_threshold=0.5)
DEFAULT_LIMIT = 100
MERGED = ('bboxes', 'scores', 'labels', 'masks')
# axes of masks (n, height, width) that each direction mirrors
MIRRORED_AXES = {'horizontal': (2,), 'vertical': (1,), 'diagonal': (1, 2)}


@MODELS.register_module()
class DetTTAModel(BaseTTAModel):
    """A detector that looks at several versions of each image, as ``TestTimeAug`` makes them, and joins what it finds.

    What is found in a version is mapped back to the original image: its size by the detector, its mirroring here. Of
    all versions together, duplicates are suppressed; an object's mask is that of its best box.

    Args:
        module: The detector, or its config.
        data_preprocessor: Another one than the detector's config has.
        tta_cfg: ``nms``, the settings of ``batched_nms`` by which duplicates are suppressed, and ``max_per_img``, how
            many objects of an image are kept at most.

    Raises:
        ConfigError: ``tta_cfg`` has other keys.
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
        self.nms = settings.pop('nms', DEFAULT_NMS)
        self.max_per_img = settings.pop('max_per_img', DEFAULT_LIMIT)
        if settings:
            raise ConfigError(f'tta_cfg takes nms and max_per_img, got also {", ".join(sorted(settings))}')

    def merge_preds(self, data_samples_list: Sequence[Sequence[DetDataSample]]) -> SampleList:
        """One sample for each image, with the objects of all its versions in pixels of the original image.

        Args:
            data_samples_list: For each image its versions, predicted.

        Raises:
            ConfigError: A version has predictions that can't be joined.
        """
        return [self.merge(versions) for versions in data_samples_list]

    def merge(self, versions: Sequence[DetDataSample]) -> DetDataSample:
        """The sample of one image; its metainfo is that of the first version that is not mirrored."""
        found = InstanceData.cat([self.map_back(version) for version in versions])
        merged = versions[plain_version(versions)].clone()
        merged.pred_instances = suppress(found, self.nms, self.max_per_img)
        return merged

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
        geometry.require_horizontal(found.bboxes, type(self).__name__)
        direction = version.flip_direction
        fields = {name: found[name] for name in found.keys()}  # noqa: SIM118  an InstanceData iterates over its rows
        fields['bboxes'] = bbox_flip(found.bboxes, version.ori_shape, direction)
        if 'masks' in fields:
            fields['masks'] = mirror_masks(found.masks, direction)
        return InstanceData(**fields)


def mirror_masks(masks: Tensor, direction: str) -> Tensor:
    """Masks (n, height, width), mirrored."""
    return torch.flip(masks, MIRRORED_AXES[direction])


def plain_version(versions: Sequence[DetDataSample]) -> int:
    """Index of the first version that is not mirrored, which a picture is shown of; 0 if all are."""
    return next((i for i, version in enumerate(versions) if not version.metainfo.get('flip')), 0)
