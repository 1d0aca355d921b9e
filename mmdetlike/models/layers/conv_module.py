"""Convolution, normalization and activation as one module."""

import warnings

from mmengine.model import constant_init, kaiming_init
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from .activation import build_activation_layer, takes_inplace
from .conv import Conv2dAdaptivePadding, build_conv_layer, build_padding_layer
from .norm import LayerNorm2d, build_norm_layer

# left to the convolution; for other modes there is a padding layer before it
_NATIVE_PADDING_MODES = ('zeros', 'circular')


@MODELS.register_module()
class ConvModule(nn.Module):
    """A convolution with optional normalization and activation.

    The parts are the sub-modules ``conv``, the norm layer under its abbreviation (``bn``, ``gn``, ...; also as the
    property ``norm``), ``activate``, and ``padding_layer`` for padding modes that the convolution itself lacks.

    Args:
        in_channels, out_channels: Channels of the input and of the output.
        kernel_size: Height and width of the kernel, or both in one number.
        stride: Step from one output to the next, in pixels of the input.
        padding: Pixels added on each side.
        dilation: Distance of the kernel's elements.
        groups: Groups of channels that don't see each other.
        bias: Whether the convolution has a bias; ``'auto'`` gives it one if there is no norm layer.
        conv_cfg: Config of the convolution; None stands for ``Conv2d``.
        norm_cfg, act_cfg: Configs of the norm layer and of the activation; None for none.
        inplace: Whether the activation works in place, unless ``act_cfg`` says so.
        with_spectral_norm: Whether the weight of the convolution is spectrally normalized (arXiv 1802.05957).
        padding_mode: ``zeros``, ``circular``, ``reflect`` or ``replicate``.
        order: Order of ``conv``, ``norm`` and ``act``.

    Raises:
        ConfigError: A config or ``order`` is wrong.
    """

    _abbr_ = 'conv_block'

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool | str = 'auto',
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = {'type': 'ReLU'},  # noqa: B006
        inplace: bool = True,
        with_spectral_norm: bool = False,
        padding_mode: str = 'zeros',
        order: tuple[str, str, str] = ('conv', 'norm', 'act'),
    ) -> None:
        super().__init__()
        if not isinstance(order, (tuple, list)) or sorted(order) != ['act', 'conv', 'norm']:
            raise ConfigError(f"order must be a permutation of ('conv', 'norm', 'act'), but got {order!r}.")
        self.conv_cfg, self.norm_cfg, self.act_cfg = conv_cfg, norm_cfg, act_cfg
        self.inplace = inplace
        self.order = tuple(order)
        self.with_norm = norm_cfg is not None
        self.with_activation = act_cfg is not None
        self.with_bias = not self.with_norm if bias == 'auto' else bias
        self.with_spectral_norm = with_spectral_norm
        self.with_explicit_padding = padding_mode not in _NATIVE_PADDING_MODES

        if self.with_explicit_padding:
            self.padding_layer = build_padding_layer({'type': padding_mode}, padding)
        shape = dict(stride=stride, dilation=dilation, groups=groups, bias=self.with_bias)
        shape['padding'] = 0 if self.with_explicit_padding else padding
        if padding_mode == 'circular':  # other layers than torch's don't know the argument
            shape['padding_mode'] = padding_mode
        self.conv = build_conv_layer(conv_cfg, in_channels, out_channels, kernel_size, **shape)
        # settings as the convolution has them, e.g. as tuples: whoever builds on this module asks for them here
        for name in ('in_channels', 'out_channels', 'kernel_size', 'stride', 'dilation', 'groups'):
            setattr(self, name, getattr(self.conv, name))
        self.padding = padding
        if with_spectral_norm:
            self.conv = nn.utils.spectral_norm(self.conv)
        self._add_norm()
        if self.with_activation:
            own = {'inplace': inplace} if takes_inplace(act_cfg) else {}
            self.activate = build_activation_layer({**own, **act_cfg})
        self.init_weights()

    def _add_norm(self) -> None:
        self.norm_name = None
        if not self.with_norm:
            return
        # a norm layer before the convolution sees its input channels
        after_conv = self.order.index('norm') > self.order.index('conv')
        channels = self.conv.out_channels if after_conv else self.conv.in_channels
        self.norm_name, norm = build_norm_layer(self.norm_cfg, channels)
        self.add_module(self.norm_name, norm)
        if isinstance(norm, LayerNorm2d):
            self.register_load_state_dict_pre_hook(rename_norm_layer)
        if self.with_bias and isinstance(norm, (_BatchNorm, _InstanceNorm)):
            warnings.warn(f'The bias of a conv before {type(norm).__name__} has no effect.', stacklevel=3)

    @property
    def norm(self) -> nn.Module | None:
        """The norm layer, or None."""
        return getattr(self, self.norm_name) if self.norm_name else None

    def init_weights(self) -> None:
        """Kaiming initialization of the convolution for its activation, 1 and 0 for the norm layer.

        A convolution with an ``init_weights`` of its own (deformable ones) has done that already.
        """
        if not hasattr(self.conv, 'init_weights'):
            # the gain belongs to the activation after the convolution
            leaky = self.with_activation and self.act_cfg['type'] == 'LeakyReLU'
            slope = self.act_cfg.get('negative_slope', 0.01) if leaky else 0
            kaiming_init(self.conv, a=slope, nonlinearity='leaky_relu' if leaky else 'relu')
        if self.with_norm:
            constant_init(self.norm, 1, bias=0)

    def forward(self, x: Tensor, activate: bool = True, norm: bool = True) -> Tensor:
        """Map (N, in_channels, ...) to (N, out_channels, ...); ``activate`` and ``norm`` say if those take part."""
        for part in self.order:
            if part == 'conv':
                x = self.conv(self.padding_layer(x) if self.with_explicit_padding else x)
            elif part == 'norm' and norm and self.with_norm:
                x = self.norm(x)
            elif part == 'act' and activate and self.with_activation:
                x = self.activate(x)
        return x


def rename_norm_layer(module: ConvModule, state_dict: dict, prefix: str, *args) -> None:
    """A ``load_state_dict`` pre-hook: other toolboxes have no abbreviation for such norms and call them so."""
    for kind in ('weight', 'bias'):
        if f'{prefix}norm_layer.{kind}' in state_dict:
            state_dict[f'{prefix}{module.norm_name}.{kind}'] = state_dict.pop(f'{prefix}norm_layer.{kind}')


@MODELS.register_module()
class DepthwiseSeparableConvModule(nn.Module):
    """A depthwise and a pointwise ``ConvModule`` (MobileNets, arXiv 1704.04861).

    Args:
        in_channels, out_channels: As of ``ConvModule``.
        kernel_size, stride, padding, dilation: As of ``ConvModule``, for the depthwise convolution.
        norm_cfg, act_cfg: Norm layer and activation of both.
        dw_norm_cfg, dw_act_cfg: Those of the depthwise convolution, unless they are ``'default'``.
        pw_norm_cfg, pw_act_cfg: Those of the pointwise convolution, unless they are ``'default'``.
        bias, conv_cfg, inplace, with_spectral_norm, padding_mode, order: As of ``ConvModule``, for both.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = {'type': 'ReLU'},  # noqa: B006
        dw_norm_cfg: dict | str | None = 'default',
        dw_act_cfg: dict | str | None = 'default',
        pw_norm_cfg: dict | str | None = 'default',
        pw_act_cfg: dict | str | None = 'default',
        bias: bool | str = 'auto',
        conv_cfg: dict | None = None,
        inplace: bool = True,
        with_spectral_norm: bool = False,
        padding_mode: str = 'zeros',
        order: tuple[str, str, str] = ('conv', 'norm', 'act'),
    ) -> None:
        super().__init__()
        depthwise = dict(
            norm_cfg=norm_cfg if dw_norm_cfg == 'default' else dw_norm_cfg,
            act_cfg=act_cfg if dw_act_cfg == 'default' else dw_act_cfg,
        )
        pointwise = dict(
            norm_cfg=norm_cfg if pw_norm_cfg == 'default' else pw_norm_cfg,
            act_cfg=act_cfg if pw_act_cfg == 'default' else pw_act_cfg,
        )
        shared = dict(bias=bias, conv_cfg=conv_cfg, inplace=inplace, with_spectral_norm=with_spectral_norm)
        shared.update(padding_mode=padding_mode, order=order)
        # one group for each channel: this is what makes the convolution depthwise
        shape = dict(stride=stride, padding=padding, dilation=dilation, groups=in_channels)
        self.depthwise_conv = ConvModule(in_channels, in_channels, kernel_size, **shape, **depthwise, **shared)
        self.pointwise_conv = ConvModule(in_channels, out_channels, 1, **pointwise, **shared)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        return self.pointwise_conv(self.depthwise_conv(x))


class SeparableConv(nn.Module):
    """A depthwise 3x3 and a pointwise convolution (EfficientDet, arXiv 1911.09070), and a norm layer if given one."""

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict | None = None) -> None:
        super().__init__()
        self.depthwise_conv = Conv2dAdaptivePadding(in_channels, in_channels, 3, groups=in_channels, bias=False)
        # checkpoints have the bias also where a norm follows
        self.pointwise_conv = nn.Conv2d(in_channels, out_channels, 1)
        self.bn = nn.Identity() if norm_cfg is None else build_norm_layer(norm_cfg, out_channels)[1]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        return self.bn(self.pointwise_conv(self.depthwise_conv(x)))
