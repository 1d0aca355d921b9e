"""Base of the backbones that run stage after stage: which maps they return, and which stages are frozen."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

DEFAULT_INIT = [
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
]


class StagedBackbone(BaseModule):
    """Stages that are run one after the other.

    A subclass calls ``add_stage`` for each stage, the stem being the first one, or puts names of its sub-modules into
    ``stage_names``, then calls ``freeze_stages``.

    Args:
        out_indices: Stages whose maps ``forward`` returns.
        num_frozen: This many stages, from the first, get no gradient and keep their batch norms' statistics.
        norm_eval: Keep all batch norms on their running statistics while training.
        init_cfg: Weight initialization.
        first_index: What ``out_indices`` calls the first stage: -1 where the stem does not count.

    Backbones take, beside their own arguments, what they need of these:
        conv_cfg, norm_cfg, act_cfg: Convolution, norm layer and activation.
        with_cp: Trade compute for memory by activation checkpointing.
        pretrained: Checkpoint to start from; the older spelling of ``init_cfg=dict(type='Pretrained', ...)``.
    """

    def __init__(
        self,
        out_indices: Sequence[int],
        num_frozen: int,
        norm_eval: bool,
        init_cfg: dict | list[dict] | None,
        first_index: int = 0,
    ) -> None:
        super().__init__(init_cfg)
        self.out_indices = tuple(out_indices)
        self.num_frozen = num_frozen
        self.norm_eval = norm_eval
        self.first_index = first_index
        self.stage_names: list[str] = []

    def add_stage(self, name: str, stage: nn.Module) -> None:
        """Append a stage, kept as the attribute ``name``."""
        self.add_module(name, stage)
        self.stage_names.append(name)

    @property
    def stages(self) -> list[nn.Module]:
        """The stages in the order in which they are run."""
        return [self.get_submodule(name) for name in self.stage_names]

    @property
    def num_used(self) -> int:
        """Stages up to the last one whose map is returned; those behind it exist for their parameters' names alone."""
        return max(self.out_indices) - self.first_index + 1

    def freeze_unused_stages(self) -> list[str]:
        """Give stages that are never run no gradient, for which processes that train together wait; their names."""
        for stage in self.stages[self.num_used :]:
            stage.requires_grad_(False)
        return self.stage_names[self.num_used :]

    def freeze_stages(self) -> None:
        """Put the frozen stages into evaluation mode and give them no gradient."""
        for stage in self.stages[: self.num_frozen]:
            stage.eval()
            stage.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> maps (B, C_i, H_i, W_i) of the stages in ``out_indices``."""
        outs = []
        for i, stage in enumerate(self.stages[: self.num_used], self.first_index):
            x = stage(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> 'StagedBackbone':
        """Set training mode, keeping frozen stages and, with ``norm_eval``, all batch norms as in evaluation."""
        super().train(mode)
        # ``train`` has just put every module into training mode, frozen ones too
        self.freeze_stages()
        if mode and self.norm_eval:
            batch_norms_to_eval(self)
        return self


def batch_norms_to_eval(model: nn.Module) -> None:
    """Let every batch norm of ``model`` use its running statistics."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def weight_init(pretrained: str | None, init_cfg: dict | list[dict] | None) -> dict | list[dict]:
    """The ``init_cfg`` that two spellings give, by default Kaiming for convolutions and 1 for norm layers.

    Giving both is a ``ValueError``.
    """
    if pretrained is not None and init_cfg is not None:
        raise ValueError('give either pretrained or init_cfg, not both')
    if pretrained is not None:
        return dict(type='Pretrained', checkpoint=pretrained)
    return init_cfg or DEFAULT_INIT


def linear_drop_path(rate: float, depths: Sequence[int]) -> list[list[float]]:
    """Probabilities of dropping a branch of each block of each stage, which rise linearly from 0 to ``rate``."""
    # on the CPU, even where torch's default device is another one: ``tolist`` would wait for it
    rates = iter(torch.linspace(0, rate, sum(depths), device='cpu').tolist())
    return [[next(rates) for _ in range(depth)] for depth in depths]


def check_in_range(name: str, values: int | Sequence[int], allowed: range) -> None:
    """Raise ``ValueError`` where ``values``, called ``name``, are not all in ``allowed``."""
    wanted = values if isinstance(values, Sequence) else [values]
    if not set(wanted) <= set(allowed):
        raise ValueError(f'{name} must be in {allowed.start} to {allowed.stop - 1}, got {values}')


def check_choice(name: str, value, choices: Sequence) -> None:
    """Raise ``ValueError`` where ``value``, called ``name``, is none of ``choices``."""
    if value not in choices:
        raise ValueError(f'{name} must be one of {list(choices)}, got {value!r}')
