"""The part of a training's report that tells what was found: pictures and tables, files in a folder of the run."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from mmengine.structures import InstanceData

from mmdetlike.datasets.statistics import SIZES, describe
from mmdetlike.evaluation.functional.coco_errors import RECALLS, precision_at_recalls
from mmdetlike.evaluation.functional.mean_ap import match_boxes
from mmdetlike.evaluation.functional.operating_points import best_point, confusion_matrix, ranked_by_class
from mmdetlike.evaluation.metrics.class_report_metric import BACKGROUND, confusion_png
from mmdetlike.visualization import contact_sheet, save_image
from mmdetlike.visualization.plots import plot_precision_recall

from .validation_record import ImageRecord, extremes

FOLDER = 'report'  # in the folder of a run
_IOU = 0.5
_STRICT_IOU = 0.75
_MOST_INFOS = 5000  # images that statistics of data look at
_SHOWN_PERCENTILES = ('mean', '5%', '50%', '95%')
_DISTRIBUTIONS = ('side of an object', 'aspect ratio of an object', 'objects of an image', 'side of an image')


def write_validation(
    images: Sequence[ImageRecord], classes: Sequence[str], palette, folder: Path, score_thr: float
) -> None:
    """Write curves of precision and recall, a confusion matrix, scores by class and size, best and worst images.

    Args:
        images: Of a validation.
        classes: Names of the classes.
        palette: Their colors, for ``contact_sheet``.
        folder: To write to.
        score_thr: Score from which on something counts as found in the matrix, the sizes and the pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    predictions = [image.prediction for image in images]
    truths = [image.truth for image in images]
    rankings = {iou: ranked_by_class(predictions, truths, len(classes), iou) for iou in (_IOU, _STRICT_IOU)}
    curves = {iou: _curves(classes, ranked) for iou, ranked in rankings.items()}
    if curves[_IOU]:
        objects = {name: ranking[2] for name, ranking in zip(classes, rankings[_IOU])}
        commonest = sorted(curves[_IOU], key=lambda name: -objects[name])
        means = {f'mean, IoU {iou:g}': np.mean(list(parts.values()), axis=0) for iou, parts in curves.items()}
        of_classes = {name: curves[_IOU][name] for name in commonest}
        plot_precision_recall(RECALLS, of_classes, means, folder / 'precision_recall.png')
    _write_table(folder / 'by_class.csv', _class_rows(classes, rankings[_IOU], curves))
    _write_table(folder / 'by_size.csv', _size_rows(predictions, truths, score_thr))
    matrix = confusion_matrix(predictions, truths, len(classes), score_thr, _IOU)
    (folder / 'confusion_matrix.png').write_bytes(confusion_png(matrix, [*classes, BACKGROUND]))
    worst, best = extremes(list(images), number=6)
    for name, chosen in (('worst', worst), ('best', best)):
        if chosen:
            save_image(_sheet(chosen, classes, palette, score_thr), folder / f'{name}.png')


def _curves(classes: Sequence[str], rankings: list[tuple]) -> dict[str, np.ndarray]:
    """Precision (101,) at each recall, of the classes that have objects."""
    return {name: precision_at_recalls(*ranking) for name, ranking in zip(classes, rankings) if ranking[2]}


def _class_rows(classes: Sequence[str], rankings: list[tuple], curves: dict) -> list[list]:
    header = ['', 'objects', f'AP, IoU {_IOU:g}', f'AP, IoU {_STRICT_IOU:g}']
    rows = [[*header, 'precision', 'recall', 'F1', 'at score']]
    for name, ranking in zip(classes, rankings):
        point = best_point(*ranking)
        precisions = [curves[iou][name].mean() if name in curves[iou] else None for iou in (_IOU, _STRICT_IOU)]
        values = [*precisions, point.precision, point.recall, point.f1, point.threshold]
        rows.append([name, ranking[2], *map(_shown, values)])
    return rows


def _size_rows(predictions: Sequence[dict], truths: Sequence[dict], score_thr: float) -> list[list]:
    """How many objects of each size there are, and how many of them were found."""
    areas = []
    found = []
    for prediction, truth in zip(predictions, truths):
        counted = ~truth['ignore']
        areas.append(_areas(truth['bboxes'][counted]))
        found.append(_is_found(prediction, truth, score_thr)[counted])
    area = np.concatenate([np.zeros(0), *areas])
    hit = np.concatenate([np.zeros(0, bool), *found])
    rows = [['', 'objects', f'found with a score of {score_thr:g} and IoU {_IOU:g}']]
    for name, (lower, upper) in SIZES.items():
        mine = (area >= lower) & (area < upper)
        rows.append([name, int(mine.sum()), _shown(hit[mine].mean() if mine.any() else None)])
    return rows


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _is_found(prediction: dict, truth: dict, score_thr: float) -> np.ndarray:
    """(m,) bool: whether a detection of the class overlaps the object."""
    kept = prediction['scores'] >= score_thr
    found = np.zeros(len(truth['labels']), bool)
    for label in np.unique(truth['labels']):
        mine = np.flatnonzero(truth['labels'] == label)
        boxes = prediction['bboxes'][kept & (prediction['labels'] == label)]
        # the other way round: which objects hit a detection
        found[mine] = match_boxes(truth['bboxes'][mine], boxes, np.zeros(len(boxes), bool), _IOU)[0]
    return found


def _sheet(images: Sequence[ImageRecord], classes: Sequence[str], palette, score_thr: float) -> np.ndarray:
    """A sheet of pairs: on the left what is annotated, on the right what was found."""
    items = []
    captions = []
    for image in images:
        truth = InstanceData(bboxes=image.truth['bboxes'] * image.scale, labels=image.truth['labels'])
        prediction = InstanceData(**{**image.prediction, 'bboxes': image.prediction['bboxes'] * image.scale})
        items += [(image.picture, truth), (image.picture, prediction)]
        captions += [f'{image.name}: annotated', f'found, quality {image.quality:.2f}']
    return contact_sheet(items, captions=captions, classes=classes, palette=palette, score_thr=score_thr)


def write_data_statistics(datasets: dict[str, object], folder: Path) -> None:
    """Write ``data.csv`` and ``data_classes.csv``: how many objects there are, of which classes and sizes.

    Of large datasets 5000 images, evenly spaced, are looked at. Those in shards are left out, as reading them may mean
    copying them.

    Args:
        datasets: By what they are called: 'train', 'val'.
        folder: To write to.
    """
    numbers = {}
    for name, dataset in datasets.items():
        if not hasattr(dataset, 'get_data_info') or hasattr(dataset, 'shard_sizes'):
            continue
        chosen = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), _MOST_INFOS)).astype(int))
        infos = [dataset.get_data_info(index) for index in chosen.tolist()]
        looked_at = f'{name}, {len(chosen)} of {len(dataset)} images' if len(chosen) < len(dataset) else name
        numbers[looked_at] = describe(infos, dataset.metainfo.get('classes') or ())
    if numbers:
        folder.mkdir(parents=True, exist_ok=True)
        _write_table(folder / 'data.csv', _data_rows(numbers))
        _write_table(folder / 'data_classes.csv', _data_class_rows(numbers))


def _data_rows(numbers: dict[str, dict]) -> list[list]:
    rows = [['', *numbers]]
    for key in ('images', 'objects', 'ignored objects'):
        rows.append([key, *(each[key] for each in numbers.values())])
    rows.append(['images without objects', *(each['images without objects']['number'] for each in numbers.values())])
    for size in SIZES:
        rows.append([f'{size} objects', *(each['objects by size'][size] for each in numbers.values())])
    for key in _DISTRIBUTIONS:
        for part in _SHOWN_PERCENTILES:
            values = [each[key].get(part) for each in numbers.values()]
            rows.append([f'{key}, {part}', *('-' if value is None else f'{value:.4g}' for value in values)])
    return rows


def _data_class_rows(numbers: dict[str, dict]) -> list[list]:
    header = [f'{name}: {column}' for name in numbers for column in ('objects', 'images', 'median side')]
    rows = [['', *header]]
    for class_name in next(iter(numbers.values()))['classes']:
        row = [class_name]
        for each in numbers.values():
            entry = each['classes'].get(class_name, {})
            side = entry.get('median side')
            row += [entry.get('objects', 0), entry.get('images', 0), '-' if side is None else f'{side:.0f}']
        rows.append(row)
    return rows


def _shown(value: float | None) -> str:
    return '-' if value is None or np.isnan(value) else f'{value:.3f}'


def _write_table(path: Path, rows: Iterable[Sequence]) -> None:
    with open(path, 'w', newline='', encoding='utf-8') as file:
        csv.writer(file).writerows(rows)
