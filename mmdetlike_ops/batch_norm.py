"""Batch normalization with frozen statistics, and with statistics over all processes."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ._checks import check_choice


class FrozenBatchNorm2d(nn.Module):
    """Batch normalization whose statistics and affine parameters are constants.

    `weight`, `bias`, `running_mean` and `running_var`, each (c,), are buffers: no optimizer and no training step
    changes them. They have the names of `nn.BatchNorm2d`, so its checkpoints load. At first the layer changes nothing:
    the variance is 1 - eps, to which eps is added. A state with nothing but `weight` and `bias`, as Caffe2 saved it,
    loads, too; mean and variance stay as they are.

    Args:
        num_features: Number of channels c.
        eps: Added to the variance.
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.register_buffer('weight', torch.ones(num_features))
        self.register_buffer('bias', torch.zeros(num_features))
        self.register_buffer('running_mean', torch.zeros(num_features))
        self.register_buffer('running_var', torch.ones(num_features) - eps)

    @classmethod
    def convert_frozen_batchnorm(cls, module: nn.Module) -> nn.Module:
        """See the function `convert_frozen_batchnorm`."""
        return convert_frozen_batchnorm(module)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize `x` (n, c, h, w)."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        state_dict.pop(f'{prefix}num_batches_tracked', None)  # saved by nn.BatchNorm2d, of no use to constants
        statistics = ('running_mean', 'running_var')
        # Caffe2 merged the statistics into weight and bias; one of the two alone is a damaged file
        merged = f'{prefix}weight' in state_dict and not any(f'{prefix}{name}' in state_dict for name in statistics)
        if merged:
            state_dict.update({f'{prefix}{name}': getattr(self, name) for name in statistics})
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f'{self.num_features}, eps={self.eps}'


def convert_frozen_batchnorm(module: nn.Module) -> nn.Module:
    """Turn every `BatchNorm2d` and `SyncBatchNorm` of a module into a `FrozenBatchNorm2d` of the same values.

    Args:
        module: Changed in place; a layer that is used at several places remains one layer.

    Returns:
        `module`, or its frozen counterpart where it is a batch norm itself.

    Raises:
        ValueError: A batch norm keeps no running statistics.
    """
    frozen = {
        layer: _freeze(name, layer)
        for name, layer in module.named_modules()
        if isinstance(layer, (nn.BatchNorm2d, nn.SyncBatchNorm))
    }
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):
            if child in frozen:
                setattr(parent, name, frozen[child])
    return frozen.get(module, module)


def _freeze(name: str, layer: _BatchNorm) -> FrozenBatchNorm2d:
    if layer.running_mean is None:
        raise ValueError(f'convert_frozen_batchnorm: {name or "module"} keeps no running statistics that could freeze')
    frozen = FrozenBatchNorm2d(layer.num_features, layer.eps).to(layer.running_mean)
    for key, value in layer.state_dict().items():
        if key in frozen.state_dict():
            getattr(frozen, key).copy_(value)
    return frozen.train(layer.training)


class SyncBatchNorm(nn.SyncBatchNorm):
    """Batch normalization with statistics over all processes, on CPU (gloo) as well as on GPU.

    Without a process group, or with one process, it is ordinary batch normalization. Parameters and buffers are those
    of `nn.BatchNorm2d`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize `x` (n, c, ...)."""
        if x.device.type != 'cpu' or not self.training or not _process_group_exists():
            return super().forward(x)
        if dist.get_world_size(self.process_group) == 1:
            return _BatchNorm.forward(self, x)
        mean, var, count = _statistics(x, x.numel() // x.shape[1], self.process_group)
        _update_running_statistics(self, mean, var * count / (count - 1).clamp(min=1))
        return _normalize(self, x, mean, var)


class NaiveSyncBatchNorm(nn.BatchNorm2d):
    """Batch normalization with statistics averaged over all processes, in plain PyTorch, as Detectron2 has it.

    Unlike `SyncBatchNorm` it needs no two values per channel, serves processes without any image (with `stats_mode`
    'N'), and the running variance is the biased one. Without a process group, or with one process, it is ordinary
    batch normalization.

    Args:
        num_features: Number of channels c.
        eps: Added to the variance.
        momentum: Share of the new statistics in the running ones; None averages over all batches.
        affine: Whether there is a weight and a bias per channel.
        track_running_stats: Whether running statistics are kept.
        stats_mode: '' counts each process alike, for which each needs an image; 'N' by its number of images.

    Raises:
        ValueError: `stats_mode` is neither; in `forward`, a process without images with `stats_mode` ''.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        stats_mode: str = '',
    ) -> None:
        check_choice('NaiveSyncBatchNorm', 'stats_mode', stats_mode, ('', 'N'))
        super().__init__(num_features, eps, momentum, affine, track_running_stats)
        self.stats_mode = stats_mode

    def forward(self, x: Tensor) -> Tensor:
        """Normalize `x` (n, c, h, w)."""
        if not self.training or not _process_group_exists() or dist.get_world_size() == 1:
            return super().forward(x)
        self._check_input_dim(x)
        if self.stats_mode == '' and len(x) == 0:
            raise ValueError("NaiveSyncBatchNorm: x has no images, which takes stats_mode='N'")
        mean, var, count = _statistics(x, len(x) if self.stats_mode == 'N' else 1, None)
        if count > 0:
            _update_running_statistics(self, mean, var)
        return _normalize(self, x, mean, var)

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, stats_mode={self.stats_mode!r}'


def _process_group_exists() -> bool:
    return dist.is_available() and dist.is_initialized()


def _statistics(x: Tensor, weight: float, group: 'dist.ProcessGroup | None') -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance (c,) over processes, each weighted by its `weight`, and the sum of weights, (1,).

    Two passes, the mean first: the mean square less the square of the mean would cancel where a mean is large.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    dims = [d for d in range(x.dim()) if d != 1]
    per_value = weight / max(x.numel() // x.shape[1], 1)
    totals = _SumOverProcesses.apply(torch.cat([x.sum(dims) * per_value, x.new_full((1,), weight)]), group)
    count = totals[-1:].detach()
    mean = totals[:-1] / count.clamp(min=1)
    deviations = (x - _per_channel(mean, x)).square().sum(dims) * per_value
    return mean, _SumOverProcesses.apply(deviations, group) / count.clamp(min=1), count


class _SumOverProcesses(torch.autograd.Function):
    """The sum over processes. Each of them gets it, so a summand's gradient is the sum of all processes' gradients."""

    @staticmethod
    def forward(ctx, x: Tensor, group: 'dist.ProcessGroup | None') -> Tensor:
        ctx.group = group
        total = x.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)
        return total, None


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (x.dim() - 2))


def _update_running_statistics(layer: _BatchNorm, mean: Tensor, var: Tensor) -> None:
    if not layer.track_running_stats:
        return
    layer.num_batches_tracked.add_(1)
    rate = layer.momentum if layer.momentum is not None else 1.0 / layer.num_batches_tracked.item()
    layer.running_mean.lerp_(mean.detach().to(layer.running_mean), rate)
    layer.running_var.lerp_(var.detach().to(layer.running_var), rate)


def _normalize(layer: _BatchNorm, x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    scale = (var + layer.eps).rsqrt()
    if layer.affine:
        scale = scale * layer.weight
    out = (x - _per_channel(mean, x)) * _per_channel(scale, x)
    return (out + _per_channel(layer.bias, x) if layer.affine else out).to(x.dtype)
