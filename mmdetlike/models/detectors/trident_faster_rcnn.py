"""Scale-Aware Trident Networks for Object Detection, arXiv 1901.01892."""

from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones import TridentResNet
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .two_stage import FasterRCNN


@MODELS.register_module()
class TridentFasterRCNN(FasterRCNN):
    """A Faster R-CNN whose backbone looks at every image with several branches, each for objects of one scale.

    In training every branch learns all objects of the image.

    Args:
        kwargs: See ``TwoStageDetector``; ``backbone`` is a ``TridentResNet``, ``roi_head`` a ``TridentRoIHead`` and
            there is no ``neck``.

    Raises:
        ConfigError: The backbone has no branches, or the region head expects others than it has.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        if not isinstance(self.backbone, TridentResNet) or self.with_neck:
            raise ConfigError(
                'TridentFasterRCNN needs a TridentResNet as backbone and no neck, but got '
                f'{type(self.backbone).__name__} and neck={type(self.neck).__name__}'
            )
        branches = self.backbone.branches
        expected = dict(num_branch=len(branches['trident_dilations']), test_branch_idx=branches['test_branch_idx'])
        given = {name: getattr(self.roi_head, name, None) for name in expected}
        if given != expected:
            raise ConfigError(f'roi_head has other branches than the backbone: expected {expected}, got {given}')

    def loss_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> dict:
        return super().loss_of_maps(x, self._for_each_branch(samples))

    def proposals(self, x: tuple[Tensor, ...], samples: SampleList) -> list[InstanceData]:
        """In testing: each image's proposals, branch by branch."""
        return super().proposals(x, self._for_each_branch(samples))

    def detect_proposals(self, x: tuple[Tensor, ...], samples: SampleList) -> tuple[list[InstanceData], list[int]]:
        """Each image's proposals, branch by branch, and how many there are."""
        return super().detect_proposals(x, self._for_each_branch(samples))

    def _for_each_branch(self, samples: SampleList) -> SampleList:
        return list(samples) * self.backbone.num_branches_run
