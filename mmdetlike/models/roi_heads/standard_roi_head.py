"""The region head of Fast, Faster and Mask R-CNN: arXiv 1504.08083, 1506.01497, 1703.06870."""

from mmengine.config import ConfigDict

from mmdetlike.registry import MODELS, TASK_UTILS

from .roi_head import RoIHead


@MODELS.register_module()
class StandardRoIHead(RoIHead):
    """One stage of regions: classify the proposals, refine their boxes and draw their masks.

    Args:
        bbox_roi_extractor: Pools features of proposals.
        bbox_head: Classifies and regresses them.
        mask_roi_extractor: Pools features for masks; None to use those of the boxes.
        mask_head: Draws masks; None for a detector of boxes.
        shared_head: Runs on region features before the heads.
        train_cfg: ``assigner``, ``sampler``, ``pos_weight`` and, for masks, ``mask_size``.
        test_cfg: ``score_thr``, ``nms``, ``max_per_img`` and, for masks, ``mask_thr_binary``.
        init_cfg: Weight initialisation.
    """

    num_stages = 1

    def __init__(
        self,
        bbox_roi_extractor: dict,
        bbox_head: dict,
        mask_roi_extractor: dict | None = None,
        mask_head: dict | None = None,
        shared_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.train_cfg, self.test_cfg = ConfigDict(train_cfg or {}), ConfigDict(test_cfg or {})
        self.stage_cfgs = [self.train_cfg]
        self.shared_head = MODELS.build(shared_head) if shared_head is not None else None
        self.bbox_roi_extractor = MODELS.build(bbox_roi_extractor)
        self.bbox_head = MODELS.build(bbox_head)
        self.mask_roi_extractor = MODELS.build(mask_roi_extractor) if mask_roi_extractor is not None else None
        self.mask_head = MODELS.build(mask_head) if mask_head is not None else None
        self.assigners = self.samplers = ()
        if 'assigner' in self.train_cfg:
            self.assigners = [TASK_UTILS.build(self.train_cfg.assigner)]
            self.samplers = [TASK_UTILS.build(self.train_cfg.sampler)]
