"""Stages of rising quality, each on the boxes of the one before: Cascade R-CNN, arXiv 1712.00726 and 1906.09756."""

from collections.abc import Sequence

from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from .roi_head import RoIHead


@MODELS.register_module()
class CascadeRoIHead(RoIHead):
    """Several stages of boxes and masks.

    Args:
        num_stages: How many.
        stage_loss_weights: Weight of each stage's losses.
        shared_head: Must be None.
        kwargs: See ``RoIHead``; parts and ``train_cfg`` are one for all stages or a list.

    Raises:
        ConfigError: ``shared_head`` is set, or a list has another length than ``num_stages``.
    """

    def __init__(
        self, num_stages: int, stage_loss_weights: Sequence[float], shared_head: None = None, **kwargs
    ) -> None:
        if shared_head is not None:
            raise ConfigError(f'a cascade has no shared_head, got {shared_head}')
        self.num_stages = num_stages  # needed while the parts are built
        super().__init__(**kwargs)
        self.stage_loss_weights = self._one_each('stage_loss_weights', stage_loss_weights)

    def cfgs_of_stages(self, train_cfg: dict | Sequence[dict] | None) -> list[ConfigDict]:
        """``train_cfg.rcnn`` of each stage, one for all or a list."""
        return [ConfigDict(cfg) for cfg in self._one_each('train_cfg.rcnn', train_cfg or {})]

    def build_part(self, name: str, cfg: dict | Sequence[dict] | None) -> nn.ModuleList | None:
        """The part ``name`` of each stage; None where there is none."""
        return None if cfg is None else nn.ModuleList(MODELS.build(stage) for stage in self._one_each(name, cfg))

    def _one_each(self, name: str, values: Sequence | dict) -> list:
        if isinstance(values, dict):
            return [values] * self.num_stages
        if len(values) != self.num_stages:
            raise ConfigError(f'{name} has {len(values)} entries, num_stages={self.num_stages} are expected')
        return list(values)

    def named_terms(self, stage: int, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms of a stage, its losses weighted, with a prefix such as ``s0.``."""
        weight = self.stage_loss_weights[stage]
        return {f's{stage}.{name}': value * weight if 'loss' in name else value for name, value in terms.items()}
