"""CARAFE: upsampling with kernels that are predicted from the content."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._checks import check_device, check_floating, check_plane
from ._library import kernels, register_backward


@torch.library.register_fake('mmdetlike_ops::carafe')
def _fake_carafe(features, masks, kernel, groups, scale):
    n, c, h, w = features.shape
    return features.new_empty(n, c, h * scale, w * scale)


@torch.library.register_fake('mmdetlike_ops::carafe_backward')
def _fake_backward(grad, features, masks, kernel, groups, scale):
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (features, masks))


def _setup_context(ctx, inputs, output):
    features, masks, *ctx.settings = inputs
    ctx.save_for_backward(features, masks)


def _backward(ctx, grad):
    return *kernels.carafe_backward(grad, *ctx.saved_tensors, *ctx.settings), None, None, None


register_backward('carafe', _backward, _setup_context)


def carafe(features: Tensor, masks: Tensor, kernel_size: int, group_size: int, scale_factor: int) -> Tensor:
    """Sum the neighbors of each pixel with a kernel of its own, on a finer grid (CARAFE, arXiv 1905.02188).

    An output pixel sees the `kernel_size` x `kernel_size` features around the one that it lies in; outside the map they
    are 0.

    Args:
        features: (n, c, h, w).
        masks: (n, group_size * kernel_size^2, h * scale_factor, w * scale_factor), the kernel of each output pixel, row
            by row; used in the dtype of `features`.
        kernel_size: Side of the kernels, odd.
        group_size: Groups of neighboring channels with masks of their own.
        scale_factor: Pixels of the output per pixel of the features along each axis.

    Returns:
        (n, c, h * scale_factor, w * scale_factor), of the dtype of `features`.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    _check('carafe', features, masks, (kernel_size, group_size, scale_factor))
    return kernels.carafe(features, masks.to(features.dtype), kernel_size, group_size, scale_factor)


def carafe_naive(features: Tensor, masks: Tensor, kernel_size: int, group_size: int, scale_factor: int) -> Tensor:
    """`carafe` from PyTorch's own operations, which needs kernel_size^2 times the memory of the features.

    Args and returns are those of `carafe`.
    """
    _check('carafe_naive', features, masks, (kernel_size, group_size, scale_factor))
    n, c, h, w = features.shape
    taps = F.unfold(features, kernel_size, padding=kernel_size // 2)
    taps = taps.view(n, group_size, c // group_size, kernel_size**2, h, 1, w, 1)
    weights = masks.to(features.dtype).view(n, group_size, 1, kernel_size**2, h, scale_factor, w, scale_factor)
    return (taps * weights).sum(3).view(n, c, h * scale_factor, w * scale_factor)


def _check(op: str, features: Tensor, masks: Tensor, sizes: tuple[int, int, int]) -> None:
    check_floating(op, 'features', features)
    check_floating(op, 'masks', masks)
    check_device(op, 'masks', masks, features.device)
    kernel, groups, scale = sizes
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f'{op}: kernel_size is {kernel}, an odd number is expected')
    for name, value in (('group_size', groups), ('scale_factor', scale)):
        if value < 1:
            raise ValueError(f'{op}: {name} is {value}, a positive number is expected')
    if features.dim() != 4 or features.shape[1] % groups:
        raise ValueError(
            f'{op}: features has shape {tuple(features.shape)}, (n, c, h, w) with c a multiple of {groups} is expected'
        )
    check_plane(op, 'masks', masks)
    n, _, h, w = features.shape
    wanted = (n, groups * kernel**2, h * scale, w * scale)
    if masks.shape != wanted:
        raise ValueError(f'{op}: masks has shape {tuple(masks.shape)}, {wanted} is expected')


class CARAFE(nn.Module):
    """`carafe` as a module.

    Args:
        kernel_size: Side of the kernels, odd.
        group_size: Groups of channels with masks of their own.
        scale_factor: Ratio of output size to input size.
    """

    def __init__(self, kernel_size: int, group_size: int, scale_factor: int):
        super().__init__()
        self.kernel_size = kernel_size
        self.group_size = group_size
        self.scale_factor = scale_factor

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        """Map features (n, c, h, w) to (n, c, h * scale_factor, w * scale_factor)."""
        return carafe(features, masks, self.kernel_size, self.group_size, self.scale_factor)

    def extra_repr(self) -> str:
        return f'kernel_size={self.kernel_size}, group_size={self.group_size}, scale_factor={self.scale_factor}'


class CARAFENaive(CARAFE):
    """`carafe_naive` as a module; arguments are those of `CARAFE`."""

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        """Map features (n, c, h, w) to (n, c, h * scale_factor, w * scale_factor)."""
        return carafe_naive(features, masks, self.kernel_size, self.group_size, self.scale_factor)


class CARAFEPack(nn.Module):
    """CARAFE with the layers that predict its kernels (arXiv 1905.02188).

    Args:
        channels: Channels of input and output.
        scale_factor: Ratio of output size to input size.
        up_kernel: Side of the predicted kernels, odd.
        up_group: Groups of channels with kernels of their own.
        encoder_kernel: Kernel size of the convolution that predicts them.
        encoder_dilation: Its dilation.
        compressed_channels: Channels that it sees.
    """

    def __init__(
        self,
        channels: int,
        scale_factor: int,
        up_kernel: int = 5,
        up_group: int = 1,
        encoder_kernel: int = 3,
        encoder_dilation: int = 1,
        compressed_channels: int = 64,
    ):
        super().__init__()
        self.channels = channels
        self.scale_factor = scale_factor
        self.up_kernel = up_kernel
        self.up_group = up_group
        self.encoder_kernel = encoder_kernel
        self.encoder_dilation = encoder_dilation
        self.compressed_channels = compressed_channels
        self.channel_compressor = nn.Conv2d(channels, compressed_channels, 1)
        self.content_encoder = nn.Conv2d(
            compressed_channels,
            up_kernel**2 * up_group * scale_factor**2,
            encoder_kernel,
            padding=(encoder_kernel - 1) * encoder_dilation // 2,
            dilation=encoder_dilation,
        )
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """Draw the compressor from Xavier's uniform distribution and the encoder from a narrow normal one."""
        nn.init.xavier_uniform_(self.channel_compressor.weight)
        nn.init.normal_(self.content_encoder.weight, std=0.001)
        for layer in (self.channel_compressor, self.content_encoder):
            layer.bias.zero_()

    def predict_masks(self, x: Tensor) -> Tensor:
        """Predict the kernels of `x` (n, channels, h, w), each with sum 1.

        Returns:
            (n, up_group * up_kernel^2, h * scale_factor, w * scale_factor).
        """
        masks = F.pixel_shuffle(self.content_encoder(self.channel_compressor(x)), self.scale_factor)
        return masks.unflatten(1, (self.up_group, self.up_kernel**2)).softmax(2).flatten(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to (n, channels, h * scale_factor, w * scale_factor)."""
        return carafe(x, self.predict_masks(x), self.up_kernel, self.up_group, self.scale_factor)
