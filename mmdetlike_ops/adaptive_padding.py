"""A convolution that pads as much as its input needs."""

import torch.nn.functional as F
from torch import Tensor, nn

from ._checks import check_float, check_shape


class Conv2dAdaptivePadding(nn.Conv2d):
    """A convolution padded as TensorFlow's "same": each axis of ``ceil(size / stride)`` outputs, however large it is.

    Where the padding of an axis is odd, the larger part comes after the image.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Of the convolution, like ``stride``, ``dilation``, ``groups`` and ``bias``.
        padding: Of no effect: it follows from the size of the input.
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
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, 0, dilation, groups, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, ceil(h / stride), ceil(w / stride)).

        Raises:
            TypeError, ValueError: ``x`` is no floating tensor of that shape.
        """
        check_float('Conv2dAdaptivePadding', 'x', x)
        check_shape('Conv2dAdaptivePadding', 'x', x, ('n', self.in_channels, 'h', 'w'))
        # -(-a // b) is a / b rounded up
        missing = [
            max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
            for size, kernel, stride, dilation in zip(x.shape[2:], self.kernel_size, self.stride, self.dilation)
        ]
        before = [total // 2 for total in missing]
        if any(total % 2 for total in missing):
            x = F.pad(x, (0, missing[1] % 2, 0, missing[0] % 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, before, self.dilation, self.groups)
