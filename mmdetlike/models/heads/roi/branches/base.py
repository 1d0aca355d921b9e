"""What a region head asks of a branch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.structures import SampleList

from ..stage import StageOutputs

if TYPE_CHECKING:
    from ..roi_head import RoIHead


class RoIBranch:
    """Something that a region head predicts for boxes beside their classes and coordinates: masks, keypoints, ...

    A branch is no module: its layers are attributes of the region head, whose names are those of the checkpoint
    (``roi_head.mask_head``). It finds them through ``regions`` when it runs, not when it is built.

    Args:
        regions: The region head that the branch belongs to.
    """

    def __init__(self, regions: RoIHead) -> None:
        self.regions = regions

    def loss(
        self,
        stage: int,
        x: Sequence[Tensor],
        sampled: Sequence[SamplingResult],
        outs: StageOutputs,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """Loss terms of the branch for one stage, by name without the stage's prefix.

        Args:
            stage: Index of the stage.
            x: Feature maps (B, C, H_i, W_i).
            sampled: Regions that the stage sampled from each image.
            outs: The stage's outputs for them.
            samples: Samples with ``gt_instances``.
        """
        raise NotImplementedError

    def add_predictions(
        self, x: Sequence[Tensor], results: Sequence[InstanceData], samples: SampleList, rescale: bool
    ) -> None:
        """Put the branch's fields into the results of each image.

        Args:
            x: Feature maps.
            results: ``bboxes`` (n, 4) in pixels of the network's input, ``scores`` and ``labels``; boxes are brought
                to the original image after all branches.
            samples: Samples with ``img_shape``, ``ori_shape`` and ``scale_factor``.
            rescale: The fields are wanted in pixels of the original image.
        """
        raise NotImplementedError

    def raw(self, x: Sequence[Tensor], outs: StageOutputs) -> list[Tensor]:
        """Undecoded outputs for the regions of the last stage, as ``mode='tensor'`` returns them."""
        raise NotImplementedError
