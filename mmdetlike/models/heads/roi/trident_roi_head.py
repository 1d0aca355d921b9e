"""The region head of TridentNet: Scale-Aware Trident Networks for Object Detection, arXiv 1901.01892."""

from collections.abc import Sequence

from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.utils import suppress
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .roi_head import StandardRoIHead


@MODELS.register_module()
class TridentRoIHead(StandardRoIHead):
    """A region head for maps whose batch is that of several branches, one after the other.

    Objects that several branches find are one object: the boxes of all branches are suppressed together.

    Args:
        num_branch: Number of branches in training.
        test_branch_idx: The branch that testing runs, -1 for all of them.
    """

    def __init__(self, num_branch: int, test_branch_idx: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.num_branch = num_branch
        self.test_branch_idx = test_branch_idx

    def detect_boxes(
        self,
        x: Sequence[Tensor],
        proposals: Sequence[InstanceData],
        samples: SampleList,
        counts: Sequence[int] | None = None,
    ) -> list[dict[str, Tensor]]:
        """Boxes of each image; ``proposals``, and ``counts``, are those of each image, branch by branch."""
        num_branches = len(proposals) // max(len(samples), 1)
        results = super().detect_boxes(x, proposals, list(samples) * num_branches, counts)
        if num_branches <= 1:
            return results
        merged = []
        for i in range(len(samples)):
            found = InstanceData.cat([InstanceData(**of_branch) for of_branch in results[i :: len(samples)]])
            kept = suppress(found, self.test_cfg.nms, self.test_cfg.max_per_img)
            merged.append(dict(kept.items()))
        return merged
