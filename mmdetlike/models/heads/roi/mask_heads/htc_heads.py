"""The mask head and the semantic branch of Hybrid Task Cascade, arXiv 1901.07518."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule, build_tower, run_tower
from mmdetlike.models.utils import semantic_maps
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .fcn_mask_head import FCNMaskHead

DEFAULT_LOSS = dict(type='CrossEntropyLoss', ignore_index=255, loss_weight=0.2)


@MODELS.register_module()
class HTCMaskHead(FCNMaskHead):
    """An ``FCNMaskHead`` that adds the features of the stage before to its input.

    Args:
        with_conv_res: Take features of a stage before, through a 1x1 convolution.
    """

    def __init__(self, with_conv_res: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        self.conv_res = None
        if with_conv_res:
            width = self.conv_out_channels
            self.conv_res = ConvModule(width, width, 1, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)

    def hidden(self, x: Tensor, previous: Tensor | None = None) -> Tensor:
        """The features after the convolutions, of region features (n, C, h, w) and those of the stage before."""
        if previous is not None and self.conv_res is not None:
            x = x + self.conv_res(previous)
        return super().hidden(x)


@MODELS.register_module()
class FusedSemanticHead(BaseModule):
    """Add all levels up at one of them, then segment the image by convolutions.

    Args:
        num_ins: Levels of the pyramid.
        fusion_level: The level whose size the sum has.
        seg_scale_factor: Size of that level by the size of the image.
        num_convs: 3x3 convolutions after the sum.
        in_channels, conv_out_channels: Channels of the feature maps and of the convolutions.
        num_classes: Classes of the segmentation.
        conv_cfg, norm_cfg: Convolution layer and norm layer.
        loss_seg: Loss of the logits.
        ignore_label, loss_weight: Of the loss, in place of ``loss_seg.ignore_index`` and ``loss_seg.loss_weight``.
    """

    predicts_dataset_classes = False  # its classes are those of pixels, stuff among them

    def __init__(
        self,
        num_ins: int,
        fusion_level: int,
        seg_scale_factor: float = 1 / 8,
        num_convs: int = 4,
        in_channels: int = 256,
        conv_out_channels: int = 256,
        num_classes: int = 183,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        ignore_label: int | None = None,
        loss_weight: float | None = None,
        loss_seg: dict = DEFAULT_LOSS,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', override=dict(name='conv_logits')))
        self.fusion_level, self.seg_scale_factor = fusion_level, seg_scale_factor
        layer = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        self.lateral_convs = nn.ModuleList(
            ConvModule(in_channels, in_channels, 1, inplace=False, **layer) for _ in range(num_ins)
        )
        self.convs = self.build_convs(num_convs, in_channels, conv_out_channels, layer)
        width = conv_out_channels if num_convs else in_channels
        self.conv_embedding = ConvModule(width, conv_out_channels, 1, **layer)
        self.conv_logits = nn.Conv2d(conv_out_channels, num_classes, 1)
        overrides = {'ignore_index': ignore_label, 'loss_weight': loss_weight}
        self.criterion = MODELS.build({**loss_seg, **{k: v for k, v in overrides.items() if v is not None}})

    def build_convs(self, num_convs: int, in_channels: int, out_channels: int, layer: dict) -> nn.ModuleList:
        """The convolutions after the sum, called by the constructor; ``layer`` has ``conv_cfg`` and ``norm_cfg``."""
        return build_tower(in_channels, out_channels, num_convs, **layer)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Pyramid maps -> class logits (B, num_classes, h, w) and semantic features (B, conv_out_channels, h, w)."""
        size = feats[self.fusion_level].shape[-2:]
        x = self.lateral_convs[self.fusion_level](feats[self.fusion_level])
        for i, (feat, lateral) in enumerate(zip(feats, self.lateral_convs)):
            if i != self.fusion_level:
                x = x + lateral(F.interpolate(feat, size=size, mode='bilinear', align_corners=True))
        x = run_tower(self.convs, x)
        return self.conv_logits(x), self.conv_embedding(x)

    def loss(self, logits: Tensor, samples: SampleList) -> Tensor:
        """Loss of logits (B, num_classes, h, w) against each sample's ``gt_sem_seg``.

        Raises:
            ValueError: A sample has none.
        """
        labels = semantic_maps(samples)[:, None].float()
        labels = F.interpolate(labels, scale_factor=self.seg_scale_factor, mode='nearest')[:, 0].long()
        return self.criterion(float32_if_half(logits)[0], labels)
