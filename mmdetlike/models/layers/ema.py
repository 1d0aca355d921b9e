"""Moving averages of a model's weights."""

import math

import torch
from mmengine.model import ExponentialMovingAverage
from torch import Tensor, nn

from mmdetlike.registry import MODELS


@MODELS.register_module()
class ExpMomentumEMA(ExponentialMovingAverage):
    """Moving average that forgets fast at first: (1 - momentum) * exp(-(1 + steps) / gamma) + momentum of each step.

    YOLOX: Exceeding YOLO Series in 2021, arXiv 2107.08430.

    Args:
        model, interval, device, update_buffers: As of ``ExponentialMovingAverage``.
        momentum: Share of the model in the average at last.
        gamma: Steps after which that is nearly so.

    Raises:
        ValueError: ``gamma`` isn't positive.
    """

    def __init__(
        self,
        model: nn.Module,
        momentum: float = 0.0002,
        gamma: int = 2000,
        interval: int = 1,
        device: torch.device | None = None,
        update_buffers: bool = False,
    ) -> None:
        super().__init__(model, momentum, interval, device, update_buffers)
        if gamma <= 0:
            raise ValueError(f'gamma must be positive, got {gamma}')
        self.gamma = gamma

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: int) -> None:
        """Move ``averaged_param`` towards ``source_param``, in place."""
        # nearly 1 at the start: the average shall not remember weights that were drawn at random
        share = (1 - self.momentum) * math.exp(-float(1 + steps) / self.gamma) + self.momentum
        averaged_param.lerp_(source_param, share)
