"""YOLACT: Real-time Instance Segmentation, arXiv 1904.02689."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import build_tower, run_tower
from mmdetlike.models.utils import annotated_masks, best_first, crop_or_pad
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList
from mmdetlike.structures.bbox import bbox_overlaps, geometry, get_box_tensor

from ..head import Head
from .anchor_head import AnchorHead
from .masks import draw_masks
from .predictions import Candidates, DenseTargets, FlatPredictions, LossTerms
from .retina_head import RETINA_ANCHORS
from .ssd_head import mined_losses

YOLACT_ANCHORS = dict(RETINA_ANCHORS, octave_base_scale=3, scales_per_octave=1)
DEFAULT_LOSS_CLS = dict(type='CrossEntropyLoss', use_sigmoid=False, reduction='none', loss_weight=1.0)
DEFAULT_LOSS_BBOX = dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.5)
DEFAULT_LOSS_SEGM = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)
CROP_PADDING = 1  # pixels of a mask that may lie outside of its box


@MODELS.register_module()
class YOLACTHead(AnchorHead):
    """Classes, deltas, and for each anchor the coefficients by which its mask is mixed from prototypes.

    Args:
        num_head_convs: Convolutions before those that predict.
        num_protos: Number of prototypes.
        use_ohem: Learn from the hardest negatives alone, ``train_cfg.neg_pos_ratio`` for each positive of an image.
        conv_cfg, norm_cfg: Convolution and norm layer of the hidden layers.
        kwargs: See ``AnchorHead``. ``test_cfg`` has ``iou_thr``, overlap from which the better of two boxes of a class
            suppresses the other, and ``top_k``, boxes of a class that are looked at.
    """

    map_names = ('cls_score', 'bbox_pred', 'coefficients')
    default_init = dict(type='Xavier', distribution='uniform', bias=0, layer='Conv2d')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        anchor_generator: dict = YOLACT_ANCHORS,
        loss_cls: dict = DEFAULT_LOSS_CLS,
        loss_bbox: dict = DEFAULT_LOSS_BBOX,
        num_head_convs: int = 1,
        num_protos: int = 32,
        use_ohem: bool = True,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        self.num_head_convs, self.num_protos, self.use_ohem = num_head_convs, num_protos, use_ohem
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        parts = dict(anchor_generator=anchor_generator, loss_cls=loss_cls, loss_bbox=loss_bbox)
        super().__init__(num_classes, in_channels, **parts, **kwargs)

    def build_layers(self) -> None:
        width = self.feat_channels if self.num_head_convs else self.in_channels
        self.head_convs = build_tower(
            self.in_channels, self.feat_channels, self.num_head_convs, self.conv_cfg, self.norm_cfg
        )
        self.conv_cls = nn.Conv2d(width, self.num_base_priors * self.cls_out_channels, 3, padding=1)
        self.conv_reg = nn.Conv2d(width, self.num_base_priors * self.bbox_coder.encode_size, 3, padding=1)
        self.conv_coeff = nn.Conv2d(width, self.num_base_priors * self.num_protos, 3, padding=1)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes, deltas and coefficients, which lie in [-1, 1]."""
        x = run_tower(self.head_convs, x)
        return self.conv_cls(x), self.conv_reg(x), self.conv_coeff(x).tanh()

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> LossTerms:
        """``cls`` and ``bbox``, one value an image; with ``use_ohem=False`` one a level, ``cls`` over all anchors."""
        if self.use_ohem:
            return mined_losses(self, preds, targets, all_without_positives=True)
        return super().target_losses(preds, targets, samples)

    def instance_fields(self, preds: FlatPredictions, index: int, prior_inds: Tensor) -> dict[str, Tensor]:
        """``coefficients`` (n, num_protos)."""
        return dict(coefficients=preds.coefficients[index, prior_inds])

    def select(self, scores: Tensor, num_priors: list[int], cfg: ConfigDict) -> Candidates:
        """All (prior, class) pairs above ``score_thr``, of the ``nms_pre`` priors of each level that score best."""
        best = [best_first(level.amax(1), cfg.get('nms_pre', -1)) for level in scores.split(num_priors)]
        starts = [sum(num_priors[:i]) for i in range(len(num_priors))]
        inds = torch.cat([of_level + start for of_level, start in zip(best, starts)])
        rows, labels = (scores[inds] > cfg.get('score_thr', 0)).nonzero(as_tuple=True)
        return Candidates(scores[inds[rows], labels], labels, inds[rows])

    def suppress(self, candidates: Candidates, preds: FlatPredictions, cfg: ConfigDict) -> Candidates:
        """Suppress duplicates by ``fast_nms`` and keep the ``max_per_img`` best."""
        kept = candidates[fast_nms(candidates, cfg.iou_thr, cfg.get('top_k', -1))]
        return kept[best_first(kept.scores, cfg.get('max_per_img', -1))]


def fast_nms(candidates: Candidates, iou_thr: float, top_k: int) -> Tensor:
    """Indices (k,) of the boxes that no better box of their class overlaps by more than ``iou_thr``.

    Unlike in ordinary suppression, a box that is itself suppressed suppresses others too: all pairs are then looked at
    at once. Of each class, boxes beyond the best ``top_k`` are dropped, none if that is -1.
    """
    kept = [candidates.labels.new_zeros(0)]
    for label in candidates.labels.unique():
        inds = (candidates.labels == label).nonzero().squeeze(1)
        inds = inds[best_first(candidates.scores[inds], top_k)]
        boxes = candidates.boxes[inds]
        overlaps_with_better = bbox_overlaps(boxes, boxes).triu(diagonal=1).amax(0)
        kept.append(inds[overlaps_with_better <= iou_thr])
    return torch.cat(kept)


@MODELS.register_module()
class YOLACTProtonet(Head):
    """Prototypes of masks, which the coefficients of an object mix; what lies outside of its box is cut off.

    Args:
        num_classes: Classes without background.
        in_channels: Channels of the finest feature map.
        proto_channels: Channels of each layer; None where the layer only enlarges.
        proto_kernel_sizes: Kernel of each layer; a negative one enlarges by its value, by a transposed convolution
            where there are channels, else by interpolation.
        include_last_relu: Apply ReLU to the prototypes, as after all other layers.
        num_protos: Number of prototypes: the last of ``proto_channels``.
        loss_mask_weight: Weight of the loss of masks.
        max_masks_to_train: Train on so many positives of an image, drawn at random.
        with_seg_branch: Learn the classes of pixels beside, which helps the features.
        loss_segm: Loss of these classes.
        kwargs: See ``Head``; ``test_cfg`` has ``mask_thr``, least probability inside a mask.

    Raises:
        ConfigError: ``proto_channels`` and ``proto_kernel_sizes`` are not as many, or end with other than
            ``num_protos``.
    """

    default_init = dict(type='Xavier', distribution='uniform', override=dict(name='protonet'))

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 256,
        proto_channels: Sequence[int | None] = (256, 256, 256, None, 256, 32),
        proto_kernel_sizes: Sequence[int] = (3, 3, 3, -2, 3, 1),
        include_last_relu: bool = True,
        num_protos: int = 32,
        loss_mask_weight: float = 1.0,
        max_masks_to_train: int = 100,
        with_seg_branch: bool = True,
        loss_segm: dict = DEFAULT_LOSS_SEGM,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, **kwargs)
        if len(proto_channels) != len(proto_kernel_sizes) or proto_channels[-1] != num_protos:
            raise ConfigError(
                f'YOLACTProtonet needs one of proto_kernel_sizes for each of proto_channels, of which the last is '
                f'num_protos={num_protos}; got {proto_channels=} and {proto_kernel_sizes=}'
            )
        self.num_protos, self.loss_mask_weight = num_protos, loss_mask_weight
        self.max_masks_to_train = max_masks_to_train
        self.segm_branch = None
        if with_seg_branch:
            # named as in published checkpoints
            self.segm_branch = nn.Sequential(OrderedDict(segm_conv=nn.Conv2d(in_channels, num_classes, 1)))
            self.loss_segm = MODELS.build(loss_segm)
        self.protonet = build_protonet(in_channels, proto_channels, proto_kernel_sizes, include_last_relu)

    def mask_features(self, x: Sequence[Tensor]) -> Tensor:
        """The prototypes (B, num_protos, h, w), of the finest of the feature maps ``x``."""
        return float32_if_half(self.protonet(x[0]))[0]

    def forward(
        self, x: Sequence[Tensor], coefficients: Sequence[Tensor], boxes: Sequence[Tensor], shape: Sequence[int]
    ) -> list[Tensor]:
        """Masks of each image's instances: probabilities (n, h, w), 0 outside of the boxes.

        Each image has ``coefficients`` (n, num_protos) and ``boxes`` (n, 4), xyxy in pixels; ``shape`` is the height
        and width in pixels of the padded images.
        """
        masks = []
        for prototypes, of_image, cut in zip(self.mask_features(x), coefficients, boxes):
            if of_image.shape[1] != self.num_protos:
                raise ConfigError(
                    f'num_protos of mask_head is {self.num_protos}, but that of bbox_head is {of_image.shape[1]}'
                )
            probabilities = torch.einsum('np,phw->nhw', of_image, prototypes).sigmoid()
            masks.append(cropped(probabilities, cut, shape))
        return masks

    def loss(self, x: Sequence[Tensor], batch_data_samples: SampleList, positives: Sequence[InstanceData]) -> LossTerms:
        """``loss_mask`` of ``positives`` (see ``DenseHead.loss_with_positives``), ``loss_segm``: one value an image."""
        positives = [self.sample(of_image) for of_image in positives]
        shape = batch_data_samples[0].batch_input_shape
        boxes = []
        for of_image, sample in zip(positives, batch_data_samples):
            boxes.append(get_box_tensor(sample.gt_instances.bboxes)[of_image.gt_inds])
        masks = self(x, [of_image.coefficients for of_image in positives], boxes, shape)
        count = max(sum(map(len, positives)), 1)
        losses = dict(loss_mask=[])
        for predicted, of_image, cut, sample in zip(masks, positives, boxes, batch_data_samples):
            targets = masks_of_size(sample, predicted.shape[-2:]).to(predicted)[of_image.gt_inds]
            losses['loss_mask'].append(self.mask_loss(predicted, targets, cut, shape) / count)
        if self.segm_branch is not None:
            losses['loss_segm'] = self.segmentation_losses(x[0], batch_data_samples)
        return losses

    def sample(self, positives: InstanceData) -> InstanceData:
        """The positives of an image that train their masks."""
        if len(positives) <= self.max_masks_to_train:
            return positives
        return positives[torch.randperm(len(positives), device=positives.gt_inds.device)[: self.max_masks_to_train]]

    def mask_loss(self, masks: Tensor, targets: Tensor, boxes: Tensor, shape: Sequence[int]) -> Tensor:
        """Sum of the losses of masks (n, h, w), each per area of its box (4,) in an image of ``shape``."""
        # probabilities that are cut off are 0, which a loss of logits could not have; autocast refuses the other one
        with torch.autocast(masks.device.type, enabled=False):
            losses = F.binary_cross_entropy(masks, targets, reduction='none').mean((1, 2))
        shares = geometry.sizes(boxes).clamp(min=1) / boxes.new_tensor([shape[1], shape[0]])
        return self.loss_mask_weight * (losses / shares.prod(-1)).sum()

    def segmentation_losses(self, x: Tensor, samples: SampleList) -> list[Tensor]:
        """Loss of the classes of the pixels of ``x`` (B, C, h, w), for each image."""
        logits = float32_if_half(self.segm_branch(x))[0]
        count = len(logits) * logits[0, 0].numel()
        losses = []
        for of_image, sample in zip(logits, samples):
            masks = masks_of_size(sample, of_image.shape[-2:]).to(of_image)
            # class c at channel c - 1, the first at the last: so the original's weights are trained, whose classes once
            # began with 1; the branch is for training alone, so no prediction shows it
            channels = (sample.gt_instances.labels - 1) % self.num_classes
            index = channels[:, None, None].expand(masks.shape)
            targets = torch.zeros_like(of_image).scatter_reduce_(0, index, masks, 'amax')
            losses.append(self.loss_segm(of_image, targets, avg_factor=count))
        return losses

    def predict(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, rescale: bool, results_list: Sequence[InstanceData]
    ) -> list[InstanceData]:
        """Add ``masks`` (n, h, w) bool to each image's boxes ``results_list``, from ``YOLACTHead.predict``."""
        shape = tuple(batch_data_samples[0].batch_input_shape)
        boxes = []
        for found, sample in zip(results_list, batch_data_samples):
            boxes.append(geometry.scale(found.bboxes, sample.scale_factor) if rescale else found.bboxes)
        masks = self(x, [found.coefficients for found in results_list], boxes, shape)
        upsample = partial(F.interpolate, size=shape, mode='bilinear')
        threshold = self.test_cfg.get('mask_thr', 0.5)
        return draw_masks(results_list, masks, upsample, batch_data_samples, rescale, threshold)


def build_protonet(
    in_channels: int, channels: Sequence[int | None], kernel_sizes: Sequence[int], include_last_relu: bool
) -> nn.Sequential:
    """Layers, each with a ReLU after it; see ``YOLACTProtonet``."""
    layers: list[nn.Module] = []
    for out_channels, kernel_size in zip(channels, kernel_sizes):
        if kernel_size > 0:
            layers.append(nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2))
        elif out_channels is None:
            layers.append(nn.Upsample(scale_factor=-kernel_size, mode='bilinear'))
        else:
            layers.append(nn.ConvTranspose2d(in_channels, out_channels, -kernel_size, stride=-kernel_size))
        layers.append(nn.ReLU(inplace=True))
        in_channels = in_channels if out_channels is None else out_channels
    return nn.Sequential(*(layers if include_last_relu else layers[:-1]))


def cropped(masks: Tensor, boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """Masks (n, h, w) with 0 outside of boxes (n, 4), xyxy in pixels of the padded image of ``shape``."""
    height, width = masks.shape[-2:]
    scale = boxes.new_tensor([width / shape[1], height / shape[0]]).repeat(2)
    x1, y1, x2, y2 = (boxes * scale).T[..., None]
    xs = torch.arange(width, device=masks.device)
    ys = torch.arange(height, device=masks.device)
    columns = (xs >= x1 - CROP_PADDING) & (xs < x2 + CROP_PADDING)
    rows = (ys >= y1 - CROP_PADDING) & (ys < y2 + CROP_PADDING)
    return masks * (rows[:, :, None] & columns[:, None])


def masks_of_size(sample: DetDataSample, size: Sequence[int]) -> Tensor:
    """(m, *size) the masks of a sample's objects, 0 or 1, in its padded image shrunk to ``size``."""
    masks = torch.from_numpy(annotated_masks(sample, 'YOLACTProtonet').to_ndarray()).float()
    masks = crop_or_pad(masks, sample.batch_input_shape)
    if not len(masks):
        return masks.new_zeros(0, *size)
    return (F.interpolate(masks[None], tuple(size), mode='bilinear', align_corners=False)[0] > 0.5).float()
