"""Focal Loss for Dense Object Detection, arXiv 1708.02002."""

from torch import Tensor, nn

from mmdetlike.registry import MODELS

from .anchor_head import AnchorHead
from .tower import build_tower, run_tower

DEFAULT_ANCHORS = dict(
    type='AnchorGenerator',
    octave_base_scale=4,
    scales_per_octave=3,
    ratios=[0.5, 1.0, 2.0],
    strides=[8, 16, 32, 64, 128],
)


@MODELS.register_module()
class RetinaHead(AnchorHead):
    """Two towers of convolutions, shared by all levels, for classes and for boxes.

    Args:
        num_classes: Classes without background.
        in_channels: Channels of the pyramid maps.
        stacked_convs: Convolutions in each tower.
        conv_cfg: Convolution layer of the towers.
        norm_cfg: Norm layer of the towers.
        anchor_generator: Makes the anchors.
        init_cfg: Weight initialisation; by default classes start at a probability of 0.01.
        kwargs: See ``AnchorHead``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        anchor_generator: dict = DEFAULT_ANCHORS,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        self.stacked_convs, self.conv_cfg, self.norm_cfg = stacked_convs, conv_cfg, norm_cfg
        prior = dict(type='Normal', name='retina_cls', std=0.01, bias_prob=0.01)
        init_cfg = init_cfg or dict(type='Normal', layer='Conv2d', std=0.01, override=prior)
        super().__init__(num_classes, in_channels, anchor_generator=anchor_generator, init_cfg=init_cfg, **kwargs)

    def _init_layers(self) -> None:
        self.cls_convs, self.reg_convs = self._tower(), self._tower()
        channels = self.feat_channels if self.stacked_convs else self.in_channels
        self.retina_cls = nn.Conv2d(channels, self.num_base_priors * self.cls_out_channels, 3, padding=1)
        self.retina_reg = nn.Conv2d(channels, self.num_base_priors * self.bbox_coder.encode_size, 3, padding=1)

    def _tower(self) -> nn.ModuleList:
        widths = self.in_channels, self.feat_channels, self.stacked_convs
        return build_tower(*widths, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """One level: class and delta maps."""
        return self.retina_cls(run_tower(self.cls_convs, x)), self.retina_reg(run_tower(self.reg_convs, x))
