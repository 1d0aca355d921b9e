"""Configs and checkpoints of other toolboxes on a command line: files of ours stand in for them."""

from pathlib import Path

from mmdetlike.utils.config_files import find_config

OF_DETECTRON2 = ('.yaml', '.yml')


def is_foreign(name: str | Path) -> bool:
    """Whether a name may be that of another toolbox's config; looking closer needs imports that take a while."""
    return '://' in str(name) or str(name).endswith(OF_DETECTRON2)


def config_file(name: str | Path) -> Path:
    """The file of a config: of ours as it is, of another toolbox a translation, which is deleted when Python ends.

    Raises:
        FileNotFoundError: There is no such config.
        ConfigError: A setting of another toolbox's config has no counterpart here.
    """
    if is_foreign(name):
        from mmdetlike.apis.foreign import translated_config

        translated = translated_config(name)
        if translated is not None:
            return translated
    return find_config(name)


def checkpoint_file(checkpoint: str | None, config: str | Path, folder: str | Path | None = None) -> str | None:
    """A checkpoint that loads here: of another toolbox's config a translation.

    Args:
        checkpoint: The file; None for none.
        config: The config as it stands on the command line.
        folder: Where the translation is kept, as ``translated_checkpoint`` says; None until Python ends.

    Raises:
        CheckpointError: It can't be read.
    """
    if checkpoint is None or not is_foreign(config):
        return checkpoint
    from mmdetlike.apis.foreign import translated_checkpoint

    return translated_checkpoint(checkpoint, config, folder)
