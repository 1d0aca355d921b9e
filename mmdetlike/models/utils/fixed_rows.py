"""Tensors of a fixed number of rows, for graphs that must not depend on how many boxes are found."""

import torch
from torch import Tensor

from mmdetlike.errors import ConfigError


def fixed_rows(columns: dict[str, Tensor], limit: int, limit_name: str) -> dict[str, Tensor]:
    """Fill columns of n rows each with zeros up to ``limit`` rows while ``torch.export`` traces, else return them.

    How many boxes are left after suppression depends on their scores, which a graph doesn't know. The heads that look
    at these boxes are traced for as many as there can be; the caller cuts what they predict back to n rows.

    A ``ConfigError`` names the setting ``limit_name`` where its ``limit`` isn't positive: there can be any number.
    """
    is_known = all(isinstance(column.shape[0], int) for column in columns.values())
    if is_known or not torch.compiler.is_exporting():
        return columns
    if limit <= 0:
        raise ConfigError(f'torch.export needs to know how many boxes there can be: {limit_name}={limit} must be > 0')
    return {name: _fill(column, limit) for name, column in columns.items()}


def _fill(rows: Tensor, limit: int) -> Tensor:
    """Rows (n, ...) and zeros, (limit, ...) together."""
    # rows from n on all read the one row of zeros put at the end: unlike padding by limit - n rows, this has a shape
    # that holds whatever n is
    with_zeros = torch.cat([rows, rows.new_zeros(1, *rows.shape[1:])])
    inds = torch.arange(limit, device=rows.device).clamp(max=rows.shape[0])
    return with_zeros[inds]
