"""One tiny config for each detector family; what has to hold for all of them is asserted of each.

``FAMILIES`` maps a name to a function of the number of classes (of things) that returns the config of a detector of
some ten thousand parameters for images of 64 pixels. A detector class that no entry builds fails a test.
"""

import copy
import functools

import torch

from mmdetlike.registry import MODELS

from . import (  # noqa: F401  enter their families
    backbones,
    centers,
    collaborative,
    corners,
    dense,
    dense_assignment,
    dense_more,
    dense_refined,
    instances,
    pyramids,
    query,
    query_references,
    regions,
    two_stage,
)
from .common import ABSTRACT, FAMILIES, NUM_STUFF, PAIRS, PANOPTIC, WITHOUT_OBJECTS

__all__ = ['ABSTRACT', 'FAMILIES', 'NUM_STUFF', 'PAIRS', 'PANOPTIC', 'WITHOUT_OBJECTS', 'build']


@functools.cache
def _built(name: str, num_classes: int, seed: int):
    torch.manual_seed(seed)
    model = MODELS.build(FAMILIES[name](num_classes))
    for parameter in model.parameters():
        if not parameter.any():  # zeros keep gradients from what comes before, e.g. from sampling offsets
            torch.nn.init.uniform_(parameter, 0.0, 0.04)
    return model


def build(name: str, num_classes: int = 3, seed: int = 0):
    """A detector of a family, with random weights, none zero; a copy of its own for each caller."""
    return copy.deepcopy(_built(name, num_classes, seed))
