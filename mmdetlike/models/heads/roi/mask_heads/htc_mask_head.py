"""The mask head of Hybrid Task Cascade, arXiv 1901.07518."""

from torch import Tensor

from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .fcn_mask_head import FCNMaskHead


@MODELS.register_module()
class HTCMaskHead(FCNMaskHead):
    """An ``FCNMaskHead`` that adds the features of the stage before to its input.

    Args:
        with_conv_res: Take features of a stage before, through a 1x1 convolution.
    """

    def __init__(self, with_conv_res: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        self.conv_res = None
        if with_conv_res:
            width = self.conv_out_channels
            self.conv_res = ConvModule(width, width, 1, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)

    def hidden(self, x: Tensor, previous: Tensor | None = None) -> Tensor:
        """The features after the convolutions, of region features (n, C, h, w) and those of the stage before."""
        if previous is not None and self.conv_res is not None:
            x = x + self.conv_res(previous)
        return super().hidden(x)
