"""What YOLO's backbones have around their blocks: a stem that folds pixels into channels, and pyramid pooling."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from .conv_module import ConvModule
from .csp_layer import YOLO_LAYERS


class Focus(nn.Module):
    """Fold each 2x2 pixels into channels, then convolve (YOLOX, arXiv 2107.08430).

    The channels of the four pixels follow each other as upper left, lower left, upper right, lower right.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Of the convolution.
        stride: Of the convolution.
        **layers: ``conv_cfg``, ``norm_cfg`` and ``act_cfg`` of the convolution, by default those of YOLOX.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1, **layers) -> None:
        super().__init__()
        layers = {**YOLO_LAYERS, 'padding': (kernel_size - 1) // 2, **layers}
        self.conv = ConvModule(in_channels * 4, out_channels, kernel_size, stride, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W), sides even -> (B, out_channels, H / 2, W / 2) at stride 1.

        Raises:
            ValueError: A side is odd.
        """
        if x.shape[-2] % 2 or x.shape[-1] % 2:
            raise ValueError(f'Focus halves its input, whose sides must be even, got {tuple(x.shape[-2:])}')
        corners = [x[..., top::2, left::2] for left in (0, 1) for top in (0, 1)]
        return self.conv(torch.cat(corners, dim=1))


class SPPBottleneck(BaseModule):
    """Pool at several sizes and join: Spatial Pyramid Pooling, arXiv 1406.4729, as in YOLOv3-SPP.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_sizes: Sides of the pooling windows, odd, rising.
        init_cfg: Initialisation.
        **layers: As of ``Focus``.

    Raises:
        ValueError: ``kernel_sizes`` are not odd and rising.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_sizes: Sequence[int] = (5, 9, 13),
        init_cfg: dict | list[dict] | None = None,
        **layers,
    ) -> None:
        super().__init__(init_cfg)
        if any(size % 2 == 0 for size in kernel_sizes) or any(a >= b for a, b in pairwise(kernel_sizes)):
            raise ValueError(f'kernel_sizes must be odd and rising, got {tuple(kernel_sizes)}')
        hidden = in_channels // 2
        layers = {**YOLO_LAYERS, **layers}
        self.conv1 = ConvModule(in_channels, hidden, 1, **layers)
        # a window of 9 is a window of 5 over windows of 5: each pooling goes on where the one before ended
        steps = [b - a + 1 for a, b in pairwise([1, *kernel_sizes])]
        self.poolings = nn.ModuleList(nn.MaxPool2d(step, stride=1, padding=step // 2) for step in steps)
        self.conv2 = ConvModule(hidden * (len(kernel_sizes) + 1), out_channels, 1, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        outs = [self.conv1(x)]
        for pooling in self.poolings:
            outs.append(pooling(outs[-1]))
        return self.conv2(torch.cat(outs, dim=1))
