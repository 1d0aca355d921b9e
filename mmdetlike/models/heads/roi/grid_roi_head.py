"""The region head of Grid R-CNN Plus, arXiv 1906.05688."""

from mmdetlike.registry import MODELS

from .branches import GridBranch, RoIBranch
from .standard_roi_head import StandardRoIHead


@MODELS.register_module()
class GridRoIHead(StandardRoIHead):
    """A region head whose boxes are found by the points of a grid.

    Args:
        grid_roi_extractor: Pools features for grids; None to use those of the boxes.
        grid_head: Predicts the points.
        kwargs: See ``StandardRoIHead``; ``train_cfg`` has ``pos_radius`` and ``max_num_grid``.
    """

    def __init__(self, grid_roi_extractor: dict | None, grid_head: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        self.grid_roi_extractor = self.build_part('grid_roi_extractor', grid_roi_extractor)
        self.grid_head = MODELS.build(grid_head)

    def build_branches(self) -> dict[str, RoIBranch]:
        """A branch of grids, then one of masks, if there is a mask head: they are drawn in the grid's boxes."""
        return {'grid': GridBranch(self), **super().build_branches()}
