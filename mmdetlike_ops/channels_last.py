"""Layers on maps (n, c, h, w) whose channels come last in a CPU's memory, where torch's own are inexact or slow."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

# torch calls oneDNN only above this number of elements of a single image
_FEW_ELEMENTS = 20480


def has_channels_last(x: Tensor) -> bool:
    """Whether `x` is a float32 map (n, c, h, w) on a CPU with the channels last, and its order isn't ambiguous."""
    is_map = x.dim() == 4 and x.device.type == 'cpu' and x.dtype == torch.float32
    return is_map and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _is_traced() -> bool:
    """Whether a graph is being recorded, in which the plain layer belongs."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def can_train_batch_norm(layer: _BatchNorm, x: Tensor) -> bool:
    """Whether `train_batch_norm` computes what `layer` is to compute of `x`."""
    return not _is_traced() and layer.training and has_channels_last(x) and x.numel() > x.shape[1]


def train_batch_norm(layer: _BatchNorm, x: Tensor) -> Tensor:
    """Normalize `x` by its own statistics and update the running ones, as `layer` in training does.

    torch's batch norm sums up channels-last maps in float32 in one long row, others in float64: the latter has a
    hundredth of the error, and takes twice the time. This has the time of the one and the error of the other.
    """
    mean, var = exact_statistics(x)
    values_of_channel = x.numel() // x.shape[1]
    # running variances are unbiased
    update_running_statistics(layer, mean, var * values_of_channel / (values_of_channel - 1))
    return _TrainedBatchNorm.apply(x, layer.weight, layer.bias, mean.float(), var.float(), layer.eps)


def exact_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (c,), float64, of a channels-last map (n, c, h, w)."""
    n, c, h, w = x.shape
    # A column of pixels by itself is a short sum, exact enough in float32: torch takes each channel of each of the w
    # columns for a channel. Their statistics are then joined in float64 (the law of total variance).
    columns = x.detach().permute(0, 2, 3, 1).view(n * h, w * c)
    means, variances = torch.batch_norm_update_stats(columns, None, None, 0.0)
    means = means.double().view(w, c)
    mean = means.mean(0)
    var = variances.double().view(w, c).mean(0) + (means - mean).square().mean(0)
    return mean, var


def update_running_statistics(layer: _BatchNorm, mean: Tensor, var: Tensor) -> None:
    """Move the running statistics of `layer`, if it keeps any, to `mean` and `var` (c,) by its momentum."""
    if not layer.track_running_stats:
        return
    layer.num_batches_tracked.add_(1)
    rate = layer.momentum if layer.momentum is not None else 1.0 / layer.num_batches_tracked.item()
    layer.running_mean.lerp_(mean.detach().to(layer.running_mean), rate)
    layer.running_var.lerp_(var.detach().to(layer.running_var), rate)


class _TrainedBatchNorm(torch.autograd.Function):
    """Batch normalization by given statistics, which the backward pass knows to be those of the input."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor, eps: float):
        ctx.save_for_backward(x, weight, mean, (var + eps).rsqrt())
        ctx.eps = eps
        return F.batch_norm(x, mean, var, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, weight, mean, inverse_deviation = ctx.saved_tensors
        has_affine = weight is not None
        grads = torch.ops.aten.native_batch_norm_backward(
            grad.contiguous(memory_format=torch.channels_last),
            x,
            weight,
            None,
            None,
            mean,
            inverse_deviation,
            True,
            ctx.eps,
            [ctx.needs_input_grad[0], has_affine, has_affine],
        )
        return *grads, None, None, None


class Conv2d(nn.Conv2d):
    """torch's convolution, of which 1x1 kernels are fast in one thread of a CPU, too.

    There torch calls MKL for them, which reaches half of oneDNN's speed on CPUs of some makers, unless they are
    dilated. A kernel of one pixel has nothing to dilate, so that the result is the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, h', w')."""
        # the question about tracing must come first: a compiler can't follow the others
        if not _is_traced() and self._is_better_dilated(x):
            return F.conv2d(x, self.weight, self.bias, dilation=2, groups=self.groups)
        return super().forward(x)

    def _is_better_dilated(self, x: Tensor) -> bool:
        is_pointwise = self.kernel_size == self.stride == (1, 1) and self.padding == (0, 0)
        if not is_pointwise or torch.get_num_threads() > 1 or not has_channels_last(x):
            return False
        # anything that oneDNN doesn't take would come to torch's own dilated convolution, which is slow
        uses_onednn = torch.backends.mkldnn.enabled and torch.backends.mkldnn.is_available()
        in_float32 = self.weight.dtype == torch.float32 and not torch.is_autocast_enabled('cpu')
        return uses_onednn and in_float32 and x.numel() > _FEW_ELEMENTS
