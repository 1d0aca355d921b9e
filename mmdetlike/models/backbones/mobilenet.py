"""MobileNetV2: Inverted Residuals and Linear Bottlenecks, arXiv 1801.04381, and MobileNetV3, arXiv 1905.02244."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule, InvertedResidual
from mmdetlike.models.utils import make_divisible
from mmdetlike.registry import MODELS

from .staged import StagedBackbone, check_in_range, weight_init

# the width of attention's hidden layer is a multiple of it, as all widths are
DIVISOR = 8
ATTENTION_ACTIVATIONS = (dict(type='ReLU'), dict(type='HSigmoid', bias=3.0, divisor=6.0))


@MODELS.register_module()
class MobileNetV2(StagedBackbone):
    """MobileNetV2 backbone: stages 0 to 6 of inverted residuals, stage 7 a 1x1 convolution.

    Args:
        widen_factor: Width of the network.
        out_indices: Stages, 0 to 7, whose maps ``forward`` returns.
        frozen_stages: The stem and this many stages, from the first, get no gradient; -1 freezes nothing.
        conv_cfg, norm_cfg, act_cfg, norm_eval, with_cp, pretrained, init_cfg: As of ``StagedBackbone``.

    Raises:
        ValueError: ``out_indices`` or ``frozen_stages`` is out of range.
    """

    # expansion, channels, blocks, stride of the first block
    arch_settings = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (1, 2, 4, 7),
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        norm_cfg: dict = {'type': 'BN'},  # noqa: B006
        act_cfg: dict = {'type': 'ReLU6'},  # noqa: B006
        norm_eval: bool = False,
        with_cp: bool = False,
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_in_range('out_indices', out_indices, range(8))
        check_in_range('frozen_stages', frozen_stages, range(-1, 8))
        super().__init__(out_indices, frozen_stages + 1, norm_eval, weight_init(pretrained, init_cfg), first_index=-1)
        self.widen_factor, self.with_cp = widen_factor, with_cp
        self.common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.in_channels = make_divisible(32 * widen_factor, 8)
        self.add_stage('conv1', ConvModule(3, self.in_channels, 3, stride=2, padding=1, **self.common))
        for i, (expansion, width, num_blocks, stride) in enumerate(self.arch_settings):
            width = make_divisible(width * widen_factor, 8)
            self.add_stage(f'layer{i + 1}', self.make_layer(width, num_blocks, stride, expansion))
        # narrow networks keep the full width of the last layer, as in the paper
        last = int(1280 * widen_factor) if widen_factor > 1.0 else 1280
        self.add_stage('conv2', ConvModule(self.in_channels, last, 1, **self.common))
        self.freeze_stages()

    def make_layer(self, out_channels: int, num_blocks: int, stride: int, expand_ratio: int) -> nn.Sequential:
        """A stage of inverted residuals after those made before, whose width is in ``in_channels``.

        Its first block has the stride; inside, blocks are ``expand_ratio`` times wider than their input.
        """
        settings = dict(with_expand_conv=expand_ratio != 1, with_cp=self.with_cp, **self.common)
        blocks = []
        for i in range(num_blocks):
            inner = round(self.in_channels * expand_ratio)
            step = stride if i == 0 else 1
            blocks.append(InvertedResidual(self.in_channels, out_channels, inner, stride=step, **settings))
            self.in_channels = out_channels
        return nn.Sequential(*blocks)


@MODELS.register_module()
class MobileNetV3(StagedBackbone):
    """MobileNetV3-Large without its classifier: layer 0 the stem, 1 to 15 inverted residuals, 16 a 1x1 convolution.

    Args:
        widen_factor: Width of the network.
        reduced_tail: Halve the channels of the layers 13 to 16, as the paper does for detection (its table 6).
        out_indices: Layers, 0 to 16, whose maps ``forward`` returns.
        expanded_indices: Of these among ``out_indices``, the map after the expansion is returned instead, which has the
            stride of the layer before: SSDLite looks at that of layer 13. Layers 2, 4, 7 or 13.
        frozen_stages: So many layers, from the first, get no gradient.
        conv_cfg, norm_cfg, norm_eval, with_cp, pretrained, init_cfg: As of ``StagedBackbone``.

    Raises:
        ValueError: ``out_indices``, ``expanded_indices`` or ``frozen_stages`` is out of range.

    Examples:
        >>> net = MobileNetV3(out_indices=(13, 16), expanded_indices=(13,), reduced_tail=True)
        >>> [tuple(m.shape) for m in net(torch.rand(1, 3, 64, 64))]
        [(1, 672, 4, 4), (1, 480, 2, 2)]
    """

    # kernel, expanded channels, channels, attention, activation, stride; table 1 of the paper
    arch_settings = (
        (3, 16, 16, False, 'ReLU', 1),
        (3, 64, 24, False, 'ReLU', 2),
        (3, 72, 24, False, 'ReLU', 1),
        (5, 72, 40, True, 'ReLU', 2),
        (5, 120, 40, True, 'ReLU', 1),
        (5, 120, 40, True, 'ReLU', 1),
        (3, 240, 80, False, 'HSwish', 2),
        (3, 200, 80, False, 'HSwish', 1),
        (3, 184, 80, False, 'HSwish', 1),
        (3, 184, 80, False, 'HSwish', 1),
        (3, 480, 112, True, 'HSwish', 1),
        (3, 672, 112, True, 'HSwish', 1),
        (5, 672, 160, True, 'HSwish', 2),
        (5, 960, 160, True, 'HSwish', 1),
        (5, 960, 160, True, 'HSwish', 1),
    )
    # the first layer whose output a reduced tail halves
    tail = 13

    def __init__(
        self,
        widen_factor: float = 1.0,
        reduced_tail: bool = False,
        out_indices: Sequence[int] = (13, 16),
        expanded_indices: Sequence[int] = (),
        frozen_stages: int = 0,
        conv_cfg: dict | None = None,
        norm_cfg: dict = {'type': 'BN', 'eps': 0.001, 'momentum': 0.01},  # noqa: B006
        norm_eval: bool = False,
        with_cp: bool = False,
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_in_range('out_indices', out_indices, range(17))
        check_in_range('frozen_stages', frozen_stages, range(18))
        super().__init__(out_indices, frozen_stages, norm_eval, weight_init(pretrained, init_cfg))
        self._check_expanded(expanded_indices)
        self.expanded_indices = tuple(expanded_indices)
        self.widen_factor, self.reduced_tail, self.with_cp = widen_factor, reduced_tail, with_cp
        self.common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        channels = make_divisible(16 * widen_factor, DIVISOR)
        stem = ConvModule(3, channels, 3, stride=2, padding=1, act_cfg=dict(type='HSwish'), **self.common)
        self.add_stage('layer0', stem)
        for i in range(1, 16):
            block, channels = self._block(i, channels)
            self.add_stage(f'layer{i}', block)
        last = ConvModule(channels, 6 * channels, 1, act_cfg=dict(type='HSwish'), **self.common)
        self.add_stage('layer16', last)
        self.freeze_stages()

    def _check_expanded(self, indices: Sequence[int]) -> None:
        # a shortcut would need the map before the expansion, too
        strided = [i for i, settings in enumerate(self.arch_settings, 1) if settings[-1] == 2]
        if not set(indices) <= set(strided) & set(self.out_indices):
            raise ValueError(
                f'expanded_indices must be among out_indices {list(self.out_indices)} and {strided}, got '
                f'{list(indices)}'
            )

    def _block(self, index: int, in_channels: int) -> tuple[InvertedResidual, int]:
        """The block of a layer, and the channels that it puts out."""
        kernel_size, expanded, channels, attends, activation, stride = self.arch_settings[index - 1]
        # what the layers after the first of the tail expand is narrower with them
        expanded = self._width(expanded, halved=index > self.tail)
        channels = self._width(channels, halved=index >= self.tail)
        hidden = make_divisible(expanded // 4, DIVISOR)
        attention = dict(channels=expanded, ratio=expanded / hidden, act_cfg=ATTENTION_ACTIVATIONS)
        block = InvertedResidual(
            in_channels,
            channels,
            expanded,
            kernel_size=kernel_size,
            stride=stride,
            se_cfg=attention if attends else None,
            act_cfg=dict(type=activation),
            with_expand_conv=expanded != in_channels,
            with_cp=self.with_cp,
            **self.common,
        )
        return block, channels

    def _width(self, channels: int, halved: bool) -> int:
        return make_divisible(channels // (2 if halved and self.reduced_tail else 1) * self.widen_factor, DIVISOR)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> maps (B, C_i, H_i, W_i) of the layers in ``out_indices``."""
        outs = []
        for i, layer in enumerate(self.stages[: self.num_used]):
            if i in self.expanded_indices:
                x = layer.expand_conv(x)
                outs.append(x)
                for name in layer.part_names[1:]:
                    x = getattr(layer, name)(x)
                continue
            x = layer(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)
