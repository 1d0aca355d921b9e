"""What BoxInst, arXiv 2012.02310, learns masks from, where boxes alone are annotated."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.models.utils import neighbors
from mmdetlike.registry import MODELS
from mmdetlike.structures import BitmapMasks, DetDataSample
from mmdetlike.structures.bbox import geometry, get_box_tensor

from .data_preprocessor import DetDataPreprocessor


@MODELS.register_module()
class BoxInstDataPreprocessor(DetDataPreprocessor):
    """In training, give objects their boxes as masks, and samples the pairs of pixels that have nearly one color.

    These are ``similar_neighbors`` of a sample, (K, h, w) bool at ``mask_stride``: whether each of the K =
    ``pairwise_size ** 2 - 1`` neighbors of a pixel lies in the image and looks like it.

    Args:
        mask_stride: Stride at which colors are compared, that of the mask head's logits.
        pairwise_size: Pixels are compared with those of so many rows and columns around them.
        pairwise_dilation: Distance of these rows and columns, in strides.
        pairwise_color_thresh: Least similarity, ``exp(-distance / 2)`` of colors in CIE Lab.
        bottom_pixels_removed: Rows at the bottom of an image that is as high as its batch which are left out: some
            pictures of COCO have a black border there.

    Raises:
        ConfigError: There is no ``mean`` and ``std``, or ``pad_size_divisor`` is no multiple of ``mask_stride``.
    """

    def __init__(
        self,
        mask_stride: int = 4,
        pairwise_size: int = 3,
        pairwise_dilation: int = 2,
        pairwise_color_thresh: float = 0.3,
        bottom_pixels_removed: int = 10,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if not hasattr(self, 'mean'):
            raise ConfigError('BoxInstDataPreprocessor needs mean and std, to have the colors of pictures; got None')
        if self.pad_size_divisor % mask_stride:
            raise ConfigError(
                f'pad_size_divisor={self.pad_size_divisor} of BoxInstDataPreprocessor must be a multiple of '
                f'mask_stride={mask_stride}'
            )
        self.mask_stride, self.pairwise_size, self.pairwise_dilation = mask_stride, pairwise_size, pairwise_dilation
        self.pairwise_color_thresh, self.bottom_pixels_removed = pairwise_color_thresh, bottom_pixels_removed

    def forward(self, data: dict, training: bool = False) -> dict:
        """As of ``DetDataPreprocessor``, with what masks are learned from in training."""
        prepared = super().forward(data, training)
        if training:
            pictures = F.avg_pool2d(prepared['inputs'] * self.std + self.mean, self.mask_stride)
            for picture, sample in zip(pictures, prepared['data_samples']):
                sample.similar_neighbors = self.similar_neighbors(picture, self.valid_pixels(sample, picture))
                sample.gt_instances.masks = box_masks(sample)
        return prepared

    def valid_pixels(self, sample: DetDataSample, picture: Tensor) -> Tensor:
        """(h, w) 1 where a pixel at ``mask_stride`` shows the image, 0 at its bottom rows and on padding."""
        height, width = sample.img_shape[:2]
        height -= int(self.bottom_pixels_removed * height / sample.batch_input_shape[0])
        # a pixel stands for the one in the middle of its square
        start = self.mask_stride // 2
        valid = torch.zeros_like(picture[0])
        valid[: len(range(start, height, self.mask_stride)), : len(range(start, width, self.mask_stride))] = 1
        return valid

    def similar_neighbors(self, picture: Tensor, valid: Tensor) -> Tensor:
        """(K, h, w) which neighbors are ``valid`` (h, w) and look like the pixel, of a picture (3, h, w) 0 to 255."""
        to_lab = cv2.COLOR_RGB2LAB if self.channel_conversion else cv2.COLOR_BGR2LAB
        # whole numbers, as the original compares
        pixels = picture.byte().permute(1, 2, 0).cpu().numpy().astype(np.float32) / 255
        lab = torch.from_numpy(cv2.cvtColor(pixels, to_lab)).permute(2, 0, 1)[None].to(picture)
        where = dict(kernel_size=self.pairwise_size, dilation=self.pairwise_dilation)
        distances = (lab[:, :, None] - neighbors(lab, **where))[0].norm(dim=0)
        is_similar = (-0.5 * distances).exp() >= self.pairwise_color_thresh
        return is_similar & (neighbors(valid[None, None], **where)[0, 0] > 0)


def box_masks(sample: DetDataSample) -> BitmapMasks:
    """The boxes of a sample's objects as masks of the padded image."""
    height, width = sample.batch_input_shape
    boxes = geometry.require_horizontal(get_box_tensor(sample.gt_instances.bboxes), 'BoxInstDataPreprocessor')
    masks = np.zeros((len(boxes), height, width), dtype=np.uint8)
    # pixels in which a box begins or ends belong to it
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist()):
        mask[y1 : y2 + 1, x1 : x2 + 1] = 1
    return BitmapMasks(masks, height, width)
