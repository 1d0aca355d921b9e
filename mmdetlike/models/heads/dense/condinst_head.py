"""Instance segmentation by convolutions that are predicted: CondInst, arXiv 2003.05664; BoxInst, arXiv 2012.02310."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule, MaskFeatures, build_tower, run_tower
from mmdetlike.models.utils import (
    TrainingProgress,
    aligned_bilinear,
    crop_or_pad,
    mask_centroids,
    masks_at_stride,
    neighbors,
)
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList

from ..head import Head
from .fcos_head import FCOSHead
from .masks import MaskNetwork, draw_masks
from .predictions import FlatPredictions

CONDINST_LOSS_MASK = dict(type='DiceLoss', use_sigmoid=True, activate=True, eps=5e-6, loss_weight=1.0)


@MODELS.register_module()
class CondInstBboxHead(FCOSHead):
    """An ``FCOSHead`` whose points also predict the parameters of a small network, which makes their object's mask.

    Args:
        num_params: Parameters of that network, all in a row.
        kwargs: See ``FCOSHead``; ``center_sampling`` is about the center of an object's mask, where it has one.
    """

    map_names = ('cls_score', 'bbox_pred', 'centerness', 'params')

    def __init__(self, num_classes: int, in_channels: int, num_params: int = 169, **kwargs) -> None:
        self.num_params = num_params
        super().__init__(num_classes, in_channels, **kwargs)

    def build_layers(self) -> None:
        super().build_layers()
        self.controller = nn.Conv2d(self.feat_channels, self.num_params, 3, padding=1)

    def predict_maps(self, level: int, cls_feat: Tensor, reg_feat: Tensor) -> tuple[Tensor, ...]:
        return *super().predict_maps(level, cls_feat, reg_feat), self.controller(reg_feat)

    def gt_instances(self, sample: DetDataSample) -> InstanceData:
        """Boxes and classes, with centers of mass where there are masks."""
        gt = super().gt_instances(sample)
        instances = InstanceData(bboxes=gt.bboxes, labels=gt.labels)
        if gt.get('masks') is not None:
            instances.centers = mask_centroids(gt.masks.to_ndarray())[0].to(gt.labels.device)
        return instances

    def instance_fields(self, preds: FlatPredictions, index: int, prior_inds: Tensor) -> dict[str, Tensor]:
        """``params`` (n, num_params), ``points`` and ``strides`` (n, 2), ``quality`` (n,): score times centerness."""
        priors = preds.priors[prior_inds]
        scores = self.scores(preds.of_image(index))[0, prior_inds].amax(-1)
        return dict(
            params=preds.params[index, prior_inds],
            points=priors.points,
            strides=priors.strides,
            quality=scores * self.score_factors(preds)[index, prior_inds],
        )


@MODELS.register_module()
class SummedMaskFeatures(MaskFeatures):
    """Mask features of CondInst: those of several levels, enlarged to the size of the first one used and summed.

    Args:
        in_channels, feat_channels, start_level, end_level, out_channels, mask_stride, conv_cfg, norm_cfg, init_cfg:
            As of ``MaskFeatures``.
        num_stacked_convs: Convolutions after the sum.
    """

    def __init__(
        self,
        in_channels: int,
        feat_channels: int,
        start_level: int,
        end_level: int,
        out_channels: int,
        mask_stride: int = 4,
        num_stacked_convs: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        self.num_stacked_convs = num_stacked_convs
        super().__init__(
            in_channels, feat_channels, start_level, end_level, out_channels, mask_stride, conv_cfg, norm_cfg, init_cfg
        )

    def build_mixer(self) -> None:
        self.conv_branch = build_tower(self.feat_channels, self.feat_channels, self.num_stacked_convs, **self.layer)
        self.conv_pred = nn.Conv2d(self.feat_channels, self.out_channels, 1)

    def level_convs(self, level: int) -> nn.Sequential:
        conv = ConvModule(self.in_channels, self.feat_channels, 3, padding=1, **self.layer)
        return nn.Sequential(OrderedDict({f'conv{level}': conv}))

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        """Feature maps (B, C, H_i, W_i) -> (B, out_channels, h, w), the size of the first level used."""
        levels = self.run_levels(x)
        size = levels[0].shape[-2:]
        # a level may be one pixel short of its share where a side is not a multiple of the stride
        enlarged = [crop_or_pad(aligned_bilinear(level, -(-size[0] // level.shape[-2])), size) for level in levels[1:]]
        return self.conv_pred(run_tower(self.conv_branch, sum(enlarged, levels[0])))


@MODELS.register_module()
class CondInstMaskHead(Head):
    """Make the mask of each object by 1x1 convolutions of its own, over features that all objects share.

    A pixel of these has, beside the features, its distance x and y from the object's point.

    Args:
        mask_feature_head: Makes the features that all objects share; ``SummedMaskFeatures`` if it names no ``type``.
        num_layers: Convolutions of an object's network.
        feat_channels: Channels between them.
        mask_out_stride: Stride of mask logits in pixels.
        size_of_interest: Distances from a point are divided by so many strides of its level.
        max_masks_to_train: Train on so many positives of an image, drawn at random; -1 for all.
        topk_masks_per_img: Train on the best positives of each object, so many in an image; -1 for all.
        loss_mask: Loss of mask logits.
        num_classes: Kept for configs: masks are drawn alike for all classes.
        train_cfg, init_cfg: As of ``Head``.
        test_cfg: ``mask_thr``, least probability inside a mask.

    Raises:
        ValueError: The stride of the features is no multiple of ``mask_out_stride``, or positives are limited twice.
    """

    def __init__(
        self,
        mask_feature_head: dict,
        num_layers: int = 3,
        feat_channels: int = 8,
        mask_out_stride: int = 4,
        size_of_interest: int = 8,
        max_masks_to_train: int = -1,
        topk_masks_per_img: int = -1,
        loss_mask: dict = CONDINST_LOSS_MASK,
        num_classes: int | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(num_classes, train_cfg, test_cfg, init_cfg)
        self.mask_feature_head = MODELS.build({'type': 'SummedMaskFeatures', **mask_feature_head})
        self.mask_feat_stride = self.mask_feature_head.mask_stride
        if self.mask_feat_stride % mask_out_stride:
            raise ValueError(
                f'mask_feature_head.mask_stride={self.mask_feat_stride} must be a multiple of '
                f'mask_out_stride={mask_out_stride}'
            )
        if max_masks_to_train > 0 and topk_masks_per_img > 0:
            raise ValueError(
                f'set one of max_masks_to_train={max_masks_to_train} and topk_masks_per_img={topk_masks_per_img}'
            )
        self.mask_out_stride = mask_out_stride
        self.max_masks_to_train, self.topk_masks_per_img = max_masks_to_train, topk_masks_per_img
        widths = [self.mask_feature_head.out_channels + 2, *[feat_channels] * (num_layers - 1), 1]
        self.network = MaskNetwork(widths, size_of_interest)
        self.loss_mask = MODELS.build(loss_mask)

    def mask_features(self, x: Sequence[Tensor]) -> Tensor:
        """Features (B, C, h, w) that the masks of all objects are made of."""
        return float32_if_half(self.mask_feature_head(x))[0]

    def forward(self, x: Sequence[Tensor], instances: Sequence[InstanceData]) -> list[Tensor]:
        """Mask logits (n, h, w) of each image's instances, which have ``CondInstBboxHead.instance_fields``."""
        feats = self.mask_features(x)
        return [self.mask_logits(feat, of_image) for feat, of_image in zip(feats, instances)]

    def mask_logits(self, feat: Tensor, instances: InstanceData) -> Tensor:
        """Mask logits (n, h, w) at ``mask_out_stride`` from the features (C, h', w') of one image."""
        num_params = instances.params.shape[1]
        if num_params != self.network.num_params:
            raise ValueError(
                f'a mask of this head has {self.network.num_params} parameters, but num_params of the box head is '
                f'{num_params}'
            )
        # centers of the features' pixels, in pixels of the image
        ys, xs = ((torch.arange(side, device=feat.device) + 0.5) * self.mask_feat_stride for side in feat.shape[-2:])
        pixels = torch.stack(torch.meshgrid(xs, ys, indexing='xy'), dim=-1).flatten(0, 1)
        logits = self.network.mask_logits(feat, pixels, instances)
        return aligned_bilinear(logits[:, None], self.mask_feat_stride // self.mask_out_stride)[:, 0]

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, positives: Sequence[InstanceData]
    ) -> dict[str, Tensor]:
        """``loss_mask``, the mean over the ``positives`` of all images (see ``DenseHead.loss_with_positives``)."""
        positives = [self.sample(positive) for positive in positives]
        terms = []
        for logits, sample, positive in zip(self(x, positives), batch_data_samples, positives):
            gt = masks_at_stride(sample, self.mask_out_stride, logits.shape[-2:], type(self).__name__).to(logits)
            terms.append(self.loss_mask(logits, gt[positive.gt_inds], reduction_override='none'))
        return dict(loss_mask=torch.cat(terms).sum() / max(sum(map(len, positives)), 1))

    def sample(self, positives: InstanceData) -> InstanceData:
        """The positives of an image that train their masks."""
        if 0 < self.max_masks_to_train < len(positives):
            return positives[torch.randperm(len(positives), device=positives.gt_inds.device)[: self.max_masks_to_train]]
        if 0 < self.topk_masks_per_img < len(positives):
            best = positives[positives.quality.argsort(descending=True)]
            objects = best.gt_inds.unique()
            # an equal share for each object: one with many points must not crowd out the others
            each = max(self.topk_masks_per_img // len(objects), 1)
            return best[torch.cat([(best.gt_inds == number).nonzero().squeeze(1)[:each] for number in objects])]
        return positives

    def predict(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, rescale: bool, results_list: Sequence[InstanceData]
    ) -> list[InstanceData]:
        """Add ``masks`` (n, h, w) bool to each image's boxes ``results_list``, from ``CondInstBboxHead.predict``."""
        upsample = partial(aligned_bilinear, factor=self.mask_out_stride)
        masks = [logits.sigmoid() for logits in self(x, results_list)]
        threshold = self.test_cfg.get('mask_thr', 0.5)
        return draw_masks(results_list, masks, upsample, batch_data_samples, rescale, threshold)


# configs of BoxInst have a name of their own for the head that predicts the networks of masks
MODELS.register_module('BoxInstBboxHead', module=CondInstBboxHead)


@MODELS.register_module()
class BoxInstMaskHead(CondInstMaskHead):
    """``CondInstMaskHead`` that learns from boxes: what masks cover along x and y, and that equal colors go together.

    Args:
        pairwise_size: Pixels are compared with those of so many rows and columns around them, as the
            ``BoxInstDataPreprocessor`` says, too, which finds those of nearly one color.
        pairwise_dilation: Distance of these rows and columns, in strides; the same as of the preprocessor.
        warmup_iters: In so many iterations the weight of the pairwise loss rises from 0 to 1.
    """

    def __init__(
        self,
        mask_feature_head: dict,
        pairwise_size: int = 3,
        pairwise_dilation: int = 2,
        warmup_iters: int = 10000,
        **kwargs,
    ) -> None:
        super().__init__(mask_feature_head, **kwargs)
        self.pairwise_size, self.pairwise_dilation = pairwise_size, pairwise_dilation
        self.warmup_iters = warmup_iters

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, positives: Sequence[InstanceData]
    ) -> dict[str, Tensor]:
        """``loss_mask_project`` and ``loss_mask_pairwise`` of the ``positives`` of all images."""
        positives = [self.sample(of_image) for of_image in positives]
        project, pairwise, num_pairs = [], [], 0
        for logits, sample, of_image in zip(self(x, positives), batch_data_samples, positives):
            boxes = masks_at_stride(sample, self.mask_out_stride, logits.shape[-2:], type(self).__name__)
            boxes = boxes.to(logits)[of_image.gt_inds]
            for axis in (1, 2):  # the largest logit of each column and row, against masks of boxes
                project.append(self.loss_mask(logits.amax(axis), boxes.amax(axis), reduction_override='none').sum())
            pairs = self.similar_neighbors(sample, logits) * boxes[:, None]
            pairwise.append((self.disagreement(logits) * pairs).sum())
            if len(of_image):
                num_pairs = num_pairs + pairs.sum().clamp(min=1)
        iteration = TrainingProgress.current().iteration
        warmup = iteration / self.warmup_iters if iteration < self.warmup_iters else 1.0
        return dict(
            loss_mask_project=sum(project) / max(sum(map(len, positives)), 1),
            loss_mask_pairwise=sum(pairwise) / max(num_pairs, 1) * warmup,
        )

    def similar_neighbors(self, sample: DetDataSample, logits: Tensor) -> Tensor:
        """(K, h, w) whether each neighbor of a pixel of ``logits`` (n, h, w) has nearly its color.

        Raises:
            ConfigError: Samples don't come from a ``BoxInstDataPreprocessor``, or from one with other settings.
        """
        similar = sample.get('similar_neighbors')
        wanted = (self.pairwise_size**2 - 1, *logits.shape[-2:])
        got = None if similar is None else tuple(similar.shape)
        if got != wanted:
            raise ConfigError(
                f'BoxInstMaskHead needs similar_neighbors of shape {wanted} from a BoxInstDataPreprocessor with '
                f'mask_stride={self.mask_out_stride} and pairwise_size={self.pairwise_size}; '
                f'{sample.get("img_path")} has {got}'
            )
        return similar.to(logits)

    def disagreement(self, logits: Tensor) -> Tensor:
        """(n, K, h, w) minus the logarithm of the probability that a pixel and its neighbor are both in or both out."""
        both = []
        for signed in (logits, -logits):
            of_pixel = F.logsigmoid(signed)[:, None]
            around = neighbors(of_pixel, self.pairwise_size, self.pairwise_dilation)
            both.append((of_pixel[:, :, None] + around)[:, 0])
        return -torch.logaddexp(*both)
