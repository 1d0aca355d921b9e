"""Translate a config of OpenMMLab's detection toolbox 2.x, with all that it inherits, into one file of ours."""

import argparse
from pathlib import Path

from mmdetlike.errors import ConfigError
from mmdetlike.utils.command import make_parser, run_tool, user_path
from mmdetlike.utils.config import load_config
from mmdetlike.utils.config_reading import read_config
from mmdetlike.utils.generation2 import is_of_generation_2

SUFFIXES = ('.py', '.json', '.yml', '.yaml')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('config', type=user_path, help='config file of 2.x')
    parser.add_argument('out', type=user_path, help=f'file to write ({", ".join(SUFFIXES)})')
    args = parser.parse_args(argv)
    if args.out.suffix not in SUFFIXES:
        parser.error(f'OUT must end with one of {", ".join(SUFFIXES)}, got {args.out}')
    return args


def convert(source: Path, out: Path) -> None:
    """Write the translation of a config.

    Args:
        source: A config file of 2.x.
        out: Where the translation goes; a file that is there is not replaced.

    Raises:
        FileNotFoundError: There is no ``source``.
        ConfigError: It isn't of 2.x, something in it can't be translated, or ``out`` exists.
    """
    if out.exists():
        raise ConfigError(f'{out} exists: choose another name for the translation')
    if source.is_file() and not is_of_generation_2(read_config(source)):
        raise ConfigError(f'{source} is not a whole config of OpenMMLab 2.x: expected `data` and no keys of 3.x')
    translated = load_config(source)
    out.parent.mkdir(parents=True, exist_ok=True)
    translated.dump(str(out))


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    convert(args.config, args.out)
    print(f'written to {args.out}')


if __name__ == '__main__':
    run_tool(main)
