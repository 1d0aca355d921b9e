"""The semantic branch of SCNet, arXiv 2012.10150."""

from torch import nn

from mmdetlike.registry import MODELS

from ..residual_convs import residual_convs
from .fused_semantic_head import FusedSemanticHead


@MODELS.register_module()
class SCNetSemanticHead(FusedSemanticHead):
    """A ``FusedSemanticHead`` whose convolutions after the sum are residual blocks of two.

    Args:
        conv_to_res: Whether they are.
    """

    def __init__(self, conv_to_res: bool = True, **kwargs) -> None:
        self.conv_to_res = conv_to_res  # needed while the convolutions are built
        super().__init__(**kwargs)

    def build_convs(self, num_convs: int, in_channels: int, out_channels: int, layer: dict) -> nn.ModuleList:
        if not self.conv_to_res:
            return super().build_convs(num_convs, in_channels, out_channels, layer)
        return residual_convs(num_convs, in_channels, out_channels, **layer)
