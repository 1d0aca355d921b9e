"""Switchable atrous convolution and the weight standardization it is built on."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .deform_conv2d import ALL_IMAGES, deform_conv2d


def _moments(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each filter, (c_out, 1, 1, 1)."""
    flat = weight.flatten(1)
    shape = (-1, *[1] * (weight.dim() - 1))
    return flat.mean(1).view(shape), (flat.var(1) + 1e-5).sqrt().view(shape)


class ConvAWS2d(nn.Conv2d):
    """Convolution with adaptive weight standardization: DetectoRS, arXiv 2006.02334.

    Each filter is standardized, scaled by the buffer ``weight_gamma`` and shifted by ``weight_beta``. Loading a
    checkpoint without these sets them to the moments of its weights, so that its filters stay as they were.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Taps along y and x.
        stride: Pixels of the input from one output to the next.
        padding: Zeros around the input.
        dilation: Pixels between taps.
        groups: Parts of the channels that are convolved apart.
        bias: Whether to add a learned bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.register_buffer('weight_gamma', torch.ones(out_channels, 1, 1, 1))
        self.register_buffer('weight_beta', torch.zeros(out_channels, 1, 1, 1))

    def standardized_weight(self) -> Tensor:
        """The filters as they are applied, (out_channels, in_channels / groups, kh, kw)."""
        mean, std = _moments(self.weight)
        return self.weight_gamma * (self.weight - mean) / std + self.weight_beta

    def forward(self, x: Tensor) -> Tensor:
        """(b, in_channels, h, w) -> (b, out_channels, h_out, w_out)."""
        return self._conv_forward(x, self.standardized_weight(), self.bias)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        weight = state_dict.get(f'{prefix}weight')
        if weight is not None and not {f'{prefix}weight_gamma', f'{prefix}weight_beta'} & set(state_dict):
            mean, std = _moments(weight.detach())
            state_dict = {**state_dict, f'{prefix}weight_gamma': std, f'{prefix}weight_beta': mean}
        super()._load_from_state_dict(state_dict, prefix, *args)


class SAConv2d(ConvAWS2d):
    """Switchable atrous convolution: DetectoRS, arXiv 2006.02334; ``SAC`` in configs.

    A switch, predicted at each pixel, blends the convolution with one of three times the dilation, whose filters
    differ by ``weight_diff``; a global context is added before and after.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Taps along y and x.
        stride: Pixels of the input from one output to the next.
        padding: Zeros around the input.
        dilation: Pixels between taps.
        groups: Parts of the channels that are convolved apart.
        bias: Whether the layer has a bias parameter. As in the original, the convolutions do without it: the
            bias that counts is that of ``post_context``.
        use_deform: Whether both convolutions are deformable, with predicted offsets.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        use_deform: bool = False,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.use_deform = use_deform
        self.switch = nn.Conv2d(in_channels, 1, kernel_size=1, stride=stride)
        self.weight_diff = nn.Parameter(torch.zeros_like(self.weight))
        self.pre_context = nn.Conv2d(in_channels, in_channels, kernel_size=1)
        self.post_context = nn.Conv2d(out_channels, out_channels, kernel_size=1)
        if use_deform:
            channels = 2 * self.kernel_size[0] * self.kernel_size[1]
            self.offset_s = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1)
            self.offset_l = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1)
        self.init_weights()

    def init_weights(self) -> None:
        """Start as the plain convolution: the switch at 1, no context, regular grids of taps."""
        added = [self.switch, self.pre_context, self.post_context]
        added += [self.offset_s, self.offset_l] if self.use_deform else []
        for layer in added:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.ones_(self.switch.bias)
        nn.init.zeros_(self.weight_diff)

    def forward(self, x: Tensor) -> Tensor:
        """(b, in_channels, h, w) -> (b, out_channels, h_out, w_out)."""
        x = x + self.pre_context(F.adaptive_avg_pool2d(x, 1))
        # maps of a pixel or two, of which there are not enough pixels to mirror, repeat the last one
        mode = 'reflect' if min(x.shape[2:]) > 2 else 'replicate'
        near = F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode=mode), kernel_size=5, stride=1)
        switch = self.switch(near)
        weight = self.standardized_weight()
        small = self._convolve(x, weight, 1, self.offset_s(near) if self.use_deform else None)
        large = self._convolve(x, weight + self.weight_diff, 3, self.offset_l(near) if self.use_deform else None)
        out = switch * small + (1 - switch) * large
        return out + self.post_context(F.adaptive_avg_pool2d(out, 1))

    def _convolve(self, x: Tensor, weight: Tensor, spread: int, offset: Tensor | None) -> Tensor:
        padding = [spread * p for p in self.padding]
        dilation = [spread * d for d in self.dilation]
        if offset is None:
            return F.conv2d(x, weight, None, self.stride, padding, dilation, self.groups)
        return deform_conv2d(x, offset, weight, self.stride, padding, dilation, self.groups, im2col_step=ALL_IMAGES)
