"""Heads that predict at points: FCOS, arXiv 1904.01355, and its followers."""

from collections.abc import Sequence

from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmdetlike.registry import MODELS, TASK_UTILS

from .dense_head import DenseHead, FlatPredictions
from .tower import build_tower, run_tower

DEFAULT_LOSS_CLS = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)
DEFAULT_LOSS_BBOX = dict(type='IoULoss', loss_weight=1.0)
LAST_DCN = dict(type='DCNv2')
DEFAULT_INIT = dict(
    type='Normal',
    layer='Conv2d',
    std=0.01,
    override=dict(type='Normal', name='conv_cls', std=0.01, bias_prob=0.01),
)


@MODELS.register_module()
class AnchorFreeHead(DenseHead):
    """Two towers of convolutions, for classes and for the distances of each point to the sides of its box.

    Priors are points with the strides of their level: (N, 4) x, y, stride, stride.

    Args:
        num_classes: Classes without background.
        in_channels: Channels of the pyramid maps.
        feat_channels: Channels of the towers.
        stacked_convs: Convolutions in each tower.
        strides: Stride of each level in pixels.
        dcn_on_last_conv: End the towers with a deformable convolution.
        conv_bias: Whether the towers' convolutions have a bias; ``'auto'`` gives it where there is no norm.
        loss_cls: Classification loss; sigmoid or softmax as its ``use_sigmoid`` says.
        loss_bbox: Regression loss of decoded boxes.
        bbox_coder: Encodes boxes against points.
        conv_cfg: Convolution layer of the towers.
        norm_cfg: Norm layer of the towers.
        train_cfg: Settings of training.
        test_cfg: ``nms_pre``, ``score_thr``, ``min_bbox_size``, ``nms``, ``max_per_img``.
        init_cfg: Weight initialisation.
    """

    prior_options = dict(with_stride=True)

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        dcn_on_last_conv: bool = False,
        conv_bias: bool | str = 'auto',
        loss_cls: dict = DEFAULT_LOSS_CLS,
        loss_bbox: dict = DEFAULT_LOSS_BBOX,
        bbox_coder: dict | None = None,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or DEFAULT_INIT)
        if num_classes < 1:
            raise ValueError(f'num_classes must be at least 1, got {num_classes}')
        self.num_classes, self.in_channels, self.feat_channels = num_classes, in_channels, feat_channels
        self.stacked_convs, self.strides, self.dcn_on_last_conv = stacked_convs, strides, dcn_on_last_conv
        self.conv_bias, self.conv_cfg, self.norm_cfg = conv_bias, conv_cfg, norm_cfg
        self.loss_cls, self.loss_bbox = MODELS.build(loss_cls), MODELS.build(loss_bbox)
        self.use_sigmoid_cls = getattr(self.loss_cls, 'use_sigmoid', False)
        self.cls_out_channels = num_classes + (not self.use_sigmoid_cls)
        self.prior_generator = TASK_UTILS.build(dict(type='MlvlPointGenerator', strides=strides))
        self.bbox_coder = TASK_UTILS.build(bbox_coder or dict(type='DistancePointBBoxCoder'))
        self.train_cfg, self.test_cfg = ConfigDict(train_cfg or {}), ConfigDict(test_cfg or {})
        if 'assigner' in self.train_cfg:
            self.assigner = TASK_UTILS.build(self.train_cfg.assigner)
        self.sampler = TASK_UTILS.build(self.train_cfg.get('sampler') or dict(type='PseudoSampler'))
        self._init_layers()

    def _init_layers(self) -> None:
        self.cls_convs, self.reg_convs = self._tower(), self._tower()
        self.conv_cls = nn.Conv2d(self.feat_channels, self.cls_out_channels, 3, padding=1)
        self.conv_reg = nn.Conv2d(self.feat_channels, 4, 3, padding=1)

    def _tower(self) -> nn.ModuleList:
        return build_tower(
            self.in_channels,
            self.feat_channels,
            self.stacked_convs,
            self.conv_cfg,
            self.norm_cfg,
            self.conv_bias,
            LAST_DCN if self.dcn_on_last_conv else None,
        )

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes (B, classes, H, W), distances in pixels (B, 4, H, W)."""
        return self.conv_cls(run_tower(self.cls_convs, x)), self.conv_reg(run_tower(self.reg_convs, x))

    def decode(
        self,
        preds: FlatPredictions,
        priors: Tensor,
        index: int,
        inds: Tensor,
        img_shape: tuple[int, int] | None,
    ) -> Tensor:
        """Boxes of the chosen points, clipped to the image."""
        return self.bbox_coder.decode(priors[inds, :2], preds.bbox_pred[index][inds], max_shape=img_shape)
