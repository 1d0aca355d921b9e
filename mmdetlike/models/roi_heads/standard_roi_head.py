"""The region head of Fast and Faster R-CNN: arXiv 1504.08083, 1506.01497."""

from collections.abc import Sequence

from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import MODELS, TASK_UTILS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2roi

from .stage import Stage


@MODELS.register_module()
class StandardRoIHead(BaseModule):
    """One stage of regions: classify the proposals and refine their boxes.

    Args:
        bbox_roi_extractor: Pools features of proposals.
        bbox_head: Classifies and regresses them.
        shared_head: Runs on region features before the heads.
        train_cfg: ``assigner``, ``sampler``, ``pos_weight``.
        test_cfg: ``score_thr``, ``nms``, ``max_per_img``.
        init_cfg: Weight initialisation.
    """

    def __init__(
        self,
        bbox_roi_extractor: dict,
        bbox_head: dict,
        shared_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.train_cfg, self.test_cfg = ConfigDict(train_cfg or {}), ConfigDict(test_cfg or {})
        self.shared_head = MODELS.build(shared_head) if shared_head is not None else None
        self.bbox_roi_extractor = MODELS.build(bbox_roi_extractor)
        self.bbox_head = MODELS.build(bbox_head)
        self.bbox_assigner = self.bbox_sampler = None
        if 'assigner' in self.train_cfg:
            self.bbox_assigner = TASK_UTILS.build(self.train_cfg.assigner)
            self.bbox_sampler = TASK_UTILS.build(self.train_cfg.sampler)

    def _stage(self, cfg: ConfigDict) -> Stage:
        return Stage(
            self.bbox_roi_extractor, self.bbox_head, cfg, self.bbox_assigner, self.bbox_sampler, self.shared_head
        )

    def forward(
        self, x: Sequence[Tensor], rpn_results_list: Sequence[InstanceData], batch_data_samples: SampleList = ()
    ) -> tuple[Tensor, Tensor]:
        """Raw class logits and deltas of all proposals."""
        return self._stage(self.test_cfg).forward(x, bbox2roi([result.bboxes for result in rpn_results_list]))

    def loss(
        self, x: Sequence[Tensor], rpn_results_list: Sequence[InstanceData], batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Loss terms of the region head.

        Args:
            x: Maps (B, C, H_i, W_i).
            rpn_results_list: Proposals of each image, ``bboxes`` (n, 4) xyxy in pixels.
            batch_data_samples: Samples with ``gt_instances``.
        """
        stage = self._stage(self.train_cfg)
        return stage.loss(x, stage.sample(rpn_results_list, batch_data_samples))

    def predict(
        self,
        x: Sequence[Tensor],
        rpn_results_list: Sequence[InstanceData],
        batch_data_samples: SampleList,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Boxes of each image: ``bboxes`` (n, 4) xyxy, ``scores`` (n,), ``labels`` (n,)."""
        return self._stage(self.test_cfg).predict(x, rpn_results_list, batch_data_samples, rescale)
