"""Print a config with everything that it inherits, ready to be copied into one file."""

import argparse

from mmdetlike.utils.command import make_parser, run_tool, user_path, warn_of_unread_settings
from mmdetlike.utils.config import load_config
from mmdetlike.utils.options import add_options

SUFFIXES = ('.py', '.json', '.yml', '.yaml')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--save-path', type=user_path, help=f'also write it to this file ({", ".join(SUFFIXES)})')
    add_options(parser)
    args = parser.parse_args(argv)
    if args.save_path is not None and args.save_path.suffix not in SUFFIXES:
        parser.error(f'--save-path must end with one of {", ".join(SUFFIXES)}, got {args.save_path}')
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    warn_of_unread_settings(cfg, args.cfg_options)
    print(cfg.pretty_text)
    if args.save_path is not None:
        args.save_path.parent.mkdir(parents=True, exist_ok=True)
        cfg.dump(str(args.save_path))
        print(f'written to {args.save_path}')


if __name__ == '__main__':
    run_tool(main)
