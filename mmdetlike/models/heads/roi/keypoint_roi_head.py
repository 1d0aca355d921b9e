"""The region head of Mask R-CNN for human pose, arXiv 1703.06870, section 5."""

from mmdetlike.registry import MODELS

from .branches import KeypointBranch, RoIBranch
from .standard_roi_head import StandardRoIHead


@MODELS.register_module()
class KeypointRoIHead(StandardRoIHead):
    """A region head that predicts keypoints of its objects, and masks if it has a mask head.

    Args:
        keypoint_roi_extractor: Pools features for keypoints.
        keypoint_head: Predicts a heatmap for each keypoint.
    """

    def __init__(self, keypoint_roi_extractor: dict, keypoint_head: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        self.keypoint_roi_extractor = MODELS.build(keypoint_roi_extractor)
        self.keypoint_head = MODELS.build(keypoint_head)

    def build_branches(self) -> dict[str, RoIBranch]:
        """A branch of masks, if there is a mask head, and one of keypoints."""
        return {**super().build_branches(), 'keypoint': KeypointBranch(self)}
