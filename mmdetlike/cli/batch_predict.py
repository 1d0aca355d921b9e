"""Predict millions of pictures on an engine of actors (Ray Data), into Parquet shards. See docs/scale.md.

A run that was killed is started again by the same command: finished shards are left alone.
"""

import argparse
import importlib.util

from mmdetlike.errors import ConfigError
from mmdetlike.utils.command import make_parser, user_path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('model', help='folder of tools/deploy.py, config, or checkpoint that holds its config')
    parser.add_argument('--weights', help='checkpoint of a config')
    parser.add_argument('--input', required=True, help='folder, glob pattern, Parquet file (column path) or COCO file')
    parser.add_argument('--output', required=True, type=user_path, help='folder for the shards')
    parser.add_argument('--device', help="'cpu', 'cuda', ... (default: the first GPU, or the CPU)")
    parser.add_argument('--batch-size', type=int, default=8, help='pictures that go through the detector at once')
    parser.add_argument('--shard-size', type=int, default=1024, help='pictures of a shard')
    parser.add_argument(
        '--workers', type=int, default=1, help='actors of Ray; 0 to predict in this process, without Ray'
    )
    parser.add_argument('--ray', metavar='ADDRESS', help='cluster to use, e.g. auto (default: start one here)')
    args = parser.parse_args(argv)
    for name in ('batch_size', 'shard_size'):
        if getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} must be positive, got {getattr(args, name)}')
    if args.workers < 0:
        parser.error(f'--workers must not be negative, got {args.workers}')
    return args


def main(argv: list[str] | None = None) -> None:
    """Predict what isn't predicted yet."""
    args = parse_args(argv)
    packages = ('pyarrow', 'ray') if args.workers else ('pyarrow',)
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise ConfigError(f'this needs {" and ".join(missing)}, not installed here: pip install mmdetlike[ray]')
    from mmdetlike.apis.batch import count_broken, picture_paths, plan, unfinished

    paths = picture_paths(args.input)
    shards = plan(paths, args.output, args.shard_size, f'{args.model} {args.weights or ""}'.strip())
    left = unfinished(shards)
    print(f'{len(paths)} pictures in {len(shards)} shards, {len(shards) - len(left)} of them finished', flush=True)
    if left:
        (_predict_here if args.workers == 0 else _predict_by_ray)(args, left)
    print(f'written to {args.output}')
    if broken := count_broken(shards):
        print(f'{broken} pictures could not be read: {args.output}/broken-*.jsonl says why')


def _predict_here(args: argparse.Namespace, shards: list) -> None:
    from mmdetlike.apis.batch import load, predict_shard

    inferencer = load(args.model, args.weights, args.device)
    for shard in shards:
        predict_shard(inferencer, shard, args.batch_size)
        print(f'shard {shard.index} is finished', flush=True)


def _predict_by_ray(args: argparse.Namespace, shards: list) -> None:
    import ray

    from mmdetlike.apis.batch import ShardPredictor, shard_rows

    ray.init(address=args.ray, log_to_driver=False, include_dashboard=False)
    uses_gpu = (args.device or '').startswith('cuda')
    # a block a shard, so that shards come out as they are finished and one that fails takes no others with it
    data = ray.data.from_items(list(shard_rows(shards)), override_num_blocks=len(shards))
    done = data.map(
        ShardPredictor,
        fn_constructor_args=(args.model, args.weights, args.device, args.batch_size),
        compute=ray.data.ActorPoolStrategy(size=args.workers),
        num_gpus=1 if uses_gpu else 0,
    )
    for row in done.iter_rows():
        print(f'shard {row["index"]} is finished', flush=True)
