"""Residual blocks in a row, the stages of ResNets, arXiv 1512.03385, and of hourglass networks, arXiv 1603.06937."""

from collections.abc import Sequence

from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn

from mmdetlike.models.layers import build_conv_layer, build_norm_layer


def conv_norm(
    channels: tuple[int, int], kernel_size: int, stride: int, relu: bool, conv_cfg: dict | None, norm_cfg: dict
) -> nn.Sequential:
    """A convolution from ``channels[0]`` to ``channels[1]`` with its norm and, where asked, a ReLU."""
    shape = dict(kernel_size=kernel_size, stride=stride, padding=kernel_size // 2, bias=False)
    layers = [build_conv_layer(conv_cfg, *channels, **shape), build_norm_layer(norm_cfg, channels[1])[1]]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


def build_shortcut(
    in_channels: int,
    out_channels: int,
    stride: int,
    conv_cfg: dict | None,
    norm_cfg: dict,
    avg_down: bool,
    project: bool = False,
) -> nn.Sequential | None:
    """The 1x1 projection of a stage's first block, None where the identity fits, unless ``project`` asks for it.

    With ``avg_down`` an average pooling takes the stride, so that no input pixel is skipped (ResNet-D).
    """
    if stride == 1 and in_channels == out_channels and not project:
        return None
    layers: list[nn.Module] = []
    if avg_down:
        # rounded up, as a strided convolution rounds, and without counting what lies outside of the map
        layers.append(nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False))
        stride = 1
    projection = conv_norm((in_channels, out_channels), 1, stride, relu=False, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
    return nn.Sequential(*layers, *projection)


def build_stage(
    block: type[nn.Module],
    in_channels: int,
    channels: int,
    num_blocks: int,
    stride: int = 1,
    dilation: int | Sequence[int] = 1,
    avg_down: bool = False,
    conv_cfg: dict | None = None,
    norm_cfg: dict | None = None,
    project: bool = False,
    **block_args,
) -> Sequential:
    """``num_blocks`` residual blocks; the first one changes stride and width.

    Args:
        dilation: Of all blocks, or of each.
        project: The first block's shortcut is a projection also where the identity would fit.
        block_args: Passed to each block: ``style``, ``with_cp``, ``dcn``, ``plugins`` and what is the block's own.
    """
    norm_cfg = norm_cfg or dict(type='BN')
    out_channels = channels * block.expansion
    shortcut = build_shortcut(in_channels, out_channels, stride, conv_cfg, norm_cfg, avg_down, project)
    dilations = [dilation] * num_blocks if isinstance(dilation, int) else list(dilation)
    if len(dilations) != num_blocks:
        raise ValueError(f'a stage of {num_blocks} blocks needs as many dilations, got {dilations}')
    common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, **block_args)
    # the shortcut is made before the blocks, the order in which a seed draws the original's weights
    blocks = [block(in_channels, channels, stride=stride, dilation=dilations[0], downsample=shortcut, **common)]
    blocks += [block(out_channels, channels, dilation=rate, **common) for rate in dilations[1:]]
    return Sequential(*blocks)


class ResLayer(Sequential):
    """Residual blocks in a row, of which one changes stride and width.

    Args:
        block: Class of the blocks, with its factor of channels as ``expansion``.
        inplanes, planes: Channels of the input, and base width of the blocks: ``planes * expansion`` are put out.
        stride, avg_down: Stride of the block that changes the shape, and average pooling in its shortcut.
        norm_cfg: Norm layer; batch norm where None.
        downsample_first: Whether it is the first block; else it is the last, as where an hourglass widens again.
        **kwargs: Passed to each block.
    """

    def __init__(
        self,
        block: type[nn.Module],
        inplanes: int,
        planes: int,
        num_blocks: int,
        stride: int = 1,
        avg_down: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        downsample_first: bool = True,
        **kwargs,
    ) -> None:
        self.block = block
        norm_cfg = norm_cfg or dict(type='BN')
        settings = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, **kwargs)
        if downsample_first:
            blocks = list(build_stage(block, inplanes, planes, num_blocks, stride, avg_down=avg_down, **settings))
        else:
            blocks = [block(inplanes, inplanes, **settings) for _ in range(num_blocks - 1)]
            out_channels = planes * block.expansion
            shortcut = build_shortcut(inplanes, out_channels, stride, conv_cfg, norm_cfg, avg_down)
            blocks.append(block(inplanes, planes, stride=stride, downsample=shortcut, **settings))
        super().__init__(*blocks)


class SimplifiedBasicBlock(BaseModule):
    """Two 3x3 convolutions around a shortcut, without an activation after the sum, and perhaps without norm layers.

    Args:
        inplanes, planes: Channels of input and output.
        stride, dilation, downsample: Of the first convolution, and the shortcut where shapes differ, else None.
        style: Kept for configs: the block has no 1x1 convolution that could stride.
        with_cp, dcn, plugins: Kept for configs; must be off, else there is a ``ValueError``.
        norm_cfg: Norm layers ``norm1`` and ``norm2``; the convolutions have biases where it is None.
        init_fg: Weight initialization.
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        style: str = 'pytorch',
        with_cp: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = {'type': 'BN'},  # noqa: B006
        dcn: dict | None = None,
        plugins: list[dict] | None = None,
        init_fg: dict | None = None,
    ) -> None:
        super().__init__(init_fg)
        if with_cp or dcn or plugins:
            raise ValueError(
                f'SimplifiedBasicBlock has neither with_cp, dcn nor plugins, got {with_cp}, {dcn} and {plugins}'
            )
        self.stride, self.dilation, self.with_norm = stride, dilation, norm_cfg is not None
        bias = norm_cfg is None
        first = dict(stride=stride, padding=dilation, dilation=dilation, bias=bias)
        self.conv1 = build_conv_layer(conv_cfg, inplanes, planes, 3, **first)
        self.norm1_name = self._add_norm(norm_cfg, planes, 1)
        self.conv2 = build_conv_layer(conv_cfg, planes, planes, 3, padding=1, bias=bias)
        self.norm2_name = self._add_norm(norm_cfg, planes, 2)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def _add_norm(self, norm_cfg: dict | None, channels: int, postfix: int) -> str | None:
        if norm_cfg is None:
            return None
        name, norm = build_norm_layer(norm_cfg, channels, postfix=postfix)
        self.add_module(name, norm)
        return name

    @property
    def norm1(self) -> nn.Module | None:
        return getattr(self, self.norm1_name) if self.with_norm else None

    @property
    def norm2(self) -> nn.Module | None:
        return getattr(self, self.norm2_name) if self.with_norm else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, inplanes, H, W) -> (B, planes, H / stride, W / stride)."""
        out = self.conv1(x)
        out = self.norm1(out) if self.with_norm else out
        out = self.conv2(self.relu(out))
        out = self.norm2(out) if self.with_norm else out
        return out + (x if self.downsample is None else self.downsample(x))
