"""Semantic segmentation from files to mIoU by tools/train.py and tools/test.py."""

import json

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmdetlike.cli import test as test_tool
from mmdetlike.cli import train as train_tool
from mmdetlike.datasets import ADE20KSegDataset, CocoStuffDataset
from tests.models.tiny import BACKBONE, NECK, PREPROCESSOR

GRASS = {
    'CocoStuffDataset': CocoStuffDataset.VALUES['grass'],
    'ADE20KSegDataset': 1 + ADE20KSegDataset.METAINFO['classes'].index('grass'),
}
PERSON = {
    'CocoStuffDataset': CocoStuffDataset.VALUES['person'],
    'ADE20KSegDataset': 1 + ADE20KSegDataset.METAINFO['classes'].index('person'),
}
NOTHING = {'CocoStuffDataset': 255, 'ADE20KSegDataset': 0}


def write_pictures(folder, kind: str) -> None:
    """Two red people on green grass in each of four pictures; a border that nobody annotated."""
    for number in range(4):
        labels = np.full((64, 64), GRASS[kind], np.uint8)
        labels[8 : 40 + number, 8:24] = PERSON[kind]
        labels[20:50, 34 + number : 54] = PERSON[kind]
        picture = np.zeros((64, 64, 3), np.uint8)
        picture[..., 1] = 200
        picture[labels == PERSON[kind]] = (220, 30, 30)
        labels[:2] = NOTHING[kind]
        for name, content, suffix in (('images', picture, 'jpg'), ('maps', labels, 'png')):
            (folder / name).mkdir(exist_ok=True)
            Image.fromarray(content).save(folder / name / f'{number}.{suffix}')


def config(folder, kind: str) -> Config:
    load = dict(type='LoadAnnotations', with_bbox=False, with_seg=True, reduce_zero_label=kind == 'ADE20KSegDataset')
    prefix = dict(img_path='images', seg_map_path='maps')
    dataset = dict(type=kind, data_root=str(folder), data_prefix=prefix)
    train = [dict(type='LoadImageFromFile'), load, dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
    test = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(96, 96), keep_ratio=True),
        load,
        dict(type='PackDetInputs', meta_keys=keys),
    ]
    loader = dict(batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    number = {'CocoStuffDataset': 171, 'ADE20KSegDataset': 150}[kind]
    head = dict(type='SemanticFPNHead', num_classes=number, in_channels=8, inner_channels=32, end_level=2)
    head['loss_seg'] = dict(type='CrossEntropyLoss', ignore_index=255)
    return Config(
        dict(
            default_scope='mmdetlike',
            model=dict(
                type='SemanticSegmentor',
                data_preprocessor=dict(PREPROCESSOR, pad_seg=True),
                backbone=BACKBONE,
                neck=NECK,
                semantic_head=head,
            ),
            train_dataloader=dict(loader, dataset=dict(dataset, pipeline=train)),
            test_dataloader=dict(loader, dataset=dict(dataset, pipeline=test, test_mode=True)),
            test_evaluator=dict(type='SemSegMetric'),
            test_cfg=dict(type='TestLoop'),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=25, val_interval=100),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.02)),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=25)),
            randomness=dict(seed=0),
            log_level='WARNING',
        )
    )


@pytest.mark.parametrize('kind', ['CocoStuffDataset', pytest.param('ADE20KSegDataset', marks=pytest.mark.slow)])
def test_from_files_to_scores(tmp_path, kind):
    write_pictures(tmp_path, kind)
    config(tmp_path, kind).dump(tmp_path / 'tiny.py')
    train_tool.main([str(tmp_path / 'tiny.py'), '--work-dir', str(tmp_path / 'run')])
    checkpoint = str(tmp_path / 'run/epoch_25.pth')
    test_tool.main([str(tmp_path / 'tiny.py'), checkpoint, '--work-dir', str(tmp_path / 'tested')])
    (path,) = (tmp_path / 'tested').glob('*/*.json')
    scores = json.loads(path.read_text())
    # red and green are told apart; the border doesn't count, and classes that nobody drew are no part of the mean
    assert scores['sem_seg/mIoU'] > 60
    assert scores['sem_seg/pACC'] > 80
