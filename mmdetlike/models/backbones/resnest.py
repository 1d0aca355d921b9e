"""ResNeSt: Split-Attention Networks, arXiv 2004.08955."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import build_conv_layer, build_norm_layer
from mmdetlike.registry import MODELS

from .resnet import Bottleneck, bottleneck_archs
from .resnext import ResNeXt, grouped_width

# the first stages have so few channels that dividing them by the reduction factor would leave next to none
LEAST_ATTENTION_CHANNELS = 32


class SplitAttentionConv2d(BaseModule):
    """A convolution to ``radix`` splits, which are weighed by an attention over them and summed.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        kernel_size, stride, padding, dilation, groups: Of the convolution.
        radix: Number of splits; 1 makes it a squeeze-and-excitation of the convolution's output.
        reduction_factor: Ratio of the splits' channels to those inside the attention, which are at least 32.
        conv_cfg, norm_cfg: Convolution and norm layer.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        radix: int = 2,
        reduction_factor: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        self.radix, self.groups = radix, groups
        norm_cfg = norm_cfg or dict(type='BN')
        inner = max(in_channels * radix // reduction_factor, LEAST_ATTENTION_CHANNELS)
        shape = dict(kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation, groups=groups * radix)
        self.conv = build_conv_layer(conv_cfg, in_channels, channels * radix, bias=False, **shape)
        self._norm0, norm0 = build_norm_layer(norm_cfg, channels * radix, postfix=0)
        self.add_module(self._norm0, norm0)
        self.relu = nn.ReLU(inplace=True)
        self.fc1 = build_conv_layer(None, channels, inner, 1, groups=groups)
        self._norm1, norm1 = build_norm_layer(norm_cfg, inner, postfix=1)
        self.add_module(self._norm1, norm1)
        self.fc2 = build_conv_layer(None, inner, channels * radix, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, channels, H / stride, W / stride), none of it negative."""
        x = self.relu(getattr(self, self._norm0)(self.conv(x)))
        splits = x.unflatten(1, (self.radix, -1))
        squeezed = splits.sum(1).mean((2, 3), keepdim=True)
        logits = self.fc2(self.relu(getattr(self, self._norm1)(self.fc1(squeezed))))
        return (splits * self._attention(logits)).sum(1)

    def _attention(self, logits: Tensor) -> Tensor:
        """(B, radix * channels, 1, 1), the splits within each group -> (B, radix, channels, 1, 1), adding up to 1."""
        # the grouped convolution puts out group by group, while features come split by split
        logits = logits.unflatten(1, (self.groups, self.radix, -1)).transpose(1, 2)
        weights = logits.softmax(1) if self.radix > 1 else logits.sigmoid()
        return weights.flatten(2, 3)


class ResNeStBottleneck(Bottleneck):
    """1x1, split-attention 3x3 and 1x1 convolutions."""

    def build_layers(self, groups: int, base_width: int, base_channels: int, **attention) -> None:
        width = grouped_width(self.channels, groups, base_width, base_channels)
        self.build_bottleneck(width, groups=groups, **attention)

    def build_middle(self, width: int, stride: int, avg_down_stride: bool, **attention) -> None:
        shape = dict(kernel_size=3, padding=self.dilation, dilation=self.dilation)
        shape['stride'] = 1 if avg_down_stride else stride
        layers = dict(conv_cfg=self.conv3x3_cfg, norm_cfg=self.norm_cfg)
        self.conv2 = SplitAttentionConv2d(width, width, **shape, **layers, **attention)
        pooled = avg_down_stride and stride > 1
        self.avd_layer = nn.AvgPool2d(3, stride, padding=1) if pooled else nn.Identity()
        self.conv_names.append(('conv2', 'avd_layer'))

    def run_layer(self, index: int, x: Tensor) -> Tensor:
        is_attention = self.conv_names[index][0] == 'conv2'
        return self.avd_layer(self.conv2(x)) if is_attention else super().run_layer(index, x)


@MODELS.register_module()
class ResNeSt(ResNeXt):
    """ResNeSt backbone, with the deep stem and the average-pooled shortcuts of ``ResNetV1d``.

    Args:
        radix: Splits that attention chooses between.
        reduction_factor: Ratio of the splits' channels to those inside the attention.
        avg_down_stride: Stride by average pooling after the 3x3 convolution, not by the convolution itself.
        **kwargs: As of ``ResNeXt``; ``depth`` is 50, 101, 152 or 200.
    """

    arch_settings = {**bottleneck_archs(ResNeStBottleneck), 200: (ResNeStBottleneck, (3, 24, 36, 3))}

    def __init__(self, radix: int = 2, reduction_factor: int = 4, avg_down_stride: bool = True, **kwargs) -> None:
        attention = dict(radix=radix, reduction_factor=reduction_factor, avg_down_stride=avg_down_stride)
        super().__init__(deep_stem=True, avg_down=True, block_args=attention, **kwargs)
