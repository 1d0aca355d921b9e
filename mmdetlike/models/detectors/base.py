"""What all detectors share: three ways to call them, and predictions put into samples."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

MODES = ('loss', 'predict', 'tensor')


class BaseDetector(BaseModel):
    """A detector: ``model(inputs, data_samples, mode)``.

    Args:
        data_preprocessor: Stacks, pads and normalises images; none but stacking where None.
        init_cfg: Weight initialisation.
    """

    def __init__(self, data_preprocessor: dict | None = None, init_cfg: dict | list[dict] | None = None) -> None:
        if data_preprocessor is not None:
            # mmengine would look for the type in the default scope alone
            data_preprocessor = MODELS.build(dict(dict(type='BaseDataPreprocessor'), **data_preprocessor))
        super().__init__(data_preprocessor, init_cfg)

    def forward(self, inputs: Tensor, data_samples: SampleList | None = None, mode: str = 'tensor'):
        """Run the detector.

        Args:
            inputs: Preprocessed images (B, 3, H, W).
            data_samples: One sample an image, with ``gt_instances`` for losses.
            mode: ``'loss'`` returns a dict of loss terms, ``'predict'`` the samples with ``pred_instances``,
                ``'tensor'`` the raw outputs of the heads.

        Raises:
            ValueError: ``mode`` is none of these, or it needs samples and there are none.
        """
        if data_samples is None and mode in ('loss', 'predict'):
            raise ValueError(f'mode={mode!r} needs data_samples, one for each of the {len(inputs)} images; got None')
        if mode == 'loss':
            return self.loss(contiguous_for_batch_norm(self, inputs), data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self._forward(inputs, data_samples)
        raise ValueError(f'mode must be one of {MODES}, got {mode!r}')

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> maps of the neck, or of the backbone where there is no neck."""
        x = self.backbone(batch_inputs)
        return self.neck(x) if self.with_neck else x

    @property
    def with_neck(self) -> bool:
        """Whether there is a neck."""
        return getattr(self, 'neck', None) is not None

    @staticmethod
    def add_pred_to_datasample(data_samples: SampleList, results: Sequence[InstanceData]) -> SampleList:
        """Put each image's predictions into its sample as ``pred_instances``."""
        for sample, pred in zip(data_samples, results):
            sample.pred_instances = pred
        return data_samples

    def init_weights(self) -> None:
        """Initialise as the config says, without leaving gradients behind."""
        with torch.no_grad():
            super().init_weights()


def contiguous_for_batch_norm(model: nn.Module, images: Tensor) -> Tensor:
    """CPU images (B, 3, H, W) with the channels first where a batch norm of the model trains.

    torch's batch norm sums a channels-last batch in float32, any other in float64: 90 times as exact.
    """
    if images.is_cuda or images.is_contiguous():
        return images
    trains = any(isinstance(module, _BatchNorm) and module.training for module in model.modules())
    return images.contiguous() if trains else images
