"""What is wrong with the metrics of an evaluator is told before anything is predicted."""

import pytest

from mmdetlike.datasets import errors
from mmdetlike.engine.runner import Runner
from mmdetlike.errors import ConfigError
from mmdetlike.evaluation import (
    CocoMetric,
    CocoPanopticMetric,
    DOTAMetric,
    DumpDetResults,
    VOCMetric,
    check_metrics,
    score_names,
)

from .test_coco_metric import BOX, CLASSES, OTHER, evaluate, instance, predicted, sample, shapes_samples


@pytest.fixture
def messages(monkeypatch):
    logged = []
    monkeypatch.setattr(errors, 'print_log', lambda message, **kwargs: logged.append(message))
    return logged


@pytest.mark.parametrize(
    ('metrics', 'told'),
    [
        ([CocoMetric(), CocoMetric()], "CocoMetric and CocoMetric both give the score 'coco/bbox_mAP'"),
        ([VOCMetric(), CocoMetric(), VOCMetric(0.7)], "VOCMetric and VOCMetric both give the score 'pascal_voc/mAP'"),
        ([VOCMetric(prefix='coco'), DOTAMetric(prefix='coco')], "VOCMetric and DOTAMetric both give .*'coco/mAP'"),
        (
            [CocoMetric(metric='bbox', classwise=True), CocoMetric(metric='segm', classwise=True)],
            "both give the score 'coco/{class}_precision'",
        ),
        ([CocoPanopticMetric(), CocoPanopticMetric()], "both give the score 'coco_panoptic/PQ'"),
    ],
)
def test_scores_of_one_name_are_refused(metrics, told):
    with pytest.raises(ConfigError, match=f"{told}.*give each a prefix, as prefix='first'"):
        check_metrics(metrics)


@pytest.mark.parametrize(
    'metrics',
    [
        [CocoMetric(), CocoMetric(prefix='other')],
        [CocoMetric(metric='bbox'), CocoMetric(metric='segm')],
        [CocoMetric(), VOCMetric(), CocoPanopticMetric()],
        [CocoMetric(), CocoMetric(format_only=True, outfile_prefix='x')],
        [CocoMetric(), DumpDetResults('x.pkl'), DumpDetResults('y.pkl')],
    ],
)
def test_scores_of_different_names_pass(metrics, messages):
    check_metrics(metrics)
    assert messages == []


@pytest.mark.parametrize('evaluator', [[], dict(metrics=[])])
def test_an_evaluator_without_metrics_is_told(evaluator, messages):
    Runner.build_evaluator(object.__new__(Runner), evaluator)
    assert messages == [
        'The evaluator has no metrics (val_evaluator or test_evaluator is empty): nothing will be scored.'
    ]


def test_a_run_is_refused_when_its_evaluator_is_built():
    with pytest.raises(ConfigError, match="both give the score 'coco/bbox_mAP'"):
        Runner.build_evaluator(object.__new__(Runner), [dict(type='mmdetlike.CocoMetric') for _ in range(2)])


@pytest.mark.parametrize(
    'arguments',
    [
        dict(metric=['bbox', 'segm', 'keypoints', 'proposal'], classwise=True),
        dict(metric=['segm', 'bbox'], classwise=True, prefix='mine'),
        dict(metric='proposal_fast', proposal_nums=(10, 20)),
        dict(metric='bbox', metric_items=['mAP_50', 'AR@100']),
    ],
    ids=str,
)
def test_names_are_those_of_the_scores(arguments):
    dataset, samples = shapes_samples(length=3)
    classes = dataset.metainfo['classes']
    scores = evaluate(samples, classes=classes, meta=dataset.metainfo, **arguments)
    assert sorted(score_names(CocoMetric(**arguments), classes)) == sorted(scores)


@pytest.mark.parametrize(
    'arguments',
    [dict(iou_thrs=[0.5, 0.75], scale_ranges=[(0, 32), (32, 96)]), dict(metric='recall', iou_thrs=[0.5, 0.7]), {}],
    ids=str,
)
def test_names_are_those_of_the_scores_of_voc(arguments):
    metric = VOCMetric(**arguments)
    metric.dataset_meta = {'classes': CLASSES}
    metric.process(None, [sample(0, [instance(BOX)], predicted([BOX, OTHER], [0.9, 0.8], [0, 1]))])
    assert sorted(score_names(metric, CLASSES)) == sorted(metric.evaluate(1))
