"""The backbone of TridentNet: Scale-Aware Trident Networks for Object Detection, arXiv 1901.01892."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from .resnet import BOTTLENECK_STAGES, Bottleneck, ResNet

ALL_BRANCHES = -1


class TridentConv(nn.Conv2d):
    """A 3x3 convolution whose filters are shared by the branches of a ``TridentResNet``, of different dilation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        trident_dilations: Sequence[int] = (1, 2, 3),
        test_branch_idx: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, 3, stride=stride, bias=False)
        self.trident_dilations = tuple(trident_dilations)
        self.test_branch_idx = test_branch_idx

    @property
    def dilations_run(self) -> tuple[int, ...]:
        """The dilations of the branches that are run now."""
        if self.training or self.test_branch_idx == ALL_BRANCHES:
            return self.trident_dilations
        return self.trident_dilations[self.test_branch_idx : self.test_branch_idx + 1]

    def forward(self, x: Tensor) -> Tensor:
        """Map (branches * B, in_channels, H, W), branch by branch, to (branches * B, out_channels, ., .)."""
        outs = []
        for branch, dilation in zip(x.chunk(len(self.dilations_run)), self.dilations_run):
            outs.append(F.conv2d(branch, self.weight, stride=self.stride, padding=dilation, dilation=dilation))
        return torch.cat(outs)


class TridentBottleneck(Bottleneck):
    """A bottleneck with branches, which share all weights.

    The branches lie one after the other along the batch, so that batch norms that train see all of them as one batch.
    """

    def build_layers(self, trident_dilations: Sequence[int], test_branch_idx: int) -> None:
        self.branches = dict(trident_dilations=trident_dilations, test_branch_idx=test_branch_idx)
        super().build_layers()

    def conv3x3(self, width: int, stride: int, groups: int = 1) -> nn.Module:
        return TridentConv(width, width, stride, **self.branches)

    def forward(self, x: Tensor) -> Tensor:
        """(branches * B, in_channels, H, W) -> (branches * B, channels * 4, H / stride, W / stride).

        The first block of the stage, the only one with a projection, makes the branches of (B, in_channels, H, W).
        """
        if self.downsample is not None:
            x = x.repeat(len(self.conv2.dilations_run), 1, 1, 1)
        return super().forward(x)


@MODELS.register_module()
class TridentResNet(ResNet):
    """A ResNet whose last stage has branches that see the image at different scales.

    The map of that stage has all branches of the batch one after the other: (branches * B, C, H, W).

    Args:
        depth: 50, 101 or 152.
        num_branch, trident_dilations: Number of branches in training, and the dilation of each.
        test_branch_idx: The branch that testing runs, -1 for all of them.
        kwargs: See ``ResNet``; ``out_indices`` is the last stage alone.

    Raises:
        ConfigError: Dilations, branches, stages or depth don't fit together.
    """

    def __init__(
        self, depth: int, num_branch: int, test_branch_idx: int, trident_dilations: Sequence[int], **kwargs
    ) -> None:
        if not ALL_BRANCHES <= test_branch_idx < num_branch:
            raise ConfigError(
                f'test_branch_idx must be -1 (all branches) or below num_branch={num_branch}, got {test_branch_idx}'
            )
        if len(trident_dilations) != num_branch:
            raise ConfigError(f'TridentResNet needs num_branch={num_branch} dilations, got {list(trident_dilations)}')
        if depth not in BOTTLENECK_STAGES:
            raise ConfigError(f'TridentResNet needs a depth of {sorted(BOTTLENECK_STAGES)}, got {depth}')
        last = kwargs.get('num_stages', 4) - 1
        out_indices = tuple(kwargs.get('out_indices', (0, 1, 2, 3)))
        frozen_stages = kwargs.get('frozen_stages', -1)
        if out_indices != (last,) or frozen_stages > last:
            raise ConfigError(
                f'TridentResNet puts out its last stage alone and trains it: expected out_indices=({last},) and '
                f'frozen_stages up to {last}, got {out_indices} and {frozen_stages}'
            )
        self.branches = dict(trident_dilations=trident_dilations, test_branch_idx=test_branch_idx)
        super().__init__(depth, **kwargs)

    def stage_settings(self, depth: int, num_stages: int, base_channels: int) -> list[dict]:
        settings = super().stage_settings(depth, num_stages, base_channels)
        settings[-1].update(self.branches, block=TridentBottleneck)
        return settings

    @property
    def num_branches_run(self) -> int:
        """How many branches the map has now, in training or in testing."""
        first_block = self.stages[-1][0]
        return len(first_block.conv2.dilations_run)
