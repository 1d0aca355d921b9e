"""Rating images by how well objects are found in them, and drawing the best and the worst."""

import argparse
import csv
from pathlib import Path

import numpy as np
from mmengine.structures import InstanceData
from tqdm import tqdm

from mmdetlike.cli.browsing import as_loaded
from mmdetlike.cli.scored_data import ScoredData, boxes_beside_truth
from mmdetlike.datasets.errors import ImageError
from mmdetlike.evaluation.functional.mean_ap import eval_map
from mmdetlike.evaluation.metrics.convert import to_numpy
from mmdetlike.evaluation.results import instances_of, read_results
from mmdetlike.registry import VISUALIZERS
from mmdetlike.structures import DetDataSample
from mmdetlike.utils.outputs import check_folder

IOU_THRESHOLDS = np.arange(0.5, 0.96, 0.05)


def image_score(prediction: dict, truth: dict, score_thr: float) -> float:
    """Average precision in one image, the mean over IoU 0.50:0.95 and over classes.

    The classes are those annotated, and those found with ``score_thr`` or more, which count 0 if they aren't
    annotated. 1 where there is nothing to find and nothing is found.

    Args:
        prediction: ``bboxes`` (n, 4) xyxy, ``scores`` and ``labels`` (n,).
        truth: ``bboxes`` (m, 4), ``labels`` and ``ignore`` (m,).
        score_thr: Score from which on something counts as found.
    """
    annotated = set(truth['labels'][~truth['ignore']].tolist())
    excused = set(truth['labels'][truth['ignore']].tolist())
    found = set(prediction['labels'][prediction['scores'] >= score_thr].tolist()) - excused
    classes = annotated | found
    if not classes:
        return 1.0
    number = max(classes) + 1
    sums = [eval_map([prediction], [truth], number, iou)[0] * len(annotated) for iou in IOU_THRESHOLDS]
    return float(np.mean(sums)) / len(classes)


def analyze(args: argparse.Namespace) -> None:
    """Write what the command line describes."""
    samples = read_results(args.results)
    for sample in samples:
        instances_of(sample, args.results)
    check_folder(args.out_dir)
    data = ScoredData(args.config, args.cfg_options, args.split)
    pairs = [boxes_beside_truth(sample) for sample in data.with_truth(samples, args.results)]
    scores = [image_score(*pair, args.show_score_thr) for pair in tqdm(pairs, desc='rating')]
    indices = [data.index_of(sample, args.results) for sample in samples]
    order = np.argsort(scores, kind='stable')
    args.out_dir.mkdir(parents=True, exist_ok=True)
    _write_table(args.out_dir / 'images.csv', data, [(scores[i], indices[i], *map(_number, pairs[i])) for i in order])
    drawing = _Drawing(data, args.out_dir, args.show_score_thr)
    number = min(args.topk, len(order))
    for folder, chosen in (('bad', order[:number]), ('good', order[::-1][:number])):
        for rank, i in enumerate(tqdm(chosen.tolist(), desc=folder)):
            drawing.draw(f'{folder}/{rank:03d}_{scores[i]:.3f}', indices[i], samples[i])
    print(
        f'{len(order)} images: mean {np.mean(scores):.3f}, worst {scores[order[0]]:.3f}, best {scores[order[-1]]:.3f}'
    )
    print(f'the worst are in {args.out_dir / "bad"}, the best in {args.out_dir / "good"}, all in images.csv')
    drawing.report()


def _number(boxes: dict) -> int:
    return len(boxes['labels'])


def _write_table(path: Path, data: ScoredData, rows: list[tuple]) -> None:
    with open(path, 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['score', 'image', 'predictions', 'objects'])
        for score, index, *numbers in rows:
            info = data.info(index)
            writer.writerow([f'{score:.4f}', info.get('img_path') or info['img_id'], *numbers])


class _Drawing:
    """Draws predictions beside what is annotated."""

    def __init__(self, data: ScoredData, folder: Path, score_thr: float) -> None:
        self.data, self.folder, self.score_thr = data, folder, score_thr
        settings = dict(data.cfg.get('visualizer') or {'type': 'DetLocalVisualizer'})
        settings.update(name=f'analyze_results_{id(self)}', vis_backends=None)
        self.visualizer = VISUALIZERS.build(settings)
        self.visualizer.dataset_meta = data.dataset.metainfo
        self.failures: list[ImageError] = []

    def draw(self, name: str, index: int, sample: dict) -> None:
        """Draw one image; one that can't be read is kept in mind."""
        try:
            image, _ = as_loaded(self.data.dataset, index)
        except ImageError as error:
            self.failures.append(error)
            return
        truth = _annotated(self.data.info(index).get('instances', ()))
        both = DetDataSample(gt_instances=truth, pred_instances=_predicted(sample['pred_instances']))
        out_file = self.folder / f'{name}.jpg'
        settings = dict(pred_score_thr=self.score_thr, out_file=str(out_file))
        self.visualizer.add_datasample(out_file.stem, image, both, **settings)

    def report(self) -> None:
        """Say which pictures could not be drawn."""
        for error in self.failures:
            print(f'  {error}')


def _annotated(rows) -> InstanceData:
    boxes = np.array([row['bbox'] for row in rows], dtype=np.float64).reshape(-1, 4)
    return InstanceData(bboxes=boxes, labels=np.array([row['bbox_label'] for row in rows], dtype=np.int64))


def _predicted(instances: dict) -> InstanceData:
    columns = {key: to_numpy(instances[key]) for key in ('bboxes', 'scores', 'labels')}
    if len(instances.get('masks', ())) and isinstance(instances['masks'][0], dict):
        columns['masks'] = list(instances['masks'])
    return InstanceData(**columns)
