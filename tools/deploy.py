"""Write a detector as a program that runs without its config and checkpoint: see docs/deploy.md."""

import argparse

from mmdetlike.apis import init_detector
from mmdetlike.apis.deployed import pipeline_steps, size_of_images
from mmdetlike.export import deploy
from mmdetlike.export.manifest import PROGRAMS
from mmdetlike.utils.command import make_parser, run_tool, user_path
from mmdetlike.utils.options import add_options


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('config', help='config file, or name of a shipped config')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--to', required=True, choices=list(PROGRAMS), help='kind of program')
    parser.add_argument(
        '--size',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help='height and width of the images that the program takes (default: what every picture fits into)',
    )
    parser.add_argument('--out', required=True, type=user_path, help='folder for the program and its manifest')
    parser.add_argument(
        '--raw-input',
        action='store_true',
        help='let the program take pixels from 0 to 255 as they are loaded, and normalize them itself',
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read a checkpoint that holds more than tensors and plain data; this runs code of its author',
    )
    add_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Deploy."""
    args = parse_args(argv)
    model = init_detector(
        args.config,
        args.checkpoint,
        device='cpu',
        cfg_options=args.cfg_options,
        trust_checkpoint=args.trust_checkpoint,
    )
    size = tuple(args.size or size_of_images(model))
    manifest = deploy(model, args.out, args.to, size, pipeline_steps(model), args.raw_input)
    print(f'written: {args.out / manifest.program}, for images of {size[0]} x {size[1]} (height x width)')
    print(f'it finds {manifest.limit} objects in an image at most')


if __name__ == '__main__':
    run_tool(main)
