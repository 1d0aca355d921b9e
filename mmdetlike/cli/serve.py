"""Serve a detector over HTTP: POST a picture to /predict, or open the page at /. See docs/serve.md.

Examples:
    mmdetlike serve deployed/
    mmdetlike serve CONFIG.py --weights CHECKPOINT.pth --port 9000
    mmdetlike serve deployed/ --ray auto --workers 4
"""

import argparse
import socket

from mmdetlike.cli.arguments import add_detector, add_device, check_positive, detector_settings
from mmdetlike.errors import ConfigError
from mmdetlike.utils.command import make_parser
from mmdetlike.utils.packages import install_command, require_packages

HOSTS = ('127.0.0.1', '0.0.0.0', '::')  # those that LitServe takes
LOWEST_PORT = 1024


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add_detector(parser)
    add_device(parser)
    parser.add_argument('--host', default='127.0.0.1', help='address to listen at (default: this machine alone)')
    parser.add_argument('--port', type=int, default=8000)
    parser.add_argument('--score-thr', type=float, default=0.3, help='leave out objects that score less')
    parser.add_argument('--batch-size', type=int, default=8, help='pictures that go through the detector at once')
    parser.add_argument('--wait', type=float, default=0.02, help='seconds for which a batch waits to become full')
    parser.add_argument('--max-size', type=int, default=20_000_000, help='bytes of a request')
    parser.add_argument('--max-pixels', type=int, default=50_000_000, help='pixels of a picture')
    parser.add_argument('--max-requests', type=int, default=500, help='requests that wait at a time')
    parser.add_argument('--max-seconds', type=float, default=60, help='seconds for which a request may wait')
    parser.add_argument('--allow-url', action='store_true', help='fetch pictures from public URLs that requests name')
    parser.add_argument(
        '--allow-local-url',
        action='store_true',
        help='fetch them also from this machine and from private networks, which whoever asks can then look into',
    )
    parser.add_argument(
        '--ray',
        nargs='?',
        const='',
        metavar='ADDRESS',
        help="serve by Ray Serve, on this machine or on the cluster at ADDRESS, 'auto' for that of this machine",
    )
    parser.add_argument('--workers', type=int, default=1, help='with --ray, detectors at a time')
    parser.add_argument('--gpus-per-worker', type=float, default=0, help='with --ray, GPUs of each (default: the CPU)')
    args = parser.parse_args(argv)
    check_positive(parser, args, ['batch_size', 'max_size', 'max_pixels', 'max_requests', 'max_seconds', 'workers'])
    if args.ray is None and (args.workers != 1 or args.gpus_per_worker):
        parser.error('--workers and --gpus-per-worker are for --ray')
    if not LOWEST_PORT <= args.port < 2**16:
        parser.error(f'--port must be from {LOWEST_PORT} to {2**16 - 1}, got {args.port}')
    args.host = '127.0.0.1' if args.host == 'localhost' else args.host
    if args.ray is None and args.host not in HOSTS:
        parser.error(f'--host must be {", ".join(HOSTS)} or localhost (any address with --ray), got {args.host}')
    return args


def main(argv: list[str] | None = None) -> None:
    """Serve until interrupted."""
    args = parse_args(argv)
    if args.ray is None:
        require_packages('serving', 'serve', 'litserve', 'multipart')
    else:
        _check_ray()
    _check_free(args.host, args.port)
    from mmdetlike.apis.loading import load_inferencer
    from mmdetlike.serving.limits import Limits

    # loaded here too, so that what is wrong with it is said at once and by one process
    source = dict(detector_settings(args), device=args.device)
    detector = load_inferencer(**source)
    classes = [str(name) for name in detector.model.dataset_meta['classes']]
    del detector
    limits = Limits(args.max_size, args.max_pixels, args.max_requests, args.max_seconds)
    serve = _by_litserve if args.ray is None else _by_ray
    serve(args, source, dict(limits=limits, classes=classes, urls=_urls(args)))


def _urls(args: argparse.Namespace) -> str:
    if args.allow_local_url:
        return 'any'
    return 'public' if args.allow_url else 'none'


def _check_free(host: str, port: int) -> None:
    """Refuse an address that is taken before a detector is loaded."""
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = str(error.strerror).partition(' (while')[0]  # what Python adds repeats the address
        raise ConfigError(f'nothing can listen at {host}:{port} ({reason}): give another --port') from error


def _check_ray() -> None:
    try:
        import multipart  # noqa: F401
        import ray.serve  # noqa: F401
    except ImportError as error:  # also where Ray is installed without what its server needs
        raise ConfigError(f'serving on Ray needs ray[serve]: {install_command("ray")} ({error})') from error


def _by_litserve(args: argparse.Namespace, source: dict, gate: dict) -> None:
    from mmdetlike.serving.detection import DetectionAPI, build_server
    from mmdetlike.serving.termination import stop_when_terminated

    stop_when_terminated()
    api = DetectionAPI(source, args.score_thr, args.batch_size, args.wait)
    print(f'serving at http://{args.host}:{args.port}/', flush=True)
    build_server(api, **gate).run(
        host=args.host, port=args.port, generate_client_file=False, num_api_servers=1, log_level='warning'
    )


def _by_ray(args: argparse.Namespace, source: dict, gate: dict) -> None:
    import torch

    from mmdetlike.serving.on_ray import Placement, serve_on_ray

    threads = max(1, torch.get_num_threads() // args.workers)
    placement = Placement(args.ray, args.workers, args.gpus_per_worker, threads)
    serve_on_ray((source, args.score_thr), args.batch_size, args.wait, gate, args.host, args.port, placement)
