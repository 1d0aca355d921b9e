"""Detect objects in what a camera sees, live in a window; Ctrl-C ends it.

Examples:
    mmdetlike watch 0 CONFIG.py --weights CHECKPOINT.pth
    mmdetlike watch rtsp://host/stream CHECKPOINT.pth --no-window --out-dir outputs --max-frames 500
"""

import argparse

from mmdetlike.cli.arguments import add_detector, add_device, check_positive, detector_settings
from mmdetlike.utils.command import make_parser, user_path

MODES = ('image', 'segmentation', 'image_bw')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('source', help='number of a camera, file of a video, or address of a stream')
    add_detector(parser)
    add_device(parser)
    parser.add_argument('--pred-score-thr', type=float, default=0.3, help='draw predictions that score this or more')
    parser.add_argument(
        '--color-mode', choices=MODES, default='image', help='a color an object, which it keeps (default), or a class'
    )
    parser.add_argument('--max-frames', type=int, help='end after so many frames')
    parser.add_argument('--out-dir', type=user_path, help='folder for the video with what was found')
    parser.add_argument('--no-window', action='store_true', help='open no window')
    args = parser.parse_args(argv)
    check_positive(parser, args, ['max_frames'])
    return args


def main(argv: list[str] | None = None) -> None:
    """Watch."""
    args = parse_args(argv)
    settings = detector_settings(args)
    from mmdetlike.apis.loading import load_inferencer

    inferencer = load_inferencer(**settings, device=args.device, color_mode=args.color_mode)
    frames = inferencer.watch(
        args.source,
        pred_score_thr=args.pred_score_thr,
        show=not args.no_window,
        out_dir=args.out_dir or '',
        max_frames=args.max_frames,
    )
    count = sum(1 for _ in frames)
    print(f'{count} frames')
