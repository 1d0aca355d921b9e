"""``mmcv.parallel``: batches of its ``DataContainer``, and its wrapper of a model on one device."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from mmdetlike.errors import ConfigError


class DataContainer:
    """A value of a sample, and how such values make a batch.

    Args:
        data: The value.
        stack: The batch is one tensor, which smaller ones are padded for.
        padding_value: What they are padded with.
        cpu_only: The value stays on the CPU.
        pad_dims: How many of the last dimensions may differ in size; None for none.
    """

    def __init__(
        self, data, stack: bool = False, padding_value: float = 0, cpu_only: bool = False, pad_dims: int | None = 2
    ) -> None:
        if pad_dims not in (None, 1, 2, 3):
            raise ConfigError(f'DataContainer: pad_dims={pad_dims!r}, expected None, 1, 2 or 3')
        self.data = data
        self.stack = stack
        self.padding_value = padding_value
        self.cpu_only = cpu_only
        self.pad_dims = pad_dims

    def __repr__(self) -> str:
        return f'DataContainer({self.data!r})'

    def size(self, *args):
        """The size of a tensor that is the value."""
        return self.data.size(*args)

    def dim(self) -> int:
        """The number of dimensions of a tensor that is the value."""
        return self.data.dim()


def collate(batch: Sequence, samples_per_gpu: int = 1):
    """A batch of samples: of each ``DataContainer`` one with a part for each GPU, of other values a list.

    Args:
        batch: Samples of the same structure.
        samples_per_gpu: How many samples make a part.
    """
    first = batch[0]
    if isinstance(first, DataContainer):
        values = [sample.data for sample in batch]
        parts = [values[start : start + samples_per_gpu] for start in range(0, len(values), samples_per_gpu)]
        if first.stack:
            parts = [_stacked(part, first) for part in parts]
        return DataContainer(parts, first.stack, first.padding_value, first.cpu_only, first.pad_dims)
    if isinstance(first, Mapping):
        return {key: collate([sample[key] for sample in batch], samples_per_gpu) for key in first}
    return pseudo_collate(batch)


def _stacked(tensors: Sequence[Tensor], container: DataContainer) -> Tensor:
    if container.pad_dims is None:
        return torch.stack(list(tensors))
    shape = [max(sizes) for sizes in zip(*(tensor.shape[-container.pad_dims :] for tensor in tensors))]
    return torch.stack([_padded(tensor, shape, container.padding_value) for tensor in tensors])


def _padded(tensor: Tensor, shape: Sequence[int], value: float) -> Tensor:
    """A tensor whose last dimensions have a shape; what is added comes last."""
    missing = [wanted - size for wanted, size in zip(shape, tensor.shape[-len(shape) :])]
    # torch counts from the last dimension, before and after
    return F.pad(tensor, [count for size in reversed(missing) for count in (0, size)], value=value)


def scatter(inputs, target_gpus: Sequence, dim: int = 0) -> tuple:
    """The part of a batch that one device works on, its tensors there.

    Args:
        inputs: What ``collate`` has made.
        target_gpus: One device or index of a GPU; -1 is the CPU.
        dim: Has no meaning for one device.

    Raises:
        ConfigError: There are several devices.
    """
    if len(target_gpus) != 1:
        raise ConfigError(
            f'scatter: target_gpus={list(target_gpus)}, expected one device: several GPUs have a process each here'
        )
    device = torch.device('cpu') if target_gpus[0] == -1 else torch.device(target_gpus[0])
    return (_moved(inputs, device),)


def _moved(value, device: torch.device):
    if isinstance(value, DataContainer):
        part = value.data[0]
        return part if value.cpu_only else _moved(part, device)
    if isinstance(value, Mapping):
        return {key: _moved(part, device) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(part, device) for part in value)
    return value.to(device) if hasattr(value, 'to') else value


class MMDataParallel(nn.Module):
    """A model on one device, behind ``module``, as scripts of 2.x ask for it.

    Args:
        module: The model.
        device_ids: One device or index of a GPU; None or -1 where the model is.

    Raises:
        ConfigError: There are several devices.
    """

    def __init__(self, module: nn.Module, device_ids: Sequence | None = None) -> None:
        super().__init__()
        devices = [-1] if device_ids is None else list(device_ids)
        if len(devices) != 1:
            raise ConfigError(
                f'MMDataParallel: device_ids={devices}, expected one: several GPUs have a process each here, which '
                'tools/dist_train.sh starts'
            )
        self.module = module if devices[0] == -1 else module.to(torch.device(devices[0]))

    def forward(self, *args, **kwargs):
        """Call the model."""
        return self.module(*args, **kwargs)

    def train_step(self, *args, **kwargs) -> dict:
        """One training step of the model."""
        return self.module.train_step(*args, **kwargs)

    def val_step(self, *args, **kwargs) -> list:
        """What the model predicts for a batch."""
        return self.module.val_step(*args, **kwargs)
