"""The base of heads that predict at points, one at every cell: FCOS, arXiv 1904.01355, and its followers."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmdetlike.models.layers import build_tower
from mmdetlike.registry import MODELS

from ..common import FOCAL_LOSS, rare_classes_init
from .base import DenseHead

# of each level, the range of an object's largest distance from a point, in pixels: the levels P3 to P7 of FCOS
REGRESS_RANGES = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8))
IOU_LOSS = dict(type='IoULoss', loss_weight=1.0)
DISTANCE_CODER = dict(type='DistancePointBBoxCoder')
LAST_DCN = dict(type='DCNv2')


@MODELS.register_module()
class AnchorFreeHead(DenseHead):
    """Predict classes, and the distances of each point to the sides of its box, from two towers of convolutions.

    Args:
        stacked_convs: Convolutions in each tower.
        strides: Stride of each level in pixels.
        dcn_on_last_conv: End the towers with a deformable convolution.
        conv_bias: Whether the towers' convolutions have a bias; ``'auto'`` gives it where there is no norm.
        conv_cfg, norm_cfg: Convolution and norm layer of the towers.
        loss_bbox: Loss of decoded boxes.
        prior_generator: Makes the points; by default those in the middle of cells.
        num_classes, in_channels, feat_channels, loss_cls, bbox_coder: As of ``DenseHead``.
        train_cfg, test_cfg, init_cfg: As of ``DenseHead``.
    """

    default_init = rare_classes_init('conv_cls')
    assigns_padding = True  # as the authors of FCOS have it

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        dcn_on_last_conv: bool = False,
        conv_bias: bool | str = 'auto',
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        loss_cls: dict = FOCAL_LOSS,
        loss_bbox: dict = IOU_LOSS,
        bbox_coder: dict = DISTANCE_CODER,
        prior_generator: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        self.stacked_convs, self.strides = stacked_convs, strides
        self.dcn_on_last_conv, self.conv_bias = dcn_on_last_conv, conv_bias
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        points = prior_generator or dict(type='MlvlPointGenerator', strides=strides)
        boxes = dict(prior_generator=points, bbox_coder=bbox_coder)
        losses = dict(loss_cls=loss_cls, loss_bbox=loss_bbox)
        settings = dict(train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init_cfg)
        super().__init__(num_classes, in_channels, feat_channels, **boxes, **losses, **settings)

    def build_layers(self) -> None:
        self.cls_convs = self.build_tower()
        self.reg_convs = self.build_tower()
        self.conv_cls = nn.Conv2d(self.feat_channels, self.cls_out_channels, 3, padding=1)
        self.conv_reg = nn.Conv2d(self.feat_channels, 4, 3, padding=1)

    def build_tower(self, **options) -> nn.ModuleList:
        """The convolutions before the predictors of one task; ``options`` are further ones of ``build_tower``."""
        return build_tower(
            self.in_channels,
            self.feat_channels,
            self.stacked_convs,
            self.conv_cfg,
            self.norm_cfg,
            self.conv_bias,
            last_conv_cfg=LAST_DCN if self.dcn_on_last_conv else None,
            **options,
        )

    def predict_maps(self, level: int, cls_feat: Tensor, reg_feat: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes (B, classes, H, W), distances in pixels (B, 4, H, W)."""
        return self.conv_cls(cls_feat), self.conv_reg(reg_feat)
