"""Backbones of timm, PyTorch Image Models (https://github.com/huggingface/pytorch-image-models)."""

import difflib

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError, UserError
from mmdetlike.registry import MODELS
from mmdetlike.utils.packages import import_package


class MissingTimmError(UserError, ImportError):
    """timm, or something that it needs, can't be imported."""


@MODELS.register_module()
class TIMMBackbone(BaseModule):
    """Any model of timm as a backbone; its parameters are under ``timm_model``.

    Args:
        model_name: Name in ``timm.list_models()``.
        features_only: Whether to put out the maps of several stages (``out_indices`` chooses them) instead of the last.
        pretrained: Whether timm fetches its weights; then ``init_weights`` leaves them as they are.
        checkpoint_path: File that timm reads weights from instead.
        in_channels: Channels of the image.
        init_cfg: Weight initialization; None keeps that of timm.
        **kwargs: Further arguments of ``timm.create_model``, such as ``out_indices``, ``output_stride`` and
            ``drop_path_rate``. A ``norm_layer`` may be the name of a registered layer.

    Vision transformers of timm take images of one size unless ``dynamic_img_size=True`` is among the arguments; those
    of DINOv3 take any that the patches divide. ``SimpleFPN`` makes a pyramid of their last map, ``out_indices=(-1,)``.

    Raises:
        MissingTimmError: timm can't be imported.
        ConfigError: timm has no such model, or refuses an argument.
    """

    def __init__(
        self,
        model_name: str,
        features_only: bool = True,
        pretrained: bool = False,
        checkpoint_path: str = '',
        in_channels: int = 3,
        init_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(init_cfg)
        if isinstance(kwargs.get('norm_layer'), str):
            kwargs['norm_layer'] = MODELS.get(kwargs['norm_layer'])
        self.features_only = features_only
        self.model_name = model_name
        settings = dict(features_only=features_only, pretrained=pretrained, checkpoint_path=checkpoint_path)
        self.timm_model = create_model(model_name, in_chans=in_channels, **settings, **kwargs)
        if not features_only:
            # its parameters would never get a gradient
            self.timm_model.reset_classifier(0)
        self.loaded = pretrained or bool(checkpoint_path)

    def init_weights(self) -> None:
        if not self.loaded:
            super().init_weights()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, in_channels, H, W) -> the maps (B, C_i, H / s_i, W / s_i) that timm puts out.

        Some of its transformers put out (B, H / s_i, W / s_i, C_i) unless they are given ``output_fmt='NCHW'``.

        Raises:
            ConfigError: The model isn't made for images of this size.
        """
        try:
            return tuple(self.timm_model(x)) if self.features_only else (self.timm_model.forward_features(x),)
        except AssertionError as error:
            height, width = x.shape[-2:]
            raise ConfigError(
                f'{self.model_name} of timm refuses images of {height} x {width} pixels: {error} Transformers of timm '
                'take other sizes with dynamic_img_size=True, of which the side of a patch must be a divisor '
                '(pad_size_divisor of data_preprocessor).'
            ) from error


def create_model(name: str, **settings) -> nn.Module:
    """A model of timm; ``ConfigError`` where timm has none of this name, or refuses a setting."""
    hint = ' It needs a torchvision that was built for the installed torch.'
    timm = import_package('timm', 'TIMMBackbone', error=MissingTimmError, if_broken=hint)
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models())
        hint = f'; close to it are {", ".join(close)}' if close else ''
        raise ConfigError(f'model_name must be one of timm.list_models(), got {name!r}{hint}')
    try:
        return timm.create_model(name, **settings)
    except (TypeError, ValueError, AssertionError) as error:
        given = ', '.join(f'{key}={value!r}' for key, value in settings.items())
        raise ConfigError(f'timm refuses {name} with {given}: {error}') from error
