"""Tools that look at a file of predictions: scores, best and worst images, a confusion matrix, fusion."""

import csv
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from mmdetlike.cli import analyze_results, confusion_matrix, eval_metric, fuse_results
from mmdetlike.cli.rated_images import image_score
from mmdetlike.datasets.errors import DataError
from mmdetlike.evaluation.results import read_results
from mmdetlike.registry import DATASETS
from mmdetlike.utils.setup_env import register_all_modules

CONFIG = """
default_scope = 'mmdet'
pipeline = [
    dict(type='LoadShapesImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'instances')),
]
dataset = dict(type='ShapesDataset', length=4, image_size=(96, 128), test_mode=True, pipeline=pipeline)
test_dataloader = dict(dataset=dataset)
test_evaluator = dict(type='CocoMetric', metric='bbox')
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'shapes.py'
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def infos():
    register_all_modules()
    data = DATASETS.build(dict(type='ShapesDataset', length=4, image_size=(96, 128), test_mode=True))
    return [data.get_data_info(i) for i in range(len(data))]


def samples(infos, shift: float = 0.0, score: float = 0.9) -> list[dict]:
    """Predictions that find each object, shifted by so many pixels."""
    found = []
    for info in infos:
        boxes = torch.tensor([row['bbox'] for row in info['instances']], dtype=torch.float32) + shift
        labels = torch.tensor([row['bbox_label'] for row in info['instances']])
        instances = dict(bboxes=boxes, labels=labels, scores=torch.full((len(boxes),), score))
        found.append(dict(img_id=info['img_id'], ori_shape=(96, 128), img_path=None, pred_instances=instances))
    return found


def write(path, content) -> str:
    path.write_bytes(pickle.dumps(content))
    return str(path)


def test_eval_metric(config, infos, tmp_path, capsys):
    eval_metric.main([config, write(tmp_path / 'right.pkl', samples(infos))])
    lines = dict(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith('coco/'))
    assert lines['coco/bbox_mAP'] == '1.0000'
    nothing = [dict(sample, pred_instances=samples(infos[:1])[0]['pred_instances']) for sample in samples(infos)]
    eval_metric.main([config, write(tmp_path / 'wrong.pkl', nothing)])
    lines = dict(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith('coco/'))
    assert float(lines['coco/bbox_mAP']) < 0.6


def test_analyze_results(config, infos, tmp_path, capsys):
    found = samples(infos)
    found[2]['pred_instances']['bboxes'] += 500
    out = tmp_path / 'out'
    analyze_results.main([config, write(tmp_path / 'r.pkl', found), str(out), '--topk', '1'])
    assert [path.name for path in (out / 'bad').iterdir()] == ['000_0.000.jpg']
    assert [path.name for path in (out / 'good').iterdir()] == ['000_1.000.jpg']
    with Image.open(out / 'bad' / '000_0.000.jpg') as picture:
        assert picture.size == (2 * 128, 96)
    with open(out / 'images.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [float(row['score']) for row in rows] == [0, 1, 1, 1]
    assert '4 images: mean 0.750, worst 0.000, best 1.000' in capsys.readouterr().out


def boxes(*rows, scores=None) -> dict:
    """Boxes of (label, x) that are 10 x 10 pixels large."""
    labels = np.array([label for label, _ in rows], dtype=int)
    corners = np.array([[x, 0, x + 10, 10] for _, x in rows], dtype=float).reshape(-1, 4)
    score = np.full(len(rows), 0.9) if scores is None else np.array(scores)
    return dict(bboxes=corners, labels=labels, scores=score, ignore=np.zeros(len(rows), bool))


def test_score_of_an_image():
    truth = boxes((0, 0), (1, 50))
    assert image_score(boxes((0, 0), (1, 50)), truth, 0.3) == 1
    assert image_score(boxes((0, 0)), truth, 0.3) == 0.5
    # a class that isn't there counts 0
    assert image_score(boxes((0, 0), (1, 50), (2, 90)), truth, 0.3) == pytest.approx(2 / 3)
    assert image_score(boxes((0, 0), (1, 50), (2, 90), scores=[0.9, 0.9, 0.1]), truth, 0.3) == 1
    assert image_score(boxes(), boxes(), 0.3) == 1
    assert image_score(boxes((0, 0)), boxes(), 0.3) == 0
    # an IoU of 0.8: found at 7 of the 10 thresholds, 0.50 to 0.80
    shifted = boxes((0, 0))
    shifted['bboxes'][0, 2] = 8.0001
    assert image_score(shifted, boxes((0, 0)), 0.3) == pytest.approx(0.7)


def test_confusion_matrix(config, infos, tmp_path):
    found = samples(infos)
    for sample in found:
        sample['pred_instances']['labels'] = torch.zeros_like(sample['pred_instances']['labels'])
    out = tmp_path / 'matrix'
    confusion_matrix.main([config, write(tmp_path / 'r.pkl', found), str(out)])
    with open(out / 'confusion_matrix.csv', newline='') as file:
        rows = [list(map(int, row[1:])) for row in list(csv.reader(file))[1:]]
    annotated = np.bincount([row['bbox_label'] for info in infos for row in info['instances']], minlength=len(rows))
    assert [row[0] for row in rows] == annotated.tolist()
    assert sum(map(sum, rows)) == annotated.sum()
    with Image.open(out / 'confusion_matrix.png') as picture:
        assert picture.format == 'PNG'


def test_fuse_results(config, infos, tmp_path, capsys):
    left = write(tmp_path / 'left.pkl', samples(infos, -2))
    right = write(tmp_path / 'right.pkl', samples(infos, 2))
    out = tmp_path / 'fused.pkl'
    fuse_results.main([config, left, right, '--iou-thr', '0.3', '--eval-single', '--out', str(out)])
    scores = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith('coco/bbox_mAP ')]
    assert float(scores[0]) < 1 and float(scores[1]) < 1 and scores[2] == '1.0000'
    fused = read_results(out)
    expected = [sorted(row['bbox'] for row in info['instances']) for info in infos]
    for sample, boxes_of_image in zip(fused, expected):
        np.testing.assert_allclose(sorted(sample['pred_instances']['bboxes'].tolist()), boxes_of_image, atol=1e-3)


def test_only_boxes_are_fused_so_only_they_are_scored(infos, tmp_path, capsys):
    config = tmp_path / 'masks.py'
    config.write_text(CONFIG.replace("metric='bbox'", "metric=['bbox', 'segm']"))
    path = write(tmp_path / 'a.pkl', samples(infos))
    fuse_results.main([str(config), path, path])
    out = capsys.readouterr().out
    assert "CocoMetric: metric ['bbox', 'segm'] is ['bbox'] here, as only boxes are fused" in out
    assert 'coco/bbox_mAP     1.0000' in out and 'segm_mAP' not in out


def test_files_that_are_no_results(config, infos, tmp_path):
    class Evil:
        def __reduce__(self):
            return eval, ('1',)

    good = samples(infos)
    cases = {
        b'': 'not a pickle of predictions',
        b'{"a": 1}': 'not a pickle of predictions',
        pickle.dumps([]): r'expected a list of predictions, got \[\]',
        pickle.dumps([{'img_id': 3}]): 'prediction 0 has none of pred_instances, pred_sem_seg',
        pickle.dumps([{'x': 3}]): 'prediction 0 has no img_id',
        pickle.dumps(good + good[:1]): '1 images are predicted twice',
        pickle.dumps(Evil()): 'holds builtins.eval; only arrays, tensors and plain data are read',
        pickle.dumps([dict(good[0], pred_instances={'bboxes': []})]): 'has no scores, labels',
    }
    for number, (content, message) in enumerate(cases.items()):
        path = tmp_path / f'{number}.pkl'
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_results(path)
    with pytest.raises(FileNotFoundError, match=r'gone.pkl does not exist; expected the file that `mmdetlike test'):
        eval_metric.main([config, str(tmp_path / 'gone.pkl')])


def test_results_of_another_dataset(config, infos, tmp_path):
    other = [dict(sample, img_id=900 + i) for i, sample in enumerate(samples(infos))]
    path = write(tmp_path / 'other.pkl', other)
    with pytest.raises(DataError, match='a prediction for an image of id 900, which is none of the 4 of the test set'):
        eval_metric.main([config, path])
    with pytest.raises(DataError, match='are of different images: 4 and 4, and 8 are in one of them only'):
        fuse_results.main([config, write(tmp_path / 'mine.pkl', samples(infos)), path])


@pytest.mark.parametrize('wrong', [['--weights', '1'], ['--iou-thr', '2'], ['--out', 'a.json']])
def test_wrong_settings_of_fusion(config, wrong, capsys):
    with pytest.raises(SystemExit):
        fuse_results.main([config, 'a.pkl', 'b.pkl', *wrong])
    assert wrong[0] in capsys.readouterr().err
