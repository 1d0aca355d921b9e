"""Mixed precision wherever it is asked for, on the CPU too; groups of accumulated gradients of several optimizers."""

import contextlib

import torch
from mmengine.optim import AmpOptimWrapper as MMEngineAmpOptimWrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict

from mmdetlike.errors import ConfigError
from mmdetlike.registry import OPTIM_WRAPPERS

ENDLESS = -1  # how mmengine spells that a wrapper's updates have no known end


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(MMEngineAmpOptimWrapper):
    """Automatic mixed precision: float16 or bfloat16 on CUDA, bfloat16 on the CPU.

    Args:
        loss_scale: Scaling of losses for float16, ``'dynamic'`` or a number; of no use to bfloat16.
        dtype: ``'float16'`` or ``'bfloat16'``; by default the first on CUDA, the second on the CPU.
        use_fsdp: Use the scaler for sharded models.
        kwargs: See mmengine's ``OptimWrapper``.

    Raises:
        ConfigError: float16 is asked for on the CPU, whose range needs a scaler that torch has only for CUDA.
    """

    def __init__(
        self, loss_scale='dynamic', dtype: str | torch.dtype | None = None, use_fsdp: bool = False, **kwargs
    ) -> None:
        self.on_cpu = not torch.cuda.is_available()
        if not self.on_cpu:
            super().__init__(loss_scale=loss_scale, dtype=dtype, use_fsdp=use_fsdp, **kwargs)
            return
        if dtype not in (None, 'bfloat16', torch.bfloat16):
            raise ConfigError(
                f"mixed precision on the CPU is bfloat16, got dtype={dtype!r}: leave it out or 'bfloat16'"
            )
        OptimWrapper.__init__(self, **kwargs)
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
        with OptimWrapper.optim_context(self, model), torch.autocast('cpu', dtype=self.cast_dtype):
            yield


def parts_of(optim_wrapper: OptimWrapper | OptimWrapperDict) -> list[OptimWrapper]:
    """The optimizer wrapper itself, or those of a dict of several."""
    return list(optim_wrapper.values()) if isinstance(optim_wrapper, OptimWrapperDict) else [optim_wrapper]


class AccumulationGroups:
    """Ends groups of accumulated gradients where the batches end, the last group shorter.

    mmengine does so for one optimizer, not for several: only the model knows how often it updates each of them. Here
    each counts as updated once a batch until its first batch says otherwise; then it is left to itself.

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
        """Look, after the first batch, which optimizers were updated once."""
        for part in self._parts:
            if part.inner_count != self._expected:
                part.initialize_count_status(self._model, part.inner_count, ENDLESS)
