"""Stages of rising quality, each on the boxes of the one before: Cascade R-CNN, arXiv 1712.00726 and 1906.09756."""

from collections.abc import Sequence

from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmdetlike.registry import MODELS, TASK_UTILS

from .roi_head import RoIHead


@MODELS.register_module()
class CascadeRoIHead(RoIHead):
    """Several stages of boxes and masks.

    Args:
        num_stages: How many.
        stage_loss_weights: Weight of each stage's losses.
        bbox_roi_extractor: Pools features of proposals; one for all stages or a list, as with the other parts.
        bbox_head: Classifies and regresses them.
        mask_roi_extractor: Pools features for masks; None to use those of the boxes.
        mask_head: Draws masks; None for a detector of boxes.
        shared_head: Must be None.
        train_cfg: ``assigner``, ``sampler``, ``pos_weight`` and, for masks, ``mask_size``, of each stage.
        test_cfg: ``score_thr``, ``nms``, ``max_per_img`` and, for masks, ``mask_thr_binary``.
        init_cfg: Weight initialisation.

    Raises:
        ValueError: ``shared_head`` is set, or a list has another length than ``num_stages``.
    """

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        bbox_roi_extractor: dict | Sequence[dict],
        bbox_head: dict | Sequence[dict],
        mask_roi_extractor: dict | Sequence[dict] | None = None,
        mask_head: dict | Sequence[dict] | None = None,
        shared_head: None = None,
        train_cfg: Sequence[dict] | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if shared_head is not None:
            raise ValueError(f'a cascade has no shared_head, got {shared_head}')
        self.num_stages, self.shared_head = num_stages, None
        self.stage_loss_weights = _one_each('stage_loss_weights', stage_loss_weights, num_stages)
        self.stage_cfgs, self.test_cfg = stage_cfgs(train_cfg, num_stages), ConfigDict(test_cfg or {})
        self.bbox_roi_extractor = self._build_all('bbox_roi_extractor', bbox_roi_extractor)
        self.bbox_head = self._build_all('bbox_head', bbox_head)
        self.mask_roi_extractor = self._build_all('mask_roi_extractor', mask_roi_extractor)
        self.mask_head = self._build_all('mask_head', mask_head)
        cfgs = [cfg for cfg in self.stage_cfgs if 'assigner' in cfg]
        self.assigners = [TASK_UTILS.build(cfg.assigner) for cfg in cfgs]
        self.samplers = [TASK_UTILS.build(cfg.sampler) for cfg in cfgs]

    def _build_all(self, name: str, cfg: dict | Sequence[dict] | None) -> nn.ModuleList | None:
        if cfg is None:
            return None
        cfgs = [cfg] * self.num_stages if isinstance(cfg, dict) else _one_each(name, cfg, self.num_stages)
        return nn.ModuleList(MODELS.build(stage_cfg) for stage_cfg in cfgs)

    def named_terms(self, stage: int, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        weight = self.stage_loss_weights[stage]
        return {f's{stage}.{name}': value * weight if 'loss' in name else value for name, value in terms.items()}


def _one_each(name: str, values: Sequence, num_stages: int) -> list:
    if len(values) != num_stages:
        raise ValueError(f'{name} has {len(values)} entries, num_stages={num_stages} are expected')
    return list(values)


def stage_cfgs(train_cfg: Sequence[dict] | None, num_stages: int) -> list[ConfigDict]:
    """``train_cfg.rcnn`` of each stage, from one for all or a list."""
    if not train_cfg:
        return [ConfigDict()] * num_stages
    cfgs = [train_cfg] * num_stages if isinstance(train_cfg, dict) else train_cfg
    return [ConfigDict(cfg) for cfg in _one_each('train_cfg.rcnn', cfgs, num_stages)]
