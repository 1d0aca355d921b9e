"""Every configs/_base_/datasets: it loads, and its datasets and samplers build, files of annotations aside."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import ConfigDict
from mmengine.runner import Runner

from mmdetlike.datasets import ConcatDataset, ShapesDataset, YOLODataset
from mmdetlike.registry import DATA_SAMPLERS, DATASETS
from mmdetlike.utils import register_all_modules
from mmdetlike.utils.config import load_config

BASES = sorted((Path(__file__).parents[1] / 'configs/_base_/datasets').glob('*.py'))
CLASS_LISTS = {
    'annotations/class-descriptions-boxable.csv': '/m/cat,Cat\n',
    'annotations/bbox_labels_600_hierarchy.json': '{"LabelName": "/m/entity"}',
    'challenge2019/cls-label-description.csv': 'Cat,/m/cat,1\n',
}


def lazy(config):
    """A dataset config that reads nothing when it is built."""
    config = {'lazy_init': True, **config}
    for key in ('dataset', 'datasets'):
        if isinstance(config.get(key), list):
            config[key] = [lazy(inner) for inner in config[key]]
        elif key in config:
            config[key] = lazy(config[key])
    return config


@pytest.fixture
def open_images(tmp_path, monkeypatch):
    """The folder of Open Images with its lists of classes, which are read at once."""
    root = tmp_path / 'data/OpenImages'
    for name, text in CLASS_LISTS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    with open(root / 'challenge2019/class_label_tree.np', 'wb') as file:
        np.save(file, np.zeros((1, 1)))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize('path', BASES, ids=lambda path: path.stem)
def test_datasets_and_samplers_build(path, open_images):
    register_all_modules()
    cfg = load_config(path)
    for split in ('train', 'val', 'test'):
        dataloader = cfg[f'{split}_dataloader']
        assert DATASETS.build(lazy(dataloader.dataset.to_dict())) is not None
        for key in ('sampler', 'batch_sampler'):
            if dataloader.get(key) is not None:
                assert DATA_SAMPLERS.get(dataloader[key]['type']) is not None
        assert cfg[f'{split}_evaluator' if split != 'train' else 'val_evaluator']


@pytest.fixture
def yolo(tmp_path):
    """Ten pictures of shapes, as a folder of YOLO's."""
    shapes = ShapesDataset(length=10, image_size=(64, 96), pipeline=[{'type': 'LoadShapesImage'}])
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    for number, sample in enumerate(shapes):
        cv2.imwrite(str(tmp_path / f'images/{number}.png'), sample['img'])
        lines = []
        for item in sample['instances']:
            x1, y1, x2, y2 = item['bbox']
            lines.append(f'{item["bbox_label"]} {(x1 + x2) / 192} {(y1 + y2) / 128} {(x2 - x1) / 96} {(y2 - y1) / 64}')
        (tmp_path / f'labels/{number}.txt').write_text('\n'.join(lines))
    pipeline = [
        {'type': 'LoadImageFromFile'},
        {'type': 'LoadAnnotations', 'with_bbox': True},
        {'type': 'PackDetInputs'},
    ]
    return {
        'type': 'YOLODataset',
        'data_root': str(tmp_path),
        'data_prefix': {'img': 'images'},
        'metainfo': {'classes': shapes.metainfo['classes']},
        'pipeline': pipeline,
    }


@pytest.mark.parametrize(
    ('dataset', 'sampler', 'number'),
    [
        (lambda inner: inner, {'type': 'ClassAwareSampler'}, 10),
        (
            lambda inner: {'type': 'ConcatDataset', 'datasets': [inner, inner]},
            {'type': 'CustomSampleSizeSampler', 'dataset_size': [4, 2]},
            6,
        ),
    ],
)
def test_samplers_feed_a_dataloader(yolo, dataset, sampler, number):
    register_all_modules()
    config = ConfigDict(
        batch_size=2,
        num_workers=0,
        sampler=sampler,
        batch_sampler={'type': 'AspectRatioBatchSampler'},
        dataset=dataset(yolo),
    )
    loader = Runner.build_dataloader(config, seed=3)
    inner = loader.dataset.datasets[0] if isinstance(loader.dataset, ConcatDataset) else loader.dataset
    assert isinstance(inner, YOLODataset)
    samples = [sample for batch in loader for sample in batch['data_samples']]
    assert len(samples) == number
    assert all(len(sample.gt_instances) > 0 for sample in samples)


def test_instances_of_cityscapes_are_scored_by_coco_and_by_the_benchmark():
    cfg = load_config(BASES[0].parent / 'cityscapes_instance.py')
    assert [metric.type for metric in cfg.test_evaluator] == ['CocoMetric', 'CityScapesMetric']
    assert cfg.val_evaluator[1].seg_prefix == 'data/cityscapes/gtFine/val'
    assert cfg.val_dataloader.dataset.data_prefix.img == 'leftImg8bit/val/'
