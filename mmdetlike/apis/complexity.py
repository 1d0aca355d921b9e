"""How large a detector is and how much it computes: parameters, multiply-adds and activations, module by module."""

import contextlib
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry

import mmdetlike_ops.flops  # noqa: F401  registers the formulas of our operators
from mmdetlike.apis.inference import predict_batch
from mmdetlike.structures import DetDataSample
from mmdetlike_ops.flops import PER_MULTIPLY_ADD


@dataclass(frozen=True)
class Complexity:
    """What one module, with all within it, has and does for one batch.

    Attributes:
        name: Dotted name within the model; '' for the model itself.
        kind: Its class.
        parameters: Number of its parameters.
        multiply_adds: Of convolutions, matrix products, attention and sampling operators: what papers on detectors
            call FLOPs. Twice as many floating point operations.
        activations: Numbers that these operators put out.
    """

    name: str
    kind: str
    parameters: int
    multiply_adds: int
    activations: int

    @property
    def flops(self) -> int:
        """Floating point operations, a multiply-add being two."""
        return PER_MULTIPLY_ADD * self.multiply_adds


def measure(model: nn.Module, data: list[dict]) -> list[Complexity]:
    """What each module of a detector does to predict the objects of a batch.

    Norms, activation functions, pooling, interpolation and suppression are not counted, as is usual.

    Args:
        model: A detector.
        data: For each image ``inputs`` (3, H, W) and ``data_samples``, as a test pipeline makes them.

    Returns:
        The model first, then its modules in their order.
    """
    flops = FlopCounterMode(display=False)
    activations = FlopCounterMode(display=False, custom_mapping=_output_numbers())
    counters = {'flops': flops, 'activations': activations}
    with _countable(model), activations, flops, attributed(model, counters) as own:
        predict_batch(model, data)
    return [_complexity(name, module, own) for name, module in model.named_modules()]


def _complexity(name: str, module: nn.Module, own: dict[str, Counter]) -> Complexity:
    within = f'{name}.' if name else ''
    sums = {
        key: sum(count for other, count in counts.items() if other == name or other.startswith(within))
        for key, counts in own.items()
    }
    parameters = sum(parameter.numel() for parameter in module.parameters())
    multiply_adds = sums['flops'] // PER_MULTIPLY_ADD
    return Complexity(name, type(module).__name__, parameters, multiply_adds, sums['activations'])


def _output_numbers() -> dict:
    """For each operator that is counted, a formula that counts the numbers it puts out in place of operations."""

    def numbers(*args, out_val=None, **kwargs) -> int:
        first = out_val[0] if isinstance(out_val, (tuple, list)) else out_val
        return first.numel() if isinstance(first, Tensor) else 0

    numbers._get_raw = True  # torch hands over tensors in place of shapes
    return dict.fromkeys(flop_registry, numbers)


@contextlib.contextmanager
def _countable(model: nn.Module) -> Iterator[None]:
    """Within this context torch's counter sees all that a model does.

    It fails on a parameter that is handed to a module and asks for a gradient; and torch's fused transformer layers
    are no operator that it knows.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    fused = torch.backends.mha.get_fastpath_enabled()
    for parameter in trained:
        parameter.requires_grad_(False)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for parameter in trained:
            parameter.requires_grad_(True)


@contextlib.contextmanager
def attributed(model: nn.Module, counters: dict[str, FlopCounterMode]) -> Iterator[dict[str, Counter]]:
    """Within this context, what is counted is put down to the innermost module that is being called.

    By names, not by who calls whom as torch's own table: heads call methods of their parts, and a part that is not
    called itself would vanish from its parent.

    Args:
        model: The model.
        counters: The counters, by what they count.

    Yields:
        For each counter the counts by name of module; filled while the model runs.
    """
    own = {key: Counter() for key in counters}
    seen = dict.fromkeys(counters, 0)
    stack = ['']

    def settle() -> None:
        for key, counter in counters.items():
            total = counter.get_total_flops()
            own[key][stack[-1]] += total - seen[key]
            seen[key] = total

    def enter(module, args, *, name: str) -> None:
        settle()
        stack.append(name)

    def leave(module, args, output) -> None:
        settle()
        stack.pop()

    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(_named(enter, name)))
        handles.append(module.register_forward_hook(leave))
    try:
        yield own
        settle()
    finally:
        for handle in handles:
            handle.remove()


def _named(hook, name: str):
    return lambda module, args: hook(module, args, name=name)


def blank_batch(height: int, width: int) -> list[dict]:
    """A batch of one image of noise (3, height, width), as a test pipeline would make it."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
    shape = (height, width)
    sample = DetDataSample(metainfo=dict(img_id=0, img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0)))
    return [dict(inputs=image, data_samples=sample)]


def with_all_objects(cfg: Config) -> Config:
    """A copy of a config whose detector finds as many objects as it may, whatever its weights.

    How many regions the second stage looks at, and how many masks are made, then doesn't depend on the picture.
    """
    cfg = copy.deepcopy(cfg)
    for test_cfg in _dicts(cfg.model.get('test_cfg') or {}):
        if test_cfg.get('score_thr') is not None:
            test_cfg['score_thr'] = 0.0
    return cfg


def _dicts(value) -> Iterator[dict]:
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from _dicts(child)
    elif isinstance(value, (list, tuple)):
        for child in value:
            yield from _dicts(child)
