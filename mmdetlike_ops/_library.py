"""Loads the compiled kernels, `_C.abi3.so`, into `torch.ops.mmdetlike_ops`.

Adding an operator takes three files of one name (and a line in `__init__.py`):

1. `csrc/cpu/NAME.cpp`: its schema (`OPS_REGISTER`) and its CPU kernel (`OPS_IMPLEMENT(CPU, m)`);
2. `csrc/cuda/NAME.cu`: its CUDA kernel (`OPS_IMPLEMENT(CUDA, m)`);
3. `NAME.py`: fake kernel (`register_fake`), backward (`register_backward`) and the documented function.

The build finds the sources by itself; `python setup.py build_ext --inplace` compiles what changed. The environment
variable MMDETLIKE_OPS_LIBRARY names another library to load, such as one built with a sanitizer.
"""

import os
from collections.abc import Callable
from pathlib import Path

import torch

LIBRARY = Path(os.environ.get('MMDETLIKE_OPS_LIBRARY') or Path(__file__).with_name('_C.abi3.so'))


def load() -> None:
    """Load the kernels; loading twice is harmless.

    Raises:
        ImportError: The library is missing or was not compiled for this machine.
    """
    if not LIBRARY.exists():
        raise ImportError(
            f'{LIBRARY} does not exist: the kernels are not compiled; '
            'run `pip install -e .` in the root of the repository.'
        )
    try:
        torch.ops.load_library(LIBRARY)
    except OSError as error:
        raise ImportError(
            f'{LIBRARY} cannot be loaded beside torch {torch.__version__} (torch >= 2.10 is needed); '
            f'compile it again with `pip install -e .`: {error}'
        ) from error


load()
kernels = torch.ops.mmdetlike_ops
COMPILED_FOR_CUDA = torch._C._dispatch_has_kernel_for_dispatch_key('mmdetlike_ops::nms', 'CUDA')


def register_backward(name: str, backward: Callable, setup_context: Callable) -> None:
    """Give operator `name` its gradient, which calls the operator `name`_backward.

    Gradients of that gradient are refused: without an autograd kernel PyTorch would take them for zero.

    Args:
        name: Of the operator, without its namespace.
        backward: As `torch.library.register_autograd` wants it.
        setup_context: Likewise.
    """

    def refuse(ctx, *grads):
        raise NotImplementedError(f'{name}: its gradient has no gradient of its own (create_graph=True)')

    torch.library.register_autograd(f'mmdetlike_ops::{name}', backward, setup_context=setup_context)
    torch.library.register_autograd(f'mmdetlike_ops::{name}_backward', refuse)
