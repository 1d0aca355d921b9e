"""Print a config with everything that it inherits, or what a type takes: its arguments, defaults and meanings."""

import argparse
import difflib
import inspect
from pathlib import Path

from mmdetlike import registry as registry_module
from mmdetlike.errors import ConfigError
from mmdetlike.registry import Registry
from mmdetlike.utils.command import make_parser, run_tool, user_path, warn_of_unread_settings
from mmdetlike.utils.config import load_config
from mmdetlike.utils.options import add_options
from mmdetlike.utils.settings.unread import read_sources
from mmdetlike.utils.setup_env import register_all_modules

SUFFIXES = ('.py', '.json', '.yml', '.yaml')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('config', nargs='?', help='config file')
    parser.add_argument('--type', metavar='NAME', help='print the arguments of what configs call type=NAME')
    parser.add_argument('--save-path', type=user_path, help=f'also write it to this file ({", ".join(SUFFIXES)})')
    add_options(parser)
    args = parser.parse_args(argv)
    if (args.config is None) == (args.type is None):
        parser.error('give a config file, or --type NAME')
    if args.save_path is not None and args.save_path.suffix not in SUFFIXES:
        parser.error(f'--save-path must end with one of {", ".join(SUFFIXES)}, got {args.save_path}')
    return args


def describe(name: str) -> str:
    """The arguments of what configs call ``type=name``, in each registry that has it.

    Raises:
        ConfigError: None has it; the message names close ones.
    """
    register_all_modules()
    registries = [registry for registry in vars(registry_module).values() if isinstance(registry, Registry)]
    for registry in registries:
        registry.import_from_location()
    found = {registry.name: registry.get(name) for registry in registries if name in names_of(registry)}
    if not found:
        known = sorted({known for registry in registries for known in names_of(registry)})
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        raise ConfigError(f'no type is called {name!r}' + (f'; did you mean {", ".join(close)}?' if close else ''))
    return '\n\n'.join(f'{item_text(item)}\n\n({kind})' for kind, item in found.items())


def names_of(registry: Registry) -> set[str]:
    """The names of a registry and of mmengine's behind it."""
    return {*registry.module_dict, *registry.parent.module_dict}


def item_text(item) -> str:
    """Signature and documentation of a class or function."""
    parameters = inspect.signature(item).parameters.values()
    arguments = ''.join(f'    {parameter},\n' for parameter in parameters)
    return f'{item.__name__}(\n{arguments})\n\n{inspect.getdoc(item) or ""}'


def _refuse_sources(out: Path, config: Path) -> None:
    """Stop where a file would be replaced that the config is read from.

    Raises:
        ConfigError: It would.
    """
    sources = {source.path.resolve() for source in read_sources(config) or []} | {config.resolve()}
    if out.resolve() in sources:
        raise ConfigError(f'--save-path {out} is a file that {config} is read from: choose another one')


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.type is not None:
        print(describe(args.type))
        return
    cfg = load_config(args.config, args.cfg_options)
    if set(cfg) <= {'default_scope'}:
        raise ConfigError(f'{args.config} is an empty config: it sets nothing')
    if args.save_path is not None:
        _refuse_sources(args.save_path, Path(args.config))
    warn_of_unread_settings(cfg, args.cfg_options)
    print(cfg.pretty_text)
    if args.save_path is not None:
        args.save_path.parent.mkdir(parents=True, exist_ok=True)
        cfg.dump(str(args.save_path))
        print(f'written to {args.save_path}')


if __name__ == '__main__':
    run_tool(main)
