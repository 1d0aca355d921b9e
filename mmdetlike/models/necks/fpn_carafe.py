"""A feature pyramid with learned upsampling: CARAFE: Content-Aware ReAssembly of FEatures, arXiv 1905.02188."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule, build_upsample_layer
from mmdetlike.registry import MODELS

from .fpn import FPN

DEFAULT_UPSAMPLE = dict(type='carafe', up_kernel=5, up_group=1, encoder_kernel=3, encoder_dilation=1)
XAVIER = dict(type='Xavier', layer=['Conv2d', 'ConvTranspose2d'], distribution='uniform')
UPSAMPLE_TYPES = ('nearest', 'bilinear', 'deconv', 'pixel_shuffle', 'carafe')


@MODELS.register_module()
class FPN_CARAFE(FPN):
    """A top-down pathway whose upsampling is a layer of its own at each level.

    Levels beyond the backbone's are part of the pathway: each is made by a strided convolution and gives its
    semantics to the level below.

    Args:
        in_channels, out_channels, num_outs, start_level, end_level, norm_cfg, act_cfg: As of ``FPN``.
        order: Order of convolution, norm and activation.
        upsample_cfg: The upsampling layer: ``type`` is one of ``carafe`` (arguments of ``CARAFEPack``),
            ``pixel_shuffle`` and ``deconv`` (``upsample_kernel``), ``nearest`` and ``bilinear``.

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
        # before ``super``, which makes the layers by ``build_layers``
        self.order = order
        self.upsample_layer_cfg = upsample_cfg
        layers = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        super().__init__(
            in_channels, out_channels, num_outs, start_level, end_level, init_cfg=init_cfg or XAVIER, **layers
        )

    def build_layers(self, out_channels: int, num_extra: int, lateral: dict, layer: dict) -> None:
        """The layers of each level, extra ones among them, and between two levels one that doubles a map."""
        layer = dict(layer, order=self.order)
        shrink = dict(layer, kernel_size=3, stride=2, padding=1)
        self.lateral_convs = nn.ModuleList(ConvModule(width, out_channels, 1, **layer) for width in self.used_channels)
        for i in range(num_extra):
            channels = self.used_channels[-1] if i == 0 else out_channels
            self.lateral_convs.append(ConvModule(channels, out_channels, **shrink))
        smooth = dict(layer, kernel_size=3, padding=1)
        levels = range(self.num_outs)
        self.fpn_convs = nn.ModuleList(ConvModule(out_channels, out_channels, **smooth) for _ in levels)
        upsample = self.upsample_layer_cfg
        self.upsample_modules = nn.ModuleList(build_doubling_layer(upsample, out_channels) for _ in levels[1:])

    def init_weights(self) -> None:
        """Draw all convolutions, then those of the upsampling layers in the way that those ask for."""
        super().init_weights()
        for layer in self.upsample_modules:
            if hasattr(layer, 'init_weights'):
                layer.init_weights()

    def top_down(self, used: Sequence[Tensor]) -> list[Tensor]:
        """Laterals (B, out_channels, H_i, W_i) of all levels, each fused with the coarser ones."""
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, used)]
        source = used[-1]
        for conv in self.lateral_convs[len(used) :]:
            source = conv(source)
            laterals.append(source)
        for i in range(len(laterals) - 1, 0, -1):
            laterals[i - 1] = self.tensor_add(laterals[i - 1], self.upsample_modules[i - 1](laterals[i]))
        return laterals

    @staticmethod
    def slice_as(src: Tensor, dst: Tensor) -> Tensor:
        """``src`` (B, C, H, W) cut at the bottom and the right to the size of ``dst``."""
        height, width = dst.shape[2:]
        return src[:, :, :height, :width]

    def tensor_add(self, a: Tensor, b: Tensor) -> Tensor:
        """``a`` (B, C, H, W) and ``b``, which is cut to the size of ``a`` where it is larger."""
        # the finer map of an odd side is a pixel short of twice the coarser one
        return a + self.slice_as(b, a)


def build_doubling_layer(upsample_cfg: dict, channels: int) -> nn.Module:
    """The layer that doubles the size of maps of ``channels``; ``ConfigError`` if it is none of ``UPSAMPLE_TYPES``."""
    cfg = dict(upsample_cfg)
    kind = cfg.get('type')
    if kind not in UPSAMPLE_TYPES:
        raise ConfigError(f'upsample_cfg must have a type of {", ".join(UPSAMPLE_TYPES)}, but got {kind!r}')
    if kind in ('nearest', 'bilinear'):
        return build_upsample_layer(dict(cfg, scale_factor=2))
    if kind == 'carafe':
        return build_upsample_layer(dict(cfg, channels=channels, scale_factor=2))
    if kind == 'pixel_shuffle':
        return build_upsample_layer(dict(cfg, in_channels=channels, out_channels=channels, scale_factor=2))
    kernel = cfg.pop('upsample_kernel')
    border = (kernel - 1) // 2
    sizes = dict(kernel_size=kernel, stride=2, padding=border, output_padding=border)
    return build_upsample_layer(dict(cfg, in_channels=channels, out_channels=channels, **sizes))
