"""Print a config with everything that it inherits, or what a type takes: its arguments, defaults and meanings.

Configs that come with the package go by their names; --list lists them.

Examples:
    mmdetlike config faster-rcnn_r18_fpn_shapes
    mmdetlike config --list retinanet
    mmdetlike config --type FocalLoss
"""

import argparse
from pathlib import Path

from mmdetlike.cli.foreign import config_file
from mmdetlike.errors import ConfigError
from mmdetlike.utils.command import make_parser, user_path
from mmdetlike.utils.config_files import SUFFIXES, config_folders, shipped_configs
from mmdetlike.utils.options import add_options


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument(
        'config', nargs='?', help='config file, name of a shipped config, detectron2://NAME or torchvision://NAME'
    )
    parser.add_argument('--type', metavar='NAME', help='print the arguments of what configs call type=NAME')
    parser.add_argument('--list', metavar='WORD', nargs='?', const='', help='list the shipped configs with this word')
    parser.add_argument('--save-path', type=user_path, help=f'also write it to this file ({", ".join(SUFFIXES)})')
    add_options(parser)
    args = parser.parse_args(argv)
    if [args.config, args.type, args.list].count(None) != 2:
        parser.error('give a config file, or --type NAME, or --list')
    if args.save_path is not None and args.save_path.suffix not in SUFFIXES:
        parser.error(f'--save-path must end with one of {", ".join(SUFFIXES)}, got {args.save_path}')
    return args


def main(argv: list[str] | None = None) -> None:
    """Print what the command line asks for."""
    args = parse_args(argv)
    if args.list is not None:
        print_names(args.list)
    elif args.type is not None:
        from mmdetlike.cli.type_help import describe

        print(describe(args.type))
    else:
        args.config = config_file(args.config)
        print_config(args)


def print_names(word: str) -> None:
    """Print the path of each shipped config that has ``word`` in it, below the folder of all.

    Raises:
        ConfigError: None has.
    """
    folder = config_folders()[0]
    names = [path.relative_to(folder).as_posix() for path in shipped_configs() if '_base_' not in path.parts]
    found = [name for name in names if word in name]
    if not found:
        raise ConfigError(f'none of the {len(names)} shipped configs has {word!r} in its name')
    print('\n'.join(found))


def print_config(args: argparse.Namespace) -> None:
    """Print a config, and write it if that is wanted.

    Raises:
        ConfigError: It can't be read, sets nothing, or would be written over a file that it is read from.
    """
    from mmdetlike.utils.config import load_config
    from mmdetlike.utils.run_config import warn_of_unread_settings

    cfg = load_config(args.config, args.cfg_options)
    if set(cfg) <= {'default_scope'}:
        raise ConfigError(f'{args.config} is an empty config: it sets nothing')
    if args.save_path is not None:
        refuse_sources(args.save_path, args.config)
    warn_of_unread_settings(cfg, args.cfg_options)
    print(cfg.pretty_text)
    if args.save_path is not None:
        args.save_path.parent.mkdir(parents=True, exist_ok=True)
        cfg.dump(str(args.save_path))
        print(f'written to {args.save_path}')


def refuse_sources(out: Path, config: Path) -> None:
    """Stop where a file would be replaced that the config is read from.

    Raises:
        ConfigError: It would.
    """
    from mmdetlike.utils.settings.unread import read_sources

    sources = {source.path.resolve() for source in read_sources(config) or []} | {config.resolve()}
    if out.resolve() in sources:
        raise ConfigError(f'--save-path {out} is a file that {config} is read from: choose another one')
