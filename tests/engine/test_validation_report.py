"""What a report tells of a validation, and the whole report of a training as a browser shows it."""

import csv

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.cli import report
from mmdetlike.datasets import ShapesDataset
from mmdetlike.engine.validation_record import ValidationRecord, boxes_of_sample, extremes
from mmdetlike.engine.validation_report import write_data_statistics, write_validation
from mmdetlike.evaluation.functional.image_quality import box_quality
from mmdetlike.structures import DetDataSample
from tests.browser import open_page
from tests.utils import tiny_config, train

CLASSES = ('cat', 'dog')
SQUARE = [0.0, 0.0, 10.0, 10.0]
FAR = [50.0, 50.0, 60.0, 60.0]


def found(boxes, labels, scores):
    values = np.array(boxes, float).reshape(-1, 4), np.array(labels, int), np.array(scores, float)
    return dict(zip(('bboxes', 'labels', 'scores'), values))


def annotated(boxes, labels, ignore=None):
    flags = np.zeros(len(labels), bool) if ignore is None else np.array(ignore, bool)
    return dict(bboxes=np.array(boxes, float).reshape(-1, 4), labels=np.array(labels, int), ignore=flags)


@pytest.mark.parametrize(
    ('prediction', 'truth', 'quality'),
    [
        (found([SQUARE], [0], [0.9]), annotated([SQUARE], [0]), 1.0),
        (found([[0, 0, 10, 8]], [0], [0.9]), annotated([SQUARE], [0]), 0.8),
        (found([SQUARE], [1], [0.9]), annotated([SQUARE], [0]), 0.0),
        (found([SQUARE], [0], [0.2]), annotated([SQUARE], [0]), 0.0),
        (found([SQUARE, FAR], [0, 0], [0.9, 0.8]), annotated([SQUARE], [0]), 1 / 1.5),
        (found([SQUARE], [0], [0.9]), annotated([SQUARE, FAR], [0, 1]), 1 / 1.5),
        (found([SQUARE, FAR], [0, 0], [0.9, 0.8]), annotated([SQUARE, FAR], [0, 0], [False, True]), 1.0),
        (found([], [], []), annotated([], []), 1.0),
        (found([SQUARE], [0], [0.9]), annotated([], []), 0.0),
    ],
)
def test_quality_of_an_image(prediction, truth, quality):
    assert box_quality(prediction, truth, score_thr=0.3) == pytest.approx(quality)


def test_boxes_are_in_pixels_of_the_original_picture():
    sample = DetDataSample(metainfo=dict(scale_factor=(0.5, 0.25)))
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[1.0, 2, 4, 8]]), labels=torch.tensor([1]))
    sample.ignored_instances = InstanceData(bboxes=torch.tensor([[0.0, 0, 1, 1]]), labels=torch.tensor([0]))
    boxes = torch.tensor([SQUARE, FAR, SQUARE])
    sample.pred_instances = InstanceData(bboxes=boxes, scores=torch.tensor([0.4, 0.9, 0.001]), labels=torch.arange(3))
    prediction, truth = boxes_of_sample(sample, scaled=True)
    assert truth['bboxes'].tolist() == [[2, 8, 8, 32], [0, 0, 2, 4]]
    assert truth['ignore'].tolist() == [False, True]
    assert prediction['labels'].tolist() == [1, 0]  # best first, without what scores next to nothing
    sample.gt_instances = sample.ignored_instances = InstanceData(bboxes=torch.zeros(1, 5), labels=torch.tensor([1]))
    assert boxes_of_sample(sample, scaled=False) is None, 'rotated boxes'


def filled_record(num_images: int, num_pictures: int) -> ValidationRecord:
    """Images whose box is off by more and more, in mixed order."""
    record = ValidationRecord(0.3, num_pictures)
    order = np.random.default_rng(0).permutation(num_images)
    for number in order.tolist():
        box = [0, 0, 10, 10 - 4 * number / num_images]
        picture = np.full((20, 1000, 3), number, np.uint8)
        record.add(f'{number}', found([box], [0], [0.9]), annotated([SQUARE], [0]), lambda picture=picture: picture)
    return record


def test_pictures_of_the_extremes_alone_are_kept():
    record = filled_record(40, 3)
    worst, best = extremes(record.images, 3)
    assert [image.name for image in worst] == ['39', '38', '37']
    assert [image.name for image in best] == ['0', '1', '2']
    assert sum(image.picture is not None for image in record.images) == 6
    assert worst[0].picture.shape == (10, 480, 3)
    assert worst[0].scale == 0.48


def test_an_image_is_not_both_best_and_worst():
    worst, best = extremes(filled_record(3, 6).images, 6)
    assert [image.name for image in worst] == ['2', '1']
    assert [image.name for image in best] == ['0']


def rows_of(path):
    with open(path, newline='', encoding='utf-8') as file:
        return list(csv.reader(file))


def test_tables_and_pictures(tmp_path):
    record = ValidationRecord(0.3)
    picture = np.zeros((100, 100, 3), np.uint8)
    both = annotated([SQUARE, FAR], [0, 1])
    record.add('right', found([SQUARE, FAR], [0, 1], [0.9, 0.8]), both, lambda: picture)
    record.add('half', found([[0, 0, 10, 6]], [0], [0.7]), both, lambda: picture)
    write_validation(record.images, CLASSES, None, tmp_path, 0.3)
    table = rows_of(tmp_path / 'by_class.csv')
    assert table[1] == ['cat', '2', '1.000', '0.505', '1.000', '1.000', '1.000', '0.700']
    assert table[2] == ['dog', '2', '0.505', '0.505', '1.000', '0.500', '0.667', '0.800']
    assert rows_of(tmp_path / 'by_size.csv')[1:] == [['small', '4', '0.750'], ['medium', '0', '-'], ['large', '0', '-']]
    names = ['best.png', 'by_class.csv', 'by_size.csv', 'confusion_matrix.png', 'precision_recall.png', 'worst.png']
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_validation_without_objects(tmp_path):
    record = ValidationRecord(0.3)
    record.add('empty', found([], [], []), annotated([], []), lambda: np.zeros((9, 9, 3), np.uint8))
    write_validation(record.images, CLASSES, None, tmp_path, 0.3)
    assert rows_of(tmp_path / 'by_class.csv')[1] == ['cat', '0', *['-'] * 6]


def test_statistics_of_the_data(tmp_path):
    write_data_statistics({'train': ShapesDataset(length=7), 'shards': object()}, tmp_path)
    table = dict(rows_of(tmp_path / 'data.csv')[1:])
    assert table['images'] == '7'
    objects = sum(int(row[1]) for row in rows_of(tmp_path / 'data_classes.csv')[1:])
    assert str(objects) == table['objects'] != '0'


def test_the_page_of_a_training_in_a_browser(tmp_path):
    train(tiny_config(tmp_path, 'retinanet', log_level='INFO'))
    with open_page() as (page, errors):
        page.goto(f'file://{tmp_path}/report.html')
        titles = page.locator('h2').all_inner_texts()
        expected = ['Metrics', 'Curves', 'Predictions beside ground truth', 'Precision and recall', 'Confusion matrix']
        expected += [
            'Worst images',
            'Best images',
            'By class, at the score of the best F1',
            'By size of objects',
            'Data',
        ]
        expected += ['Classes of the data', 'Speed', 'Environment', 'Config']
        assert [title for title in titles if title != 'By size'] == expected
        widths = page.evaluate('[...document.images].map(image => image.naturalWidth)')
        assert len(widths) == 6 and min(widths) > 200
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth'), 'wider than the window'
        assert page.get_by_role('cell', name='triangle', exact=True).count() >= 2
        assert errors == []


def test_the_report_can_be_left_out(tmp_path):
    train(tiny_config(tmp_path, 'retinanet', custom_hooks=[dict(type='ReportHook', html=False)]))
    assert not (tmp_path / 'report.html').exists()
    assert not list(tmp_path.glob('*/report'))


def test_the_report_of_a_stopped_training_takes_predictions(tmp_path):
    cfg = tiny_config(tmp_path, 'retinanet', custom_hooks=[dict(type='ReportHook', html=False)])
    cfg.model.test_cfg.score_thr = 0.0
    cfg.test_evaluator = [cfg.val_evaluator, dict(type='DumpDetResults', out_file_path=str(tmp_path / 'found.pkl'))]
    runner, _ = train(cfg)
    runner.test()
    report.main([str(tmp_path), '--results', str(tmp_path / 'found.pkl')])
    text = (tmp_path / 'report.html').read_text()
    for title in ('Precision and recall', 'Confusion matrix', 'Worst images', 'Best images', 'Data'):
        assert f'<h2>{title}</h2>' in text
    with pytest.raises(FileNotFoundError, match=r'gone\.pkl does not exist'):
        report.main([str(tmp_path), '--results', str(tmp_path / 'gone.pkl')])
