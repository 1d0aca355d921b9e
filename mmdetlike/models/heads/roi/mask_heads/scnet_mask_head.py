"""The mask head of SCNet, arXiv 2012.10150."""

from torch import nn

from mmdetlike.registry import MODELS

from ..residual_convs import residual_convs
from .fcn_mask_head import FCNMaskHead


@MODELS.register_module()
class SCNetMaskHead(FCNMaskHead):
    """An ``FCNMaskHead`` whose convolutions are residual blocks of two.

    Args:
        conv_to_res: Whether they are.
    """

    def __init__(self, conv_to_res: bool = True, **kwargs) -> None:
        self.conv_to_res = conv_to_res  # needed while the convolutions are built
        super().__init__(**kwargs)

    def build_convs(self, num_convs: int, kernel_size: int) -> nn.ModuleList:
        if not self.conv_to_res:
            return super().build_convs(num_convs, kernel_size)
        return residual_convs(num_convs, self.in_channels, self.conv_out_channels, self.conv_cfg, self.norm_cfg)
