"""What all detectors share: their parts, three ways to call them, and predictions put into samples."""

import contextlib
from collections.abc import Sequence
from functools import partial

import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModel, BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList

from .old_keys import Names, rename_old_keys


class BaseDetector(BaseModel):
    """A detector: ``model(inputs, data_samples, mode)``.

    A subclass builds its heads and supplies ``loss_of_maps``, ``predict_of_maps`` and ``_forward``.

    Args:
        backbone: Images (B, 3, H, W) -> feature maps. It, neck, preprocessor and the heads of single- and two-stage
            detectors may be modules in place of their configs.
        neck: Feature maps of the backbone -> those that the heads see; None to hand them on as they are.
        train_cfg, test_cfg: Handed to the heads, or to each its part.
        data_preprocessor: Stacks, pads and normalizes images; where None, it only stacks them.
        init_cfg: Weight initialization.

    Attributes:
        inference_dtype: The precision in which ``optimize_model`` lets layers compute; None before, when the detector
            can still be trained.
    """

    inference_dtype: torch.dtype | None = None
    # names of parameters in checkpoints of OpenMMLab 2.x
    old_keys: Names = ()

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(build_data_preprocessor(data_preprocessor), init_cfg)
        self.train_cfg = ConfigDict(train_cfg or {})
        self.test_cfg = ConfigDict(test_cfg or {})
        self._trains_batch_norms = True
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck) if neck is not None else None
        self.register_load_state_dict_pre_hook(partial(rename_old_keys, self.old_keys))

    def build_head(self, cfg: dict | nn.Module, part: str | None = None) -> BaseModule:
        """A head with ``train_cfg`` and ``test_cfg``, or their ``part``; one that is a module has its own settings."""
        if isinstance(cfg, nn.Module):
            return cfg
        cfgs = (self.train_cfg, self.test_cfg)
        train_cfg, test_cfg = cfgs if part is None else (settings.get(part) for settings in cfgs)
        return MODELS.build(dict(cfg, train_cfg=train_cfg, test_cfg=test_cfg))

    def forward(self, inputs: Tensor, data_samples: SampleList | None = None, mode: str = 'tensor'):
        """Run the detector.

        Args:
            inputs: Preprocessed images (B, 3, H, W).
            data_samples: One sample an image, with ``gt_instances`` for losses.
            mode: ``'loss'`` returns a dict of loss terms, ``'predict'`` the samples with ``pred_instances``,
                ``'tensor'`` the raw outputs of the heads.

        Raises:
            ValueError: ``mode`` is none of these, or it needs samples and there are none.
            ConfigError: Losses are asked of an optimized detector.
        """
        if data_samples is None and mode in ('loss', 'predict'):
            raise ValueError(f'mode={mode!r} needs data_samples, one for each of the {len(inputs)} images; got None')
        if mode == 'loss':
            self._check_trainable()
            return self.loss(self.in_memory_order(inputs), data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            with self.inference_precision(inputs.device):
                return self._forward(inputs, data_samples)
        raise ValueError(f"mode must be one of ('loss', 'predict', 'tensor'), got {mode!r}")

    def train(self, mode: bool = True) -> 'BaseDetector':
        """Switch to training, unless the detector was optimized (a ``ConfigError``), or to testing."""
        if mode:
            self._check_trainable()
        super().train(mode)
        norms = [module for module in self.modules() if isinstance(module, _BatchNorm)]
        self._trains_batch_norms = any(norm.training for norm in norms)
        return self

    def _check_trainable(self) -> None:
        if self.inference_dtype is not None:
            raise ConfigError(
                f'this {type(self).__name__} was optimized for prediction, its batch norms are gone: to train it, '
                'build it without optimize'
            )

    def inference_precision(self, device: torch.device) -> contextlib.AbstractContextManager:
        """The context in which layers compute in ``inference_dtype``."""
        if self.inference_dtype in (None, torch.float32):
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=self.inference_dtype)

    def in_memory_order(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W), on the CPU with the channels first where a batch norm trains.

        torch's batch norm sums a channels-last batch in float32, any other in float64: 90 times as exact.
        """
        return images if images.is_cuda or not self._trains_batch_norms else images.contiguous()

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """Loss terms of images (B, 3, H, W)."""
        return self.loss_of_maps(self.extract_feat(batch_inputs), batch_data_samples)

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """The samples with what is predicted, in pixels of the original images unless ``rescale`` is False."""
        with self.inference_precision(batch_inputs.device):
            results = self.predict_of_maps(self.extract_feat(batch_inputs), batch_data_samples, rescale)
        return self.add_pred_to_datasample(batch_data_samples, results)

    def detect(self, inputs: Tensor, img_shapes: Sequence[tuple[int, int]] | None = None) -> list[dict[str, Tensor]]:
        """Objects of images as tensors alone, by the functions that ``predict`` calls: what ``torch.export`` takes.

        Args:
            inputs: Preprocessed images (B, 3, H, W).
            img_shapes: Height and width of each image without its padding; (H, W) where None.

        Returns:
            For each image ``boxes`` (n, 4) xyxy in pixels of the input, ``scores`` (n,) falling and ``labels`` (n,);
            of detectors of regions also what their branches add, such as ``masks`` (n, height, width).

        Raises:
            NotImplementedError: This kind of detector has no such form yet.
        """
        batch_shape = tuple(inputs.shape[-2:])
        shapes = [batch_shape] * len(inputs) if img_shapes is None else img_shapes
        with self.inference_precision(inputs.device):
            return self.detect_of_maps(self.extract_feat(inputs), samples_of_shapes(shapes, batch_shape))

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> feature maps (B, C, H_i, W_i), of the backbone where there is no neck."""
        x = self.backbone(batch_inputs)
        return self.neck(x) if self.with_neck else x

    def loss_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> dict:
        """Loss terms of feature maps (B, C, H_i, W_i) against the samples' objects."""
        raise NotImplementedError

    def predict_of_maps(self, x: tuple[Tensor, ...], samples: SampleList, rescale: bool) -> Sequence:
        """What ``add_pred_to_datasample`` puts into each sample, from feature maps (B, C, H_i, W_i)."""
        raise NotImplementedError

    def detect_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> list[dict[str, Tensor]]:
        """What ``detect`` returns, from feature maps (B, C, H_i, W_i); samples know the shapes of images alone."""
        raise NotImplementedError(f'{type(self).__name__} has no form of tensors alone yet')

    @property
    def with_neck(self) -> bool:
        """Whether there is a neck."""
        return self.neck is not None

    @staticmethod
    def add_pred_to_datasample(data_samples: SampleList, results: Sequence[InstanceData | dict]) -> SampleList:
        """Put each image's predictions into its sample: ``pred_instances``, or fields by name."""
        for sample, result in zip(data_samples, results):
            for name, value in (result if isinstance(result, dict) else dict(pred_instances=result)).items():
                setattr(sample, name, value)
        return data_samples

    def init_weights(self) -> None:
        """Initialize weights as the config says, without leaving gradients behind."""
        with torch.no_grad():
            super().init_weights()


def build_data_preprocessor(cfg: dict | None) -> nn.Module | None:
    """The preprocessor of a config, one that only stacks where it names no type; None for mmengine's default."""
    if cfg is None or isinstance(cfg, nn.Module):
        return cfg
    # mmengine would look for the type in the default scope alone
    return MODELS.build(dict(dict(type='BaseDataPreprocessor'), **cfg))


def weighted_terms(losses: dict, weight: float, prefix: str = '') -> dict:
    """Loss terms, each a tensor or a list of them, times ``weight``; all names, those of accuracies too, prefixed."""
    weighted = {}
    for name, value in losses.items():
        if 'loss' in name:
            value = value * weight if isinstance(value, Tensor) else [term * weight for term in value]
        weighted[prefix + name] = value
    return weighted


def samples_of_shapes(img_shapes: Sequence[tuple[int, int]], batch_shape: tuple[int, int]) -> SampleList:
    """Samples that know nothing of their images but height and width, and those of the padded batch."""
    samples = []
    for shape in img_shapes:
        sample = DetDataSample()
        # `set_metainfo` copies, and copies of sizes that torch.export keeps open cannot be made
        sample.set_field(tuple(shape), 'img_shape', field_type='metainfo')
        sample.set_field(batch_shape, 'batch_input_shape', field_type='metainfo')
        samples.append(sample)
    return samples
