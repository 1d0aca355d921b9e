"""Copies of samples for transforms to change, as cheap as is safe."""

import copy

import numpy as np


def copy_for(transform: object, results: dict) -> dict:
    """A copy of a sample, and of the ``mix_results`` in it, that ``transform`` may change.

    Images are most of what a sample holds. They are shared with the copy where the very class of ``transform`` declares
    ``keeps_images``: a subclass may do as it likes.
    """
    memo = {}
    if vars(type(transform)).get('keeps_images'):
        samples = [results, *(results.get('mix_results') or ())]
        images = [sample.get('img') for sample in samples if isinstance(sample, dict)]
        # what deepcopy takes for copied already
        memo = {id(img): img for img in images if isinstance(img, np.ndarray)}
    return copy.deepcopy(results, memo)
