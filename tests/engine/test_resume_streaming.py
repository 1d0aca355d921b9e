"""A training on shards that is killed in the middle of an epoch sees the same samples when it is resumed."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from mmdetlike.cli import make_shapes, write_shards
from tests.utils import tiny_config, train, without_validation


@pytest.fixture(scope='module')
def shards(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp('shapes')
    make_shapes.main([str(out), '--num-train', '22', '--num-val', '0', '--size', '64', '--max-objects', '3'])
    ann_file = out / 'annotations' / 'instances_train.json'
    write_shards.main([str(ann_file), str(out / 'train'), str(out / 'shards'), '--shard-size', '4'])
    return out / 'shards'


class Seen(Hook):
    """Collects which pictures were seen; kills its process after some iterations."""

    def __init__(self, killed_after: int = -1) -> None:
        self.samples = []
        self.killed_after = killed_after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.samples += [(sample.img_id, sample.flip) for sample in data_batch['data_samples']]
        if runner.iter + 1 == self.killed_after:
            os.kill(os.getpid(), signal.SIGKILL)


def config(work_dir: Path, shards: Path, num_workers: int):
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackDetInputs'),
    ]
    dataset = dict(type='StreamingDetDataset', shards=str(shards), pipeline=pipeline, _delete_=True)
    sampler = dict(type='ShardSampler', window=2, _delete_=True)
    loader = dict(dataset=dataset, sampler=sampler, num_workers=num_workers, persistent_workers=num_workers > 0)
    cfg = tiny_config(work_dir, 'retinanet', train_dataloader=loader, train_cfg=dict(max_epochs=2))
    cfg.default_hooks.checkpoint.update(interval=1, by_epoch=False)
    return without_validation(cfg)


@pytest.mark.parametrize('num_workers', [0, 2])
def test_killed_and_resumed_sees_the_same_samples(shards, tmp_path, num_workers):
    whole = Seen()
    losses = train(config(tmp_path / 'whole', shards, num_workers), whole)[1]
    assert len(whole.samples) == 44

    killed = config(tmp_path / 'killed', shards, num_workers)
    # an epoch has 6 iterations
    process = multiprocessing.get_context('fork').Process(target=train, args=(killed, Seen(killed_after=9)))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL

    again = config(tmp_path / 'killed', shards, num_workers)
    again.resume = True
    rest = Seen()
    resumed = train(again, rest)[1]
    assert resumed == {number: losses[number] for number in range(9, 12)}
    assert rest.samples == whole.samples[22 + 3 * 4 :]
