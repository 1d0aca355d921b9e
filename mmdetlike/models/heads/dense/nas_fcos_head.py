"""The head that NAS-FCOS: Fast Neural Architecture Search for Object Detection, arXiv 1906.04423, has found."""

from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .fcos_head import FCOSHead

DEFORMABLE = dict(kernel_size=3, padding=1, bias=True, conv_cfg=dict(type='DCNv2', deform_groups=2))
# the towers, layer by layer
LAYERS = (DEFORMABLE, dict(kernel_size=3, padding=1, bias=False), DEFORMABLE, dict(kernel_size=1, bias=False))


@MODELS.register_module()
class NASFCOSHead(FCOSHead):
    """``FCOSHead`` with towers of two deformable and two ordinary convolutions.

    Args:
        stacked_convs: Must be 4, the length of the towers that were found.
        kwargs: See ``FCOSHead``; ``conv_cfg``, ``conv_bias`` and ``dcn_on_last_conv`` are not to be given.

    Raises:
        ConfigError: ``stacked_convs`` is not 4, or the towers' layers are to be others.
    """

    default_init = [
        dict(type='Caffe2Xavier', layer=['ConvModule', 'Conv2d']),
        dict(
            type='Normal',
            std=0.01,
            override=[
                dict(name='conv_reg'),
                dict(name='conv_centerness'),
                dict(name='conv_cls', type='Normal', std=0.01, bias_prob=0.01),
            ],
        ),
    ]

    def __init__(self, num_classes: int, in_channels: int, stacked_convs: int = len(LAYERS), **kwargs) -> None:
        if stacked_convs != len(LAYERS):
            raise ConfigError(f'the towers of NASFCOSHead have {len(LAYERS)} layers, got stacked_convs={stacked_convs}')
        given = [name for name in ('conv_cfg', 'conv_bias', 'dcn_on_last_conv') if name in kwargs]
        if given:
            raise ConfigError(f'the layers of the towers of NASFCOSHead are fixed, so {given[0]} must not be given')
        super().__init__(num_classes, in_channels, stacked_convs=stacked_convs, **kwargs)

    def build_tower(self) -> nn.ModuleList:
        widths = [self.in_channels] + [self.feat_channels] * (len(LAYERS) - 1)
        layers = zip(widths, LAYERS)
        return nn.ModuleList(
            ConvModule(width, self.feat_channels, norm_cfg=self.norm_cfg, **layer) for width, layer in layers
        )
