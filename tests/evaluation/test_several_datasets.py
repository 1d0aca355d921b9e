"""Several validation sets in one run: each is scored by its own metrics, as if it were alone."""

import copy
import json
import pickle
from pathlib import Path

import pytest
from mmengine.structures import InstanceData

from mmdetlike.cli import test as test_tool
from mmdetlike.datasets import ConcatDataset, DataError
from mmdetlike.errors import ConfigError
from mmdetlike.evaluation import MultiDatasetsEvaluator, several_datasets
from mmdetlike.registry import DATASETS
from mmdetlike.utils.settings import check_settings
from tests.utils import tiny_config, train

EVALUATOR = dict(
    type='MultiDatasetsEvaluator',
    dataset_prefixes=['day', 'night'],
    metrics=[dict(type='CocoMetric'), [dict(type='VOCMetric', eval_mode='area'), dict(type='CocoMetric')]],
)


def several(cfg, kind: str):
    """The config, its validation or test on two sets with equal image ids, of 8 and 5 images."""
    first = cfg[f'{kind}_dataloader'].dataset
    second = dict(first, length=5, split='more')
    cfg[f'{kind}_dataloader'].dataset = dict(type='ConcatDataset', datasets=[first, second])
    cfg[f'{kind}_evaluator'] = EVALUATOR
    return cfg


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A run that validates on two sets, and its config."""
    cfg = several(tiny_config(tmp_path_factory.mktemp('several'), train_cfg=dict(max_epochs=1)), 'val')
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', save_best=['day/coco/bbox_mAP', 'night/pascal_voc/mAP'])
    cfg.custom_hooks = [dict(type='EarlyStoppingHook', monitor='night/coco/bbox_mAP')]
    runner, _ = train(cfg)
    return runner, cfg


def scores(folder: Path) -> dict[str, float]:
    text = next(folder.glob('*/vis_data/scalars.json')).read_text()
    return json.loads(text.splitlines()[-1])


def scores_of_test(cfg, folder: Path, checkpoint: str, *options: str) -> dict[str, float]:
    """The scores that tools/test.py writes."""
    cfg.dump(folder / 'config.py')
    arguments = [str(folder / 'config.py'), checkpoint, '--work-dir', str(folder)]
    test_tool.main([*arguments, *options, '--cfg-options', f'experiment_name={folder.name}'])
    found = [json.loads(path.read_text()) for path in folder.glob('*/*.json')]
    return found[0] if found else {}


def test_scores_are_those_of_each_set_alone(trained, tmp_path):
    runner, cfg = trained
    together = scores(Path(runner.work_dir))
    for i, (name, ours) in enumerate([('day', 'coco/bbox_mAP'), ('night', 'coco/bbox_mAP')]):
        alone = copy.deepcopy(cfg)
        alone.test_dataloader.dataset = cfg.val_dataloader.dataset.datasets[i]
        (tmp_path / name).mkdir()
        expected = scores_of_test(alone, tmp_path / name, str(Path(runner.work_dir) / 'epoch_1.pth'))
        assert 0 < expected[ours] == together[f'{name}/{ours}']
    assert 'night/pascal_voc/mAP' in together and 'day/pascal_voc/mAP' not in together


def test_the_best_checkpoint_of_each_set_is_kept(trained):
    names = sorted(path.name for path in Path(trained[0].work_dir).glob('best*.pth'))
    assert names == ['best_day_coco_bbox_mAP_epoch_1.pth', 'best_night_pascal_voc_mAP_epoch_1.pth']


@pytest.mark.parametrize('monitor', ['coco/bbox_mAP', 'day/pascal_voc/mAP'])
def test_a_score_that_no_set_has_is_told_before_training(monitor, tmp_path):
    cfg = several(tiny_config(tmp_path), 'val')
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', save_best=monitor)
    with pytest.raises(ConfigError, match=f"save_best='{monitor}': val_evaluator gives no such score; did you mean"):
        train(cfg)


def test_testing_writes_predictions_of_all_sets(trained, tmp_path):
    runner, cfg = trained
    out = tmp_path / 'all.pkl'
    cfg = several(copy.deepcopy(cfg), 'test')
    (tmp_path / 'out').mkdir()
    found = scores_of_test(cfg, tmp_path / 'out', str(Path(runner.work_dir) / 'epoch_1.pth'), '--out', str(out))
    assert len(pickle.loads(out.read_bytes())) == 13
    together = scores(Path(runner.work_dir))
    assert found['day/coco/bbox_mAP'] == together['day/coco/bbox_mAP']


def test_format_only_writes_a_file_of_each_set(trained, tmp_path):
    runner, cfg = trained
    (tmp_path / 'format').mkdir()
    scores_of_test(
        several(copy.deepcopy(cfg), 'test'),
        tmp_path / 'format',
        str(Path(runner.work_dir) / 'epoch_1.pth'),
        '--format-only',
    )
    written = sorted(path.name for path in (tmp_path / 'format').glob('*.bbox.json'))
    assert written == ['predictions_day.bbox.json', 'predictions_night.bbox.json']


def test_equal_ids_are_refused_where_metrics_would_mix_them(tmp_path):
    cfg = several(tiny_config(tmp_path), 'val')
    cfg.val_evaluator = dict(type='CocoMetric')
    with pytest.raises(DataError, match=r"both have an image 0; .*val_evaluator=dict\(type='MultiDatasetsEvaluator'"):
        train(cfg)


def test_a_list_of_dataloaders_is_told_what_to_write(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.val_dataloader = [cfg.val_dataloader, cfg.val_dataloader]
    with pytest.raises(ConfigError, match=r'val_dataloader=.* ConcatDataset, .* MultiDatasetsEvaluator'):
        check_settings(cfg)


@pytest.mark.parametrize(
    ('change', 'told'),
    [
        (dict(dataset_prefixes=['day']), r"has metrics for 2 datasets, but 1 dataset_prefixes: \['day'\]"),
        (dict(dataset_prefixes=['day', 'day']), 'give each dataset a name of its own'),
        (
            dict(dataset_prefixes=list('abc'), metrics=[dict(type='CocoMetric')] * 3),
            'has metrics for 3 datasets, but ConcatDataset consists of 2',
        ),
    ],
)
def test_numbers_and_names_have_to_fit(change, told, tmp_path):
    cfg = several(tiny_config(tmp_path), 'val')
    cfg.val_evaluator = dict(EVALUATOR, **change)
    with pytest.raises(ConfigError, match=told):
        train(cfg)


def test_it_needs_a_concat_dataset(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.val_evaluator = EVALUATOR
    with pytest.raises(ConfigError, match='MultiDatasetsEvaluator needs a ConcatDataset, got ShapesDataset'):
        train(cfg)


def found_in(dataset: ConcatDataset, index: int):
    """A sample in which half of the objects have been found."""
    sample = dataset[index]['data_samples']
    truth = sample.gt_instances[::2]
    boxes = truth.bboxes.tensor if hasattr(truth.bboxes, 'tensor') else truth.bboxes
    sample.pred_instances = InstanceData(bboxes=boxes, labels=truth.labels, scores=boxes.new_ones(len(boxes)))
    return sample


def test_two_processes_give_the_scores_of_one(tmp_path, monkeypatch):
    """Each has samples of both sets, and the last one twice to make batches of one size."""
    dataset = DATASETS.build(several(tiny_config(tmp_path), 'val').val_dataloader.dataset)
    shares = [range(0, 13, 2), [*range(1, 13, 2), 0]]
    one = MultiDatasetsEvaluator(EVALUATOR['metrics'], EVALUATOR['dataset_prefixes'])
    one.take_dataset(dataset)
    one.process([found_in(dataset, i) for i in range(13)])
    both = [MultiDatasetsEvaluator(EVALUATOR['metrics'], EVALUATOR['dataset_prefixes']) for _ in shares]
    for evaluator, share in zip(both, shares):
        evaluator.take_dataset(dataset)
        evaluator.process([found_in(dataset, i) for i in share])
    for number in range(len(one.metrics)):
        kept = [
            (evaluator._indices[evaluator.metrics[number]], evaluator.metrics[number].results) for evaluator in both
        ]
        monkeypatch.setattr(several_datasets, 'all_gather_object', lambda mine, kept=kept: list(kept))
        counts = []
        for rank, evaluator in enumerate(both):
            monkeypatch.setattr(several_datasets, 'get_dist_info', lambda rank=rank: (rank, 2))
            counts.append(evaluator._share_out(evaluator.metrics[number]))
        first, second = (evaluator.metrics[number].results for evaluator in both)
        assert len(first) == len(second)
        # what mmengine does with the shares of several processes
        collected = [result for pair in zip(first, second) for result in pair][: counts[0]]
        assert len(collected) == len(one.metrics[number].results)
        both[0].metrics[number].results = collected
    monkeypatch.setattr(several_datasets, 'get_dist_info', lambda: (0, 1))
    assert both[0].evaluate(13) == one.evaluate(13)
