"""Arguments that several commands share, and what is checked of them before anything heavy is imported."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from mmdetlike.cli.foreign import is_foreign
from mmdetlike.utils.checkpoint_files import check_is_file, is_checkpoint_alone
from mmdetlike.utils.command import OPTIMIZATIONS, user_path
from mmdetlike.utils.config_files import find_config
from mmdetlike.utils.options import add_options


def add_detector(parser: argparse.ArgumentParser) -> None:
    """Declare which detector a command uses; ``detector_settings`` reads it."""
    parser.add_argument(
        'model',
        help='config file, name of a shipped config, detectron2://NAME, torchvision://NAME, checkpoint that holds its '
        'config, or folder of deploy.py',
    )
    parser.add_argument('--weights', help='checkpoint file or URL')
    parser.add_argument(
        '--optimize', choices=OPTIMIZATIONS, help='make the model fast: folded batch norms, precision, compiled parts'
    )
    add_trust(parser)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Declare whether a checkpoint may hold any object."""
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read a checkpoint that holds more than tensors and plain data; this runs code of its author',
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Declare where a detector runs."""
    parser.add_argument('--device', help="'cpu', 'cuda:0', ... (default: the first GPU, or the CPU)")


def detector_settings(args: argparse.Namespace) -> dict:
    """Arguments of ``load_inferencer``, but for the device, once it is clear that the files are there.

    ``model`` is None where a checkpoint alone was given, which holds its config. Paths are absolute, since they may be
    read by processes that run in another folder.

    Raises:
        ConfigError: There is no such config.
        CheckpointError: There is no such checkpoint.
    """
    model, weights = args.model, args.weights
    if is_checkpoint_alone(model, weights):
        model, weights = None, model
    # the folder of an artifact holds all that it needs
    if model is not None and not is_foreign(model) and not Path(model).expanduser().is_dir():
        model = find_config(model)
    if weights is not None:
        check_is_file(weights)
    return dict(
        model=_absolute(model),
        weights=_absolute(weights),
        optimize=args.optimize,
        trust_checkpoint=args.trust_checkpoint,
    )


def _absolute(path: str | Path | None) -> str | None:
    """The absolute path of a file or folder; a name or an address as it is."""
    if path is None:
        return None
    local = Path(path).expanduser()
    return str(local.absolute()) if local.exists() else str(path)


def add_scored_data(parser: argparse.ArgumentParser) -> None:
    """Declare a config, the predictions of its model, and the dataset that they are of."""
    parser.add_argument('config', help='config file, name of a shipped config, detectron2://NAME or torchvision://NAME')
    parser.add_argument('results', type=user_path, help='file of predictions, .pkl')
    add_split(parser)
    add_options(parser)


def add_split(parser: argparse.ArgumentParser) -> None:
    """Declare which dataset and evaluator of a config are meant."""
    parser.add_argument('--split', choices=('test', 'val'), default='test', help='dataset and metrics (default: test)')


def check_positive(parser: argparse.ArgumentParser, args: argparse.Namespace, names: Iterable[str]) -> None:
    """End the command with a sentence if one of these numbers was given and isn't positive.

    Args:
        parser: The command's.
        args: What it has read.
        names: Attributes of ``args``; None stands for a number not given.
    """
    for name in names:
        value = getattr(args, name)
        if value is not None and value <= 0:
            parser.error(f'--{name.replace("_", "-")} must be positive, got {value}')
