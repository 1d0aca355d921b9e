"""The simple feature pyramid of ViTDet, arXiv 2203.16527."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule, build_norm_layer
from mmdetlike.registry import MODELS

from .inputs import check_number


@MODELS.register_module()
class SimpleFPN(BaseModule):
    """Make a pyramid of the single map of a plain backbone: upsampled by 4 and 2, as it is, and halved.

    Args:
        backbone_channel: Channels of the map.
        in_channels: Channels of the four resized maps: a quarter, half, all and all of ``backbone_channel``.
        out_channels: Channels of every map put out.
        num_outs: Number of maps put out; those beyond four are the last one, subsampled.
        conv_cfg, norm_cfg, act_cfg: Convolution, norm layer and activation.

    Raises:
        ValueError: ``num_outs`` is less than four, or ``in_channels`` isn't as above.
    """

    def __init__(
        self,
        backbone_channel: int,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        half = backbone_channel // 2
        quarter = backbone_channel // 4
        expected = [quarter, half, backbone_channel, backbone_channel]
        if list(in_channels) != expected:
            raise ValueError(f'in_channels must be {expected} for {backbone_channel=}, got {list(in_channels)}')
        if num_outs < len(expected):
            raise ValueError(f'num_outs must be at least {len(expected)}, got {num_outs}')
        self.num_outs = num_outs
        norm = nn.Identity() if norm_cfg is None else build_norm_layer(norm_cfg, half)[1]
        doubled = nn.ConvTranspose2d(backbone_channel, half, 2, 2)
        self.fpn1 = nn.Sequential(doubled, norm, nn.GELU(), nn.ConvTranspose2d(half, quarter, 2, 2))
        self.fpn2 = nn.Sequential(nn.ConvTranspose2d(backbone_channel, half, 2, 2))
        self.fpn3 = nn.Identity()
        self.fpn4 = nn.MaxPool2d(kernel_size=2, stride=2)
        common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg, inplace=False)
        self.lateral_convs = nn.ModuleList(ConvModule(c, out_channels, 1, **common) for c in in_channels)
        self.fpn_convs = nn.ModuleList(ConvModule(out_channels, out_channels, 3, padding=1, **common) for _ in expected)

    def forward(self, inputs: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The backbone's map (B, backbone_channel, H, W), or a sequence of this one -> ``num_outs`` maps, fine to
        coarse: (B, out_channels, 4 H, 4 W), (B, out_channels, 2 H, 2 W) and so on.
        """
        maps = [inputs] if isinstance(inputs, Tensor) else inputs
        check_number(self, maps, 1)
        resized = [resize(maps[0]) for resize in (self.fpn1, self.fpn2, self.fpn3, self.fpn4)]
        outs = [out(lateral(x)) for x, lateral, out in zip(resized, self.lateral_convs, self.fpn_convs)]
        while len(outs) < self.num_outs:
            outs.append(nn.functional.max_pool2d(outs[-1], kernel_size=1, stride=2))
        return tuple(outs)
