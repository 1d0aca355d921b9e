"""A feature pyramid with learned upsampling: CARAFE: Content-Aware ReAssembly of FEatures, arXiv 1905.02188."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule, build_upsample_layer
from mmdetlike.registry import MODELS

from .inputs import check_number

DEFAULT_UPSAMPLE = dict(type='carafe', up_kernel=5, up_group=1, encoder_kernel=3, encoder_dilation=1)
XAVIER = dict(type='Xavier', layer=['Conv2d', 'ConvTranspose2d'], distribution='uniform')
UPSAMPLE_TYPES = ('nearest', 'bilinear', 'deconv', 'pixel_shuffle', 'carafe')


@MODELS.register_module()
class FPN_CARAFE(BaseModule):
    """A top-down pathway whose upsampling is a layer of its own at each level.

    Levels beyond the backbone's are part of the pathway: each is made by a strided convolution and gives its
    semantics to the level below.

    Args:
        in_channels: Channels of each backbone map.
        out_channels: Channels of every map put out.
        num_outs: Number of maps put out.
        start_level: First backbone map used.
        end_level: Last backbone map used, inclusive; -1 for all. With an explicit end no extra level is made.
        norm_cfg: Norm layer of the convolutions.
        act_cfg: Activation of the convolutions.
        order: Order of convolution, norm and activation.
        upsample_cfg: The upsampling layer: ``type`` is one of ``carafe`` (arguments of ``CARAFEPack``),
            ``pixel_shuffle`` and ``deconv`` (``upsample_kernel``), ``nearest`` and ``bilinear``.
        init_cfg: Weight initialization.

    Raises:
        ConfigError: ``num_outs`` or ``upsample_cfg`` doesn't fit.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        end_level: int = -1,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        order: tuple[str, str, str] = ('conv', 'norm', 'act'),
        upsample_cfg: dict = DEFAULT_UPSAMPLE,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or XAVIER)
        self.start_level = start_level
        self.num_ins = len(in_channels)
        end = self.num_ins if end_level in (-1, self.num_ins - 1) else end_level + 1
        used = in_channels[start_level:end]
        num_extra = num_outs - len(used)
        if num_extra < 0 or (num_extra and end < self.num_ins):
            raise ConfigError(
                f'num_outs={num_outs} does not fit {len(used)} backbone levels (start_level={start_level}, '
                f'end_level={end_level}, {self.num_ins} maps); extra levels need end_level=-1'
            )
        self.num_used = len(used)
        layers = dict(norm_cfg=norm_cfg, act_cfg=act_cfg, order=order, inplace=False)
        self.lateral_convs = nn.ModuleList()
        self.fpn_convs = nn.ModuleList()
        self.upsample_modules = nn.ModuleList()
        for channels in used:
            self.lateral_convs.append(ConvModule(channels, out_channels, 1, **layers))
        for i in range(num_extra):
            channels = used[-1] if i == 0 else out_channels
            self.lateral_convs.append(ConvModule(channels, out_channels, 3, stride=2, padding=1, **layers))
        for _ in range(num_outs):
            self.fpn_convs.append(ConvModule(out_channels, out_channels, 3, padding=1, **layers))
        for _ in range(num_outs - 1):
            self.upsample_modules.append(build_doubling_layer(upsample_cfg, out_channels))

    def init_weights(self) -> None:
        """Draw all convolutions, then those of the upsampling layers in the way that those ask for."""
        super().init_weights()
        for layer in self.upsample_modules:
            if hasattr(layer, 'init_weights'):
                layer.init_weights()

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (B, C_i, H_i, W_i), fine to coarse -> ``num_outs`` maps (B, out_channels, H_i, W_i)."""
        check_number(self, inputs, self.num_ins)
        laterals = self._laterals(inputs[self.start_level : self.start_level + self.num_used])
        for i in range(len(laterals) - 1, 0, -1):
            laterals[i - 1] = self.tensor_add(laterals[i - 1], self.upsample_modules[i - 1](laterals[i]))
        return tuple(conv(x) for conv, x in zip(self.fpn_convs, laterals))

    @staticmethod
    def slice_as(src: Tensor, dst: Tensor) -> Tensor:
        """``src`` (B, C, H, W) cut at the bottom and the right to the size of ``dst``."""
        height, width = dst.shape[2:]
        return src[:, :, :height, :width]

    def tensor_add(self, a: Tensor, b: Tensor) -> Tensor:
        """``a`` (B, C, H, W) and ``b``, which is cut to the size of ``a`` where it is larger."""
        # the finer map of an odd side is a pixel short of twice the coarser one
        return a + self.slice_as(b, a)

    def _laterals(self, used: Sequence[Tensor]) -> list[Tensor]:
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, used)]
        source = used[-1]
        for conv in self.lateral_convs[self.num_used :]:
            laterals.append(conv(source))
            source = laterals[-1]
        return laterals


def build_doubling_layer(cfg: dict, channels: int) -> nn.Module:
    """Build the layer that doubles the size of maps of ``channels``.

    Args:
        cfg: See ``upsample_cfg`` of ``FPN_CARAFE``.
        channels: Channels of input and output.

    Raises:
        ConfigError: ``type`` is none of ``UPSAMPLE_TYPES``.
    """
    cfg = dict(cfg)
    kind = cfg.get('type')
    if kind not in UPSAMPLE_TYPES:
        raise ConfigError(f'upsample_cfg must have a type of {", ".join(UPSAMPLE_TYPES)}, but got {kind!r}')
    if kind == 'carafe':
        return build_upsample_layer(dict(cfg, channels=channels, scale_factor=2))
    if kind == 'pixel_shuffle':
        return build_upsample_layer(dict(cfg, in_channels=channels, out_channels=channels, scale_factor=2))
    if kind == 'deconv':
        kernel = cfg.pop('upsample_kernel')
        border = (kernel - 1) // 2
        sizes = dict(kernel_size=kernel, stride=2, padding=border, output_padding=border)
        return build_upsample_layer(dict(cfg, in_channels=channels, out_channels=channels, **sizes))
    align_corners = None if kind == 'nearest' else False
    return build_upsample_layer(dict(dict(align_corners=align_corners), scale_factor=2, mode=kind, **cfg))
