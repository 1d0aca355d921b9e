"""Keypoints of regions as heatmaps: Mask R-CNN, arXiv 1703.06870, section 5."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import geometry
from mmdetlike.utils.dist import mean_over_ranks

DEFAULT_LOSS = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)


@MODELS.register_module()
class DeconvKeypointHead(BaseModule):
    """3x3 convolutions, a transposed convolution and a bilinear upsampling that predict one heatmap for each keypoint.

    A heatmap is a distribution over the cells of the region: one of them is where the keypoint lies. Points follow
    COCO's convention of continuous coordinates: the center of the first pixel is (0.5, 0.5).

    Args:
        num_keypoints: Keypoints of an object.
        num_convs: How many 3x3 convolutions.
        in_channels: Channels of region features.
        conv_out_channels: Channels of the convolutions.
        upsample_ratio: Factor of the bilinear upsampling after the transposed convolution, which doubles the size.
        conv_cfg: Convolution layer.
        norm_cfg: Norm layer of the convolutions.
        loss_keypoint: Loss of heatmaps, over the cells of each as classes.
        init_cfg: Weight initialization.

    Raises:
        ConfigError: ``num_keypoints`` is below 1.
    """

    def __init__(
        self,
        num_keypoints: int = 17,
        num_convs: int = 8,
        in_channels: int = 256,
        conv_out_channels: int = 512,
        upsample_ratio: int = 2,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        loss_keypoint: dict = DEFAULT_LOSS,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or self._default_init())
        if num_keypoints < 1:
            raise ConfigError(f'num_keypoints must be at least 1, got {num_keypoints}')
        self.num_keypoints, self.upsample_ratio = num_keypoints, upsample_ratio
        self.loss_keypoint = MODELS.build(loss_keypoint)
        widths = [in_channels] + [conv_out_channels] * num_convs
        self.convs = nn.ModuleList(
            ConvModule(width, conv_out_channels, 3, padding=1, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
            for width in widths[:num_convs]
        )
        self.deconv = nn.ConvTranspose2d(widths[-1], num_keypoints, 4, stride=2, padding=1)

    @staticmethod
    def _default_init() -> list[dict]:
        return [
            dict(type='Kaiming', layer='Conv2d', mode='fan_out', nonlinearity='relu', bias=0),
            dict(type='Kaiming', layer='ConvTranspose2d', mode='fan_out', nonlinearity='relu', bias=0),
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Region features (n, C, h, w) -> heatmap logits (n, K, 4h, 4w) with the default ``upsample_ratio``."""
        for conv in self.convs:
            x = conv(x)
        x = self.deconv(x)
        return F.interpolate(x, scale_factor=self.upsample_ratio, mode='bilinear', align_corners=False)

    def loss(self, heatmaps: Tensor, keypoints: Tensor, boxes: Tensor) -> Tensor:
        """Cross entropy of heatmaps, averaged over the keypoints that are labeled and lie in their region.

        Args:
            heatmaps: (p, K, h, w) logits.
            keypoints: (p, K, 3) x, y in pixels and visibility, 0 where not labeled.
            boxes: (p, 4) xyxy, the regions.
        """
        heatmaps = float32_if_half(heatmaps)[0]
        cells, valid = heatmap_targets(keypoints, boxes, heatmaps.shape[-2:])
        num_valid = mean_over_ranks(float(valid.sum()), heatmaps.device)
        # indexing by no row keeps the graph: distributed training needs a gradient of every parameter
        logits = heatmaps.flatten(2)[valid]
        return self.loss_keypoint(logits, cells[valid], avg_factor=max(num_valid, 1.0))

    def predict(self, heatmaps: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Keypoints of regions.

        Args:
            heatmaps: (n, K, h, w) logits.
            boxes: (n, 4) xyxy in pixels, the regions.

        Returns:
            Points (n, K, 2) in pixels, and scores (n, K) in [0, 1]: the share of the heatmap at the point.
        """
        heatmaps = float32_if_half(heatmaps)[0]
        points = heatmaps.new_zeros(*heatmaps.shape[:2], 2)
        scores = heatmaps.new_zeros(heatmaps.shape[:2])
        for i, (maps, size) in enumerate(zip(heatmaps, pixel_sizes(boxes))):
            points[i], scores[i] = peaks(maps, size)
        extent = geometry.sizes(boxes).clamp(min=1)
        return boxes[:, None, :2] + points * extent[:, None], scores


def heatmap_targets(keypoints: Tensor, boxes: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Cells in which keypoints lie, and which keypoints are valid.

    Args:
        keypoints: (p, K, 3) x, y in pixels and visibility.
        boxes: (p, 4) xyxy, the regions.
        size: Height and width of the heatmaps.

    Returns:
        Indices (p, K) into flattened heatmaps, and (p, K) bool: the keypoint is labeled and lies in its region.
    """
    height, width = size
    cells_per_side = keypoints.new_tensor([width, height])
    corner = boxes[:, None, :2]
    extent = geometry.sizes(boxes)[:, None]
    cells = ((keypoints[..., :2] - corner) * (cells_per_side / extent)).floor()
    # a point on the right or bottom border belongs to the last cell
    cells = torch.where(keypoints[..., :2] == boxes[:, None, 2:], cells_per_side - 1, cells)
    valid = ((cells >= 0) & (cells < cells_per_side)).all(-1) & (keypoints[..., 2] > 0)
    cells = torch.where(valid[..., None], cells, 0).long()
    return cells[..., 1] * width + cells[..., 0], valid


def pixel_sizes(boxes: Tensor) -> list[list[int]]:
    """Height and width of boxes (n, 4) in whole pixels, rounded up, at least 1."""
    return geometry.sizes(boxes).clamp(min=1).ceil().long().flip(-1).tolist()


def peaks(heatmaps: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The best pixel of each heatmap of one region.

    Args:
        heatmaps: (K, h, w) logits.
        size: Height and width of the region in pixels.

    Returns:
        Points (K, 2), x and y in [0, 1] of the region, and scores (K,).
    """
    # resized to the region's own pixels, so that peaks are as fine as the image
    full = F.interpolate(heatmaps[None], size=size, mode='bicubic', align_corners=False)[0].flatten(1)
    best, inds = full.max(1)
    # the softmax is taken over the cells of the heatmap, whose number doesn't depend on the region
    scores = (best - heatmaps.flatten(1).logsumexp(1)).exp().clamp(max=1)
    rows = torch.div(inds, size[1], rounding_mode='floor')
    columns = inds - rows * size[1]  # a remainder has no form in ONNX where the size is known only when it runs
    x = (columns + 0.5) / size[1]
    y = (rows + 0.5) / size[0]
    return torch.stack([x, y], dim=-1), scores
