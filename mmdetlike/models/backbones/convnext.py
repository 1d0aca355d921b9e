"""ConvNeXt: A ConvNet for the 2020s, arXiv 2201.03545, and its second version, arXiv 2301.00808."""

import itertools
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule, ModuleList, Sequential
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import DropPath, build_activation_layer, build_norm_layer, maybe_recompute
from mmdetlike.registry import MODELS

from .staged import check_in_range, linear_drop_path

# by name: blocks and channels of each stage
ARCHITECTURES = {
    'atto': ((2, 2, 6, 2), (40, 80, 160, 320)),
    'femto': ((2, 2, 6, 2), (48, 96, 192, 384)),
    'pico': ((2, 2, 6, 2), (64, 128, 256, 512)),
    'nano': ((2, 2, 8, 2), (80, 160, 320, 640)),
    'tiny': ((3, 3, 9, 3), (96, 192, 384, 768)),
    'small': ((3, 3, 27, 3), (96, 192, 384, 768)),
    'base': ((3, 3, 27, 3), (128, 256, 512, 1024)),
    'large': ((3, 3, 27, 3), (192, 384, 768, 1536)),
    'xlarge': ((3, 3, 27, 3), (256, 512, 1024, 2048)),
    'huge': ((3, 3, 27, 3), (352, 704, 1408, 2816)),
}
INIT = [
    dict(type='TruncNormal', layer=['Conv2d', 'Linear'], std=0.02, bias=0.0),
    dict(type='Constant', layer=['LayerNorm', 'LayerNorm2d'], val=1.0, bias=0.0),
]


class GlobalResponseNorm(nn.Module):
    """Global response normalization: each channel is scaled by its share of an image's energy (arXiv 2301.00808)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> the same shape."""
        energy = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        share = energy / (energy.mean(dim=-1, keepdim=True) + 1e-6)
        return torch.addcmul(x + self.beta, x * share, self.gamma)


class ConvNeXtBlock(BaseModule):
    """A depthwise convolution of 7x7 pixels, a norm layer and a network over the channels, with a shortcut.

    Arguments are those of ``ConvNeXt``, with the ``channels`` and the ``drop_path_rate`` of this block.
    """

    def __init__(
        self,
        channels: int,
        norm_cfg: dict,
        act_cfg: dict,
        linear_pw_conv: bool,
        drop_path_rate: float,
        layer_scale_init_value: float,
        use_grn: bool,
        with_cp: bool,
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.linear_pw_conv = linear_pw_conv
        hidden = 4 * channels
        self.depthwise_conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = build_norm_layer(norm_cfg, channels)[1]
        self.pointwise_conv1 = nn.Linear(channels, hidden) if linear_pw_conv else nn.Conv2d(channels, hidden, 1)
        self.pointwise_conv2 = nn.Linear(hidden, channels) if linear_pw_conv else nn.Conv2d(hidden, channels, 1)
        self.act = build_activation_layer(act_cfg)
        self.grn = GlobalResponseNorm(hidden) if use_grn else None
        self.gamma = (
            nn.Parameter(torch.full((channels,), layer_scale_init_value)) if layer_scale_init_value > 0 else None
        )
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return maybe_recompute(self.with_cp, self._forward, x)

    def _forward(self, x: Tensor) -> Tensor:
        branch = self.norm(self.depthwise_conv(x))
        if self.linear_pw_conv:
            branch = self._expand_and_shrink(branch.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        else:
            branch = self._expand_and_shrink(branch)
        if self.gamma is not None:
            branch = branch * self.gamma.view(-1, 1, 1)
        return x + self.drop_path(branch)

    def _expand_and_shrink(self, x: Tensor) -> Tensor:
        hidden = self.act(self.pointwise_conv1(x))
        if self.grn is not None and self.linear_pw_conv:
            hidden = self.grn(hidden)
        elif self.grn is not None:
            hidden = self.grn(hidden.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.pointwise_conv2(hidden)


@MODELS.register_module()
class ConvNeXt(BaseModule):
    """ConvNeXt: an image in, the maps of the chosen stages out (arXiv 2201.03545).

    Arguments and parameter names are those of OpenMMLab's toolbox of classifiers; configs also call it
    ``mmpretrain.ConvNeXt`` and ``mmcls.ConvNeXt``.

    Args:
        arch: 'atto', 'femto', 'pico', 'nano', 'tiny', 'small', 'base', 'large', 'xlarge' or 'huge', or
            ``dict(depths=..., channels=...)``: how many blocks each stage has, and of how many channels.
        in_channels: Channels of the image.
        stem_patch_size: Kernel size and stride of the first convolution.
        norm_cfg, act_cfg: Norm layers and activation.
        linear_pw_conv: Whether the convolutions of 1x1 pixels are linear layers, which compute the same.
        use_grn: Whether blocks have the global response normalization of the second version.
        drop_path_rate: Probability of dropping the last block's branch; it rises linearly from 0.
        layer_scale_init_value: What the factors of the branches' channels start with; 0 for no such factors, as in
            the second version.
        out_indices: Stages, from 0 to 3, whose maps ``forward`` returns; negative ones count from the end.
        frozen_stages: The first so many stages, and the downsampling in front of each, get no gradient.
        gap_before_final_norm: Whether outputs are the means of maps, (B, C), which classifiers have.
        with_cp: Recompute activations in the backward pass to save memory.

    Raises:
        ConfigError: ``arch`` is unknown.
        ValueError: ``out_indices`` or ``frozen_stages`` is out of range.
    """

    def __init__(
        self,
        arch: str | dict = 'tiny',
        in_channels: int = 3,
        stem_patch_size: int = 4,
        norm_cfg: dict = {'type': 'LN2d', 'eps': 1e-6},  # noqa: B006
        act_cfg: dict = {'type': 'GELU'},  # noqa: B006
        linear_pw_conv: bool = True,
        use_grn: bool = False,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        out_indices: int | Sequence[int] = -1,
        frozen_stages: int = 0,
        gap_before_final_norm: bool = True,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = INIT,
    ) -> None:
        super().__init__(init_cfg)
        depths, channels = stage_sizes(arch)
        num_stages = len(depths)
        indices = [out_indices] if isinstance(out_indices, int) else out_indices
        check_in_range('out_indices', list(indices), range(-num_stages, num_stages))
        check_in_range('frozen_stages', frozen_stages, range(num_stages + 1))
        self.out_indices = [index % num_stages for index in indices]
        self.frozen_stages = frozen_stages
        self.gap_before_final_norm = gap_before_final_norm
        stem = Sequential(
            nn.Conv2d(in_channels, channels[0], stem_patch_size, stride=stem_patch_size),
            build_norm_layer(norm_cfg, channels[0])[1],
        )
        self.downsample_layers = ModuleList([stem])
        for narrow, wide in itertools.pairwise(channels):
            halving = nn.Conv2d(narrow, wide, 2, stride=2)
            self.downsample_layers.append(Sequential(build_norm_layer(norm_cfg, narrow)[1], halving))
        block = dict(norm_cfg=norm_cfg, act_cfg=act_cfg, linear_pw_conv=linear_pw_conv, use_grn=use_grn)
        block.update(layer_scale_init_value=layer_scale_init_value, with_cp=with_cp)
        self.stages = ModuleList(
            Sequential(*(ConvNeXtBlock(width, drop_path_rate=rate, **block) for rate in rates))
            for width, rates in zip(channels, linear_drop_path(drop_path_rate, depths))
        )
        for i in self.out_indices:
            self.add_module(f'norm{i}', build_norm_layer(norm_cfg, channels[i])[1])
        self._freeze_stages()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, in_channels, H, W) -> maps (B, C_i, H / s_i, W / s_i) of the stages in ``out_indices``.

        Strides s_i are ``stem_patch_size``, twice that, and so on; sizes are rounded down. With
        ``gap_before_final_norm`` the outputs are (B, C_i).
        """
        outs = []
        for i, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages)):
            x = stage(downsample(x))
            if i not in self.out_indices:
                continue
            norm = getattr(self, f'norm{i}')
            if self.gap_before_final_norm:
                outs.append(norm(x.mean(dim=(2, 3), keepdim=True)).flatten(1))
            else:
                outs.append(norm(x))
        return tuple(outs)

    def train(self, mode: bool = True) -> 'ConvNeXt':
        """Set training mode, keeping frozen parts as in evaluation."""
        super().train(mode)
        self._freeze_stages()
        return self

    def _freeze_stages(self) -> None:
        for module in (*self.downsample_layers[: self.frozen_stages], *self.stages[: self.frozen_stages]):
            module.eval()
            module.requires_grad_(False)


def stage_sizes(arch: str | dict) -> tuple[Sequence[int], Sequence[int]]:
    """Blocks and channels of each stage; ``ConfigError`` where ``arch`` neither is a known name nor has both."""
    if isinstance(arch, str) and arch in ARCHITECTURES:
        return ARCHITECTURES[arch]
    has_both = isinstance(arch, dict) and set(arch) == {'depths', 'channels'}
    if not has_both or len(arch['depths']) != len(arch['channels']):
        raise ConfigError(
            f'ConvNeXt has arch={arch!r}; expected one of {list(ARCHITECTURES)}, or dict(depths=[...], channels=[...]) '
            'with one number for each stage.'
        )
    return arch['depths'], arch['channels']
