"""The region head of PointRend: Image Segmentation as Rendering, arXiv 1912.08193."""

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from .branches import PointRendMaskBranch
from .standard_roi_head import StandardRoIHead


@MODELS.register_module()
class PointRendRoIHead(StandardRoIHead):
    """A coarse mask, upsampled step by step with its uncertain points predicted anew.

    Args:
        point_head: Predicts points.
        kwargs: See ``StandardRoIHead``; ``train_cfg`` has ``num_points``, ``oversample_ratio`` and
            ``importance_sample_ratio``, ``test_cfg`` has ``subdivision_steps``, ``subdivision_num_points`` and
            ``scale_factor``.

    Raises:
        ConfigError: There is no ``mask_head`` with its own extractor, or it is class agnostic.
    """

    mask_branch_class = PointRendMaskBranch

    def __init__(self, point_head: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        if not self.with_mask or self.mask_roi_extractor is None:
            raise ConfigError('PointRendRoIHead needs mask_head and mask_roi_extractor')
        if self.mask_head.class_agnostic:
            raise ConfigError(
                'PointRendRoIHead needs a mask_head with class_agnostic=False: points see masks of all classes'
            )
        self.point_head = MODELS.build(point_head)
