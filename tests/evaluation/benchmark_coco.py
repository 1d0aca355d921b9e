"""Times CocoMetric, and pycocotools beside it, on random boxes: python tests/evaluation/benchmark_coco.py.

Both get the same predictions; times are seconds of CPU, reading the annotation file included.
"""

import argparse
import contextlib
import io
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from mmdetlike.evaluation import CocoMetric

CLASSES = tuple(f'class {number}' for number in range(80))
HEIGHT, WIDTH = 480, 640
OBJECTS = 7  # in an image, as COCO has


def random_image(generator: np.random.Generator, detections: int) -> tuple[np.ndarray, ...]:
    """Boxes (m, 4) and labels of objects; boxes, scores and labels of detections, the first ones near objects."""
    corners = generator.uniform(0, 400, (OBJECTS, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(8, 200, (OBJECTS, 2))], axis=1)
    boxes = boxes.clip(0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
    labels = generator.integers(0, len(CLASSES), OBJECTS)
    others = generator.uniform(0, 300, (detections - OBJECTS, 2))
    others = np.concatenate([others, generator.uniform(300, 480, (detections - OBJECTS, 2))], axis=1)
    found = np.concatenate([boxes + generator.normal(0, 8, boxes.shape), others]).astype(np.float32)
    found_labels = np.concatenate([labels, generator.integers(0, len(CLASSES), detections - OBJECTS)])
    return boxes, labels, found, generator.random(detections).astype(np.float32), found_labels


def random_case(images: int, detections: int) -> tuple[dict, list[tuple[np.ndarray, ...]]]:
    """A COCO file's content, and boxes, scores and labels predicted for each image."""
    generator = np.random.default_rng(0)
    annotations, predictions = [], []
    for image in range(images):
        boxes, labels, *prediction = random_image(generator, detections)
        sides = boxes[:, 2:] - boxes[:, :2]
        for (x, y), (width, height), label in zip(boxes[:, :2].tolist(), sides.tolist(), labels.tolist()):
            row = dict(id=len(annotations) + 1, image_id=image, category_id=label + 1, iscrowd=0)
            annotations.append(row | dict(bbox=[x, y, width, height], area=width * height))
        predictions.append(prediction)
    rows = [dict(id=i, height=HEIGHT, width=WIDTH, file_name=f'{i}.jpg') for i in range(images)]
    categories = [dict(id=label + 1, name=name) for label, name in enumerate(CLASSES)]
    return dict(images=rows, annotations=annotations, categories=categories), predictions


def ours(ann_file: str, predictions: list) -> list[float]:
    """The six precisions of CocoMetric."""
    metric = CocoMetric(ann_file)
    metric.dataset_meta = dict(classes=CLASSES)
    for image, arrays in enumerate(predictions):
        instances = dict(zip(('bboxes', 'scores', 'labels'), map(torch.from_numpy, arrays)))
        sample = dict(img_id=image, img_path=f'{image}.jpg', ori_shape=(HEIGHT, WIDTH), pred_instances=instances)
        metric.process(None, [sample])
    return list(metric.evaluate(len(predictions)).values())


def theirs(ann_file: str, predictions: list) -> list[float]:
    """The six precisions of pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO(ann_file)
    rows = []
    for image, arrays in enumerate(predictions):
        for (x1, y1, x2, y2), score, label in zip(*(array.tolist() for array in arrays)):
            rows.append(dict(image_id=image, category_id=label + 1, bbox=[x1, y1, x2 - x1, y2 - y1], score=score))
    evaluator = COCOeval(truth, truth.loadRes(rows), 'bbox')
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return evaluator.stats[:6].tolist()


def timed(function, *arguments) -> tuple[list[float], float]:
    """What a function gives, and seconds of CPU; what it prints is lost."""
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        scores = function(*arguments)
    return scores, time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=2000)
    parser.add_argument('--detections', type=int, default=100, help='in an image')
    parser.add_argument('--alone', action='store_true', help='without pycocotools')
    args = parser.parse_args()
    content, predictions = random_case(args.images, args.detections)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'truth.json'
        path.write_text(json.dumps(content))
        del content
        scores, seconds = timed(ours, str(path), predictions)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f'CocoMetric: {seconds:.2f} s, peak of the process {peak:.0f} MiB')
        if not args.alone:
            other, other_seconds = timed(theirs, str(path), predictions)
            difference = np.abs(np.array(scores) - other).max()
            print(f'pycocotools: {other_seconds:.2f} s, {other_seconds / seconds:.1f} times as long')
            print(f'largest difference of a score: {difference:.1e}')


if __name__ == '__main__':
    main()
