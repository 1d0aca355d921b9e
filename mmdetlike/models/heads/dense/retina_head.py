"""Focal Loss for Dense Object Detection, arXiv 1708.02002."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmdetlike.models.layers import build_tower, run_tower, share_convolutions
from mmdetlike.registry import MODELS

from ..common import BINARY_CROSS_ENTROPY, rare_classes_init
from .anchor_head import DELTA_CODER, SMOOTH_L1_LOSS, AnchorHead

RETINA_ANCHORS = dict(
    type='AnchorGenerator',
    octave_base_scale=4,
    scales_per_octave=3,
    ratios=[0.5, 1.0, 2.0],
    strides=[8, 16, 32, 64, 128],
)


@MODELS.register_module()
class RetinaHead(AnchorHead):
    """Predict classes and deltas of anchors from two towers of convolutions, which all levels share.

    Args:
        stacked_convs: Convolutions in each tower.
        conv_cfg, norm_cfg: Convolution and norm layer of the towers.
        num_classes, in_channels, feat_channels, anchor_generator, bbox_coder, reg_decoded_bbox: As of ``AnchorHead``.
        loss_cls, loss_bbox, train_cfg, test_cfg, init_cfg: As of ``AnchorHead``.
    """

    default_init = rare_classes_init('retina_cls')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        anchor_generator: dict = RETINA_ANCHORS,
        feat_channels: int = 256,
        bbox_coder: dict = DELTA_CODER,
        reg_decoded_bbox: bool = False,
        loss_cls: dict = BINARY_CROSS_ENTROPY,
        loss_bbox: dict = SMOOTH_L1_LOSS,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        self.stacked_convs = stacked_convs
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        boxes = dict(anchor_generator=anchor_generator, bbox_coder=bbox_coder, reg_decoded_bbox=reg_decoded_bbox)
        losses = dict(loss_cls=loss_cls, loss_bbox=loss_bbox)
        settings = dict(train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init_cfg)
        super().__init__(num_classes, in_channels, feat_channels, **boxes, **losses, **settings)

    def build_layers(self) -> None:
        self.cls_convs = self.build_tower()
        self.reg_convs = self.build_tower()
        self.retina_cls = self.build_predictor(self.cls_out_channels)
        self.retina_reg = self.build_predictor(self.bbox_coder.encode_size)

    def build_tower(self) -> nn.ModuleList:
        """The convolutions before one of the two predictors."""
        return build_tower(self.in_channels, self.feat_channels, self.stacked_convs, self.conv_cfg, self.norm_cfg)

    def at_level(self, tower: nn.ModuleList, level: int) -> nn.ModuleList:
        """The convolutions of one level, where levels have some of their own."""
        return tower

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        cls_feat = run_tower(self.at_level(self.cls_convs, level), x)
        reg_feat = run_tower(self.at_level(self.reg_convs, level), x)
        return self.retina_cls(cls_feat), self.retina_reg(reg_feat)


@MODELS.register_module()
class RetinaSepBNHead(RetinaHead):
    """A ``RetinaHead`` whose towers share convolutions between levels, but not norm layers: NAS-FPN, arXiv 1904.07392.

    Args:
        num_ins: Number of feature maps.
        num_classes, in_channels, kwargs: As of ``RetinaHead``.
    """

    def __init__(self, num_classes: int, num_ins: int, in_channels: int, **kwargs) -> None:
        self.num_ins = num_ins
        super().__init__(num_classes, in_channels, **kwargs)

    def build_tower(self) -> nn.ModuleList:
        """One tower a level."""
        build = super().build_tower
        # statistics differ from level to level, so each normalizes by its own
        return share_convolutions([build() for _ in range(self.num_ins)])

    def at_level(self, tower: nn.ModuleList, level: int) -> nn.ModuleList:
        return tower[level]

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """As ``DenseHead.forward``; raises a ``ValueError`` where the number of maps differs from ``num_ins``."""
        if len(x) != self.num_ins:
            raise ValueError(f'the head was built for num_ins={self.num_ins} maps, got {len(x)}')
        return super().forward(x)
