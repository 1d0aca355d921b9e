"""Write the config of a detector of Detectron2 or torchvision, and its weights, as files of ours.

Examples:
    mmdetlike convert-model detectron2://COCO-Detection/retinanet_R_50_FPN_1x.yaml mine.py model_final_bfca0b.pkl
    mmdetlike convert-model 'torchvision://fcos_resnet50_fpn?num_classes=5' mine.py fcos_of_five_classes.pth
"""

import argparse
import shutil
from collections.abc import Sequence

from mmdetlike.errors import ConfigError
from mmdetlike.utils.checkpoint_files import check_is_file
from mmdetlike.utils.command import make_parser, user_path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('config', help='YAML file of Detectron2, detectron2://NAME or torchvision://NAME')
    parser.add_argument('out', type=user_path, help='config to write (.py)')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='weights of the same detector; they go beside OUT, as .pth, and a training with OUT starts from them',
    )
    args = parser.parse_args(argv)
    if args.out.suffix != '.py':
        parser.error(f'OUT must end with .py, got {args.out}')
    return args


def convert(config: str, out, checkpoint: str | None = None) -> list:
    """Write the files; those that are there are not replaced.

    Args:
        config: As of ``init_detector``, of another toolbox.
        out: Path of the config to write; the checkpoint is called like it.
        checkpoint: File or URL of weights, which are the ``load_from`` of the config; None for the file that a YAML
            file names as its ``MODEL.WEIGHTS``, if it names one that is there.

    Returns:
        The files that were written.

    Raises:
        ConfigError: ``config`` is none of another toolbox, can't be translated, or a file exists.
        CheckpointError: The weights can't be read.
        FileNotFoundError: There is no such checkpoint.
    """
    from mmengine.config import Config

    from mmdetlike.apis.foreign import translated_checkpoint, translated_config

    if checkpoint:
        check_is_file(checkpoint)
    translated = translated_config(config)
    if translated is None:
        raise ConfigError(
            f'{config} is no detector of another toolbox: expected a YAML file of Detectron2, detectron2://NAME or '
            'torchvision://NAME'
        )
    cfg = Config.fromfile(translated)
    checkpoint = checkpoint or cfg.get('load_from')
    weights = out.with_suffix('.pth')
    for path in [out, *([weights] if checkpoint else [])]:
        if path.exists():
            raise ConfigError(f'{path} exists: choose another name for OUT')
    out.parent.mkdir(parents=True, exist_ok=True)
    if not checkpoint:
        shutil.copyfile(translated, out)
        return [out]
    shutil.copyfile(translated_checkpoint(checkpoint, config), weights)
    cfg.load_from = str(weights.resolve())  # else a training would start from nothing
    cfg.dump(out)
    return [out, weights]


def main(argv: Sequence[str] | None = None) -> None:
    """Convert."""
    args = parse_args(argv)
    for path in convert(args.config, args.out, args.checkpoint):
        print(f'written to {path}')
