"""Active rotating filters: one set of weights, turned into every orientation."""

import torch
from torch import Tensor

from ._checks import check_device, check_floating, check_shape


def active_rotated_filter(input: Tensor, indices: Tensor) -> Tensor:
    """Rotate oriented filters to each of a number of rotations (Oriented Response Networks, arXiv 1701.01833).

    Rotating a filter only permutes its weights: in space and, as it is oriented, from one orientation to another.
    `indices` is that permutation.

    Args:
        input: (out, in, orientations, kh, kw) weights.
        indices: (orientations, kh, kw, rotations) integers: for each rotation, the index that a weight moves to, from 1
            to orientations * kh * kw, counted with kw innermost; each index once.

    Returns:
        (out * rotations, in * orientations, kh, kw), of the dtype of `input`, rotations of one filter side by side.
        Carries gradients to `input`.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape or device, or (checked on CPU) `indices` is no
            permutation.
    """
    op = 'active_rotated_filter'
    check_floating(op, 'input', input)
    check_shape(op, 'input', input, ('out', 'in', 'orientations', 'kh', 'kw'))
    check_shape(op, 'indices', indices, (*input.shape[2:], 'rotations'))
    check_device(op, 'indices', indices, input.device)
    if indices.is_floating_point() or indices.is_complex():
        raise TypeError(f'{op}: indices has dtype {indices.dtype}, integers are expected')
    destinations = indices.flatten(0, 2).T.long() - 1
    _check_permutations(op, destinations)
    # the inverse of a permutation: the weight that comes to each index
    sources = destinations.argsort(dim=1)
    turned = input.flatten(2)[:, :, sources]
    outs, ins, orientations, height, width = input.shape
    rotations = indices.shape[3]
    return turned.transpose(1, 2).reshape(outs * rotations, ins * orientations, height, width)


def _check_permutations(op: str, destinations: Tensor) -> None:
    if destinations.device.type != 'cpu' or type(destinations) is not Tensor or torch.compiler.is_compiling():
        return  # values that are not at hand: reading them would wait for the device, or break tracing
    rotations, count = destinations.shape
    if not torch.equal(destinations.sort(dim=1).values, torch.arange(count).expand(rotations, count)):
        raise ValueError(f'{op}: indices must name, for each rotation, each place from 1 to {count} once')
