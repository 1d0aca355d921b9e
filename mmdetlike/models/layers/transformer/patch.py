"""Patches of images: cutting an image or a feature map into patches, and merging neighboring ones."""

import math

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmdetlike.errors import ConfigError

from ..conv import build_conv_layer
from ..norm import build_norm_layer


def nlc_to_nchw(x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    """A sequence (N, H * W, C) as a map (N, C, H, W), channels-last in memory; ``ValueError`` for another length."""
    if x.dim() != 3 or x.shape[1] != hw_shape[0] * hw_shape[1]:
        raise ValueError(f'x must be (N, {hw_shape[0]} * {hw_shape[1]}, C), but got {tuple(x.shape)}.')
    # unflatten, then permute: only so a batch of 1 keeps strides by which convolutions know it as channels-last
    return x.unflatten(1, (hw_shape[0], hw_shape[1])).permute(0, 3, 1, 2)


def nchw_to_nlc(x: Tensor) -> Tensor:
    """A map (N, C, H, W) as a sequence (N, H * W, C), which is contiguous if the map is channels-last."""
    if x.dim() != 4:
        raise ValueError(f'x must be (N, C, H, W), but got {tuple(x.shape)}.')
    return x.permute(0, 2, 3, 1).flatten(1, 2)


class AdaptivePadding(nn.Module):
    """Pad a map with zeros so that a sliding kernel covers all of it.

    Args:
        kernel_size, stride, dilation: Of the kernel.
        padding: ``'corner'`` pads bottom and right, ``'same'`` all four sides; ``ConfigError`` for anything else.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int] = 1,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        padding: str = 'corner',
    ) -> None:
        super().__init__()
        if padding not in ('same', 'corner'):
            raise ConfigError(f"padding must be 'same' or 'corner', but got {padding!r}.")
        self.padding = padding
        self.kernel_size = _pair(kernel_size)
        self.stride = _pair(stride)
        self.dilation = _pair(dilation)

    def get_pad_shape(self, input_shape: tuple[int, int]) -> tuple[int, int]:
        """How many rows and columns a map of ``input_shape`` (H, W) lacks."""
        settings = zip(input_shape, self.kernel_size, self.stride, self.dilation)
        rows, columns = (max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0) for n, k, s, d in settings)
        return rows, columns

    def forward(self, x: Tensor) -> Tensor:
        """Pad ``x`` (N, C, H, W)."""
        rows, columns = self.get_pad_shape(x.shape[-2:])
        if rows == 0 and columns == 0:
            return x
        top, left = (rows // 2, columns // 2) if self.padding == 'same' else (0, 0)
        return F.pad(x, (left, columns - left, top, rows - top))

    def extra_repr(self) -> str:
        names = ('kernel_size', 'stride', 'dilation', 'padding')
        return ', '.join(f'{name}={getattr(self, name)!r}' for name in names)


class SlidingKernel(BaseModule):
    """Base of what cuts a feature map into patches: the padding, the number of patches, and a norm layer."""

    def __init__(self, kernel_size, stride, padding, dilation, norm_cfg, norm_channels, init_cfg) -> None:
        super().__init__(init_cfg)
        self.kernel_size = _pair(kernel_size)
        self.dilation = _pair(dilation)
        self.stride = _pair(kernel_size if stride is None else stride)
        self.adaptive_padding = None
        if isinstance(padding, str):
            self.adaptive_padding = AdaptivePadding(self.kernel_size, self.stride, self.dilation, padding)
            padding = 0
        self.padding = _pair(padding)
        self.norm = build_norm_layer(norm_cfg, norm_channels)[1] if norm_cfg is not None else nn.Identity()

    def padded_size(self, input_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of a map of ``input_size`` (H, W) after adaptive padding."""
        if self.adaptive_padding is None:
            return tuple(input_size)
        return tuple(n + more for n, more in zip(input_size, self.adaptive_padding.get_pad_shape(input_size)))

    def output_size(self, input_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of patches of a map of ``input_size`` (H, W)."""
        settings = zip(self.padded_size(input_size), self.padding, self.kernel_size, self.stride, self.dilation)
        rows, columns = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, k, s, d in settings)
        return rows, columns


class PatchEmbed(SlidingKernel):
    """Cut an image into patches and project each to a vector, by one convolution.

    Args:
        in_channels: Channels of the image.
        embed_dims: Channels of a patch.
        conv_type: Type of the convolution.
        kernel_size: Height and width of a patch.
        stride: Distance of patches, by default their size.
        padding: ``'corner'`` or ``'same'`` as in ``AdaptivePadding``, or a number.
        dilation: Distance of what is taken from the map.
        bias: Whether the convolution has a bias.
        norm_cfg: Norm layer, None for none.
        input_size: Height and width of the images if they are known; sets ``init_input_size``, with adaptive padding,
            and ``init_out_size``.
    """

    def __init__(
        self,
        in_channels: int = 3,
        embed_dims: int = 768,
        conv_type: str = 'Conv2d',
        kernel_size: int | tuple[int, int] = 16,
        stride: int | tuple[int, int] | None = 16,
        padding: int | tuple[int, int] | str = 'corner',
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
        norm_cfg: dict | None = None,
        input_size: int | tuple[int, int] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, dilation, norm_cfg, embed_dims, init_cfg)
        self.embed_dims = embed_dims
        shape = dict(stride=self.stride, padding=self.padding, dilation=self.dilation, bias=bias)
        self.projection = build_conv_layer(dict(type=conv_type), in_channels, embed_dims, self.kernel_size, **shape)
        self.init_input_size = self.init_out_size = None
        if input_size is not None:
            self.init_input_size = self.padded_size(_pair(input_size))
            self.init_out_size = self.output_size(_pair(input_size))

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Images (B, in_channels, H, W) -> vectors (B, rows * columns, embed_dims) and (rows, columns)."""
        x = self.projection(self.adaptive_padding(x) if self.adaptive_padding else x)
        size = (x.shape[2], x.shape[3])
        return self.norm(nchw_to_nlc(x)), size


class PatchMerging(SlidingKernel):
    """Concatenate the vectors of neighboring patches and project them (Swin Transformer, arXiv 2103.14030).

    The channels of a patch's neighbors are interleaved as by ``nn.Unfold``: channel first, then position.

    Args:
        in_channels: Channels of a patch.
        out_channels: Channels of a merged patch.
        kernel_size, stride, padding, dilation: As of ``PatchEmbed``, in patches.
        bias: Whether the projection has a bias.
        norm_cfg: Norm layer before the projection, None for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 2,
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] | str = 'corner',
        dilation: int | tuple[int, int] = 1,
        bias: bool = False,
        norm_cfg: dict | None = {'type': 'LN'},  # noqa: B006
        init_cfg: dict | None = None,
    ) -> None:
        sample_dim = math.prod(_pair(kernel_size)) * in_channels
        super().__init__(kernel_size, stride, padding, dilation, norm_cfg, sample_dim, init_cfg)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.reduction = nn.Linear(sample_dim, out_channels, bias=bias)

    def forward(self, x: Tensor, input_size: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """Patches (B, H * W, in_channels) -> merged ones (B, rows * columns, out_channels) and (rows, columns).

        ``input_size`` is (H, W); ``ValueError`` if it isn't that of ``x``.
        """
        x = nlc_to_nchw(x, input_size)
        x = self._unfold(self.adaptive_padding(x) if self.adaptive_padding else x)
        return self.reduction(self.norm(x)), self.output_size(input_size)

    def _unfold(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, rows * columns, C * kernel_size ** 2)."""
        kh, kw = self.kernel_size
        # where patches don't overlap, a reshape does the same as ``F.unfold`` without its copy of each pixel
        disjoint = self.stride == self.kernel_size and self.dilation == (1, 1) and self.padding == (0, 0)
        if not disjoint or x.shape[2] % kh or x.shape[3] % kw:
            return F.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride).transpose(1, 2)
        b, c, h, w = x.shape
        x = x.reshape(b, c, h // kh, kh, w // kw, kw).permute(0, 2, 4, 1, 3, 5)
        return x.reshape(b, (h // kh) * (w // kw), c * kh * kw)
