"""Heads that predict at points: FCOS, arXiv 1904.01355, and its followers."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmdetlike.models.layers.tower import build_tower, run_tower
from mmdetlike.registry import MODELS

from ..common import rare_classes_init
from .base import DenseHead

DEFAULT_LOSS_CLS = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)
DEFAULT_LOSS_BBOX = dict(type='IoULoss', loss_weight=1.0)
DEFAULT_CODER = dict(type='DistancePointBBoxCoder')
LAST_DCN = dict(type='DCNv2')


@MODELS.register_module()
class AnchorFreeHead(DenseHead):
    """Two towers of convolutions, for classes and for the distances of each point to the sides of its box.

    Priors are points with the strides of their level: (N, 4) x, y, stride, stride.

    Args:
        stacked_convs: Convolutions in each tower.
        strides: Stride of each level in pixels.
        dcn_on_last_conv: End the towers with a deformable convolution.
        conv_bias: Whether the towers' convolutions have a bias; ``'auto'`` gives it where there is no norm.
        conv_cfg: Convolution layer of the towers.
        norm_cfg: Norm layer of the towers.
        prior_generator: Makes the points; by default those in the middle of cells.
        kwargs: See ``DenseHead``; ``loss_bbox`` compares decoded boxes.
    """

    prior_options = dict(with_stride=True)
    default_init = rare_classes_init('conv_cls')

    def __init__(
        self,
        *args,
        stacked_convs: int = 4,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        dcn_on_last_conv: bool = False,
        conv_bias: bool | str = 'auto',
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        loss_cls: dict = DEFAULT_LOSS_CLS,
        loss_bbox: dict = DEFAULT_LOSS_BBOX,
        bbox_coder: dict = DEFAULT_CODER,
        prior_generator: dict | None = None,
        **kwargs,
    ) -> None:
        self.stacked_convs, self.strides, self.dcn_on_last_conv = stacked_convs, strides, dcn_on_last_conv
        self.conv_bias, self.conv_cfg, self.norm_cfg = conv_bias, conv_cfg, norm_cfg
        points = prior_generator or dict(type='MlvlPointGenerator', strides=strides)
        parts = dict(loss_cls=loss_cls, loss_bbox=loss_bbox, bbox_coder=bbox_coder, prior_generator=points)
        super().__init__(*args, **parts, **kwargs)

    def _init_layers(self) -> None:
        self.cls_convs, self.reg_convs = self._tower(), self._tower()
        self.conv_cls = nn.Conv2d(self.feat_channels, self.cls_out_channels, 3, padding=1)
        self.conv_reg = nn.Conv2d(self.feat_channels, 4, 3, padding=1)

    def _tower(self, **options) -> nn.ModuleList:
        widths = self.in_channels, self.feat_channels, self.stacked_convs
        last = LAST_DCN if self.dcn_on_last_conv else None
        return build_tower(*widths, self.conv_cfg, self.norm_cfg, self.conv_bias, last, **options)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes (B, classes, H, W), distances in pixels (B, 4, H, W)."""
        return self.conv_cls(run_tower(self.cls_convs, x)), self.conv_reg(run_tower(self.reg_convs, x))
