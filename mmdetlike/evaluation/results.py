"""Files of predictions, as ``DumpDetResults`` writes them."""

import pickle
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine import fileio
from mmengine.fileio import dump

from mmdetlike.datasets.annotations import shortened
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.proposals import unpickle_arrays
from mmdetlike.datasets.records import same_id
from mmdetlike_ops import weighted_boxes_fusion

_PREDICTED = ('pred_instances', 'pred_sem_seg', 'pred_panoptic_seg')
_OF_INSTANCES = ('bboxes', 'scores', 'labels')


def read_results(path: str | Path) -> list[dict]:
    """The samples of a file that ``DumpDetResults`` or ``test.py --out`` wrote; no code in it is run.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It isn't such a file; the message says what it holds.
    """
    wrote = 'the file that `mmdetlike test CONFIG CHECKPOINT --out FILE.pkl` writes'
    try:
        samples = unpickle_arrays(fileio.get(str(path)))
    except FileNotFoundError:
        raise FileNotFoundError(f'the results file {path} does not exist; expected {wrote}') from None
    # a damaged pickle raises whatever the machine that runs it stumbles over
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise DataError(f'{path}: not a pickle of predictions ({error}); expected {wrote}') from error
    if not isinstance(samples, list) or not samples:
        raise DataError(f'{path}: expected a list of predictions, got {shortened(samples)}; expected {wrote}')
    for number, sample in enumerate(samples):
        _check(sample, number, path)
    repeated = [image for image, count in Counter(same_id(s['img_id']) for s in samples).items() if count > 1]
    if repeated:
        raise DataError(f'{path}: {len(repeated)} images are predicted twice, such as the one of id {repeated[0]}')
    return samples


def _check(sample: object, number: int, path: str | Path) -> None:
    if not isinstance(sample, dict) or 'img_id' not in sample:
        raise DataError(f'{path}: prediction {number} has no img_id: {shortened(sample)}')
    if not any(key in sample for key in _PREDICTED):
        raise DataError(f'{path}: prediction {number} has none of {", ".join(_PREDICTED)}; its keys: {list(sample)}')
    instances = sample.get('pred_instances')
    if instances is None:
        return
    lacking = [key for key in _OF_INSTANCES if key not in instances] if isinstance(instances, dict) else _OF_INSTANCES
    if lacking:
        raise DataError(f'{path}: pred_instances of image {sample["img_id"]!r} has no {", ".join(lacking)}')
    counts = {key: len(instances[key]) for key in _OF_INSTANCES}
    if len(set(counts.values())) > 1:
        raise DataError(f'{path}: pred_instances of image {sample["img_id"]!r} has different numbers of {counts}')


def write_results(samples: Sequence[dict], path: str | Path) -> None:
    """Write samples as ``DumpDetResults`` does."""
    dump(list(samples), str(path))


def instances_of(sample: dict, path: str | Path) -> dict:
    """The ``pred_instances`` of a sample.

    Raises:
        DataError: It has none.
    """
    if sample.get('pred_instances') is None:
        raise DataError(f'{path}: image {sample["img_id"]!r} has no pred_instances: only boxes and masks are looked at')
    return sample['pred_instances']


def fuse_results(
    results: Sequence[Sequence[dict]],
    names: Sequence[str | Path],
    weights: Sequence[float] | None = None,
    iou_thr: float = 0.55,
    skip_box_thr: float = 0.0,
    conf_type: str = 'avg',
) -> list[dict]:
    """Predictions of several models for the same images, their boxes fused (arXiv 1910.13302).

    Args:
        results: The samples of each file.
        names: The files, for messages.
        weights, iou_thr, skip_box_thr, conf_type: As in ``mmdetlike_ops.weighted_boxes_fusion``.

    Returns:
        The samples of the first file with ``pred_instances`` of ``bboxes``, ``scores`` and ``labels`` alone.

    Raises:
        DataError: The files are of different images.
    """
    tables = [{same_id(sample['img_id']): sample for sample in samples} for samples in results]
    for table, name in zip(tables[1:], names[1:]):
        different = sorted(tables[0].keys() ^ table.keys())
        if different:
            raise DataError(
                f'{names[0]} and {name} are of different images: {len(tables[0])} and {len(table)}, and '
                f'{len(different)} are in one of them only, such as the one of id {different[0]}'
            )
    fused = []
    for image, sample in tables[0].items():
        found = [instances_of(table[image], name) for table, name in zip(tables, names)]
        columns = [[torch.as_tensor(one[key]) for one in found] for key in _OF_INSTANCES]
        settings = dict(weights=weights, iou_thr=iou_thr, skip_box_thr=skip_box_thr, conf_type=conf_type)
        boxes = weighted_boxes_fusion(*columns, **settings)
        fused.append({**sample, 'pred_instances': dict(zip(_OF_INSTANCES, boxes))})
    return fused
