"""Anchors of several shapes at a cell, by whose overlaps a head with one prior at a cell assigns objects."""

import torch
from mmengine.structures import InstanceData

from .predictions import FlatPredictions


def add_approximations(rows: InstanceData, approx_generator, preds: FlatPredictions) -> InstanceData:
    """``rows``, one for each of N priors, with ``approxs`` (N, A, 4): the A anchors of the generator at its cell."""
    levels = approx_generator.grid_priors(preds.featmap_sizes, device=preds.priors.points.device)
    rows.approxs = torch.cat(levels).view(len(rows), -1, 4)
    return rows
