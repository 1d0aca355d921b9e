"""Write a detector as a program that runs without its config and checkpoint: see docs/deploy.md."""

import argparse

from mmdetlike.cli.arguments import add_trust, check_positive
from mmdetlike.errors import ConfigError
from mmdetlike.utils.command import make_parser, user_path
from mmdetlike.utils.options import add_options

KINDS = ('torch', 'aoti', 'onnx')
# precisions that a program can have; what torch.compile does, aoti does
OPTIMIZATIONS = ('fp32', 'bf16')
# height and width from which on a program of many sizes takes images; the coarsest of a pyramid's maps has a stride
# of 128 and, to be a map and no row, needs two cells
SMALLEST_SIDE = 256


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('config', help='config file, name of a shipped config, detectron2://NAME or torchvision://NAME')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--to', required=True, choices=KINDS, help='kind of program')
    parser.add_argument(
        '--size',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help='height and width of the images that the program takes (default: what every picture fits into)',
    )
    parser.add_argument(
        '--dynamic',
        nargs='*',
        type=int,
        metavar='SIDE',
        help='let the program take all sizes up to that; from H W, if two numbers are given, or '
        f'{SMALLEST_SIDE} x {SMALLEST_SIDE} on',
    )
    parser.add_argument(
        '--batch', type=int, default=1, metavar='N', help='images that the program takes at once (default: 1)'
    )
    parser.add_argument(
        '--optimize',
        choices=OPTIMIZATIONS,
        help='fold batch norms (fp32), and compute layers in half precision (bf16, not in ONNX)',
    )
    parser.add_argument('--out', required=True, type=user_path, help='folder for the program and its manifest')
    parser.add_argument(
        '--raw-input',
        action='store_true',
        help='let the program take pixels from 0 to 255 as they are loaded, and normalize them itself',
    )
    add_trust(parser)
    add_options(parser)
    args = parser.parse_args(argv)
    check_positive(parser, args, ['batch'])
    if args.dynamic is not None and len(args.dynamic) not in (0, 2):
        parser.error(
            f'--dynamic takes two numbers, height and width of the smallest images, or none; got {args.dynamic}'
        )
    if args.optimize == 'bf16' and args.to == 'onnx':
        parser.error('--optimize bf16 does not go with --to onnx: onnxruntime has few operators in bfloat16 on CPUs')
    return args


def main(argv: list[str] | None = None) -> None:
    """Deploy."""
    args = parse_args(argv)
    # imported here, so that --help doesn't wait for torch
    from mmdetlike.apis import init_detector
    from mmdetlike.apis.deployed import pipeline_steps
    from mmdetlike.apis.image_sizes import size_of_images
    from mmdetlike.export import deploy
    from mmdetlike.export.onnx_program import require_writing

    if args.to == 'onnx':  # said before a detector is loaded and traced
        require_writing()
    model = init_detector(
        args.config,
        args.checkpoint,
        device='cpu',
        cfg_options=args.cfg_options,
        trust_checkpoint=args.trust_checkpoint,
        optimize=args.optimize,
    )
    size = tuple(args.size or size_of_images(model))
    smallest = smallest_size(args.dynamic, model.data_preprocessor, size)
    manifest = deploy(model, args.out, args.to, size, pipeline_steps(model), args.raw_input, smallest, args.batch)
    print(f'written: {args.out / manifest.program}, for images of {manifest.sizes} (height x width)')
    print(f'it finds {manifest.limit} objects in an image at most')


def smallest_size(sides: list[int] | None, data_preprocessor, size: tuple[int, int]) -> tuple[int, int] | None:
    """The smallest size that ``--dynamic`` with these numbers asks for; None without it.

    Raises:
        ConfigError: All images are of one size.
    """
    if sides is None:
        return None
    divisor = getattr(data_preprocessor, 'pad_size_divisor', 1)
    height, width = sides or [-(-SMALLEST_SIDE // divisor) * divisor] * 2
    if (height, width) == size or (not sides and (height > size[0] or width > size[1])):
        raise ConfigError(
            f'--dynamic: the largest size is {size[0]} x {size[1]} (height x width), the smallest {height} x {width}; '
            'give a larger --size, or --dynamic H W'
        )
    return height, width
