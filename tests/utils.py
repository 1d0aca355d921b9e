"""Small configs and processes that several test files share."""

import copy
import itertools
import os
import subprocess
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook

ROOT = Path(__file__).parents[1]
_counter = itertools.count()

BASE = """
_base_ = [
    '{root}/configs/_base_/models/{model}_r50_fpn.py',
    '{root}/configs/_base_/datasets/shapes_detection.py',
    '{root}/configs/_base_/default_runtime.py',
]
"""
ANCHORS = dict(strides=[8, 16, 32])
BACKBONE = dict(depth=18, base_channels=8, frozen_stages=-1, norm_eval=True, init_cfg=None)
NECK = dict(in_channels=[8, 16, 32, 64], out_channels=16, start_level=1, num_outs=3)
# enough to sample every proposal, so that nothing is drawn at random
EVERYTHING = 10**6

FASTER_RCNN = dict(
    backbone=BACKBONE,
    neck=NECK,
    rpn_head=dict(in_channels=16, feat_channels=16, anchor_generator=dict(scales=[4], **ANCHORS)),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16, featmap_strides=[8, 16], finest_scale=48),
        bbox_head=dict(in_channels=16, fc_out_channels=32, num_classes=5),
    ),
    train_cfg=dict(rpn_proposal=dict(nms_pre=100, max_per_img=40), rcnn=dict(sampler=dict(num=32))),
    test_cfg=dict(rpn=dict(nms_pre=100, max_per_img=40), rcnn=dict(score_thr=0.0)),
)
RETINANET = dict(
    backbone=BACKBONE,
    neck=dict(NECK, add_extra_convs=False),
    bbox_head=dict(num_classes=5, in_channels=16, feat_channels=16, stacked_convs=1, anchor_generator=ANCHORS),
)
MODELS = {'faster_rcnn': ('faster-rcnn', FASTER_RCNN), 'retinanet': ('retinanet', RETINANET)}


def tiny_config(work_dir: str | Path, model: str = 'faster_rcnn', **overrides) -> Config:
    """A config of a detector that trains an epoch of 16 pictures, in 4 batches, in about a second.

    Args:
        work_dir: Folder of the run.
        model: ``'faster_rcnn'`` or ``'retinanet'``.
        overrides: Top-level keys, merged into the config as ``_base_`` merges.
    """
    stem, settings = MODELS[model]
    cfg = Config.fromstring(BASE.format(root=ROOT, model=stem), '.py')
    data = dict(length=16, image_size=(64, 64), max_objects=3)
    number = next(_counter)
    cfg.merge_from_dict(
        dict(
            model=settings,
            train_dataloader=dict(batch_size=4, dataset=data),
            val_dataloader=dict(batch_size=4, dataset=dict(data, length=8)),
            test_dataloader=dict(batch_size=4, dataset=dict(data, length=8)),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1),
            val_cfg=dict(type='ValLoop'),
            test_cfg=dict(type='TestLoop'),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
            default_hooks=dict(logger=dict(interval=1)),
            randomness=dict(seed=0),
            work_dir=str(work_dir),
            experiment_name=f'tiny_{os.getpid()}_{number}',
            log_level='WARNING',
        )
    )
    cfg.merge_from_dict(copy.deepcopy(overrides))  # merging takes _delete_ out of what it is given
    return cfg


def without_validation(cfg: Config) -> Config:
    """The same run, only training."""
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    return cfg


def sample_everything(cfg: Config) -> Config:
    """The same run with every proposal sampled, so that the model draws nothing at random."""
    cfg.model.train_cfg.rcnn.sampler.num = EVERYTHING
    cfg.model.train_cfg.rpn.sampler.num = EVERYTHING
    return cfg


class LossRecorder(Hook):
    """Keeps the loss terms of each iteration as exact numbers, by iteration."""

    def __init__(self) -> None:
        self.losses: dict[int, dict[str, float]] = {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Record."""
        self.losses[runner.iter] = {name: float(value.detach()) for name, value in outputs.items()}


def train(cfg: Config, *hooks: Hook):
    """Train from a copy of the config; returns the runner and its losses by iteration."""
    from mmdetlike.engine import Runner

    recorder = LossRecorder()
    cfg = cfg.copy()
    cfg.experiment_name = f'{cfg.experiment_name}_{next(_counter)}'
    runner = Runner.from_cfg(cfg)
    for hook in (recorder, *hooks):
        runner.register_hook(hook, priority='LOWEST')
    runner.train()
    _stop_workers(runner.train_dataloader)
    return runner, recorder.losses


def _stop_workers(dataloader) -> None:
    """Persistent workers wait 5 s for one another where garbage collection, not the end of a process, ends them."""
    if dataloader._iterator is not None:
        dataloader._iterator._shutdown_workers()


def python(*args: str | Path, timeout: float = 300, path: str = '', **env: str) -> subprocess.CompletedProcess:
    """Run Python with our packages (and ``path`` before them) importable; output and errors are captured as text."""
    return subprocess.run([sys.executable, *map(str, args)], timeout=timeout, **process_settings(path, env))


def process_settings(path: str = '', env: dict | None = None) -> dict:
    """Arguments of ``subprocess.run`` and ``Popen``."""
    paths = os.pathsep.join(filter(None, [path, str(ROOT), os.environ.get('PYTHONPATH', '')]))
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', **(env or {}), 'PYTHONPATH': paths}
    return dict(env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
