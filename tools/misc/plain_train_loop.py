"""Training without a Runner: a plain loop, to copy and change.

    python tools/misc/plain_train_loop.py CONFIG --iterations 100 --out weights.pth

It builds model, data and optimizer from a config; what else the Runner does (validation, checkpoints of a whole run,
several processes, mixed precision, schedules) is left out.
"""

import torch
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from mmdetlike.registry import MODELS
from mmdetlike.utils import register_all_modules
from mmdetlike.utils.command import make_parser, run_tool
from mmdetlike.utils.config import load_config


def train(config: str, iterations: int, out: str | None = None, options: dict | None = None) -> list[float]:
    """Train for some iterations.

    Args:
        config: Path or name of a config.
        iterations: How many steps of the optimizer.
        out: File of the weights; None writes none.
        options: Overrides of the config by dotted key.

    Returns:
        The loss of each iteration.
    """
    register_all_modules()
    cfg = load_config(config, options or {})
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.to('cuda' if torch.cuda.is_available() else 'cpu').train()
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    losses = []
    while len(losses) < iterations:
        for batch in loader:
            prepared = model.data_preprocessor(batch, training=True)
            loss, parts = model.parse_losses(model(**prepared, mode='loss'))
            optimizer.update_params(loss)
            losses.append(loss.item())
            if len(losses) % 10 == 0 or len(losses) == iterations:
                shown = ', '.join(f'{name} {value.item():.3f}' for name, value in parts.items())
                print(f'{len(losses)}/{iterations}: {shown}')
            if len(losses) == iterations:
                break
    if out is not None:
        torch.save(dict(state_dict=model.state_dict()), out)
    return losses


def main() -> None:
    """Read the command line."""
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument('config')
    parser.add_argument('--iterations', type=int, default=100)
    parser.add_argument('--out', help='file of the weights')
    args = parser.parse_args()
    train(args.config, args.iterations, args.out)


if __name__ == '__main__':
    run_tool(main)
