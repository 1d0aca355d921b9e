"""The command `mmdetlike`: finds the subcommand, whose arguments it leaves to it."""

import difflib
import importlib
import sys
from typing import NamedTuple

from mmdetlike.utils.command import run_tool
from mmdetlike.version import __version__

USAGE_ERROR = 2


class Command(NamedTuple):
    """What a subcommand is for, and what to say who interrupts it."""

    help: str
    when_interrupted: str = ''


COMMANDS = {
    'train': Command('train a detector from a config', 'nothing had been trained yet'),
    'test': Command('evaluate a checkpoint, or write its predictions'),
    'predict': Command('detect objects in pictures, folders or videos'),
    'batch-predict': Command('predict millions of pictures into Parquet shards'),
    'serve': Command('answer requests over HTTP'),
    'browse': Command('draw what a dataset yields, with its ground truth'),
    'config': Command('print a config, list those that are shipped, or explain a type'),
    'logs': Command('plot curves from logs of training, or measure its speed'),
    'report': Command('write a training as one HTML page'),
    'make-shapes': Command('draw a data set of coloured shapes to disk'),
    'voc-to-coco': Command('convert annotations of PASCAL VOC to one COCO file'),
    'split-coco': Command('split a COCO file into a labeled and an unlabeled part'),
    'doctor': Command('check the installation, and say what to do where it fails'),
}


def usage() -> str:
    """What `mmdetlike --help` prints."""
    lines = [f'  {name:<13} {command.help}' for name, command in COMMANDS.items()]
    return '\n'.join(
        [
            'usage: mmdetlike COMMAND [arguments]',
            '',
            *lines,
            '',
            '`mmdetlike COMMAND --help` tells the arguments. A config is a file, or the name of one that is shipped',
            '(`mmdetlike config --list`). Several processes: `torchrun --nproc-per-node=2 -m mmdetlike train CONFIG',
            '--launcher pytorch`.',
        ]
    )


def main() -> None:
    """Run the subcommand that the command line names."""
    name = sys.argv[1] if len(sys.argv) > 1 else '--help'
    if name in ('-h', '--help'):
        print(usage())
    elif name == '--version':
        print(f'mmdetlike {__version__}')
    elif name in COMMANDS:
        # argparse and run_tool read them
        sys.argv = [f'mmdetlike {name}', *sys.argv[2:]]
        command = importlib.import_module(f'mmdetlike.cli.{name.replace("-", "_")}')
        run_tool(command.main, COMMANDS[name].when_interrupted)
    else:
        close = difflib.get_close_matches(name, COMMANDS, n=2)
        hint = f'did you mean {" or ".join(close)}?' if close else f'there are {", ".join(COMMANDS)}'
        print(f'error: mmdetlike has no command {name!r}; {hint}', file=sys.stderr)
        sys.exit(USAGE_ERROR)
