"""The backbones of DetectoRS: Recursive Feature Pyramid and Switchable Atrous Convolution, arXiv 2006.02334."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmdetlike.models.layers import maybe_recompute
from mmdetlike.registry import MODELS
from mmdetlike_ops import SAConv2d

from .resnet import ResNet, bottleneck_archs, flag_of_stage, is_pretrained
from .resnet_variants import ResNeXt, ResNeXtBottleneck


class DetectoRSBottleneck(ResNeXtBottleneck):
    """A bottleneck with a switchable atrous convolution, whose first one in a stage may take what a pyramid feeds back.

    The convolution is grouped where ``ResNeXtBottleneck`` is told so.
    """

    def build_layers(self, sac: dict | None = None, rfp_inplanes: int | None = None, **grouping) -> None:
        self.sac = sac
        out_channels = self.channels * self.expansion
        self.rfp_conv = None
        if rfp_inplanes is not None and self.in_channels != out_channels:
            self.rfp_conv = nn.Conv2d(rfp_inplanes, out_channels, 1)
            self.zero_feedback()
        super().build_layers(**grouping)

    def zero_feedback(self) -> None:
        """Let the block start as if nothing were fed back."""
        if self.rfp_conv is not None:
            nn.init.zeros_(self.rfp_conv.weight)
            nn.init.zeros_(self.rfp_conv.bias)

    @property
    def conv3x3_cfg(self) -> dict | None:
        """The 3x3 convolution: switchable where ``sac`` says so."""
        return self.sac or super().conv3x3_cfg

    def forward(self, x: Tensor, feedback: Tensor | None = None) -> Tensor:
        """(B, in_channels, H, W) -> (B, channels * 4, H / stride, W / stride).

        A block that takes it adds ``feedback`` of a pyramid, (B, rfp_inplanes, H / stride, W / stride).
        """
        out = maybe_recompute(self.with_cp, self.residual, x)
        if feedback is not None and self.rfp_conv is not None:
            out = out + self.rfp_conv(feedback)
        return self.relu(out)


@MODELS.register_module()
class DetectoRS_ResNet(ResNet):
    """A ResNet with switchable atrous convolutions that looks again with what a pyramid feeds back.

    Args:
        sac: The switchable atrous convolution that replaces the 3x3 ones, ``dict(type='SAC', use_deform=True)``.
        stage_with_sac: One flag a stage.
        rfp_inplanes: Channels of the pyramid that feeds back, None for none.
        output_img: Put out the image before the maps, as ``RFP`` needs it.
        block_args: What a subclass's blocks take beyond these.
        kwargs: See ``ResNet``; ``depth`` is 50, 101 or 152.

    Raises:
        ConfigError: ``stage_with_sac`` has too few flags.
    """

    arch_settings = bottleneck_archs(DetectoRSBottleneck)

    def __init__(
        self,
        sac: dict | None = None,
        stage_with_sac: Sequence[bool] = (False, False, False, False),
        rfp_inplanes: int | None = None,
        output_img: bool = False,
        block_args: dict | None = None,
        **kwargs,
    ) -> None:
        self.sac, self.stage_with_sac = sac, stage_with_sac
        self.rfp_inplanes = rfp_inplanes
        self.output_img = output_img
        super().__init__(block_args=block_args, **kwargs)

    def stage_settings(self, depth: int, num_stages: int, base_channels: int) -> list[dict]:
        settings = super().stage_settings(depth, num_stages, base_channels)
        for i, stage in enumerate(settings):
            has_sac = flag_of_stage('stage_with_sac', self.stage_with_sac, i)
            # the first stage gets no feedback: the pyramid's finest map is made of it
            stage.update(sac=self.sac if has_sac else None, rfp_inplanes=self.rfp_inplanes if i > 0 else None)
        return settings

    def init_weights(self) -> None:
        super().init_weights()
        if not is_pretrained(self.init_cfg):
            self.start_plain()

    def start_plain(self) -> None:
        """Let switchable convolutions start as plain ones, and blocks as if nothing were fed back."""
        for module in self.modules():
            if isinstance(module, SAConv2d):
                module.init_weights()
            if isinstance(module, DetectoRSBottleneck):
                module.zero_feedback()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> maps (B, C_i, H_i, W_i) of ``out_indices``, after the images with ``output_img``."""
        maps = super().forward(x)
        return (x, *maps) if self.output_img else maps

    def rfp_forward(self, x: Tensor, feedback: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        """Look again at images (B, 3, H, W): the maps (B, C_i, H_i, W_i) of ``out_indices``.

        ``feedback`` is what the pyramid feeds back to each stage, (B, rfp_inplanes, H_i, W_i), or None.
        """
        outs = []
        for i, stage in enumerate(self.stages[: self.num_used], self.first_index):
            if i < 0:
                x = stage(x)
                continue
            first, *others = stage
            x = first(x, feedback[i])
            for block in others:
                x = block(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)


@MODELS.register_module()
class DetectoRS_ResNeXt(ResNeXt, DetectoRS_ResNet):
    """``DetectoRS_ResNet`` with the grouped convolutions of ``ResNeXt``, whose constructor hands on to its own."""

    arch_settings = DetectoRS_ResNet.arch_settings
