"""Masks of regions by convolutions: Mask R-CNN, arXiv 1703.06870."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule, build_conv_layer, build_upsample_layer, run_tower
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS

DEFAULT_UPSAMPLE = dict(type='deconv', scale_factor=2)
DEFAULT_LOSS = dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0)
PREDICTING_LAYERS = [dict(name='upsample'), dict(name='conv_logits')]
DEFAULT_INIT = dict(type='Kaiming', mode='fan_out', nonlinearity='relu', bias=0, override=PREDICTING_LAYERS)


class MaskHead(BaseModule):
    """3x3 convolutions on region features and the loss of masks; a subclass adds layers that predict masks.

    Args:
        num_convs: How many 3x3 convolutions.
        roi_feat_size, in_channels: Height and width, and channels, of region features.
        conv_kernel_size, conv_out_channels: Kernel of the convolutions and their channels.
        num_classes: Classes without background.
        class_agnostic: One mask for all classes.
        conv_cfg, norm_cfg: Convolution layer and norm layer.
        loss_mask: Loss of mask logits.
    """

    def __init__(
        self,
        num_convs: int = 4,
        roi_feat_size: int = 14,
        in_channels: int = 256,
        conv_kernel_size: int = 3,
        conv_out_channels: int = 256,
        num_classes: int = 80,
        class_agnostic: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        loss_mask: dict = DEFAULT_LOSS,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.roi_feat_size = roi_feat_size
        self.in_channels, self.conv_out_channels = in_channels, conv_out_channels
        self.num_classes, self.class_agnostic = num_classes, class_agnostic
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        self.loss_mask = MODELS.build(loss_mask)
        self.convs = self.build_convs(num_convs, conv_kernel_size)
        self.hidden_channels = conv_out_channels if num_convs else in_channels
        self.relu = nn.ReLU(inplace=True)

    def build_convs(self, num_convs: int, kernel_size: int) -> nn.ModuleList:
        """The convolutions, called by the constructor."""
        widths = [self.in_channels] + [self.conv_out_channels] * num_convs
        layer = dict(padding=(kernel_size - 1) // 2, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)
        return nn.ModuleList(
            ConvModule(width, self.conv_out_channels, kernel_size, **layer) for width in widths[:num_convs]
        )

    @property
    def num_masks(self) -> int:
        """How many masks are predicted for a region."""
        return 1 if self.class_agnostic else self.num_classes

    def forward(self, x: Tensor) -> Tensor:
        """Region features (n, C, h, w) -> mask logits (n, num_classes or 1, H, W)."""
        return self.logits(self.hidden(x))

    def hidden(self, x: Tensor) -> Tensor:
        """The features after the convolutions."""
        return run_tower(self.convs, x)

    def logits(self, x: Tensor) -> Tensor:
        """Mask logits from the features after the convolutions."""
        raise NotImplementedError

    def loss(self, mask_preds: Tensor, mask_targets: Tensor, labels: Tensor) -> Tensor:
        """Loss of logits (p, C, h, w) against masks (p, h, w) in [0, 1] of classes ``labels`` (p,)."""
        mask_preds = float32_if_half(mask_preds)[0]
        if not len(mask_preds):
            return mask_preds.sum()
        own_masks = torch.zeros_like(labels) if self.class_agnostic else labels
        return self.loss_mask(mask_preds, mask_targets, region_labels=own_masks)


@MODELS.register_module()
class FCNMaskHead(MaskHead):
    """3x3 convolutions, an upsampling and one 1x1 convolution that predicts a mask for each class.

    Args:
        num_convs, roi_feat_size, in_channels, conv_kernel_size, conv_out_channels: See ``MaskHead``.
        num_classes, class_agnostic, conv_cfg, norm_cfg, loss_mask: See ``MaskHead``.
        upsample_cfg: Upsampling layer: ``deconv``, ``nearest``, ``bilinear``, ``carafe``, ... with its
            ``scale_factor``; ``type=None`` for none.
        predictor_cfg: The last convolution.

    Raises:
        ConfigError: ``upsample_cfg.type`` is unknown.
    """

    def __init__(
        self,
        num_convs: int = 4,
        roi_feat_size: int = 14,
        in_channels: int = 256,
        conv_kernel_size: int = 3,
        conv_out_channels: int = 256,
        num_classes: int = 80,
        class_agnostic: bool = False,
        upsample_cfg: dict = DEFAULT_UPSAMPLE,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        predictor_cfg: dict | None = None,
        loss_mask: dict = DEFAULT_LOSS,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            num_convs=num_convs,
            roi_feat_size=roi_feat_size,
            in_channels=in_channels,
            conv_kernel_size=conv_kernel_size,
            conv_out_channels=conv_out_channels,
            num_classes=num_classes,
            class_agnostic=class_agnostic,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            loss_mask=loss_mask,
            init_cfg=init_cfg or DEFAULT_INIT,
        )
        self.upsample, width = self._build_upsample(dict(upsample_cfg), self.hidden_channels)
        self.conv_logits = build_conv_layer(predictor_cfg or None, width, self.num_masks, kernel_size=1)

    def _build_upsample(self, cfg: dict, width: int) -> tuple[nn.Module | None, int]:
        """The upsampling layer and the channels that it puts out."""
        kind = cfg.get('type')
        factor = cfg.get('scale_factor', 2)
        if kind is None:
            return None, width
        if kind == 'deconv':
            out = self.conv_out_channels
            return build_upsample_layer(dict(type='deconv'), width, out, kernel_size=factor, stride=factor), out
        if kind in ('nearest', 'bilinear'):
            corners = {} if kind == 'nearest' else dict(align_corners=False)
            return build_upsample_layer({**corners, **cfg}), width
        if kind == 'carafe':
            return build_upsample_layer(dict(cfg, channels=width)), width
        raise ConfigError(f"upsample_cfg.type must be None, 'deconv', 'nearest', 'bilinear' or 'carafe', got {kind!r}")

    def logits(self, x: Tensor) -> Tensor:
        """Mask logits (n, num_classes or 1, 2h, 2w) from the features after the convolutions."""
        if self.upsample is not None:
            x = self.upsample(x)
            if isinstance(self.upsample, nn.ConvTranspose2d):
                x = self.relu(x)
        return self.conv_logits(x)


def masks_of_class(masks: Tensor, labels: Tensor, class_agnostic: bool) -> Tensor:
    """Each region's own mask (n, ...) of the masks (n, C, ...) of all classes, or the one of all classes."""
    return masks[:, 0] if class_agnostic else masks[torch.arange(masks.shape[0], device=masks.device), labels]
