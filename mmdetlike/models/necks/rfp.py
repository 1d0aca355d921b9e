"""The recursive feature pyramid of DetectoRS, arXiv 2006.02334."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, constant_init
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from .fpn import FPN
from .inputs import check_number


class ASPP(BaseModule):
    """Atrous spatial pyramid pooling (DeepLab, arXiv 1606.00915): convolutions of several dilations side by side.

    A dilation of 1 stands for a 1x1 convolution. The last convolution sees the mean of the map.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dilations: Sequence[int] = (1, 3, 6, 1),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        self.aspp = nn.ModuleList()
        for dilation in dilations:
            kernel = 3 if dilation > 1 else 1
            padding = dilation if dilation > 1 else 0
            self.aspp.append(nn.Conv2d(in_channels, out_channels, kernel, dilation=dilation, padding=padding))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, len(dilations) * out_channels, H, W)."""
        *local, last = self.aspp
        outs = [F.relu(conv(x)) for conv in local]
        mean = F.relu(last(F.adaptive_avg_pool2d(x, 1)))
        return torch.cat([*outs, mean.expand(-1, -1, *x.shape[2:])], dim=1)


@MODELS.register_module()
class RFP(FPN):
    """A feature pyramid that is fed back into a backbone, which looks at the image again.

    Args:
        rfp_steps: How often the pyramid is made; one less is the number of further backbones.
        rfp_backbone: Those backbones, a ``DetectoRS_ResNet`` with ``rfp_inplanes``.
        aspp_out_channels, aspp_dilations: Channels and dilation of each convolution between pyramid and backbone.

    Raises:
        ConfigError: ``rfp_backbone`` takes no feedback, or one of another width.
    """

    def __init__(
        self,
        rfp_steps: int,
        rfp_backbone: dict,
        aspp_out_channels: int,
        aspp_dilations: Sequence[int] = (1, 3, 6, 1),
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.rfp_steps = rfp_steps
        self.rfp_modules = nn.ModuleList(MODELS.build(rfp_backbone) for _ in range(1, rfp_steps))
        width = len(aspp_dilations) * aspp_out_channels
        for backbone in self.rfp_modules:
            if getattr(backbone, 'rfp_inplanes', None) != width:
                raise ConfigError(
                    f'rfp_backbone must be a DetectoRS_ResNet with rfp_inplanes={width} (aspp_out_channels for each of '
                    f'aspp_dilations), got {type(backbone).__name__} with '
                    f'rfp_inplanes={getattr(backbone, "rfp_inplanes", None)}'
                )
        channels = kwargs['out_channels']
        self.rfp_aspp = ASPP(channels, aspp_out_channels, aspp_dilations)
        # the pyramid of each step starts as the mean of it and the one before
        self.rfp_weight = nn.Conv2d(channels, 1, 1)
        constant_init(self.rfp_weight, 0)

    def init_weights(self) -> None:
        """Initialize the pyramid, then the backbones in their own way."""
        super().init_weights()
        for backbone in self.rfp_modules:
            # the pyramid's initialization went through all that is inside it
            backbone.start_plain()
            backbone.init_weights()
        constant_init(self.rfp_weight, 0)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) and backbone maps (B, C_i, H_i, W_i) -> ``num_outs`` maps (B, out_channels, H_i, W_i)."""
        check_number(self, inputs, self.num_ins + 1)
        images, *maps = inputs
        pyramid = super().forward(maps)
        for backbone in self.rfp_modules:
            again = super().forward(backbone.rfp_forward(images, self._feedback(pyramid)))
            pyramid = tuple(self._mixed(new, old) for new, old in zip(again, pyramid))
        return pyramid

    def _feedback(self, pyramid: Sequence[Tensor]) -> list[Tensor | None]:
        """What each stage of the backbone gets; the first one, and those below the pyramid, get nothing."""
        first = max(self.start_level, 1)
        fed_back = pyramid[first - self.start_level : self.num_ins - self.start_level]
        return [None] * first + [self.rfp_aspp(x) for x in fed_back]

    def _mixed(self, new: Tensor, old: Tensor) -> Tensor:
        """Each pixel of two pyramids in proportions that are predicted from the new one."""
        share = self.rfp_weight(new).sigmoid()
        return share * new + (1 - share) * old
