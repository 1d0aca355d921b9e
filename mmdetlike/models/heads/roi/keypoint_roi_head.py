"""The region head of Mask R-CNN for human pose, arXiv 1703.06870, section 5."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import build_tower, run_tower
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2roi
from mmdetlike.structures.keypoints import heatmap_targets, heatmaps_to_keypoints
from mmdetlike.utils.dist import mean_over_ranks

from .branches import RoIBranch
from .roi_head import StandardRoIHead
from .stage import StageOutputs

DEFAULT_LOSS = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)
CONVOLUTIONS = ['Conv2d', 'ConvTranspose2d']
DEFAULT_INIT = dict(type='Kaiming', layer=CONVOLUTIONS, mode='fan_out', nonlinearity='relu', bias=0)


@MODELS.register_module()
class DeconvKeypointHead(BaseModule):
    """3x3 convolutions, a transposed convolution and a bilinear upsampling that predict one heatmap for each keypoint.

    A heatmap is a distribution over the cells of the region: one of them is where the keypoint lies. Points follow
    COCO's convention of continuous coordinates: the center of the first pixel is (0.5, 0.5).

    Args:
        num_keypoints: Keypoints of an object.
        num_convs: How many 3x3 convolutions.
        in_channels, conv_out_channels: Channels of region features and of the convolutions.
        upsample_ratio: Factor of the bilinear upsampling after the transposed convolution, which doubles the size.
        conv_cfg, norm_cfg: Convolution layer and norm layer of the convolutions.
        loss_keypoint: Loss of heatmaps, over the cells of each as classes.
        loss_normalizer: What the loss of all keypoints is divided by, for each image of the batch: the more are seen,
            the larger it is then. None for the number of keypoints that have a loss.

    Raises:
        ConfigError: ``num_keypoints`` is below 1, or ``loss_normalizer`` isn't positive.
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
        loss_normalizer: float | None = None,
    ) -> None:
        super().__init__(init_cfg or DEFAULT_INIT)
        if num_keypoints < 1:
            raise ConfigError(f'num_keypoints must be at least 1, got {num_keypoints}')
        if loss_normalizer is not None and not loss_normalizer > 0:
            raise ConfigError(f'loss_normalizer must be positive or None, got {loss_normalizer}')
        self.loss_normalizer = loss_normalizer
        self.num_keypoints, self.upsample_ratio = num_keypoints, upsample_ratio
        self.loss_keypoint = MODELS.build(loss_keypoint)
        self.convs = build_tower(in_channels, conv_out_channels, num_convs, conv_cfg, norm_cfg)
        width = conv_out_channels if num_convs else in_channels
        self.deconv = nn.ConvTranspose2d(width, num_keypoints, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Region features (n, C, h, w) -> heatmap logits (n, K, 4h, 4w) with the default ``upsample_ratio``."""
        x = self.deconv(run_tower(self.convs, x))
        return F.interpolate(x, scale_factor=self.upsample_ratio, mode='bilinear', align_corners=False)

    def loss(self, heatmaps: Tensor, keypoints: Tensor, boxes: Tensor, num_images: int = 1) -> Tensor:
        """Cross entropy of logits (p, K, h, w), averaged over the keypoints that are labeled and lie in their region.

        ``keypoints`` (p, K, 3) are x, y in pixels and visibility, 0 where not labeled; ``boxes`` (p, 4) xyxy the
        regions. With ``loss_normalizer`` it is their sum, divided by that number and ``num_images`` of the batch.
        """
        heatmaps = float32_if_half(heatmaps)[0]
        cells, valid = heatmap_targets(keypoints, boxes, heatmaps.shape[-2:])
        if self.loss_normalizer is None:
            divisor = mean_over_ranks(valid.sum(dtype=heatmaps.dtype), heatmaps.device, least=1.0)
        else:
            divisor = self.loss_normalizer * num_images
        # indexing by no row keeps the graph: distributed training needs a gradient of every parameter
        logits = heatmaps.flatten(2)[valid]
        return self.loss_keypoint(logits, cells[valid], avg_factor=divisor)

    def predict(self, heatmaps: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Points (n, K, 2) in pixels and their scores (n, K) in [0, 1], the share of the heatmap at the point.

        They are read from logits (n, K, h, w) of regions, ``boxes`` (n, 4) xyxy in pixels.
        """
        keypoints = heatmaps_to_keypoints(float32_if_half(heatmaps)[0], boxes)
        return keypoints[..., :2], keypoints[..., 3]


class KeypointBranch(RoIBranch):
    """Keypoints by ``keypoint_head`` on features of ``keypoint_roi_extractor``."""

    def loss(
        self,
        stage: int,
        x: Sequence[Tensor],
        sampled: Sequence[SamplingResult],
        outs: StageOutputs,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """Loss of the heatmaps of the positives; see ``RoIBranch``."""
        boxes = [result.pos_priors for result in sampled]
        heatmaps = self.heatmaps(x, bbox2roi(boxes))
        targets = keypoint_targets(sampled, samples, self.regions.keypoint_head.num_keypoints)
        loss = self.regions.keypoint_head.loss(heatmaps, targets, torch.cat(boxes), len(samples))
        return dict(loss_keypoint=loss)

    def add_predictions(
        self, x: Sequence[Tensor], results: Sequence[InstanceData], samples: SampleList, rescale: bool
    ) -> None:
        """Put ``keypoints`` (n, K, 2) and ``keypoint_scores`` (n, K) into the results."""
        boxes = [result.bboxes for result in results]
        heatmaps = self.heatmaps(x, bbox2roi(boxes)).split([len(result) for result in results])
        for result, maps, sample in zip(results, heatmaps, samples):
            points, result.keypoint_scores = self.regions.keypoint_head.predict(maps, result.bboxes)
            result.keypoints = points / points.new_tensor(sample.scale_factor) if rescale else points

    def raw(self, x: Sequence[Tensor], outs: StageOutputs) -> list[Tensor]:
        """Heatmap logits (n, K, h, w)."""
        return [self.heatmaps(x, outs.rois)]

    def heatmaps(self, x: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Heatmap logits (n, K, h, w) of regions (n, 5)."""
        return self.regions.keypoint_head(self.regions.features('keypoint_roi_extractor', 0, x, rois))


def keypoint_targets(sampled: Sequence[SamplingResult], samples: SampleList, num_keypoints: int) -> Tensor:
    """The keypoints (p, K, 3), x, y in pixels and visibility, of the positives' objects.

    Raises:
        ConfigError: A sample has objects without keypoints, or with another number of them.
    """
    targets = []
    for result, sample in zip(sampled, samples):
        keypoints = sample.gt_instances.get('keypoints')
        if keypoints is None:
            raise ConfigError(
                f'a keypoint head needs gt_instances.keypoints; {sample.get("img_path")} has none (load them with '
                'LoadAnnotations(with_keypoints=True))'
            )
        keypoints = torch.as_tensor(keypoints, dtype=torch.float32, device=result.priors.device)
        if len(keypoints) and keypoints.shape[1:] != (num_keypoints, 3):
            raise ConfigError(
                f'keypoint_head predicts num_keypoints={num_keypoints}, but the objects of {sample.get("img_path")} '
                f'have {keypoints.shape[1]} keypoints'
            )
        targets.append(keypoints.reshape(-1, num_keypoints, 3)[result.pos_assigned_gt_inds])
    return torch.cat(targets)


@MODELS.register_module()
class KeypointRoIHead(StandardRoIHead):
    """A region head that predicts keypoints of its objects, and masks if it has a mask head.

    Args:
        keypoint_roi_extractor: Pools features for keypoints.
        keypoint_head: Predicts a heatmap for each keypoint.
    """

    def __init__(self, keypoint_roi_extractor: dict, keypoint_head: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        self.keypoint_roi_extractor = MODELS.build(keypoint_roi_extractor)
        self.keypoint_head = MODELS.build(keypoint_head)

    def build_branches(self) -> dict[str, RoIBranch]:
        """A branch of masks, if there is a mask head, and one of keypoints."""
        return {**super().build_branches(), 'keypoint': KeypointBranch(self)}
