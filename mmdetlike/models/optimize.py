"""A detector made fast for prediction: folded batch norms, the layout and precision of the machine, compiled parts."""

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.utils.command import OPTIMIZATIONS
from mmdetlike.utils.memory import keep_freed_memory

from .data_preprocessors import DetDataPreprocessor
from .detectors.base import BaseDetector
from .fuse_for_cpu import fuse_for_cpu
from .heads.dense import DenseHead
from .heads.keypoint.base import HeatmapHead
from .heads.mask_grid.base import MaskGridHead
from .layers import fuse_conv_bn

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
# layers that autocast runs in half precision whatever the precision of their weights; of subclasses nobody knows
_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
# heads whose inputs have shapes that follow from that of the images alone; a number of regions would compile anew
_HEADS_OF_MAPS = (DenseHead, HeatmapHead, MaskGridHead)


def optimize_model(
    model: nn.Module,
    optimize: str = 'fp32',
    compile: bool = False,
    sizes: Sequence[tuple[int, int]] = (),
    backend: str = 'inductor',
) -> nn.Module:
    """Make a detector fast for prediction, in place; it can't be trained afterwards.

    Batch norms are folded into the convolutions before them, weights are laid out with the channels last, and the
    layers of convolutions and matrix products get the weights in the precision that they compute in. Boxes, scores and
    suppression stay in float32. On a CPU, unless parts are compiled, activations and sums are computed within
    convolutions, and this process keeps memory that it has freed, see ``keep_freed_memory``.

    Args:
        model: Detector, on the device on which it is to predict.
        optimize: ``'fp32'``, ``'bf16'``, ``'fp16'``, or ``'compile'``, which is ``'fp32'`` with ``compile``.
        compile: Compile backbone, neck and dense heads, once for each size of a batch; the first images take minutes.
        sizes: Heights and widths to which batches are padded, the smallest one that holds all images, so that few
            sizes are compiled; batches that fit into none keep their size.
        backend: Of ``torch.compile``.

    Returns:
        ``model``, in eval mode.

    Raises:
        ConfigError: There is no such choice, the device can't do it, the model is no detector of ours or was optimized
            before, or its preprocessor can't pad to ``sizes``.
    """
    detectors = _detectors(model)
    compile = compile or optimize == 'compile'
    device = next(detectors[0].parameters()).device
    check_optimization(optimize, device)
    if compile and backend == 'inductor' and device.type == 'cpu':
        _check_compiler()
    dtype = DTYPES.get(optimize, torch.float32)
    _pad_to(model, sizes)
    fuse_conv_bn(model.eval()).requires_grad_(False)
    model.to(memory_format=torch.channels_last)
    for detector in detectors:
        detector.inference_dtype = dtype
        # as autocast would do in each call
        for module in detector.modules() if dtype != torch.float32 else ():
            if type(module) in _LAYERS:
                module.to(dtype)
        for part in _fixed_parts(detector) if compile else ():
            part.compile(backend=backend, dynamic=False)
    if device.type == 'cpu':
        keep_freed_memory()
        # the compiler fuses by itself, and more
        return model if compile else fuse_for_cpu(model)
    return model


def _detectors(model: nn.Module) -> list[BaseDetector]:
    """The detectors in a model, which itself may be one, or hold one or several (a wrapper, a pair of them)."""
    detectors = [module for module in model.modules() if isinstance(module, BaseDetector)]
    if not detectors:
        raise ConfigError(f'optimize needs a detector that derives from BaseDetector, {type(model).__name__} does not')
    if any(detector.inference_dtype is not None for detector in detectors):
        raise ConfigError(f'the {type(model).__name__} has been optimized before: build it anew for other settings')
    return detectors


def check_optimization(optimize: str, device: torch.device) -> None:
    """Raise a ``ConfigError`` if there is no such choice, or the device computes so slower than in float32 or not."""
    if optimize not in OPTIMIZATIONS:
        raise ConfigError(f'optimize must be one of {", ".join(map(repr, OPTIMIZATIONS))}, got {optimize!r}')
    if device.type == 'cpu' and optimize == 'fp16':
        raise ConfigError("optimize='fp16' needs a GPU, the model is on the CPU: use 'bf16' or 'fp32' there")
    if device.type == 'cpu' and optimize == 'bf16' and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise ConfigError("optimize='bf16' needs a CPU with AVX-512, which this one lacks: use 'fp32'")
    if device.type == 'cuda' and optimize == 'bf16' and not torch.cuda.is_bf16_supported():
        raise ConfigError("optimize='bf16' is not supported by this GPU: use 'fp16' or 'fp32'")


def _check_compiler() -> None:
    """Raise a ``ConfigError`` where the code that torch.compile makes for a CPU could not be compiled."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise ConfigError("optimize='compile' needs a C++ compiler, there is none: install g++, or set CXX") from error


def _pad_to(model: nn.Module, sizes: Sequence[tuple[int, int]]) -> None:
    """Let the preprocessors of a model pad batches to one of ``sizes``."""
    if not sizes:
        return
    preprocessors = [module for module in model.modules() if isinstance(module, DetDataPreprocessor)]
    if not preprocessors:
        raise ConfigError(f'sizes={sizes} need a DetDataPreprocessor, {type(model).__name__} has none')
    for preprocessor in preprocessors:
        preprocessor.set_batch_sizes(sizes)


def _fixed_parts(detector: BaseDetector) -> Iterable[nn.Module]:
    """The parts of a detector to compile, each one graph."""
    for name, part in detector.named_children():
        if name in ('backbone', 'neck') or isinstance(part, _HEADS_OF_MAPS):
            yield part
