"""A stage of ResNet applied to regions, as in the C4 variant of Faster R-CNN: arXiv 1512.03385."""

from mmengine.model import BaseModule
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones.res_layer import build_stage
from mmdetlike.models.backbones.resnet import ResNet
from mmdetlike.models.backbones.staged import batch_norms_to_eval, weight_init
from mmdetlike.registry import MODELS


@MODELS.register_module()
class ResLayer(BaseModule):
    """One ResNet stage on region features.

    Args:
        depth, stage: Depth of the ResNet whose stage it is, and which stage, counted from 0.
        stride, dilation: Stride of its first block, and dilation of its 3x3 convolutions.
        dcn: Deformable convolution in place of the 3x3 ones.
        style, norm_cfg, norm_eval, with_cp, pretrained: As of ``ResNet``.

    Raises:
        ConfigError: ``depth`` is unknown.
    """

    def __init__(
        self,
        depth: int,
        stage: int = 3,
        stride: int = 2,
        dilation: int = 1,
        style: str = 'pytorch',
        norm_cfg: dict | None = None,
        norm_eval: bool = True,
        with_cp: bool = False,
        dcn: dict | None = None,
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(weight_init(pretrained, init_cfg))
        self.norm_eval = norm_eval
        if depth not in ResNet.arch_settings:
            raise ConfigError(f'depth must be one of {sorted(ResNet.arch_settings)}, got {depth}')
        block, stage_blocks = ResNet.arch_settings[depth]
        layer = build_stage(
            block,
            in_channels=64 * 2 ** (stage - 1) * block.expansion,
            channels=64 * 2**stage,
            num_blocks=stage_blocks[stage],
            stride=stride,
            dilation=dilation,
            norm_cfg=norm_cfg,
            style=style,
            with_cp=with_cp,
            dcn=dcn,
        )
        self.layer_name = f'layer{stage + 1}'
        self.add_module(self.layer_name, layer)

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, h, w) -> (n, 2 * C, h / stride, w / stride)."""
        return getattr(self, self.layer_name)(x)

    def train(self, mode: bool = True) -> 'ResLayer':
        """Set training mode; with ``norm_eval`` batch norms stay as in evaluation."""
        super().train(mode)
        if self.norm_eval:
            batch_norms_to_eval(self)
        return self
