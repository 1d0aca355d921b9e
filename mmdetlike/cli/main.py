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
    'watch': Command('detect objects in what a camera sees, live in a window'),
    'batch-predict': Command(
        'detect objects in millions of pictures, into Parquet files', 'the same command goes on where it was'
    ),
    'serve': Command('answer requests over HTTP'),
    'deploy': Command('write a detector as a program of torch, compiled code or an ONNX model'),
    'browse': Command('draw what a dataset yields, with its ground truth'),
    'config': Command('print a config, list those that are shipped, or explain a type'),
    'eval-metric': Command('compute metrics from a file of predictions'),
    'analyze-results': Command('draw the images that a detector does best and worst on'),
    'confusion-matrix': Command('draw which classes are taken for which'),
    'fuse-results': Command('fuse the boxes that several models found, and score them'),
    'coco-error-analysis': Command('take the errors of a detector apart, by curves and by kinds'),
    'dataset-stats': Command('count classes, sizes and overlaps of a dataset; find pictures that occur twice'),
    'optimize-anchors': Command('fit the anchors of a config to its training set'),
    'benchmark': Command('measure how fast data are loaded and a model infers'),
    'get-flops': Command('count parameters, multiply-adds and activations, module by module'),
    'logs': Command('plot curves from logs of training, or measure its speed'),
    'report': Command('write a training as one HTML page'),
    'make-shapes': Command('draw a data set of colored shapes to disk'),
    'to-coco': Command('convert annotations of other tools to one COCO file'),
    'from-coco': Command('convert a COCO file to annotations of other tools'),
    'voc-to-coco': Command('convert annotations of PASCAL VOC to one COCO file'),
    'write-shards': Command('write a COCO data set as shards, for training on data beyond a disk'),
    'split-coco': Command('split a COCO file into a labeled and an unlabeled part'),
    'convert-model': Command('write a detector of Detectron2 or torchvision as a config and a checkpoint of ours'),
    'doctor': Command('check the installation, and say what to do where it fails'),
}


def usage() -> str:
    """What `mmdetlike --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f'  {name:<{width}} {command.help}' for name, command in COMMANDS.items()]
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
