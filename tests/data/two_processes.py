"""Trains quickstart configs in one of several processes, of which all but the first have pictures without objects.

usage: torchrun --nproc-per-node=2 two_processes.py FOLDER NAME...
"""

import sys
from pathlib import Path

import torch
from mmengine.dist import get_rank

from mmdetlike.datasets import ShapesDataset
from mmdetlike.engine import Runner
from mmdetlike.utils.config import load_config
from tests.engine.test_quickstarts import FOLDER, shorten

real = ShapesDataset.get_data_info


def without_objects(dataset, idx: int) -> dict:
    """A picture as it is, but nothing in it is annotated except stuff."""
    info = real(dataset, idx)
    info['instances'] = []
    if 'segments_info' in info:
        info['segments_info'] = [segment for segment in info['segments_info'] if not segment['is_thing']]
    return info


def short_config(name: str, work_dir: Path):
    """Three steps of one picture for each process, without validation."""
    cfg = load_config(FOLDER / f'{name}.py')
    shorten(cfg.train_dataloader.dataset, 6)
    cfg.train_dataloader.update(batch_size=1, num_workers=0, persistent_workers=False)
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
    if 'source_ratio' in cfg.train_dataloader.sampler:  # labeled and unlabeled pictures in each batch, without an end
        cfg.train_dataloader.batch_size = 2
        cfg.train_dataloader.sampler.update(batch_size=2, source_ratio=[1, 1])
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=3)
    for kind in ('val', 'test'):
        cfg[f'{kind}_cfg'] = cfg[f'{kind}_dataloader'] = cfg[f'{kind}_evaluator'] = None
    cfg.param_scheduler = None
    cfg.launcher, cfg.work_dir, cfg.experiment_name, cfg.log_level = 'pytorch', str(work_dir), name, 'ERROR'
    cfg.default_hooks.checkpoint = None
    return cfg


def main(folder: str, *names: str) -> None:
    """Print a line for each config: how many steps it took."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo')
    if get_rank() > 0:
        ShapesDataset.get_data_info = without_objects
    for name in names:
        runner = Runner.from_cfg(short_config(name, Path(folder) / name))
        runner.train()
        print(f'RESULT {name} of process {get_rank()}: {runner.iter} steps', flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
