"""Whether a checkpoint is there; nothing heavy is imported to tell."""

import os
from pathlib import Path

from mmdetlike.errors import CheckpointError


def is_checkpoint_alone(model: str | Path | None, weights: str | Path | None) -> bool:
    """Whether ``model`` names a checkpoint, which holds its config, in place of a config and its weights."""
    return weights is None and model is not None and Path(model).suffix in ('.pth', '.pt')


def check_is_file(source: str | Path) -> None:
    """Check that a checkpoint is a file; addresses of the net are left for later.

    Raises:
        CheckpointError: It is a folder.
        FileNotFoundError: There is no such file.
    """
    if '://' in str(source):
        return
    path = os.path.expanduser(source)
    if os.path.isdir(path):
        raise CheckpointError(f'checkpoint {path} is a folder; name a file in it{_checkpoints_in(path)}')
    if not os.path.isfile(path):
        raise FileNotFoundError(f'checkpoint {path} does not exist')


def _checkpoints_in(folder: str) -> str:
    names = sorted(path.name for path in Path(folder).glob('*.pth'))
    return f': {", ".join(names[:8])}' if names else ''
