"""A coarse mask by linear layers: PointRend, arXiv 1912.08193."""

from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from ..linear_layers import linear_layers, run_linear
from .fcn_mask_head import MaskHead


@MODELS.register_module()
class CoarseMaskHead(MaskHead):
    """Convolutions, a strided one and linear layers that put out a small mask for each class.

    Args:
        num_convs: As of ``MaskHead``.
        num_fcs, fc_out_channels: Linear layers and their width.
        downsample_factor: The mask is so much smaller than the region features.

    Raises:
        ConfigError: ``num_fcs`` or ``downsample_factor`` is below 1.
    """

    def __init__(
        self,
        num_convs: int = 0,
        num_fcs: int = 2,
        fc_out_channels: int = 1024,
        downsample_factor: int = 2,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        if num_fcs < 1 or downsample_factor < 1:
            raise ConfigError(f'num_fcs and downsample_factor must be at least 1, got {num_fcs}, {downsample_factor}')
        names = [dict(type='Constant', val=0.001, name='fc_logits'), dict(type='Xavier', name='fcs')]
        default_init = dict(type='Normal', std=0.001, override=names)
        super().__init__(num_convs=num_convs, init_cfg=init_cfg or default_init, **kwargs)
        width = self.hidden_channels
        self.downsample_conv = None
        if downsample_factor > 1:
            self.downsample_conv = ConvModule(width, self.conv_out_channels, downsample_factor, downsample_factor)
            width = self.conv_out_channels
        self.output_size = tuple(size // downsample_factor for size in _pair(self.roi_feat_size))
        area = self.output_size[0] * self.output_size[1]
        self.fcs, width = linear_layers(width * area, fc_out_channels, num_fcs)
        self.fc_logits = nn.Linear(width, self.num_masks * area)

    def logits(self, x: Tensor) -> Tensor:
        """Mask logits (n, num_classes or 1, h / factor, w / factor) from the features after the convolutions."""
        if self.downsample_conv is not None:
            x = self.downsample_conv(x)
        x = run_linear(self.fcs, x.flatten(1))
        return self.fc_logits(x).unflatten(1, (-1, *self.output_size))
