"""Looking at what a model predicts, in the middle of its training."""

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def inference_context(model: nn.Module) -> Iterator[nn.Module]:
    """Put a model into evaluation mode, and each of its modules back into the mode it was in afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, training in modes:
            module.training = training
