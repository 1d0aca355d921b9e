"""Networks of cross stage partial blocks (CSPNet, arXiv 1911.11929): of YOLOX, 2107.08430, and RTMDet, 2212.07784."""

from collections.abc import Sequence

from torch import nn

from mmdetlike.models.layers import ConvModule, CSPLayer, Focus, SPPBottleneck, conv_class
from mmdetlike.models.layers.csp_layer import BN_OF_YOLO, SWISH, YOLO_INIT
from mmdetlike.registry import MODELS

from .staged import StagedBackbone, check_choice, check_in_range

# of each stage the channels of its input and output, its number of blocks, whether these have shortcuts, and whether
# there is spatial pyramid pooling
Arch = Sequence[tuple[int, int, int, bool, bool]]


def csp_archs(middle_blocks: int) -> dict[str, Arch]:
    """The architectures P5 and P6 with so many blocks in the second and the third stage."""
    fine = (
        (64, 128, 3, True, False),
        (128, 256, middle_blocks, True, False),
        (256, 512, middle_blocks, True, False),
    )
    p6 = (*fine, (512, 768, 3, True, False), (768, 1024, 3, False, True))
    return {'P5': (*fine, (512, 1024, 3, False, True)), 'P6': p6}


@MODELS.register_module()
class CSPDarknet(StagedBackbone):
    """CSPDarknet backbone of YOLOX: a stem, stage 0, and stages 1 to 4 (P5) or 5 (P6) that halve the map.

    Args:
        arch: ``'P5'`` or ``'P6'``.
        deepen_factor, widen_factor: Depth and width of the network.
        out_indices: Stages whose maps ``forward`` returns.
        frozen_stages: Stages up to this one get no gradient; -1 freezes nothing, 0 the stem.
        use_depthwise: Use depthwise separable convolutions.
        arch_ovewrite: An architecture in place of the named one, as ``Arch``; spelled as configs spell it.
        spp_kernal_sizes: Sides of the pooling windows of spatial pyramid pooling, odd, ascending; spelled as configs
            spell it.
        conv_cfg, norm_cfg, act_cfg, norm_eval, init_cfg: As of ``StagedBackbone``.
        expand_ratio: Width of a ``CSPLayer``'s parts as a share of its output.
        channel_attention: Weigh the channels in each ``CSPLayer``.

    Raises:
        ValueError: ``arch``, ``out_indices`` or ``frozen_stages`` is out of range, or ``widen_factor`` leaves no
            channels.

    Examples:
        >>> maps = CSPDarknet(deepen_factor=0.33, widen_factor=0.25).eval()(torch.rand(1, 3, 416, 416))
        >>> [tuple(m.shape) for m in maps]
        [(1, 64, 52, 52), (1, 128, 26, 26), (1, 256, 13, 13)]
    """

    arch_settings = csp_archs(9)
    use_cspnext_block = False

    def __init__(
        self,
        arch: str = 'P5',
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        use_depthwise: bool = False,
        arch_ovewrite: Arch | None = None,
        spp_kernal_sizes: Sequence[int] = (5, 9, 13),
        conv_cfg: dict | None = None,
        norm_cfg: dict = BN_OF_YOLO,
        act_cfg: dict = SWISH,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = YOLO_INIT,
        expand_ratio: float = 0.5,
        channel_attention: bool = False,
    ) -> None:
        check_choice('arch', arch, list(self.arch_settings))
        stages = arch_ovewrite or self.arch_settings[arch]
        check_in_range('out_indices', out_indices, range(len(stages) + 1))
        check_in_range('frozen_stages', frozen_stages, range(-1, len(stages) + 1))
        narrowest = min(channels for channels, *_ in stages)
        # the blocks divide it by 2, torch makes layers without channels, and a detector without them learns nothing
        if int(narrowest * widen_factor) < 2:
            raise ValueError(f'widen_factor={widen_factor} leaves less than 2 of the {narrowest} channels of a stage')
        super().__init__(out_indices, frozen_stages + 1, norm_eval, init_cfg)
        self.frozen_stages = frozen_stages
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        csp = dict(expand_ratio=expand_ratio, channel_attention=channel_attention, use_depthwise=use_depthwise)
        csp.update(use_cspnext_block=self.use_cspnext_block, **layers)
        self.add_stage('stem', self.build_stem(int(stages[0][0] * widen_factor), **layers))
        for i, (channels, width, num_blocks, add_identity, use_spp) in enumerate(stages, 1):
            channels = int(channels * widen_factor)
            width = int(width * widen_factor)
            num_blocks = max(round(num_blocks * deepen_factor), 1)  # tiny networks keep a block in each stage
            parts = [conv_class(use_depthwise)(channels, width, 3, stride=2, padding=1, **layers)]
            if use_spp:
                parts.append(SPPBottleneck(width, width, spp_kernal_sizes, **layers))
            parts.append(CSPLayer(width, width, num_blocks=num_blocks, add_identity=add_identity, **csp))
            self.add_stage(f'stage{i}', nn.Sequential(*parts))
        self.freeze_stages()

    @staticmethod
    def build_stem(channels: int, **layers) -> nn.Module:
        """Hook: what halves the image first; ``layers`` are arguments of its ``ConvModule`` layers."""
        return Focus(3, channels, kernel_size=3, **layers)


@MODELS.register_module()
class CSPNeXt(CSPDarknet):
    """CSPNeXt backbone of RTMDet: large kernels, a stem of convolutions and attention over channels.

    Args:
        arch, deepen_factor, widen_factor, out_indices, frozen_stages, use_depthwise: As of ``CSPDarknet``.
        expand_ratio, arch_ovewrite, conv_cfg, norm_cfg, act_cfg, norm_eval, init_cfg: As of ``CSPDarknet``.
        spp_kernel_sizes: Sides of the pooling windows of spatial pyramid pooling, odd, ascending.
        channel_attention: Weigh channels by what the whole feature map shows, at the end of each stage.
    """

    arch_settings = csp_archs(6)
    use_cspnext_block = True

    def __init__(
        self,
        arch: str = 'P5',
        spp_kernel_sizes: Sequence[int] = (5, 9, 13),
        channel_attention: bool = True,
        act_cfg: dict = {'type': 'SiLU'},  # noqa: B006
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        use_depthwise: bool = False,
        expand_ratio: float = 0.5,
        arch_ovewrite: Arch | None = None,
        conv_cfg: dict | None = None,
        norm_cfg: dict = BN_OF_YOLO,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = YOLO_INIT,
    ) -> None:
        network = dict(arch=arch, deepen_factor=deepen_factor, widen_factor=widen_factor, arch_ovewrite=arch_ovewrite)
        stages = dict(out_indices=out_indices, frozen_stages=frozen_stages, norm_eval=norm_eval, init_cfg=init_cfg)
        csp = dict(use_depthwise=use_depthwise, expand_ratio=expand_ratio, channel_attention=channel_attention)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        super().__init__(spp_kernal_sizes=spp_kernel_sizes, **network, **stages, **csp, **layers)

    @staticmethod
    def build_stem(channels: int, **layers) -> nn.Sequential:
        """Three 3x3 convolutions, of which the first one strides."""
        half = channels // 2
        return nn.Sequential(
            ConvModule(3, half, 3, stride=2, padding=1, **layers),
            ConvModule(half, half, 3, padding=1, **layers),
            ConvModule(half, channels, 3, padding=1, **layers),
        )
