"""Optimizer wrappers: mixed precision on CPU and CUDA, checked clipping, accumulation of gradients."""

import contextlib
import inspect
import warnings
from collections.abc import Sequence

import torch
from mmengine.optim import AmpOptimWrapper as MMEngineAmpOptimWrapper
from mmengine.optim import OptimWrapper as MMEngineOptimWrapper
from mmengine.optim import OptimWrapperDict
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from mmdetlike.engine.half_speed import warning_of_half_training
from mmdetlike.errors import ConfigError
from mmdetlike.registry import OPTIM_WRAPPERS

ENDLESS = -1  # how mmengine spells that a wrapper's updates have no known end


def clip_each_norm_(parameters: Sequence[Tensor], **settings) -> Tensor:
    """Clip the norm of each parameter's gradient by itself; gives the largest norm that there was."""
    return torch.stack([clip_grad_norm_([parameter], **settings) for parameter in parameters]).max()


# what each type of clipping calls, and the argument that it can't do without
CLIPPING = dict(
    norm=(clip_grad_norm_, 'max_norm'),
    value=(clip_grad_value_, 'clip_value'),
    norm_per_parameter=(clip_grad_norm_, 'max_norm'),
)
OWN_CLIPPING = dict(norm_per_parameter=clip_each_norm_)


def without_own_clipping(clip_grad: dict | None) -> dict | None:
    """``clip_grad`` with a type that mmengine knows, in place of one that it doesn't."""
    return {**clip_grad, 'type': 'norm'} if (clip_grad or {}).get('type') in OWN_CLIPPING else clip_grad


def set_own_clipping(wrapper: MMEngineOptimWrapper, clip_grad: dict | None) -> None:
    """Let a wrapper that is built clip by our own function, where ``clip_grad`` names one."""
    kind = (clip_grad or {}).get('type')
    if kind in OWN_CLIPPING:
        wrapper.clip_func = OWN_CLIPPING[kind]


def check_clip_grad(clip_grad: dict | None) -> None:
    """Check settings of gradient clipping, which otherwise fail only after the first gradient.

    Raises:
        ConfigError: The type is unknown, or an argument is or is missing.
    """
    if clip_grad is None:
        return
    if not isinstance(clip_grad, dict):
        raise ConfigError(f'clip_grad={clip_grad!r}: expected a dict, as dict(max_norm=35), or None')
    kind = clip_grad.get('type', 'norm')
    if kind not in CLIPPING:
        raise ConfigError(f'clip_grad has type={kind!r}; expected one of {", ".join(map(repr, CLIPPING))}')
    clip, required = CLIPPING[kind]
    accepted = list(inspect.signature(clip).parameters)[1:]  # the first one are the gradients
    unknown = [name for name in clip_grad if name not in (*accepted, 'type')]
    if unknown or required not in clip_grad:
        wrong = f'unknown arguments {", ".join(map(repr, unknown))}' if unknown else f'no {required!r}'
        raise ConfigError(f'clip_grad has {wrong}; of type {kind!r} it takes {", ".join(accepted)}')


@OPTIM_WRAPPERS.register_module()
class OptimWrapper(MMEngineOptimWrapper):
    """mmengine's wrapper, which accumulates and clips gradients, with the settings of clipping checked when built.

    Args:
        optimizer: The optimizer.
        accumulative_counts: Batches whose gradients make a step.
        clip_grad: ``dict(max_norm=...)``, ``dict(type='value', clip_value=...)``, or ``dict(type='norm_per_parameter',
            max_norm=...)``, which looks at each parameter by itself, and further arguments of torch's functions; None
            clips nothing.

    Raises:
        ConfigError: ``clip_grad`` isn't such a dict.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, accumulative_counts: int = 1, clip_grad: dict | None = None
    ) -> None:
        check_clip_grad(clip_grad)
        super().__init__(optimizer, accumulative_counts, without_own_clipping(clip_grad))
        set_own_clipping(self, clip_grad)


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(MMEngineAmpOptimWrapper):
    """Automatic mixed precision: float16 or bfloat16 on CUDA, bfloat16 on the CPU.

    Args:
        loss_scale: Scaling of losses for float16, ``'dynamic'`` or a number; of no use to bfloat16.
        dtype: ``'float16'`` or ``'bfloat16'``; by default the first on CUDA, the second on the CPU.
        use_fsdp: Use the scaler for sharded models.
        kwargs: See mmengine's ``OptimWrapper``.

    Raises:
        ConfigError: float16 is asked for on the CPU, whose range needs a scaler that torch has only for CUDA; or
            ``clip_grad`` isn't what it should be.
    """

    def __init__(
        self, loss_scale='dynamic', dtype: str | torch.dtype | None = None, use_fsdp: bool = False, **kwargs
    ) -> None:
        clip_grad = kwargs.get('clip_grad')
        check_clip_grad(clip_grad)
        kwargs['clip_grad'] = without_own_clipping(clip_grad)
        self.on_cpu = not torch.cuda.is_available()
        if not self.on_cpu:
            super().__init__(loss_scale=loss_scale, dtype=dtype, use_fsdp=use_fsdp, **kwargs)
            set_own_clipping(self, clip_grad)
            return
        if dtype not in (None, 'bfloat16', torch.bfloat16):
            raise ConfigError(
                f"mixed precision on the CPU is bfloat16, got dtype={dtype!r}: leave it out or 'bfloat16'"
            )
        if (slow := warning_of_half_training()) is not None:  # the config may be meant for a GPU
            warnings.warn(slow, stacklevel=2)
        # Past mmengine's own constructor, which refuses to run without CUDA; what it would set is set here.
        MMEngineOptimWrapper.__init__(self, **kwargs)
        set_own_clipping(self, clip_grad)
        self._scale_update_param = None
        self.cast_dtype = torch.bfloat16
        self.loss_scaler = torch.amp.GradScaler('cpu', enabled=False)

    @contextlib.contextmanager
    def optim_context(self, model: torch.nn.Module):
        """Run the forward pass of ``model`` in lower precision."""
        if not self.on_cpu:
            with super().optim_context(model):
                yield
            return
        with MMEngineOptimWrapper.optim_context(self, model), torch.autocast('cpu', dtype=self.cast_dtype):
            yield


def parts_of(optim_wrapper: MMEngineOptimWrapper | OptimWrapperDict) -> list[MMEngineOptimWrapper]:
    """The optimizer wrapper itself, or those of a dict of several."""
    return list(optim_wrapper.values()) if isinstance(optim_wrapper, OptimWrapperDict) else [optim_wrapper]


class AccumulationGroups:
    """Make the last group of accumulated gradients shorter, so that no gradient is left over when the batches end.

    mmengine does so for one optimizer, not for several: only the model knows how often it updates each of them. Here
    each is assumed to be updated once a batch; one that was not, in the first batch, is told that it has no known end.

    Args:
        optim_wrapper: One optimizer wrapper or a dict of several.
        model: What they train.
        seen: Batches that were trained on before.
        total: Batches after which no gradient may be left.
    """

    def __init__(self, optim_wrapper, model: torch.nn.Module, seen: int, total: int) -> None:
        self._parts = parts_of(optim_wrapper)
        self._model = model
        self._expected = seen + 1
        for part in self._parts:
            part.initialize_count_status(model, seen, total)

    def check(self) -> None:
        """Find out, after the first batch, which optimizers were not updated exactly once."""
        for part in self._parts:
            if part.inner_count != self._expected:
                part.initialize_count_status(self._model, part.inner_count, ENDLESS)
