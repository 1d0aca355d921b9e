"""BoxInst: High-Performance Instance Segmentation with Box Annotations, arXiv 2012.02310."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.models.utils import TrainingProgress, masks_at_stride, neighbors
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList

from .condinst_head import CondInstBboxHead, CondInstMaskHead

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
            project.append(self.projection_loss(logits, boxes))
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

    def projection_loss(self, logits: Tensor, boxes: Tensor) -> Tensor:
        """Sum of the losses of masks (n, h, w): their largest logit in each column and row against masks of boxes."""
        terms = []
        for axis in (1, 2):
            terms.append(self.loss_mask(logits.amax(axis), boxes.amax(axis), reduction_override='none').sum())
        return sum(terms)

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
