"""What a file of predictions tells about a training, for its report."""

from functools import partial
from pathlib import Path

import numpy as np

from mmdetlike.cli.browsing import as_loaded
from mmdetlike.cli.scored_data import ScoredData, boxes_beside_truth
from mmdetlike.datasets.statistics import name_of
from mmdetlike.engine.validation_record import ValidationRecord
from mmdetlike.engine.validation_report import FOLDER, write_data_statistics, write_validation
from mmdetlike.evaluation.results import read_results


def write_found(config: Path, results: Path, split: str, score_thr: float) -> None:
    """Write it to where a training leaves what its last validation tells.

    Args:
        config: Of the training, in ``vis_data`` of its run.
        results: File of predictions.
        split: The dataset that they are of, 'test' or 'val'.
        score_thr: Score from which on something counts as found.
    """
    samples = read_results(results)
    data = ScoredData(config, None, split)
    record = ValidationRecord(score_thr)
    for sample in data.with_truth(samples, results):
        index = data.index_of(sample, results)
        found, truth = boxes_beside_truth(sample)
        prediction = {key: found[key] for key in ('bboxes', 'scores', 'labels')}
        name = Path(name_of(data.info(index))).stem
        record.add(name, prediction, truth, partial(_picture, data, index))
    folder = config.parents[1] / FOLDER
    write_validation(record.images, data.classes, data.dataset.metainfo.get('palette'), folder, score_thr)
    if not (folder / 'data.csv').exists():
        write_data_statistics({split: data.dataset}, folder)


def _picture(data: ScoredData, index: int) -> np.ndarray:
    return as_loaded(data.dataset, index)[0]
