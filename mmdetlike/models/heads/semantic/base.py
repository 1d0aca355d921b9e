"""What heads share that give each pixel a class."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.models.utils import semantic_maps, to_image_size
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

SEMANTIC_LOSS = dict(type='CrossEntropyLoss', ignore_index=-1, loss_weight=1.0)
# what the cross entropy of torch ignores by default
TORCH_IGNORES = -100
# where label maps mark pixels without a class as the data pipeline does
PIXEL_LOSS = dict(type='CrossEntropyLoss', ignore_index=255, loss_weight=1.0)
LOGITS_INIT = dict(type='Normal', std=0.01, override=dict(name='conv_logits'))


class SemanticHead(BaseModule):
    """Base of the heads that give each pixel a class; a subclass supplies ``forward`` to logits (B, channels, h, w).

    Args:
        loss_seg: Loss of the logits.
    """

    def __init__(self, loss_seg: dict = SEMANTIC_LOSS, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg)
        self.loss_seg = MODELS.build(loss_seg)

    def loss(self, x: Sequence[Tensor], batch_data_samples: SampleList) -> dict[str, Tensor]:
        """``loss_seg`` against each sample's ``gt_sem_seg``, without which it is a ``ValueError``.

        A class that the logits don't have is a ``ConfigError``.
        """
        target = self.targets(semantic_maps(batch_data_samples))
        maps = self(x)
        self._check_classes(target, maps.shape[1], batch_data_samples)
        logits = F.interpolate(float32_if_half(maps)[0], target.shape[-2:], mode='bilinear', align_corners=False)
        return dict(loss_seg=self.loss_seg(logits, target, self.pixel_weights(batch_data_samples)))

    def _check_classes(self, target: Tensor, num_channels: int, samples: SampleList) -> None:
        # a sigmoid takes other numbers for background; a softmax would end in a message of torch that names no image
        if getattr(self.loss_seg, 'use_sigmoid', False):
            return
        ignored = getattr(self.loss_seg, 'ignore_index', None)
        known = (target >= 0) & (target < num_channels) | (target == (TORCH_IGNORES if ignored is None else ignored))
        if bool(known.all()):
            return
        image = int((~known).flatten(1).any(1).int().argmax())
        classes = target[image][~known[image]].unique().tolist()
        raise ConfigError(
            f'{type(self).__name__} has logits of {num_channels} classes, but gt_sem_seg of '
            f'{samples[image].get("img_path")} has pixels of class {", ".join(map(str, classes[:10]))}: set '
            f'num_classes to that of the dataset, or loss_seg.ignore_index={ignored} to the number of those without one'
        )

    def targets(self, classes: Tensor) -> Tensor:
        """The channel (B, h, w) of each pixel's class (B, h, w); here they are the same."""
        return classes

    def pixel_weights(self, samples: SampleList) -> Tensor | None:
        """Weight (B, h, w) of each pixel's loss, None where all weigh the same."""
        return None

    def predict(self, x: Sequence[Tensor], samples: SampleList, rescale: bool = False) -> list[Tensor]:
        """Logits (channels, h, w) of each image, of the size of the original if ``rescale``."""
        logits = float32_if_half(self(x))[0]
        return [to_image_size(image, sample, rescale) for image, sample in zip(logits, samples)]
