"""Datasets, samplers and metrics as mmengine's Runner builds and uses them, under our scope and its aliases."""

import pytest
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmdetlike.datasets import AspectRatioBatchSampler, DefaultSampler

META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances')


def loader_config(scale):
    pipeline = [
        {'type': 'LoadShapesImage'},
        {'type': 'LoadAnnotations', 'with_bbox': True},
        {'type': 'Resize', 'scale': scale, 'keep_ratio': True},
        {'type': 'PackDetInputs', 'meta_keys': META_KEYS},
    ]
    return {
        'batch_size': 3,
        'num_workers': 0,
        'sampler': {'type': 'DefaultSampler', 'shuffle': True},
        'batch_sampler': {'type': 'AspectRatioBatchSampler'},
        'dataset': {'type': 'ShapesDataset', 'length': 8, 'image_size': (96, 128), 'pipeline': pipeline},
    }


@pytest.mark.parametrize('scope', ['mmdetlike', 'mmdet'])
def test_evaluating_the_truth_gives_one(scope):
    with DefaultScope.overwrite_default_scope(scope):
        loader = Runner.build_dataloader(loader_config((256, 192)), seed=0)
        evaluator = Evaluator([{'type': 'CocoMetric'}, {'type': 'VOCMetric', 'eval_mode': 'area'}])
    assert isinstance(loader.batch_sampler, AspectRatioBatchSampler)
    assert isinstance(loader.batch_sampler.sampler, DefaultSampler)
    evaluator.dataset_meta = loader.dataset.metainfo
    seen = []
    for batch in loader:
        for data_sample in batch['data_samples']:
            truth = data_sample.gt_instances
            boxes = getattr(truth.bboxes, 'tensor', truth.bboxes) / 2  # back to the size of the annotations
            found = InstanceData(bboxes=boxes, labels=truth.labels, scores=boxes.new_ones(len(boxes)))
            data_sample.pred_instances = found
            seen.append(data_sample.img_id)
        evaluator.process(batch['data_samples'], batch)
    scores = evaluator.evaluate(len(loader.dataset))
    assert sorted(seen) == list(range(8))
    assert scores['coco/bbox_mAP'] == scores['pascal_voc/mAP'] == 1
