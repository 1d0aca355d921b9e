"""Data preprocessors: the samples of a loader -> one normalized, padded batch on the model's device."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import barrier, broadcast, get_dist_info
from mmengine.logging import MessageHub
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList
from mmdetlike.structures.bbox import BaseBoxes
from mmdetlike.structures.resize_sample import resize_sample
from mmdetlike.structures.warp import Warp


@MODELS.register_module()
class DetDataPreprocessor(BaseDataPreprocessor):
    """Move images to the device, change their channel order, normalize, pad and stack them; pad their masks too.

    Each image is padded at the right and bottom to the largest of the batch, rounded up to ``pad_size_divisor``.

    Args:
        mean: Mean of each channel, in the order after ``bgr_to_rgb``; None to leave images unnormalized.
        std: Deviation of each channel.
        pad_size_divisor: Padded sides are multiples of this.
        pad_value: What images are padded with, after normalization.
        pad_mask: Pad instance masks in training; in testing they stay as annotated.
        mask_pad_value: What instance masks are padded with.
        pad_seg: Pad semantic maps in training.
        seg_pad_value: What semantic maps are padded with; losses ignore 255 by default.
        bgr_to_rgb, rgb_to_bgr: Reverse the channels; the same operation, named for either order.
        boxtype2tensor: Turn boxes of samples into tensors.
        non_blocking: Copy to the device asynchronously.
        batch_augments: Modules (inputs, data_samples) -> (inputs, data_samples) that run in training.

    Raises:
        ValueError: One of mean and std is missing, or both channel flags are set.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pad_size_divisor: int = 1,
        pad_value: float = 0,
        pad_mask: bool = False,
        mask_pad_value: int = 0,
        pad_seg: bool = False,
        seg_pad_value: int = 255,
        bgr_to_rgb: bool = False,
        rgb_to_bgr: bool = False,
        boxtype2tensor: bool = True,
        non_blocking: bool = False,
        batch_augments: list[dict] | None = None,
    ) -> None:
        super().__init__(non_blocking)
        if (mean is None) != (std is None):
            raise ValueError(f'give both mean and std or neither, got mean={mean}, std={std}')
        if bgr_to_rgb and rgb_to_bgr:
            raise ValueError('bgr_to_rgb and rgb_to_bgr are both set: the channels would end as they began')
        self.channel_conversion = bgr_to_rgb or rgb_to_bgr
        self._enable_normalize = mean is not None
        if mean is not None:
            # not persistent: checkpoints of the original don't have them
            self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1), persistent=False)
            self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(-1, 1, 1), persistent=False)
        self.pad_size_divisor, self.pad_value = pad_size_divisor, pad_value
        self.batch_sizes: list[tuple[int, int]] = []
        self.pad_annotations = AnnotationPadding(pad_mask, mask_pad_value, pad_seg, seg_pad_value)
        self.boxtype2tensor = boxtype2tensor
        self.batch_augments = nn.ModuleList(MODELS.build(augment) for augment in batch_augments or ())

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch of ``inputs``, a list of images (3, h, w) or one tensor, and ``data_samples`` or None.

        They become ``inputs`` (B, 3, H, W) float32, and ``data_samples`` which know ``batch_input_shape`` and
        ``pad_shape``. In ``training`` annotations are padded, and ``batch_augments`` run.

        Raises:
            TypeError: ``inputs`` is neither.
            ConfigError: ``mean`` has a number for each of more or fewer channels than an image has.
        """
        data = self.cast_data(data)
        images = data['inputs']
        samples = data.get('data_samples')
        if not isinstance(images, (list, tuple)) and not (isinstance(images, Tensor) and images.ndim == 4):
            raise TypeError(
                f'inputs must be a list of images (3, h, w) or a tensor (B, 3, H, W), got {type(images).__name__}'
                + (f' of shape {tuple(images.shape)}' if isinstance(images, Tensor) else '')
            )
        batch = self._stack([self._normalize(image) for image in images])
        shape = tuple(batch.shape[-2:])
        for sample, image in zip(samples or (), images):
            # the image's own, which the largest of the batch doesn't change
            pad_shape = round_up(image.shape[-2:], self.pad_size_divisor)
            sample.set_metainfo(dict(batch_input_shape=shape, pad_shape=pad_shape))
            if self.boxtype2tensor:
                boxes_to_tensors(sample)
            if training:
                self.pad_annotations(sample, shape)
        if training:
            for augment in self.batch_augments or ():
                batch, samples = augment(batch, samples)
        return dict(inputs=batch, data_samples=samples)

    def _normalize(self, image: Tensor) -> Tensor:
        # a gray or multispectral image has no order to reverse
        if self.channel_conversion and image.shape[0] == 3:
            image = image.flip(0)
        image = image.float()
        if self._enable_normalize and len(self.mean) not in (1, len(image)):
            raise ConfigError(
                f'a picture has {len(image)} channels, but mean and std of the data_preprocessor have '
                f'{len(self.mean)} numbers: give one for each channel, or load other channels by color_type of '
                f'LoadImageFromFile (color: 3, grayscale: 1)'
            )
        return (image - self.mean) / self.std if self._enable_normalize else image

    def set_batch_sizes(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Pad batches to the smallest of ``sizes``, (height, width), that holds all images, if one does.

        Raises:
            ConfigError: A side isn't a positive multiple of ``pad_size_divisor``.
        """
        for size in sizes:
            if len(size) != 2 or any(side < 1 or side % self.pad_size_divisor for side in size):
                raise ConfigError(
                    f'a size of batches is a height and a width, multiples of pad_size_divisor='
                    f'{self.pad_size_divisor}, got {tuple(size)}'
                )
        self.batch_sizes = sorted(map(tuple, sizes), key=lambda size: size[0] * size[1])

    def _stack(self, images: list[Tensor]) -> Tensor:
        height = max(image.shape[-2] for image in images)
        width = max(image.shape[-1] for image in images)
        height, width = round_up((height, width), self.pad_size_divisor)
        fitting = [size for size in self.batch_sizes if size[0] >= height and size[1] >= width]
        if fitting:
            height, width = fitting[0]
        batch = images[0].new_full((len(images), images[0].shape[0], height, width), self.pad_value)
        if not batch.is_cuda:
            # CPU convolutions are faster with the channels last and pass that layout on (see docs/benchmarks.md)
            batch = batch.to(memory_format=torch.channels_last)
        for padded, image in zip(batch, images):
            padded[:, : image.shape[-2], : image.shape[-1]] = image
        return batch


@MODELS.register_module()
class FixedSizeDataPreprocessor(DetDataPreprocessor):
    """Normalize pictures and stretch each of them to ``size``, with its annotations, as torchvision's SSD does.

    Args:
        size: Height and width in pixels.
        mean, std, bgr_to_rgb: See ``DetDataPreprocessor``.
    """

    def __init__(
        self,
        size: tuple[int, int],
        mean: list[float] | None = None,
        std: list[float] | None = None,
        bgr_to_rgb: bool = False,
    ) -> None:
        super().__init__(mean=mean, std=std, bgr_to_rgb=bgr_to_rgb)
        self.size = tuple(size)

    def forward(self, data: dict, training: bool = False) -> dict:
        """As of ``DetDataPreprocessor``; samples know the new size, and by ``scale_factor`` the way back."""
        samples = data.get('data_samples')
        images = []
        prepared = []
        # one by one: they are of different sizes before
        for i, image in enumerate(data['inputs']):
            own = None if samples is None else samples[i : i + 1]
            batch = super().forward(dict(inputs=[image], data_samples=own), training)
            images.append(resize_batch(batch['inputs'], batch['data_samples'], self.size))
            scale = Warp.resize(tuple(batch['inputs'].shape[-2:]), self.size).scale
            for sample in batch['data_samples'] or ():
                before = sample.get('scale_factor', (1.0, 1.0))
                sample.set_metainfo(dict(scale_factor=tuple(a * b for a, b in zip(before, scale))))
                prepared.append(sample)
        return dict(inputs=torch.cat(images), data_samples=None if samples is None else prepared)


@dataclass
class AnnotationPadding:
    """What masks and segmentation maps are padded with, and whether they are."""

    pad_mask: bool
    mask_pad_value: int
    pad_seg: bool
    seg_pad_value: int

    def __call__(self, sample: DetDataSample, shape: tuple[int, int]) -> None:
        """Pad what a sample has of them to ``shape`` (height, width)."""
        if self.pad_mask and 'masks' in sample.get('gt_instances', ()):
            sample.gt_instances.masks = sample.gt_instances.masks.pad(shape, pad_val=self.mask_pad_value)
        if self.pad_seg and 'gt_sem_seg' in sample:
            padded = pad_to(sample.gt_sem_seg.sem_seg, shape, self.seg_pad_value)
            sample.gt_sem_seg = PixelData(metainfo=sample.gt_sem_seg.metainfo, sem_seg=padded)


def round_up(size: Sequence[int], divisor: int) -> tuple[int, ...]:
    """The sides of ``size``, each rounded up to a multiple of ``divisor``."""
    # integer division rounds down, of the negative number away from 0
    return tuple(-(-side // divisor) * divisor for side in size)


def pad_to(maps: Tensor, shape: tuple[int, int], value: float) -> Tensor:
    """Pad maps (..., h, w) at the right and the bottom to ``shape`` (height, width)."""
    return F.pad(maps, (0, shape[1] - maps.shape[-1], 0, shape[0] - maps.shape[-2]), value=value)


def resize_batch(inputs: Tensor, samples: SampleList | None, size: tuple[int, int]) -> Tensor:
    """Images (B, 3, H, W) stretched to ``size`` (height, width), and their samples with them, in place."""
    warp = Warp.resize(tuple(inputs.shape[-2:]), size)
    for sample in samples or ():
        resize_sample(sample, warp)
    return F.interpolate(inputs, size=size, mode='bilinear', align_corners=False)


def boxes_to_tensors(sample: DetDataSample) -> None:
    """Replace the box objects of a sample's instances by their tensors (n, 4)."""
    for name in ('gt_instances', 'pred_instances', 'ignored_instances', 'proposals'):
        instances = sample.get(name)
        if instances is not None and isinstance(instances.get('bboxes'), BaseBoxes):
            instances.bboxes = instances.bboxes.tensor


@MODELS.register_module()
class BatchSyncRandomResize(nn.Module):
    """Resize whole batches to a random size that all processes share: YOLOX, arXiv 2107.08430.

    Args:
        random_size_range: Smallest and largest side in pixels; the other side keeps the ratio.
        interval: Iterations for which a size is kept.
        size_divisor: Sides are multiples of this.
    """

    def __init__(self, random_size_range: tuple[int, int], interval: int = 10, size_divisor: int = 32) -> None:
        super().__init__()
        self.low, self.high = (round(side / size_divisor) for side in random_size_range)
        self.interval, self.size_divisor = interval, size_divisor
        self._input_size: tuple[int, int] | None = None

    def forward(self, inputs: Tensor, data_samples: SampleList) -> tuple[Tensor, SampleList]:
        """Images (B, 3, H, W) and all that is annotated in them at the current size."""
        height, width = inputs.shape[-2:]
        if self._input_size not in (None, (height, width)):
            inputs = resize_batch(inputs, data_samples, self._input_size)
        iteration = MessageHub.get_current_instance().get_info('iter', default=0)  # a loop without a runner stays at 0
        # for the next batch: this one has been resized
        if (iteration + 1) % self.interval == 0:
            self._input_size = self._draw(height / width, inputs.device)
        return inputs, data_samples

    def _draw(self, aspect: float, device: torch.device) -> tuple[int, int]:
        # one process draws and the others receive: their random states differ
        size = torch.zeros(2, dtype=torch.long, device=device)
        if get_dist_info()[0] == 0:
            side = np.random.randint(self.low, self.high + 1)
            size[0] = side * self.size_divisor
            size[1] = int(side / aspect) * self.size_divisor
        barrier()
        broadcast(size, 0)
        return int(size[0]), int(size[1])


@MODELS.register_module()
class BatchFixedSizePad(nn.Module):
    """Pad batches at the right and the bottom to one size.

    Args:
        size: Height and width in pixels; a batch that is larger along an axis keeps its size there.
        img_pad_value: Value of padded pixels, after normalization.
        pad_mask, mask_pad_value, pad_seg, seg_pad_value: As of ``DetDataPreprocessor``.
    """

    def __init__(
        self,
        size: tuple[int, int],
        img_pad_value: float = 0,
        pad_mask: bool = False,
        mask_pad_value: int = 0,
        pad_seg: bool = False,
        seg_pad_value: int = 255,
    ) -> None:
        super().__init__()
        self.size = tuple(size)
        self.img_pad_value = img_pad_value
        self.pad_annotations = AnnotationPadding(pad_mask, mask_pad_value, pad_seg, seg_pad_value)

    def forward(self, inputs: Tensor, data_samples: SampleList | None) -> tuple[Tensor, SampleList | None]:
        """Images (B, 3, H, W) and their samples -> (B, 3, height, width) and samples that know that size."""
        shape = tuple(max(side, wanted) for side, wanted in zip(inputs.shape[-2:], self.size))
        for sample in data_samples or ():
            sample.set_metainfo(dict(batch_input_shape=shape, pad_shape=shape))
            self.pad_annotations(sample, shape)
        return pad_to(inputs, shape, self.img_pad_value), data_samples


@MODELS.register_module()
class BatchResize(nn.Module):
    """Scale batches as far as they fit into a size, then pad them to a multiple of a divisor.

    Args:
        scale: Longest and shortest side in pixels that a batch may have.
        pad_size_divisor, pad_value: As of ``DetDataPreprocessor``.
    """

    def __init__(self, scale: tuple[int, int], pad_size_divisor: int = 1, pad_value: float = 0) -> None:
        super().__init__()
        self.longest = max(scale)
        self.shortest = min(scale)
        self.pad_size_divisor, self.pad_value = pad_size_divisor, pad_value

    def forward(self, inputs: Tensor, data_samples: SampleList | None) -> tuple[Tensor, SampleList | None]:
        """Images (B, 3, H, W) and their samples -> the same at the new size."""
        size = tuple(inputs.shape[-2:])
        factor = min(self.longest / max(size), self.shortest / min(size))
        target = tuple(int(side * factor) for side in size)
        inputs = resize_batch(inputs, data_samples, target)
        shape = round_up(target, self.pad_size_divisor)
        for sample in data_samples or ():
            sample.set_metainfo(dict(batch_input_shape=shape, pad_shape=shape))
        return pad_to(inputs, shape, self.pad_value), data_samples
